//! The flight recorder of a link: its last events, without the messages themselves, for whoever asks what led to a verdict.
//! It keeps values and no text, and is written to where connections come and go: never on the way of a message.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use mosaic_proto::Reason;
use mosaic_proto::link::{DialFailure, Event, Verdict};
use mosaic_proto::wire::{Class, Lane};
use tokio::time::Instant;
use tracing::warn;

use super::{Link, Ticket};
use crate::error::Attempt;
use crate::pool::Buffer;
use crate::status::{LinkRecord, RecordEntry};

/// Events that are kept. A link that is made and lost again leaves about eight.
const KEPT: usize = 64;

/// Lateness of our own that is worth an entry: a heart may be missed by it.
pub(super) const NOTEWORTHY_LAG: Duration = Duration::from_millis(100);

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Happening {
    DialFailed {
        lane: Lane,
        failure: DialFailure,
        attempts: Vec<Attempt>,
    },
    Connected {
        lane: Lane,
        transport: &'static str,
    },
    Closed {
        lane: Lane,
        why: String,
    },
    Up {
        resumed: bool,
    },
    Down,
    Suspected,
    Unreachable(Reason),
    Ended(Verdict, Reason),
    /// A message of the peer's needs more room than its window has.
    Asked(Class),
    ReplyTooLarge {
        cost: u64,
        limit: u64,
    },
    /// We woke later than planned.
    Late(Duration),
}

impl Happening {
    /// Whether both are worth one entry.
    fn is_like(&self, other: &Happening) -> bool {
        self == other || matches!((self, other), (Happening::Late(_), Happening::Late(_)))
    }
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    what: Happening,
    times: u32,
    sent: u64,
    received: u64,
}

/// The last events of a link.
#[derive(Debug, Default)]
pub(super) struct Recorder(VecDeque<Entry>);

impl Recorder {
    fn note(&mut self, what: Happening, sent: u64, received: u64) {
        let at = Instant::now();
        if let Some(last) = self.0.back_mut().filter(|last| last.what.is_like(&what)) {
            let times = last.times.saturating_add(1);
            *last = Entry { at, what, times, sent, received };
            return;
        }
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Entry { at, what, times: 1, sent, received });
    }

    fn entries(&self) -> Vec<RecordEntry> {
        let entry = |entry: &Entry| RecordEntry {
            ago: entry.at.elapsed(),
            what: entry.what.to_string(),
            times: entry.times,
            sent: entry.sent,
            received: entry.received,
        };
        self.0.iter().map(entry).collect()
    }
}

impl Link {
    pub(super) fn record(&self, what: Happening) {
        let counters = self.look(|machine| machine.counters());
        self.recorder.lock().note(what, counters.sent, counters.received);
    }

    /// Notes what the state machine tells, and logs the record if it is a verdict.
    pub(super) fn record_event(&self, event: &Event<Ticket, Buffer>) {
        let (what, is_verdict) = match event {
            Event::Up { resumed } => (Happening::Up { resumed: *resumed }, false),
            Event::Down => (Happening::Down, false),
            Event::Suspected => (Happening::Suspected, false),
            Event::Unreachable(reason) => (Happening::Unreachable(reason.clone()), true),
            Event::Ended { verdict, reason } => {
                (Happening::Ended(*verdict, reason.clone()), *verdict == Verdict::Dead)
            }
            Event::Reserve { class, essential: true, .. } => (Happening::Asked(*class), false),
            Event::ReplyTooLarge { cost, limit, .. } => {
                (Happening::ReplyTooLarge { cost: *cost, limit: *limit }, false)
            }
            _ => return,
        };
        self.record(what);
        if is_verdict {
            warn!(peer = %self.peer, "{}", self.flight_record());
        }
    }

    /// Its last events.
    pub(crate) fn flight_record(&self) -> LinkRecord {
        let (instance, condition) = self.look(|machine| (machine.peer_instance(), machine.condition()));
        let entries = self.recorder.lock().entries();
        LinkRecord { peer: self.peer.clone(), instance, condition: condition.into(), entries }
    }
}

/// The lane, as people call it.
fn name(lane: Lane) -> &'static str {
    match lane {
        Lane::Control => "control",
        Lane::Data => "data",
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Happening::DialFailed { lane, failure, attempts } => {
                write!(f, "{} lane not reached: ", name(*lane))?;
                match failure {
                    DialFailure::Answered(refusal) => write!(f, "{refusal}")?,
                    DialFailure::Refused => f.write_str("everybody refuses")?,
                    DialFailure::Unreachable => f.write_str("no answer")?,
                }
                attempts
                    .iter()
                    .try_for_each(|Attempt { address, outcome }| write!(f, "; {address}: {outcome}"))
            }
            Happening::Connected { lane, transport } => {
                write!(f, "{} lane connected by {transport}", name(*lane))
            }
            Happening::Closed { lane, why } => write!(f, "{} lane closed: {why}", name(*lane)),
            Happening::Up { resumed: false } => f.write_str("a session has begun"),
            Happening::Up { resumed: true } => f.write_str("the session goes on"),
            Happening::Down => f.write_str("the control lane is gone"),
            Happening::Suspected => f.write_str("suspected: nothing comes from the peer"),
            Happening::Unreachable(reason) => write!(f, "unreachable: {reason}"),
            Happening::Ended(Verdict::Dead, reason) => write!(f, "dead: {reason}"),
            Happening::Ended(Verdict::Left, reason) => write!(f, "over: {reason}"),
            Happening::Asked(class) => write!(f, "the peer needs more room for {class:?}"),
            Happening::ReplyTooLarge { cost, limit } => {
                write!(f, "a reply of {cost} bytes is more than the {limit} that the peer takes")
            }
            Happening::Late(lag) => write!(f, "this process itself was {} ms late", lag.as_millis()),
        }
    }
}
