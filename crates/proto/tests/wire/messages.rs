//! Whole connections: whatever the pieces in which bytes arrive, the same items come out.

use mosaic_proto::limits::Limits;
use mosaic_proto::wire::{Buffers, Incoming, Item, Receiver, WireError};
use proptest::prelude::*;

use crate::random::{self, Sent};

/// Ordinary memory, counted.
#[derive(Default)]
pub(crate) struct Counted {
    pub(crate) taken: u64,
}

impl Buffers for Counted {
    type Buffer = Vec<u8>;

    fn allocate(&mut self, len: usize) -> Vec<u8> {
        self.taken += len as u64;
        vec![0xee; len]
    }
}

/// How bytes reach the receiver.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path {
    Copied,
    Direct,
}

/// Feeds `wire` in pieces of the lengths in `cuts`, over and over.
pub(crate) fn receive(wire: &[u8], cuts: &[usize], path: Path) -> Result<Vec<Item<Vec<u8>>>, WireError> {
    let mut receiver = Receiver::<Vec<u8>>::new(Limits::default());
    let mut buffers = Counted::default();
    let mut items = Vec::new();
    let mut rest = wire;
    for &cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        if let (Path::Direct, Some((buffer, filled))) = (path, receiver.direct()) {
            let room = &mut buffer[filled..];
            let len = cut.min(room.len()).min(rest.len());
            room[..len].copy_from_slice(&rest[..len]);
            rest = &rest[len..];
            items.extend(receiver.filled(len)?);
            continue;
        }
        let (mut piece, later) = rest.split_at(cut.min(rest.len()));
        rest = later;
        while !piece.is_empty() {
            items.extend(receiver.feed(&mut piece, u64::MAX, &mut buffers)?);
        }
    }
    assert!(!receiver.is_mid_item());
    Ok(items)
}

fn same(item: &Item<Vec<u8>>, sent: &Sent, cost: u64) -> bool {
    match (item, sent) {
        (Item::Command(received), Sent::Command(sent)) => received == sent,
        (Item::Message(received), Sent::Message { delimited, envelope, body, buffers }) => {
            received.envelope() == envelope.borrow()
                && received.delimited() == *delimited
                && received.body() == body
                && received.buffers() == buffers
                && received.cost() == cost
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn items_arrive_as_they_were_sent(
        all in proptest::collection::vec(random::sent(), 1..5),
        cuts in proptest::collection::vec(prop_oneof![1..20usize, 1..40_000usize], 1..8),
    ) {
        let mut wire = Vec::new();
        let costs: Vec<u64> = all.iter().map(|sent| sent.encode(&mut wire)).collect();
        for path in [Path::Copied, Path::Direct] {
            let items = receive(&wire, &cuts, path).unwrap();
            prop_assert_eq!(items.len(), all.len());
            for ((item, sent), &cost) in items.iter().zip(&all).zip(&costs) {
                prop_assert!(same(item, sent, cost), "{:?} is not {:?}", item, sent);
            }
        }
    }

    #[test]
    fn a_message_to_oneself_costs_the_same(envelope in random::envelope(), body: Vec<u8>, buffers: Vec<Vec<u8>>) {
        let mut bytes = Vec::new();
        envelope.borrow().encode(&mut bytes);
        let shared = buffers.iter().cloned().map(Into::into).collect();
        let sent = Sent::Message { delimited: false, envelope, body: body.clone().into(), buffers: shared };
        let cost = sent.encode(&mut Vec::new());
        let item = Item::Message(Incoming::from_parts(&bytes, &body, buffers).unwrap());
        prop_assert!(same(&item, &sent, cost));
    }

    #[test]
    fn a_message_is_taken_up_to_its_cost_and_not_beyond(sent in random::sent()) {
        let mut wire = Vec::new();
        let cost = sent.encode(&mut wire);
        let feed = |allowance| {
            let mut receiver = Receiver::new(Limits::default());
            receiver.feed(&mut &wire[..], allowance, &mut Counted::default())
        };
        prop_assert!(matches!(feed(cost), Ok(Some(_))));
        if cost > 0 {
            let over = matches!(feed(cost - 1), Err(WireError::OverWindow { .. }));
            prop_assert!(over);
        }
    }
}
