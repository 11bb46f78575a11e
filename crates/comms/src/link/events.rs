//! What comes of an operation on the state machine: each event is done or told, without the lock of the state.

use std::sync::{Arc, Weak};

use mosaic_proto::Session;
use mosaic_proto::link::Event;
use mosaic_proto::wire::{Class, Incoming};
use tracing::debug;

use super::{Link, Ticket, Write};
use crate::context::Waiting;
use crate::dispatch::Cancelling;
use crate::pool::Buffer;

impl Link {
    pub(super) fn act(self: &Arc<Self>, event: Event<Ticket, Buffer>) {
        self.record_event(&event);
        match event {
            Event::Outcome { ticket, outcome } => {
                // Nobody may wait any more: the future was dropped in this very moment.
                let _ = ticket.send(outcome);
            }
            Event::Request { incoming, session } => self.receive(incoming, session),
            Event::Cancel { id, session } => self.cancel_running(session, id),
            Event::Dial(lane) => self.dial(lane),
            Event::AbandonDial(lane) => self.abandon_dial(lane),
            Event::Close { lane, connection } => self.close(lane, connection),
            Event::Reserve { class, bytes, essential } => self.reserve(class, bytes, essential),
            Event::Release { class, bytes } => {
                let served = self.release(class, bytes);
                self.serve(served);
            }
            Event::ReplyTooLarge { request, session, cost, limit } => {
                crate::message::refuse_reply(self, session, request, cost, limit);
            }
            Event::Beat { round_trip } => {
                if let Some(owner) = self.owner.upgrade() {
                    owner.tally.stopwatch.round_trip(round_trip);
                }
            }
            lifecycle => {
                debug!(peer = %self.peer, event = ?lifecycle, "link");
                self.changed.notify_waiters();
                if let Some(owner) = self.owner.upgrade() {
                    owner.link_changed(self, lifecycle);
                }
            }
        }
    }

    fn receive(self: &Arc<Self>, incoming: Incoming<Buffer>, session: Session) {
        if let Some(owner) = self.owner.upgrade() {
            owner.receive(self, incoming, session);
        }
    }

    /// The peer gave a request up: a handler that runs is told, one that waits its turn is not started.
    fn cancel_running(&self, session: Session, id: u64) {
        let running = self.running.lock().get(&(session, id)).cloned();
        match running {
            Some(handler) => handler.cancel(),
            None => self.inbox.cancel(session, id),
        }
    }

    fn reserve(self: &Arc<Self>, class: Class, bytes: u64, essential: bool) {
        let (granted, largest) = {
            let mut budget = self.context.budget().lock();
            let largest = budget.largest();
            let granted = if !essential {
                budget.try_reserve(class, bytes)
            } else if bytes > largest {
                false
            } else {
                let who = Waiting { number: self.number, link: Arc::downgrade(self) };
                budget.reserve_or_wait(class, bytes, who)
            };
            (granted, largest)
        };
        if granted {
            self.queue(Write::Pump, |machine, _| machine.reserved(class, bytes, essential));
        } else if essential && bytes > largest {
            self.queue(Write::Pump, |machine, _| machine.denied(class, largest));
        }
    }

    /// Those whose turn at the budget has come get what they waited for; what the dead waited for goes on to the next.
    pub(super) fn serve(&self, mut served: Vec<(Class, Waiting, u64)>) {
        while let Some((class, who, bytes)) = served.pop() {
            match who.link.upgrade() {
                Some(link) => link.queue(Write::Pump, |machine, _| machine.reserved(class, bytes, true)),
                None => served.extend(self.release(class, bytes)),
            }
        }
    }

    fn release(&self, class: Class, bytes: u64) -> Vec<(Class, Waiting, u64)> {
        let served = self.context.budget().lock().release(class, bytes);
        served.into_iter().map(|(who, bytes)| (class, who, bytes)).collect()
    }

    /// The link is over: its tasks end, and it no longer waits in line.
    pub(crate) fn finish(self: &Arc<Self>) {
        self.over.cancel();
        let running: Vec<_> = self.running.lock().values().cloned().collect();
        running.iter().for_each(Cancelling::cancel);
        let who = Waiting { number: self.number, link: Weak::new() };
        let served = self.context.budget().lock().forget(&who);
        self.serve(served);
    }
}
