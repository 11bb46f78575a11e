//! A link with a plain ZMTP peer: one lane, no credit, PING for liveness, none of our own commands.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::time::Duration;

use mosaic_proto::limits::{Limits, MAX_WINDOW};
use mosaic_proto::link::{Attached, Event, Link, Request, Settings, Transmit, Verdict};
use mosaic_proto::wire::{Body, Codec, Command, Envelope, Incoming, Item, Kind, Lane, Outgoing, RefusalCode};
use mosaic_proto::{HostId, Instance, Intervals, Reason, Session, Time, Uid};

type Machine = Link<u32, Vec<u8>>;

fn settings() -> Settings {
    Settings {
        uid: Uid::new("monitor").expect("a valid part of the test"),
        instance: Instance(1),
        host: HostId([0; 16]),
        pid_namespace: 0,
        pid: 1,
        peer: Uid::new("guest").expect("a valid part of the test"),
        peer_instance: None,
        limits: Limits::default(),
        intervals: Intervals::default(),
    }
}

fn at(millis: u64) -> Time {
    Time::from_origin(Duration::from_millis(millis))
}

fn envelope(kind: Kind, id: u64) -> Envelope<'static> {
    Envelope {
        kind,
        id,
        method: "take",
        wants_reply: false,
        express: false,
        depth: 0,
        command: None,
        remaining: None,
        codec: Codec::MessagePack,
        trace: None,
    }
}

fn incoming(kind: Kind, id: u64, bytes: usize) -> Item<Vec<u8>> {
    let mut head = Vec::new();
    envelope(kind, id).encode(&mut head);
    Item::Message(Incoming::from_parts(&head, b"", vec![vec![0; bytes]]).expect("a valid part of the test"))
}

fn link() -> (Machine, Attached) {
    let mut link = Machine::new(settings());
    let attached = link.attach_foreign(at(0), false, Session(7)).expect("a valid part of the test");
    (link, attached)
}

fn events(link: &mut Machine) -> Vec<Event<u32, Vec<u8>>> {
    std::iter::from_fn(|| link.poll_event()).collect()
}

/// The bytes that the link has to write now.
fn said(link: &mut Machine, now: Time) -> Vec<u8> {
    let mut transmit = Transmit::default();
    link.poll_transmit(now, Lane::Control, usize::MAX, &mut transmit);
    let mut slices = [std::io::IoSlice::new(&[]); 64];
    let count = transmit.slices(usize::MAX, &mut slices);
    slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect()
}

#[test]
fn each_connection_of_a_foreign_peer_is_a_life_of_its_own_unless_it_is_known() {
    let (link, _) = link();
    assert_eq!(link.peer_instance(), Some(Instance(7)));
    let mut known = Machine::new(Settings { peer_instance: Some(Instance(9)), ..settings() });
    known.attach_foreign(at(0), true, Session(7)).expect("a valid part of the test");
    assert_eq!(known.peer_instance(), Some(Instance(9)));
    let refusal = known.attach_foreign(at(0), false, Session(8)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::UidTaken);
}

#[test]
fn a_foreign_peer_hears_ping_and_no_command_of_ours() {
    let (mut link, attached) = link();
    for id in 0..100 {
        link.handle_item(at(1), Lane::Control, attached.connection, incoming(Kind::Message, id, 10_000))
            .expect("a valid part of the test");
        link.consumed(at(1), Session(7), 1000);
    }
    let outgoing = Outgoing::new(&envelope(Kind::Message, 0), Body::Copy(b""), vec![])
        .expect("a valid part of the test");
    let request = Request { outgoing, express: false, nested: false, reply: Some(1), deadline: None };
    let id = link.send(at(1), request).expect("a valid part of the test").id();
    assert!(!said(&mut link, at(1)).is_empty());
    link.cancel(at(1), id).expect("a valid part of the test");
    link.leave(at(1), "done");
    assert_eq!(said(&mut link, at(20)), b"");
    link.handle_timeout(at(600));
    let mut ping = Vec::new();
    Command::Ping { ttl: 0, context: Vec::new() }.encode(&mut ping);
    assert_eq!(said(&mut link, at(600)), ping);
    link.assert_invariants();
}

#[test]
fn a_silent_foreign_peer_is_dead_but_not_while_it_is_we_who_do_not_read() {
    let (mut link, attached) = link();
    let large = MAX_WINDOW as usize + 1;
    link.handle_item(at(1), Lane::Control, attached.connection, incoming(Kind::Message, 1, large))
        .expect("a valid part of the test");
    assert!(link.reads_paused());
    assert_eq!(link.poll_timeout(), None);
    link.handle_timeout(at(60_000));
    let cost = |event| match event {
        Event::Request { incoming, .. } => Incoming::cost(&incoming),
        _ => 0,
    };
    let cost = events(&mut link).into_iter().map(cost).sum();
    link.consumed(at(60_000), Session(7), cost);
    assert!(!link.reads_paused());
    link.handle_timeout(at(60_000));
    assert!(link.is_up());
    for now in (60_000..70_000).step_by(10) {
        link.handle_timeout(at(now));
    }
    let ended = events(&mut link).into_iter().any(|event| {
        matches!(event, Event::Ended { verdict: Verdict::Dead, reason: Reason::Unreachable { .. } })
    });
    assert!(ended && !link.is_up());
}

#[test]
fn a_foreign_peer_whose_connection_ends_has_left() {
    let (mut link, attached) = link();
    link.detach(at(5), Lane::Control, attached.connection);
    assert!(matches!(link.ended(), Some(Reason::Left { .. })));
}
