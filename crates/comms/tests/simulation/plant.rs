//! Faults that are planted in a course to see an invariant fail: in what is done, or in what is observed.

use std::time::Duration;

use mosaic_comms::{Event, Execution, Inspection, Session};

use crate::record::{End, Moment};

/// What is wrong in a course.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plant {
    /// Nothing: the invariants hold.
    Nothing,
    /// A message is counted as received that was never sent.
    ReceivedUnsent,
    /// A handler starts twice for one message.
    StartedTwice,
    /// A message goes behind the one that was sent after it.
    Swapped,
    /// A message is accepted and not sent.
    Forgotten,
    /// More is under way than is allowed.
    BeyondTheWindow,
    /// A handler never ends, without being told to wait.
    Hanging,
    /// The end of a peer doesn't end the calls to it.
    Outliving,
    /// Connections that were replaced are counted still.
    SpareConnections,
    /// A session is taken up again after another one.
    OldSession,
    /// More is lent than there is.
    BeyondTheBudget,
    /// The monitor is told by somebody that a runtime is gone that lives.
    Slander,
    /// Nothing is delivered for a while, and that is not noted.
    SecretHold,
    /// Who is killed vanishes instead: its connections stay, and whoever dials it waits.
    Undead,
    /// A call that has started says that it has not run.
    NotRun,
    /// A deadline is noted that is shorter than the one that was given.
    ShorterDeadline,
    /// An event comes twice.
    ToldTwice,
    /// A hook says the contrary.
    LyingHook,
}

impl Plant {
    pub(crate) fn change_views(self, links: &mut [Inspection]) {
        for link in links {
            match self {
                Plant::ReceivedUnsent => link.progress[1].received += 1,
                Plant::BeyondTheWindow => link.credit[0].used = link.credit[0].allowed + 1,
                _ => {}
            }
        }
    }

    /// After three seconds, a session that is always the same, every other millisecond.
    pub(crate) fn change_session(self, now: Moment, session: Option<Session>) -> Option<Session> {
        let back =
            self == Plant::OldSession && now > Duration::from_secs(3) && now.as_millis().is_multiple_of(2);
        if back { Some(Session(1)) } else { session }
    }

    pub(crate) fn change_execution(self, execution: Execution) -> Execution {
        if self == Plant::NotRun { Execution::NotRun } else { execution }
    }

    pub(crate) fn starts_twice(self, id: usize) -> bool {
        self == Plant::StartedTwice && id == 20
    }

    pub(crate) fn hangs(self, id: usize) -> bool {
        self == Plant::Hanging && id >= 20
    }

    pub(crate) fn budget(self, budget: u64) -> u64 {
        if self == Plant::BeyondTheBudget { 1 } else { budget }
    }

    /// What becomes of who ends like this.
    pub(crate) fn change_end(self, end: End) -> End {
        if self == Plant::Undead { End::Vanished } else { end }
    }

    pub(crate) fn tells_twice(self, event: &Event) -> bool {
        self == Plant::ToldTwice && matches!(event, Event::Connected { .. })
    }

    pub(crate) fn spare_connections(self) -> usize {
        if self == Plant::SpareConnections { 1 } else { 0 }
    }

    pub(crate) fn hooks_lie(self) -> bool {
        self == Plant::LyingHook
    }

    /// The deadline that is noted where this one was given.
    pub(crate) fn change_deadline(self, deadline: Duration) -> Duration {
        if self == Plant::ShorterDeadline { deadline / 8 } else { deadline }
    }
}
