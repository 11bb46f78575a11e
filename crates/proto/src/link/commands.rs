//! The commands that wait for the control lane. Each kind is kept at most once and encoded, with what is true by then,
//! when the lane is polled: a peer that asks much and reads nothing costs no memory.

use std::collections::VecDeque;

use crate::limits::MAX_REMEMBERED_CANCELS;
use crate::wire::{Class, Command};

/// What is to be said on the control lane.
#[derive(Debug, Default)]
pub(super) struct Commands {
    pub(super) acknowledge: bool,
    pub(super) heart: bool,
    pub(super) beat: bool,
    pub(super) ping: bool,
    pub(super) data: bool,
    pub(super) leave: bool,
    /// The context of the last ping.
    pub(super) pong: Option<Vec<u8>>,
    wants: [Option<u64>; 2],
    retractions: [Option<u64>; 2],
    denials: [Option<u64>; 2],
    cancels: Vec<(u64, u64)>,
    /// Those that the connection there is was given, each behind what it had been given with it: until the peer has read
    /// as much, they may be lost.
    said: VecDeque<(u64, (u64, u64))>,
}

impl Commands {
    pub(super) fn is_empty(&self) -> bool {
        let flags = [self.acknowledge, self.heart, self.beat, self.ping, self.data, self.leave];
        !flags.contains(&true)
            && self.pong.is_none()
            && self.wants == [None; 2]
            && self.retractions == [None; 2]
            && self.denials == [None; 2]
            && self.cancels.is_empty()
    }

    pub(super) fn want(&mut self, class: Class, bytes: u64) {
        self.wants[class.index()] = Some(bytes);
    }

    /// Takes a WANT of `bytes` back. It is said once more before, as it may have been lost with its connection.
    pub(super) fn retract(&mut self, class: Class, bytes: u64) {
        self.wants[class.index()].take_if(|want| *want == bytes);
        self.retractions[class.index()] = Some(bytes);
    }

    pub(super) fn deny(&mut self, class: Class, limit: u64) {
        self.denials[class.index()] = Some(limit);
    }

    /// A cancellation is a courtesy: one too many is not said. The peer is asked how far it has read, unless it is already.
    pub(super) fn cancel(&mut self, id: u64, after: u64) {
        if self.cancels.len() + self.said.len() < MAX_REMEMBERED_CANCELS {
            self.heart |= self.said.is_empty();
            self.cancels.push((id, after));
        }
    }

    /// The peer has read this much of the connection there is: what was said by then has come.
    pub(super) fn read(&mut self, bytes: u64) {
        while self.said.pop_front_if(|(until, _)| *until <= bytes).is_some() {}
        self.heart |= !self.said.is_empty();
    }

    /// A new connection: what depends on the old one is left out, and said again by whom it concerns. Cancellations that
    /// may have been lost are said again here.
    pub(super) fn renew(&mut self) {
        let said = std::mem::take(&mut self.said).into_iter().map(|(_, cancel)| cancel);
        let cancels: Vec<_> = said.chain(std::mem::take(&mut self.cancels)).collect();
        *self = Commands { heart: !cancels.is_empty(), cancels, ..Commands::default() };
    }

    /// Appends what needs nothing but what is here, in the order in which it may be said: a denial goes before the
    /// acknowledgement that shows what is left; and a heart behind the cancellations of which its beat is to tell. The
    /// connection was given `before` bytes before those of `out`.
    pub(super) fn encode(&mut self, before: u64, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.ping) {
            Command::Ping { ttl: 0, context: Vec::new() }.encode(out);
        }
        if let Some(context) = self.pong.take() {
            Command::Pong { context }.encode(out);
        }
        if std::mem::take(&mut self.data) {
            Command::Data.encode(out);
        }
        for (id, after) in self.cancels.drain(..) {
            Command::Cancel { id, after }.encode(out);
            self.said.push_back((before + out.len() as u64, (id, after)));
        }
        if std::mem::take(&mut self.heart) {
            Command::Heart.encode(out);
        }
        for class in Class::ALL {
            if let Some(limit) = self.denials[class.index()].take() {
                Command::Deny { class, limit }.encode(out);
            }
            if let Some(bytes) = self.retractions[class.index()].take() {
                Command::Want { class, bytes }.encode(out);
                Command::Want { class, bytes: 0 }.encode(out);
            }
            if let Some(bytes) = self.wants[class.index()].take() {
                Command::Want { class, bytes }.encode(out);
            }
        }
    }
}
