//! What a driver does for one side: it dials, shakes hands, writes, reads, and does as its link says.

use std::time::Duration;

use mosaic_proto::Session;
use mosaic_proto::link::DialFailure;
use mosaic_proto::wire::{Command, Item, Ready, Refusal, RefusalCode};

use super::message::Heap;
use super::side::Told;
use super::wire::{End, Phase, Wire};
use super::{Fate, Pair};

impl Pair {
    pub(super) fn handle_events(&mut self, side: usize) -> bool {
        let now = self.now;
        let todo = self.sides[side].handle_events(now);
        let any = !todo.is_empty();
        for told in todo {
            match told {
                Told::Dial(lane) => {
                    let due = now + self.conditions.dial_delay[side];
                    self.wires.push(Wire::new(side, lane, due, self.conditions.fate[side]));
                }
                Told::AbandonDial(lane) => {
                    let dials = self.wires.iter_mut().filter(|wire| wire.is_dial(side, lane));
                    dials.for_each(|wire| wire.close(side, now));
                }
                Told::Close(connection) => {
                    let ends = self.wires.iter_mut().filter(|wire| wire.ends[side].id == Some(connection));
                    ends.for_each(|wire| wire.close(side, now));
                }
                Told::Asleep => {}
            }
        }
        any
    }

    /// Does for one end of one wire what is due. True if something was.
    pub(super) fn work(&mut self, index: usize, side: usize) -> bool {
        self.progress_dial(index, side) | self.write(index, side) | self.read(index, side)
    }

    fn progress_dial(&mut self, index: usize, side: usize) -> bool {
        let (now, wire) = (self.now, &mut self.wires[index]);
        let Phase::Connecting(due) = wire.ends[side].phase else { return false };
        let (lane, fate) = (wire.lane, wire.fate);
        let due = if fate == Fate::Silence { due + Duration::from_secs(1) } else { due };
        if now < due {
            return false;
        }
        let link = &mut self.sides[side].link;
        match fate {
            Fate::Connects => match link.dial_ready(lane) {
                Some(ready) => {
                    wire.ends[side].phase = Phase::Greeting;
                    wire.ends[1 - side].phase = Phase::Greeting;
                    wire.say(side, now, &Command::Ready(ready));
                }
                None => wire.close(side, now),
            },
            Fate::Refused | Fate::Silence => {
                wire.abort();
                let refused = fate == Fate::Refused;
                let failure = if refused { DialFailure::Refused } else { DialFailure::Unreachable };
                link.dial_failed(now, lane, &failure);
            }
        }
        true
    }

    fn write(&mut self, index: usize, side: usize) -> bool {
        let (now, wire) = (self.now, &mut self.wires[index]);
        let (lane, Phase::Live, Some(id)) = (wire.lane, wire.ends[side].phase, wire.ends[side].id) else {
            return false;
        };
        let link = &mut self.sides[side].link;
        let room = self.conditions.capacity.saturating_sub(wire.pipes[side].len()).min(self.conditions.chunk);
        link.poll_transmit(now, lane, self.conditions.chunk, &mut wire.ends[side].transmit);
        let bytes = wire.ends[side].take(room);
        link.transmitted(now, lane, id, bytes.len());
        if bytes.is_empty() {
            return false;
        }
        link.leave_if_complete();
        wire.pipes[side].write(now + self.conditions.delay[side], bytes);
        true
    }

    fn read(&mut self, index: usize, side: usize) -> bool {
        let wire = &mut self.wires[index];
        if wire.ends[side].phase == Phase::Closed || matches!(wire.ends[side].phase, Phase::Connecting(_)) {
            return false;
        }
        let paused = self.conditions.paused[wire.lane.index()][1 - side];
        if let Some(bytes) = wire.pipes[1 - side].read(self.now, paused) {
            self.feed(index, side, &bytes);
            return true;
        }
        let ended = wire.pipes[1 - side].has_ended(self.now, paused);
        if ended {
            self.lose(index, side);
        }
        ended
    }

