//! The host's side of a region: made, filled and lent.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use crate::HEADER;
use crate::header::{ACCEPTED, FREE, MAGIC, OFFERED, Word};
use crate::mapping::{HeaderNumber, Mapping, SEALS};

/// What has become of the descriptor that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is known yet; it may be lost.
    Offered,
    /// The guest has mapped it.
    Accepted,
    /// The guest does not want it.
    Refused,
}

/// Memory that is lent to one other process. Dropping it tells the guest that nothing more will come by it.
#[derive(Debug)]
pub struct Region {
    number: u64,
    mapping: Mapping,
    /// Where the pages end that the system has given.
    populated: usize,
}

impl Region {
    /// Makes a region for contents of up to `capacity` bytes, and the descriptor by which the guest gets to it. Its pages
    /// are taken from the system as it is filled.
    ///
    /// # Errors
    /// What the system says if it gives no descriptor or no addresses.
    pub fn new(number: u64, capacity: usize) -> io::Result<(Region, OwnedFd)> {
        let (mapping, file) = make(capacity)?;
        mapping.populate(0, HEADER)?;
        mapping.number(HeaderNumber::Region).store(number, Ordering::Relaxed);
        mapping.number(HeaderNumber::Magic).store(MAGIC, Ordering::Release);
        Ok((Region { number, mapping, populated: HEADER }, file))
    }

    /// What it is called.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Bytes that a content may have.
    pub fn capacity(&self) -> usize {
        self.mapping.len() - HEADER
    }

    /// What has become of the descriptor.
    pub fn standing(&self) -> Standing {
        standing(&self.mapping)
    }

    /// Whether the content is ours: never lent, or given back.
    pub fn is_free(&self) -> bool {
        self.mapping.word(Word::Lease).load(Ordering::Acquire) == FREE
    }

    /// Copies a part of the next content to `at`, counted from the beginning of the content.
    ///
    /// # Errors
    /// `WouldBlock` if the content is lent, `OutOfMemory` if it does not fit, what the system says if it has no memory.
    pub fn fill(&mut self, at: usize, bytes: &[u8]) -> io::Result<()> {
        let offset = HEADER.saturating_add(at);
        let end = offset.saturating_add(bytes.len());
        if end > self.populated && end <= self.mapping.len() {
            self.mapping.populate(self.populated, end - self.populated)?;
            self.populated = end;
        }
        self.mapping.write(offset, bytes)
    }

    /// Lends what was filled in. The guest may take it from now on, and then it is the guest's until its loan is dropped.
    /// False if it is lent already.
    pub fn lend(&mut self) -> bool {
        self.mapping.lend()
    }
}

/// Memory for a header and a content, and its descriptor.
pub(crate) fn make(capacity: usize) -> io::Result<(Mapping, OwnedFd)> {
    let file = memfd_create("mosaic", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let size = HEADER.checked_add(capacity).ok_or(io::ErrorKind::OutOfMemory)?;
    ftruncate(&file, size as u64)?;
    rustix::fs::fcntl_add_seals(&file, SEALS)?;
    Ok((Mapping::new(&file)?, file))
}

pub(crate) fn standing(mapping: &Mapping) -> Standing {
    match mapping.word(Word::Standing).load(Ordering::Acquire) {
        OFFERED => Standing::Offered,
        ACCEPTED => Standing::Accepted,
        _ => Standing::Refused,
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.mapping.word(Word::Retired).store(1, Ordering::Release);
    }
}
