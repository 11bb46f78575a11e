//! What a runtime counts, for the `metrics` facade. Nothing is told to it on the way of a message: links count anyway, and
//! what they have counted is published when somebody wants to know. Only the times of handlers and of round trips are
//! recorded as they are measured, and measured once somebody has asked.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ::metrics::{Histogram, Unit, counter, gauge, histogram};

use crate::manager::CommsManager;
use crate::status::{LinkCondition, LinkState, Status};

/// A number of a status, its name and what it means.
type Number = (&'static str, &'static str, fn(&Status) -> u64);

const COUNTERS: [Number; 15] = [
    ("mosaic_calls_total", "Calls that were made.", |status| status.counters.calls),
    ("mosaic_messages_sent_total", "Messages sent, repetitions included.", |status| status.counters.sent),
    ("mosaic_messages_received_total", "Messages that have come.", |status| status.counters.received),
    ("mosaic_bytes_sent_total", "Bytes that the system took.", |status| status.counters.bytes_sent),
    ("mosaic_bytes_received_total", "Bytes that have come.", |status| status.counters.bytes_received),
    ("mosaic_errors_total", "Calls that were answered by an error.", |status| status.counters.errors),
    ("mosaic_timeouts_total", "Calls whose deadline passed.", |status| status.counters.timed_out),
    ("mosaic_dropped_total", "Messages lost with a session, or to who had left.", |status| {
        status.counters.dropped
    }),
    ("mosaic_refused_total", "Requests refused as too many handlers ran.", |status| status.refused),
    ("mosaic_replayed_total", "Messages sent again after a cut.", |status| status.counters.replayed),
    ("mosaic_late_replies_total", "Replies that nobody awaited any more.", |status| {
        status.counters.late_replies
    }),
    ("mosaic_cancelled_total", "Requests given up before they started.", |status| status.counters.cancelled),
    ("mosaic_stalled_total", "Data connections made anew as nothing moved.", |status| {
        status.counters.stalled
    }),
    ("mosaic_connections_total", "Connections of links.", |status| status.counters.connections),
    ("mosaic_failed_dials_total", "Dials that failed and are retried.", |status| {
        status.counters.failed_dials
    }),
];

const GAUGES: [Number; 7] = [
    ("mosaic_handlers", "Handlers that run or wait for something.", |status| status.handlers as u64),
    ("mosaic_calls_in_flight", "Calls that await their reply.", |status| {
        sum(status, |link| link.calls as u64)
    }),
    ("mosaic_waiting_messages", "Messages that wait for room.", |status| {
        sum(status, |link| link.waiting as u64)
    }),
    ("mosaic_waiting_bytes", "What they cost.", |status| sum(status, |link| link.waiting_bytes)),
    ("mosaic_under_way_messages", "Messages not acknowledged.", |status| {
        sum(status, |link| link.under_way as u64)
    }),
    ("mosaic_under_way_bytes", "What they cost.", |status| sum(status, |link| link.under_way_bytes)),
    ("mosaic_unstarted_bytes", "Requests whose handlers have not started.", |status| {
        sum(status, |link| link.unstarted_bytes)
    }),
];

const LINKS: &str = "mosaic_links";
const HANDLER_TIME: &str = "mosaic_handler_seconds";
const ROUND_TRIP: &str = "mosaic_round_trip_seconds";

const CONDITIONS: [LinkCondition; 4] =
    [LinkCondition::Absent, LinkCondition::Up, LinkCondition::Suspected, LinkCondition::Down];

fn sum(status: &Status, of: fn(&LinkState) -> u64) -> u64 {
    status.links.iter().map(of).sum()
}

/// Where measured times go, once somebody has asked for them.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch(OnceLock<Times>);

#[derive(Debug)]
struct Times {
    handler: Histogram,
    round_trip: Histogram,
}

impl Stopwatch {
    /// Now, if somebody wants to know how long it takes from here.
    pub(crate) fn start(&self) -> Option<Instant> {
        self.0.get().map(|_| Instant::now())
    }

    /// A handler has ended that was started then.
    pub(crate) fn handler_ended(&self, since: Option<Instant>) {
        if let (Some(times), Some(since)) = (self.0.get(), since) {
            times.handler.record(since.elapsed());
        }
    }

    pub(crate) fn round_trip(&self, took: Duration) {
        if let Some(times) = self.0.get() {
            times.round_trip.record(took);
        }
    }
}

impl CommsManager {
    /// Publishes what this runtime has counted through the `metrics` facade, as
    /// [`Status::publish_metrics`] does. From the first time on, the times of handlers and of round trips are recorded
    /// too, in the histograms `mosaic_handler_seconds` and `mosaic_round_trip_seconds`.
    ///
    /// To be called whenever the recorder is read, or now and then. The recorder that is installed the first time is the
    /// one that gets the histograms; until then nothing is measured, and where none is installed this does nothing.
    pub fn publish_metrics(&self) {
        let status = self.status();
        self.shared.tally.stopwatch.0.get_or_init(|| {
            describe();
            let labels = labels(&status);
            Times { handler: histogram!(HANDLER_TIME, &labels), round_trip: histogram!(ROUND_TRIP, &labels) }
        });
        status.publish_metrics();
    }
}

impl Status {
    /// Publishes these numbers through the `metrics` facade, labelled with the uid as `runtime` and the instance as
    /// `life`: for whoever asks others how they stand. The names are listed in the guide to operating a network.
    pub fn publish_metrics(&self) {
        let labels = labels(self);
        for (name, _, of) in COUNTERS {
            counter!(name, &labels).absolute(of(self));
        }
        for (name, _, of) in GAUGES {
            gauge!(name, &labels).set(of(self) as f64);
        }
        for condition in CONDITIONS {
            let count = self.links.iter().filter(|link| link.condition == condition).count();
            let mut labels = labels.clone();
            labels.push(("condition", condition.to_string()));
            gauge!(LINKS, &labels).set(count as f64);
        }
    }
}

fn labels(status: &Status) -> Vec<(&'static str, String)> {
    vec![("runtime", status.uid.to_string()), ("life", status.instance.to_string())]
}

fn describe() {
    for (name, what, _) in COUNTERS {
        ::metrics::describe_counter!(name, what);
    }
    for (name, what, _) in GAUGES {
        ::metrics::describe_gauge!(name, what);
    }
    ::metrics::describe_gauge!(LINKS, "Links, by their condition.");
    ::metrics::describe_histogram!(HANDLER_TIME, Unit::Seconds, "From the start of a handler to its end.");
    ::metrics::describe_histogram!(ROUND_TRIP, Unit::Seconds, "From a heart to its beat.");
}
