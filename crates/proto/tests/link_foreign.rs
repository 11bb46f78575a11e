//! A link with a plain ZMTP peer: no credit, no acknowledgements, one connection.

mod pair;

use std::time::Duration;

use mosaic_proto::limits::MAX_WINDOW;
use mosaic_proto::link::{Admission, Request, Transmit, Verdict};
use mosaic_proto::wire::{Ack, Command, Item, Lane};
use mosaic_proto::{Session, Time};
use pair::{Ended, Heard, Shape, Side, incoming, reply_to};

fn at(milliseconds: u64) -> Time {
    Time::from_origin(Duration::from_millis(milliseconds))
}

/// A side whose peer is foreign, and its connection.
struct Foreign {
    side: Side,
    id: mosaic_proto::link::ConnectionId,
    now: Time,
}

impl Foreign {
    fn new() -> Foreign {
        let mut side = Side::new("a", "b", 1, 64 << 20);
        let attached = side.link.attach_foreign(at(0), false, Session(5)).expect("nobody holds it");
        side.handle_events(at(0));
        Foreign { side, id: attached.connection, now: at(0) }
    }

    /// What is written, as many bytes.
    fn written(&mut self) -> usize {
        let mut transmit = Transmit::new();
        self.side.link.poll_transmit(self.now, Lane::Control, usize::MAX, &mut transmit);
        let len = transmit.len();
        self.side.link.transmitted(self.now, Lane::Control, self.id, len);
        self.side.handle_events(self.now);
        len
    }

    fn receive(&mut self, item: Item<Vec<u8>>) {
        self.side.link.handle_item(self.now, Lane::Control, self.id, item).expect("it may send that");
        self.side.handle_events(self.now);
        self.side.link.assert_invariants();
    }

    fn send(&mut self, tag: u64, shape: Shape) -> Admission {
        let outgoing = shape.outgoing(tag);
        let reply = shape.reply.then_some(tag);
        let request =
            Request { outgoing, express: shape.express, nested: shape.nested, reply, deadline: None };
        self.side.link.send(self.now, request).expect("the link lives")
    }
}

#[test]
fn a_call_to_a_foreign_peer_ends_with_its_reply() {
    let mut foreign = Foreign::new();
    let id = foreign.send(3, Shape::call(8)).id();
    assert!(foreign.written() > 0);
    assert!(foreign.side.link.is_drained(), "what is written is done with");
    let mut reply = reply_to(3, 8);
    reply.set_id(id);
    foreign.receive(Item::Message(incoming(&reply)));
    assert_eq!(foreign.side.outcome(3), Some(&Ended::Reply(3)));
    assert_eq!(foreign.written(), 0, "it is told nothing of acknowledgements");
}

#[test]
fn messages_to_a_foreign_peer_wait_for_its_socket() {
    let mut foreign = Foreign::new();
    let size = MAX_WINDOW as usize / 2;
    assert!(matches!(foreign.send(1, Shape::one_way(size)), Admission::Accepted(_)));
    assert!(matches!(foreign.send(2, Shape::one_way(size)), Admission::Waiting(_)));
    assert!(foreign.written() > size);
    assert!(foreign.written() > size, "room was made by writing");
}

#[test]
fn a_foreign_peer_is_not_read_while_its_messages_lie_here() {
    let mut foreign = Foreign::new();
    foreign.side.consumes = false;
    for tag in 0..9 {
        foreign.receive(Item::Message(incoming(&Shape::one_way(1 << 20).outgoing(tag))));
    }
    assert!(foreign.side.link.reads_paused());
    for Heard { tag, .. } in foreign.side.heard.clone() {
        foreign.side.consume(at(1), tag);
    }
    assert!(!foreign.side.link.reads_paused());
    assert_eq!(foreign.written(), 0);
}

#[test]
fn commands_that_only_we_speak_are_ignored_from_a_foreign_peer() {
    let mut foreign = Foreign::new();
    foreign.send(1, Shape::call(8));
    foreign.written();
    let ack = Ack { lane: Lane::Control, received: 99, consumed: [99; 2], window: [0; 2], saturated: false };
    let leave = Command::Leave { reason: "no".into(), last: [0; 2] };
    for command in [Command::Ack(ack), leave, Command::Data, Command::Cancel { id: 1, after: 0 }] {
        foreign.receive(Item::Command(command));
    }
    assert!(foreign.side.verdict.is_none() && foreign.side.cancels.is_empty());
    foreign.send(2, Shape::one_way(8));
    assert!(foreign.written() > 0);
}

#[test]
fn a_ping_is_answered_and_silence_is_pinged() {
    let mut foreign = Foreign::new();
    foreign.receive(Item::Command(Command::Ping { ttl: 0, context: vec![1, 2] }));
    let mut pong = Vec::new();
    Command::Pong { context: vec![1, 2] }.encode(&mut pong);
    assert_eq!(foreign.written(), pong.len());
    foreign.now = at(500);
    foreign.side.link.handle_timeout(foreign.now);
    assert!(foreign.written() > 0, "a ping");
}

#[test]
fn a_foreign_peer_that_falls_silent_is_gone_and_its_calls_end() {
    let mut foreign = Foreign::new();
    foreign.send(1, Shape::call(8));
    while let Some(next) = foreign.side.link.poll_timeout() {
        foreign.side.link.handle_timeout(next);
        foreign.side.handle_events(next);
    }
    assert!(matches!(foreign.side.verdict, Some((Verdict::Dead, _))));
    assert!(matches!(foreign.side.outcome(1), Some(Ended::Disconnected(..))));
}

#[test]
fn a_foreign_connection_that_ends_is_a_departure() {
    let mut foreign = Foreign::new();
    foreign.side.link.detach(at(1), Lane::Control, foreign.id);
    foreign.side.handle_events(at(1));
    assert!(matches!(foreign.side.verdict, Some((Verdict::Left, _))));
}

#[test]
fn an_express_message_of_a_foreign_peer_costs_nothing_in_the_end() {
    let mut foreign = Foreign::new();
    for tag in 0..20 {
        foreign.receive(Item::Message(incoming(&Shape::one_way(1 << 20).express().outgoing(tag))));
    }
    assert!(!foreign.side.link.reads_paused());
}
