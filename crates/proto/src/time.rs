//! The protocol's notion of now: an argument, never a clock that is read.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment, counted from an origin that the driver chose (the start of its context, say).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Duration);

impl Time {
    /// The driver's origin.
    pub const ZERO: Time = Time(Duration::ZERO);

    /// The moment that lies `since_origin` after the driver's origin.
    pub const fn from_origin(since_origin: Duration) -> Time {
        Time(since_origin)
    }

    /// How long after the driver's origin this moment lies.
    pub const fn since_origin(self) -> Duration {
        self.0
    }

    /// How long after `earlier` this moment lies; zero if it lies before.
    pub fn since(self, earlier: Time) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(duration))
    }
}

impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Time) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}s", self.0.as_secs_f64())
    }
}
