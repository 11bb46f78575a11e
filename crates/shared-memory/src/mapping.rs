//! A mapping of a sealed memfd, and who may read and write it when. This is the one file of the crates that has `unsafe`.
//!
//! ```text
//!         write         lend           borrow             Loan::drop
//!  FREE ---------> FREE -----> LENT ----------> HELD -----------------> FREE
//!  FREE ----------> CHANGING --------> FREE                     in a workspace, which is written to where it lies
//!       bytes_mut             settle
//! ```

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::fs::SealFlags;

use crate::HEADER;
use crate::header::{CHANGE, CHANGING, FREE, HELD, LENT, Word};

/// What must be sealed: a mapping never reaches beyond the end of the file, where to read would end the process.
pub(crate) const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// The memory of a region, readable and writable as long as it lives.
#[derive(Debug)]
pub(crate) struct Mapping(MmapRaw);

impl Mapping {
    /// Maps a memfd, whole.
    ///
    /// # Errors
    /// If it is not sealed, is smaller than a header, or what the system says.
    pub(crate) fn new(file: &OwnedFd) -> io::Result<Mapping> {
        let sealed = rustix::fs::fcntl_get_seals(file)?.contains(SEALS);
        let size = usize::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0);
        if !sealed || size < HEADER {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Mapping(MmapOptions::new().len(size).map_raw(file.as_raw_fd())?))
    }

    /// Bytes of the mapping, the header's included.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes the pages of this part from the system, so that it says no here instead of where they are written.
    pub(crate) fn populate(&self, offset: usize, len: usize) -> io::Result<()> {
        self.0.advise_range(Advice::PopulateWrite, offset, len)
    }

    pub(crate) fn word(&self, word: Word) -> &AtomicU32 {
        // SAFETY: the mapping has at least the header (`new`), lives as long as the reference, and begins at a page, so that
        // every `Word` is aligned in it. The file can't shrink (`SEALS`). Nobody looks at these bytes but through atomics:
        // `has` leaves the header out.
        #[allow(unsafe_code)]
        unsafe {
            AtomicU32::from_ptr(self.0.as_mut_ptr().add(word as usize).cast())
        }
    }

    /// One of the two numbers that the header begins with.
    pub(crate) fn number(&self, index: HeaderNumber) -> &AtomicU64 {
        // SAFETY: as for `word`; both numbers are aligned to 8 bytes and overlap no `Word`.
        #[allow(unsafe_code)]
        unsafe {
            AtomicU64::from_ptr(self.0.as_mut_ptr().add(index as usize).cast())
        }
    }

    /// Whether this part is content, wholly within the mapping.
    fn has(&self, offset: usize, len: usize) -> bool {
        offset >= HEADER && offset.checked_add(len).is_some_and(|end| end <= self.len())
    }

    /// Copies into the content.
    ///
    /// # Errors
    /// `WouldBlock` if it is lent, `OutOfMemory` if this does not fit.
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        if self.word(Word::Lease).load(Ordering::Acquire) != FREE {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if !self.has(offset, bytes.len()) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        // SAFETY: the part is within the mapping. The lease is free, so there is no loan, and it is lent by `lend` only, which
        // nobody can call while `self` is borrowed exclusively; we give out no other references. So `bytes` is no part of it,
        // and nobody looks at it.
        #[allow(unsafe_code)]
        unsafe {
            copy_past_caches(bytes, self.0.as_mut_ptr().add(offset));
        }
        Ok(())
    }

    /// Lends the content, which may be borrowed, once, from now on; false if it is lent already or being changed.
    pub(crate) fn lend(&self) -> bool {
        let lease = self.word(Word::Lease);
        lease.compare_exchange(FREE, LENT, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Takes the content that was lent; `None` if it is not, taken already, or has no such part.
    pub(crate) fn borrow(self: &Arc<Mapping>, offset: usize, len: usize) -> Option<Loan> {
        if !self.has(offset, len) {
            return None;
        }
        let lease = self.word(Word::Lease);
        lease.compare_exchange(LENT, HELD, Ordering::AcqRel, Ordering::Acquire).ok()?;
        let changeable = self.word(Word::Access).load(Ordering::Acquire) == CHANGE;
        Some(Loan { mapping: self.clone(), offset, len, changeable })
    }
}

/// Copies `bytes` to memory that is not to be in the cache afterwards. What is there already is not read before it is
/// overwritten, which is a third of the traffic; and what another core reads next, it gets from memory in half the time
/// that it takes out of this one's cache.
///
/// # Safety
/// As for [`std::ptr::copy_nonoverlapping`], for as many bytes as there are.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
unsafe fn copy_past_caches(bytes: &[u8], to: *mut u8) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
    let line = size_of::<[__m128i; 4]>();
    let lines = if to.addr().is_multiple_of(line) { bytes.len() / line } else { 0 };
    let from = bytes.as_ptr();
    for at in (0..lines * line).step_by(line) {
        for part in (at..at + line).step_by(size_of::<__m128i>()) {
            // SAFETY: `part` and the 16 bytes behind it are within `lines * line`, which both sides have; `to` is aligned to
            // a line, reading needs no alignment. SSE2 is a part of x86-64.
            unsafe { _mm_stream_si128(to.add(part).cast(), _mm_loadu_si128(from.add(part).cast())) };
        }
    }
    let rest = lines * line;
    // SAFETY: the rest is within both.
    unsafe { std::ptr::copy_nonoverlapping(from.add(rest), to.add(rest), bytes.len() - rest) };
    // SAFETY: it has no conditions. Streamed bytes are there before the word is that lends them.
    unsafe { _mm_sfence() };
}

