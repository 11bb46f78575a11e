//! What the runtimes of a course say to each other: one driver for each ordered pair, so that the order in which its
//! messages were sent is known.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use mosaic_comms::{CallError, CommsManager, Reply, kwargs};
use serde_bytes::ByteBuf;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::plant::Plant;
use crate::record::{Ending, LifeId, Message, Record};
use crate::world::{Dropped, UIDS, World, pause};

type Answer = (u64, ByteBuf);

/// Sends from one life to one uid.
pub(crate) struct Driver {
    pub(crate) world: Arc<World>,
    pub(crate) comms: CommsManager,
    pub(crate) from: LifeId,
    pub(crate) to: &'static str,
    pub(crate) random: Rng,
}

/// A message that has not been sent.
fn message(record: &Record, from: LifeId, to: &'static str) -> Message {
    Message {
        from,
        to,
        order: None,
        wants_reply: true,
        at: record.now,
        work: Duration::ZERO,
        deadline: None,
        dropped: None,
        accepted: false,
        starts: 0,
        started: None,
        ended: None,
    }
}

/// A call that a handler makes: express ones and those of handlers have no order.
pub(crate) fn nested(record: &Record, from: LifeId, to: &'static str) -> Message {
    message(record, from, to)
}

impl Driver {
    pub(crate) async fn run(mut self) {
        let mut waiting = JoinSet::new();
        loop {
            self.think().await;
            while waiting.try_join_next().is_some() {}
            match self.random.u32(0..100) {
                0..38 => self.note().await,
                38..42 => self.burst().await,
                42..70 => self.call(0, 0, &mut waiting).await,
                70..75 => {
                    let (out, back) = (self.size(), self.size());
                    self.call(out, back, &mut waiting).await;
                }
                75..83 => drop(waiting.spawn(self.fork().call_until(Until::Deadline))),
                83..88 => drop(waiting.spawn(self.fork().call_until(Until::Dropped))),
                88..94 => drop(waiting.spawn(self.fork().express())),
                _ => drop(waiting.spawn(self.fork().pass())),
            }
        }
    }

    /// Most of the time little is said, so that links are quiet when something happens, and also when they are not.
    async fn think(&mut self) {
        let most = if self.random.u8(..) < 64 { 30_000 } else { 2_500_000 };
        pause(Duration::from_micros(self.random.u64(0..most))).await;
    }

    fn fork(&mut self) -> Driver {
        let (world, comms) = (self.world.clone(), self.comms.clone());
        Driver { world, comms, from: self.from, to: self.to, random: self.random.fork() }
    }

    fn size(&mut self) -> usize {
        self.random.usize(60_000..900_000)
    }

    fn work(&mut self) -> Duration {
        let most = [0, 0, 2_000, 50_000, 3_000_000][self.random.usize(0..5)];
        Duration::from_micros(self.random.u64(0..=most))
    }

    fn ordered(&self, change: impl FnOnce(&mut Message)) -> usize {
        self.world.note(|record| {
            let order = record.next_order(self.from, self.to);
            let mut message = Message { order: Some(order), ..message(record, self.from, self.to) };
            change(&mut message);
            record.sent(message)
        })
    }

    fn accepted(&self, id: usize) {
        self.world.log(|| format!("message {id} is accepted"));
        self.world.note(|record| record.messages[id].accepted = true);
    }

    async fn note(&mut self) {
        let id = self.ordered(|message| message.wants_reply = false);
        self.world.log(|| format!("{:?} notes {id} to {}", self.from, self.to));
        if self.world.plant == Plant::Swapped && id > 20 {
            // It is not missed: an order is what is looked for.
            self.world.note(|record| record.messages[id].dropped = Some(record.now));
            let other = self.ordered(|message| message.wants_reply = false);
            self.send_note(other).await;
        }
        if self.world.plant == Plant::Forgotten && id > 20 {
            return self.accepted(id);
        }
        self.send_note(id).await;
    }

    async fn send_note(&self, id: usize) {
        let dropped = self.comms.dropped();
        match self.comms.send(self.to, "note", kwargs! { id: id as u64 }).await {
            // What is for somebody who is gone is dropped, and counted.
            Ok(()) if self.comms.dropped() > dropped => self.world.log(|| format!("message {id} is dropped")),
            Ok(()) => self.accepted(id),
            Err(error) => self.world.ended(id, Err(&error)),
        }
    }

    async fn burst(&mut self) {
        for _ in 0..self.random.u32(5..25) {
            self.note().await;
        }
    }

