//! The numbers that tell one life of a runtime from the next. They are drawn by the driver: nothing is random here.

use std::fmt;

/// 64 random bits that tell one life of a uid from the next. Instances have no order in time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance(pub u64);

impl Instance {
    /// The instance with these bits.
    pub const fn new(bits: u64) -> Instance {
        Instance(bits)
    }

    /// Its bits.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
