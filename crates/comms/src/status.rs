//! How a runtime and its links stand: what [`CommsManager::status`](crate::CommsManager::status) tells here, and
//! [`status_of`](crate::CommsManager::status_of) of another runtime. It travels, so every field may be left out by an older
//! library.

use std::fmt;
use std::time::Duration;

use mosaic_proto::link::{Condition, Counters};
use mosaic_proto::{Instance, Uid};
use serde::{Deserialize, Serialize};

/// How a runtime stands. Durations are seconds where it is JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// Whose status it is.
    #[serde(with = "as_text")]
    pub uid: Uid,
    /// Which life of the uid.
    #[serde(with = "as_text")]
    pub instance: Instance,
    /// The version of its library.
    #[serde(default)]
    pub version: String,
    /// Its process id, on its host.
    #[serde(default)]
    pub pid: u32,
    /// Handlers that run or wait for something.
    #[serde(default)]
    pub handlers: usize,
    /// Requests that were refused because too many handlers ran.
    #[serde(default)]
    pub refused: u64,
    /// What all its links have carried, those that have ended too.
    #[serde(default)]
    pub counters: Counters,
    /// Its links.
    #[serde(default)]
    pub links: Vec<LinkState>,
}

/// How one link stands, as one of its sides sees it. Nothing else tells of sockets: that somebody is connected means that
/// it is in the topology.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LinkState {
    /// With whom.
    #[serde(with = "as_text")]
    pub peer: Uid,
    /// With which life of it, once that is known.
    #[serde(with = "as_text::optional", default)]
    pub instance: Option<Instance>,
    /// How far it has come.
    pub condition: LinkCondition,
    /// The transports of the control lane and of the data lane, where there are connections: `memory`, `unix`, `tls`,
    /// `tcp`. The data lane is made with the first message that needs it.
    #[serde(default)]
    pub lanes: [Option<String>; 2],
    /// How long ago something came from the peer; `None` if nothing has.
    #[serde(with = "seconds::optional", default)]
    pub heard: Option<Duration>,
    /// From the last heart to its beat; `None` if there was none, as on a link on which there is always something to hear.
    #[serde(with = "seconds::optional", default)]
    pub round_trip: Option<Duration>,
    /// How late behind its own plans the peer said it was, with its last beat.
    #[serde(with = "seconds::optional", default)]
    pub lag: Option<Duration>,
    /// Calls that await their reply.
    #[serde(default)]
    pub calls: usize,
    /// Messages that wait for room at the peer, or for a session to begin.
    #[serde(default)]
    pub waiting: usize,
    /// What they cost, in bytes.
    #[serde(default)]
    pub waiting_bytes: u64,
    /// Messages that were sent and are not acknowledged.
    #[serde(default)]
    pub under_way: usize,
    /// What they cost, in bytes.
    #[serde(default)]
    pub under_way_bytes: u64,
    /// Bytes of requests that have come and whose handlers have not started.
    #[serde(default)]
    pub unstarted_bytes: u64,
    /// What it has carried.
    #[serde(default)]
    pub counters: Counters,
}

/// How far a link has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LinkCondition {
    /// There is no session: nobody has had something to say yet, or the last session is over.
    Absent,
    /// A session goes on, and the peer is heard.
    Up,
    /// A session goes on, and the peer has been silent for a while.
    Suspected,
    /// A session goes on, and its connection is being made again.
    Down,
    /// The peer is gone for good.
    Ended,
}

/// The last events of one link, oldest first: what a flight recorder keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LinkRecord {
    /// With whom.
    #[serde(with = "as_text")]
    pub peer: Uid,
    /// With which life of it, once that was known.
    #[serde(with = "as_text::optional", default)]
    pub instance: Option<Instance>,
    /// How far it has come.
    pub condition: LinkCondition,
    /// What has happened.
    pub entries: Vec<RecordEntry>,
}

/// Something that happened on a link, perhaps several times in a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RecordEntry {
    /// How long ago, the last time.
    #[serde(with = "seconds")]
    pub ago: Duration,
    /// What, for people.
    pub what: String,
    /// How often in a row.
    pub times: u32,
    /// Messages that had been sent by then.
    pub sent: u64,
    /// Messages that had come by then.
    pub received: u64,
}

impl From<Condition> for LinkCondition {
    fn from(condition: Condition) -> LinkCondition {
        match condition {
            Condition::Absent => LinkCondition::Absent,
            Condition::Up => LinkCondition::Up,
            Condition::Suspected => LinkCondition::Suspected,
            Condition::Down => LinkCondition::Down,
            Condition::Ended => LinkCondition::Ended,
        }
    }
}

impl fmt::Display for LinkCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LinkCondition::Absent => "absent",
            LinkCondition::Up => "up",
            LinkCondition::Suspected => "suspected",
            LinkCondition::Down => "down",
            LinkCondition::Ended => "ended",
        })
    }
}

impl fmt::Display for LinkRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link to {}, {}:", self.peer, self.condition)?;
        self.entries.iter().try_for_each(|entry| write!(f, "\n  {entry}"))
    }
}

impl fmt::Display for RecordEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RecordEntry { ago, what, times, sent, received } = self;
        write!(f, "{:10.3} s ago  {what}", ago.as_secs_f64())?;
        if *times > 1 {
            write!(f, ", {times} times")?;
        }
        write!(f, " ({sent} sent, {received} received)")
    }
}

/// Names and instances, as they are written.
mod as_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error>
    where
        T::Err: Display,
    {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }

    pub(super) mod optional {
        use super::*;

        pub(in super::super) fn serialize<T: Display, S: Serializer>(
            value: &Option<T>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => serializer.collect_str(value),
                None => serializer.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<T>, D::Error>
        where
            T::Err: Display,
        {
            let text = Option::<String>::deserialize(deserializer)?;
            text.map(|text| text.parse().map_err(de::Error::custom)).transpose()
        }
    }
}

/// Durations, as numbers of seconds.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(value.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        f64::deserialize(deserializer).map(duration)
    }

    /// A peer may say anything; what is no duration is none.
    fn duration(seconds: f64) -> Duration {
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }

    pub(super) mod optional {
        use super::*;

        pub(in super::super) fn serialize<S: Serializer>(
            value: &Option<Duration>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => serializer.serialize_some(&value.as_secs_f64()),
                None => serializer.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Duration>, D::Error> {
            Ok(Option::<f64>::deserialize(deserializer)?.map(duration))
        }
    }
}
