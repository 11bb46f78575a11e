//! What a manager tells of itself and of its links, and what it counts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mosaic_proto::Time;
use mosaic_proto::link::Counters;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{CommsManager, Shared};
use crate::link::Link;
use crate::measure::Stopwatch;
use crate::status::{LinkRecord, LinkState, Status};

/// Records of links that have ended that are kept: those of a few deaths in a row.
const RECORDS_KEPT: usize = 16;

/// What a manager counts beside its links, and what is left of those that have ended.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Messages that never came to a link, or whose replies nobody awaited.
    pub(super) dropped: AtomicU64,
    /// Requests that were refused because too many handlers ran.
    pub(crate) refused: AtomicU64,
    /// Where measured times go.
    pub(crate) stopwatch: Stopwatch,
    ended: Mutex<Ended>,
}

#[derive(Debug, Default)]
struct Ended {
    counters: Counters,
    records: VecDeque<(Instant, LinkRecord)>,
}

impl Tally {
    /// A link has ended.
    pub(super) fn take(&self, link: &Link) {
        let counters = link.look(|machine| machine.counters());
        let record = link.flight_record();
        let mut ended = self.ended.lock();
        ended.counters += counters;
        if ended.records.len() == RECORDS_KEPT {
            ended.records.pop_front();
        }
        ended.records.push_back((Instant::now(), record));
    }

    /// The records of links that have ended, oldest first, as of now.
    fn records(&self) -> Vec<LinkRecord> {
        let aged = |(since, record): &(Instant, LinkRecord)| {
            let mut record = record.clone();
            record.entries.iter_mut().for_each(|entry| entry.ago += since.elapsed());
            record
        };
        self.ended.lock().records.iter().map(aged).collect()
    }
}

impl CommsManager {
    /// One-way messages and replies that were dropped because their peer had left, and replies given to
    /// [`Protocol::reply`](crate::Protocol::reply) that nobody awaited.
    pub fn dropped(&self) -> u64 {
        self.shared.counters().dropped
    }

    /// How this runtime stands, its links included.
    ///
    /// # Example
    /// ```
    /// use mosaic_comms::{CommsManager, Config, LinkCondition, Methods};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let here = Config::default().address("127.0.0.1");
    /// # let monitor = CommsManager::start("monitor", Methods::new(), here.clone()).await?;
    /// # let config = here.monitor(monitor.address(), monitor.port());
    /// let head = CommsManager::start("head", Methods::new(), config).await?;
    /// let link = head.link_state("monitor").expect("the handshake has made it");
    /// assert_eq!(link.condition, LinkCondition::Up);
    /// assert_eq!(head.status().links.len(), 1);
    /// # head.stop().await;
    /// # monitor.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// How the link to `uid` stands; `None` if there is none, which says nothing about `uid`: links are made at first use.
    pub fn link_state(&self, uid: impl AsRef<str>) -> Option<LinkState> {
        let link = self.shared.links.read().get(uid.as_ref()).cloned();
        link.map(|link| state(&link, self.shared.context.now()))
    }

    /// The last events of every link, those of links that have ended first.
    pub fn records(&self) -> Vec<LinkRecord> {
        self.shared.records()
    }
}

impl Shared {
    pub(super) fn status(&self) -> Status {
        let now = self.context.now();
        let links = self.all_links().iter().map(|link| state(link, now)).collect();
        Status {
            uid: self.uid.clone(),
            instance: self.instance,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            handlers: self.config.running_handlers - self.running.available_permits(),
            refused: self.tally.refused.load(Ordering::Relaxed),
            counters: self.counters(),
            links,
        }
    }

    pub(super) fn records(&self) -> Vec<LinkRecord> {
        let mut records = self.tally.records();
        records.extend(self.all_links().iter().map(|link| link.flight_record()));
        records
    }

    /// What all links have carried, those that have ended too.
    fn counters(&self) -> Counters {
        let mut counters = self.tally.ended.lock().counters;
        counters.dropped += self.tally.dropped.load(Ordering::Relaxed);
        for link in self.all_links() {
            counters += link.look(|machine| machine.counters());
        }
        counters
    }
}

fn state(link: &Arc<Link>, now: Time) -> LinkState {
    let lanes = link.transports().map(|name| name.map(str::to_owned));
    link.look(|machine| {
        let (load, pulse) = (machine.load(), machine.pulse());
        let heard = machine.last_heard();
        LinkState {
            peer: link.peer.clone(),
            instance: machine.peer_instance(),
            condition: machine.condition().into(),
            lanes,
            heard: (heard > Time::ZERO).then(|| now - heard),
            round_trip: pulse.round_trip,
            lag: pulse.lag,
            calls: machine.in_flight(),
            waiting: load.waiting,
            waiting_bytes: load.waiting_bytes,
            under_way: load.under_way,
            under_way_bytes: load.under_way_bytes,
            unstarted_bytes: load.unstarted_bytes,
            counters: machine.counters(),
        }
    })
}