    /// A connection has ended for this side.
    fn lose(&mut self, index: usize, side: usize) {
        let (now, wire) = (self.now, &mut self.wires[index]);
        let (lane, phase, id) = (wire.lane, wire.ends[side].phase, wire.ends[side].id);
        wire.close(side, now);
        match (phase, id) {
            (Phase::Live, Some(id)) => self.sides[side].link.detach(now, lane, id),
            (Phase::Greeting, _) if wire.dialler == side => {
                self.sides[side].link.dial_failed(now, lane, &DialFailure::Unreachable);
            }
            _ => {}
        }
    }

    fn feed(&mut self, index: usize, side: usize, mut bytes: &[u8]) {
        let wire = &self.wires[index];
        if let (Phase::Live, Some(id)) = (wire.ends[side].phase, wire.ends[side].id) {
            self.sides[side].link.heard(self.now, wire.lane, id, bytes.len());
        }
        while !bytes.is_empty() {
            let wire = &mut self.wires[index];
            let allowance = match wire.ends[side].phase {
                Phase::Live => self.sides[side].link.allowance(wire.lane),
                Phase::Greeting => 0,
                Phase::Closed | Phase::Connecting(_) => return,
            };
            let End { receiver, .. } = &mut wire.ends[side];
            match receiver.feed(&mut bytes, allowance, &mut Heap) {
                Ok(Some(item)) => self.handle_item(index, side, item),
                Ok(None) => {}
                Err(error) => {
                    self.sides[side].violations.push(error.to_string());
                    self.lose(index, side);
                }
            }
        }
    }

    fn handle_item(&mut self, index: usize, side: usize, item: Item<Vec<u8>>) {
        let (now, wire) = (self.now, &self.wires[index]);
        let (lane, phase, id) = (wire.lane, wire.ends[side].phase, wire.ends[side].id);
        match (phase, id, item) {
            (Phase::Live, Some(id), item) => {
                if let Err(violation) = self.sides[side].link.handle_item(now, lane, id, item) {
                    self.sides[side].violations.push(violation.to_string());
                    self.handle_events(side);
                    self.lose(index, side);
                }
                self.handle_events(side);
            }
            (_, _, Item::Command(Command::Ready(ready))) => self.greeted(index, side, &ready),
            (_, _, Item::Command(Command::Error(refusal))) => {
                self.wires[index].close(side, now);
                self.sides[side].refusals.push(refusal.code);
                self.sides[side].link.dial_failed(now, lane, &DialFailure::Answered(refusal));
            }
            (_, _, item) => panic!("{item:?} came during the handshake"),
        }
    }

    /// The peer's READY has come.
    fn greeted(&mut self, index: usize, side: usize, ready: &Ready) {
        let now = self.now;
        let mosaic = ready.mosaic.as_ref().expect("both are Mosaic runtimes");
        let dialled = self.wires[index].dialler == side;
        self.sessions += 1;
        let fresh = Session(self.sessions);
        let this = &mut self.sides[side];
        let attached = if mosaic.wanted_instance.is_some_and(|wanted| wanted != this.instance) {
            Err(Refusal { code: RefusalCode::NotMe, detail: "another instance".to_owned() })
        } else {
            this.link.attach(now, dialled, mosaic, fresh)
        };
        let wire = &mut self.wires[index];
        match attached {
            Ok(attached) => {
                wire.ends[side].phase = Phase::Live;
                wire.ends[side].id = Some(attached.connection);
                if !dialled {
                    wire.say(side, now + self.conditions.delay[side], &Command::Ready(attached.answer));
                }
            }
            Err(refusal) => {
                assert!(!refusal.detail.contains("count of received"), "{}", refusal.detail);
                if !dialled {
                    wire.say(side, now + self.conditions.delay[side], &Command::Error(refusal));
                }
                wire.close(side, now);
            }
        }
        self.handle_events(side);
    }
}