    async fn call(&mut self, out: usize, back: usize, waiting: &mut JoinSet<()>) {
        let work = self.work();
        let id = self.ordered(|message| message.work = work);
        self.world.log(|| format!("{:?} calls {id} at {} for {work:?}, {out}/{back} B", self.from, self.to));
        let args = kwargs! { id: id as u64, reply: back as u64, large: ByteBuf::from(vec![1; out]) };
        let watch = Dropped { world: &self.world, id };
        match self.comms.send(self.to, "call", args).reply::<Answer>().await {
            Ok(reply) => {
                std::mem::forget(watch);
                self.accepted(id);
                let world = self.world.clone();
                waiting.spawn(async move { conclude(&world, id, reply).await });
            }
            Err(error) => watch.ended(Err(&error)),
        }
    }

    async fn express(mut self) {
        let work = self.work();
        let id = self.unordered(|message| message.work = work);
        self.world.log(|| format!("{:?} calls {id} at {} express", self.from, self.to));
        let watch = Dropped { world: &self.world, id };
        let args = kwargs! { id: id as u64, reply: 0_u64 };
        let outcome = self.comms.send_recv::<Answer>(self.to, "call", args).express().await;
        watch.ended(checked(id, &outcome));
    }

    /// A call that is given up by its deadline, or by who made it.
    async fn call_until(mut self, until: Until) {
        let work = self.work();
        let most = [3_000, 300_000, 4_000_000][self.random.usize(0..3)];
        let after = Duration::from_micros(self.random.u64(0..most));
        let noted = self.world.plant.change_deadline(after);
        let id = self.unordered(|message| {
            message.work = work;
            message.deadline = (until == Until::Deadline).then(|| message.at + noted);
        });
        self.world.log(|| format!("{:?} calls {id} at {}, {until:?} after {after:?}", self.from, self.to));
        let watch = Dropped { world: &self.world, id };
        let call = self.comms.send_recv::<Answer>(self.to, "call", kwargs! { id: id as u64, reply: 9_u64 });
        let outcome = match until {
            Until::Deadline => Some(call.deadline(after).await),
            Until::Dropped => tokio::time::timeout_at(Instant::now() + after, call).await.ok(),
        };
        match outcome {
            Some(outcome) => watch.ended(checked(id, &outcome)),
            None => drop(watch),
        }
    }

    /// A call whose handler calls somebody else.
    async fn pass(mut self) {
        let others: Vec<_> = UIDS.into_iter().filter(|uid| *uid != self.to).collect();
        let on = others[self.random.usize(0..others.len())];
        let id = self.unordered(|message| message.work = Duration::from_secs(20));
        self.world.log(|| format!("{:?} calls {id} at {}, which calls {on}", self.from, self.to));
        let watch = Dropped { world: &self.world, id };
        let args = kwargs! { id: id as u64, to: on };
        let outcome = self.comms.send_recv::<u64>(self.to, "pass", args).await;
        watch.ended(outcome.as_ref().map(drop));
    }

    fn unordered(&self, change: impl FnOnce(&mut Message)) -> usize {
        self.world.note(|record| {
            let mut message = message(record, self.from, self.to);
            change(&mut message);
            record.sent(message)
        })
    }
}

/// By what a call ends before its result comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Deadline,
    Dropped,
}

async fn conclude(world: &World, id: usize, reply: Reply<Answer>) {
    let watch = Dropped { world, id };
    let outcome = reply.await;
    if world.plant == Plant::Outliving && outcome.is_err() {
        return std::mem::forget(watch);
    }
    watch.ended(checked(id, &outcome));
}

/// The outcome, if it is that of this call.
fn checked(id: usize, outcome: &Result<Answer, CallError>) -> Result<(), &CallError> {
    outcome.as_ref().map(|(answered, _)| assert_eq!(*answered, id as u64, "the result of another call"))
}

/// Calls once, to see that it works.
pub(crate) async fn probe(world: &World, comms: &CommsManager, from: LifeId, to: &'static str) {
    let id = world.note(|record| {
        let message = message(record, from, to);
        record.sent(message)
    });
    let args = kwargs! { id: id as u64, reply: 1_u64 };
    let outcome = comms.send_recv::<Answer>(to, "call", args).await;
    world.ended(id, checked(id, &outcome));
    let failed = world.look_up(|record| match &record.messages[id].ended {
        Some((_, Ending::Failed(_, why))) => Some(why.clone()),
        _ => None,
    });
    if let Some(why) = failed {
        world.fail("everybody_can_be_called_at_the_end", format!("{from:?} to {to}: {why}"));
    }
}
