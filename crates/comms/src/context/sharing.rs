//! What a context shares with other processes of this host: how many bytes at most, and how many now.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::{Context, memory_of_the_machine};

/// Bytes that a context shares at most by default, each way, where the machine has sixteen times as many: it is one of
/// several on its host.
const LARGEST_SHARE: u64 = 1 << 30;

/// Memory that a context shares with other processes of its user on this host, in bytes. See
/// [`ContextBuilder::share_memory`](super::ContextBuilder::share_memory).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SharedMemory {
    /// Of our regions, that peers see.
    pub lent: usize,
    /// Of regions of peers, that we see: those of live connections, and those in which an array lies that is still used.
    pub borrowed: usize,
    /// Copied into our regions since the context was made. It is the one copy that is made of what goes this way.
    pub copied: u64,
}

/// How much is shared.
#[derive(Debug)]
pub(super) struct Sharing {
    limit: usize,
    lent: Arc<AtomicUsize>,
    borrowed: Arc<AtomicUsize>,
    copied: AtomicU64,
}

/// Bytes of a limit that are taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    of: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl Sharing {
    pub(super) fn new(limit: usize) -> Sharing {
        Sharing { limit, lent: Arc::default(), borrowed: Arc::default(), copied: AtomicU64::new(0) }
    }

    fn take(&self, of: &Arc<AtomicUsize>, bytes: usize) -> Option<Share> {
        let more = |taken: usize| taken.checked_add(bytes).filter(|&sum| sum <= self.limit);
        of.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Share { of: of.clone(), bytes })
    }
}

impl Context {
    /// How much memory is shared with other processes of this host now.
    pub fn shared_memory(&self) -> SharedMemory {
        let sharing = &self.0.sharing;
        SharedMemory {
            lent: sharing.lent.load(Ordering::Acquire),
            borrowed: sharing.borrowed.load(Ordering::Acquire),
            copied: sharing.copied.load(Ordering::Relaxed),
        }
    }

    /// Bytes that may be shared, each way.
    pub(crate) fn may_share(&self) -> usize {
        self.0.sharing.limit
    }

    /// Bytes that may be lent beyond those that are.
    pub(crate) fn may_lend(&self) -> usize {
        self.0.sharing.limit.saturating_sub(self.0.sharing.lent.load(Ordering::Acquire))
    }

    /// Takes bytes for a region of ours, if there are so many left.
    pub(crate) fn lend_memory(&self, bytes: usize) -> Option<Share> {
        self.0.sharing.take(&self.0.sharing.lent, bytes)
    }

    /// Takes bytes for a region of a peer's, if there are so many left.
    pub(crate) fn borrow_memory(&self, bytes: usize) -> Option<Share> {
        self.0.sharing.take(&self.0.sharing.borrowed, bytes)
    }

    pub(crate) fn note_copied(&self, bytes: usize) {
        self.0.sharing.copied.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

pub(super) fn default_share() -> usize {
    usize::try_from((memory_of_the_machine() / 16).min(LARGEST_SHARE)).unwrap_or(0)
}