/// Elsewhere the system's copy knows best.
///
/// # Safety
/// As for [`std::ptr::copy_nonoverlapping`], for as many bytes as there are.
#[cfg(not(target_arch = "x86_64"))]
#[allow(unsafe_code)]
unsafe fn copy_past_caches(bytes: &[u8], to: *mut u8) {
    // SAFETY: the caller says so.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
}

/// A content that is ours until this is dropped, ours alone or to be read together with its host.
pub struct Loan {
    mapping: Arc<Mapping>,
    offset: usize,
    len: usize,
    changeable: bool,
}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the part is within the mapping (`borrow`), which the file can't end before (`SEALS`); its bytes are
        // initialized, as all of a file are. The lease is held until the loan is dropped, and was given to one loan only: the
        // host does not write meanwhile, at most it reads, and who changes the content here borrows the loan exclusively.
        #[allow(unsafe_code)]
        unsafe {
            std::slice::from_raw_parts(self.mapping.0.as_ptr().add(self.offset), self.len)
        }
    }
}

impl Loan {
    /// Whether the content may be changed: it is nobody else's.
    pub fn is_changeable(&self) -> bool {
        self.changeable
    }

    /// The content, to change, unless its host has it too.
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        if !self.changeable {
            return None;
        }
        // SAFETY: as for `as_ref`; the loan is borrowed exclusively as long as the reference lives, and its host has given
        // the content away: a host that keeps it says so before its descriptor can be sent (`Workspace::new`).
        #[allow(unsafe_code)]
        unsafe {
            Some(std::slice::from_raw_parts_mut(self.mapping.0.as_mut_ptr().add(self.offset), self.len))
        }
    }
}

/// The content of a region that its host computes in. There is one for a mapping, and nothing else writes to it: neither
/// [`Mapping::write`], which needs the mapping alone, nor a guest, who may only read.
#[derive(Debug)]
pub(crate) struct OwnContent {
    mapping: Arc<Mapping>,
    len: usize,
}

impl OwnContent {
    /// Takes a mapping of at least a header and `len` bytes that was made just now, and is in nobody else's hands.
    pub(crate) fn new(mapping: Mapping, len: usize) -> OwnContent {
        assert!(mapping.has(HEADER, len), "{len} bytes do not fit into a mapping of {}", mapping.len());
        mapping.word(Word::Access).store(crate::header::READ, Ordering::Release);
        OwnContent { mapping: Arc::new(mapping), len }
    }

    pub(crate) fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the part is within the mapping (`new`), which the file can't end before, and initialized. Guests only read
        // it (`READ`), and we change it by `bytes_mut` only, which borrows this exclusively.
        #[allow(unsafe_code)]
        unsafe {
            std::slice::from_raw_parts(self.mapping.0.as_ptr().add(HEADER), self.len)
        }
    }

    /// The content, to change, if it is not lent. It can't be until [`OwnContent::settle`].
    pub(crate) fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        let lease = self.mapping.word(Word::Lease);
        let taken = lease.compare_exchange(FREE, CHANGING, Ordering::AcqRel, Ordering::Acquire);
        if taken.is_err_and(|standing| standing != CHANGING) {
            return None;
        }
        // SAFETY: as for `bytes`; this is borrowed exclusively as long as the reference lives, and as long as the lease is
        // `CHANGING` nothing is lent. Only `settle` ends that, which needs this unchanged.
        #[allow(unsafe_code)]
        unsafe {
            Some(std::slice::from_raw_parts_mut(self.mapping.0.as_mut_ptr().add(HEADER), self.len))
        }
    }

    /// Nobody changes it now: it may be lent.
    pub(crate) fn settle(&self) {
        let lease = self.mapping.word(Word::Lease);
        // If it was not being changed, there is nothing to settle.
        let _ = lease.compare_exchange(CHANGING, FREE, Ordering::AcqRel, Ordering::Acquire);
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.mapping.word(Word::Lease).store(FREE, Ordering::Release);
    }
}

impl fmt::Debug for Loan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Loan({} bytes)", self.len)
    }
}

/// The numbers that the header begins with, by their place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderNumber {
    Magic = 0,
    Region = 8,
}
