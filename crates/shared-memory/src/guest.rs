//! The guest's side of a region: mapped once, its contents borrowed one after the other.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::HEADER;
use crate::header::{ACCEPTED, MAGIC, REFUSED, Word};
use crate::mapping::{HeaderNumber, Loan, Mapping};

/// Where a content must begin: at a cache line, as everything that is received.
const ALIGNMENT: usize = 64;

/// Why a descriptor is no region.
#[derive(Debug)]
pub enum Unusable {
    /// The system does not map it, or it is not sealed against shrinking.
    Unmapped(io::Error),
    /// It does not begin as regions do.
    Unknown,
}

impl fmt::Display for Unusable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Unmapped(_) => out.write_str("a descriptor can't be mapped as a region of memory"),
            Unusable::Unknown => out.write_str("a descriptor is of memory that does not begin as a region"),
        }
    }
}

impl std::error::Error for Unusable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Unusable::Unmapped(error) => Some(error),
            Unusable::Unknown => None,
        }
    }
}

/// Memory that another process lends us.
#[derive(Debug)]
pub struct Guest {
    number: u64,
    mapping: Arc<Mapping>,
}

impl Guest {
    /// Maps the region of this descriptor, which is not needed any more after that.
    ///
    /// # Errors
    /// [`Unusable`] if it is no region.
    pub fn open(file: &OwnedFd) -> Result<Guest, Unusable> {
        let mapping = Mapping::new(file).map_err(Unusable::Unmapped)?;
        if mapping.number(HeaderNumber::Magic).load(Ordering::Acquire) != MAGIC {
            return Err(Unusable::Unknown);
        }
        let number = mapping.number(HeaderNumber::Region).load(Ordering::Relaxed);
        Ok(Guest { number, mapping: Arc::new(mapping) })
    }

    /// What its host calls it.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Bytes that a content may have.
    pub fn capacity(&self) -> usize {
        self.mapping.len() - HEADER
    }

    /// Tells the host that contents may come by this region.
    pub fn accept(&self) {
        self.mapping.word(Word::Standing).store(ACCEPTED, Ordering::Release);
    }

    /// Tells the host that none may.
    pub fn refuse(&self) {
        self.mapping.word(Word::Standing).store(REFUSED, Ordering::Release);
    }

    /// Whether the host has dropped its side: nothing more will come.
    pub fn is_retired(&self) -> bool {
        self.mapping.word(Word::Retired).load(Ordering::Acquire) != 0
    }

    /// Takes the content that was lent, `offset` counted from the beginning of the region; `None` if it is not lent, taken
    /// already, or not within the region.
    pub fn borrow(&self, offset: usize, len: usize) -> Option<Loan> {
        if offset.is_multiple_of(ALIGNMENT) { self.mapping.borrow(offset, len) } else { None }
    }
}
