//! What a context shares with other processes of this host: how many bytes at most, and how many now.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use mosaic_shared_memory::{Lease, Workspace};
use parking_lot::Mutex;
use tracing::debug;

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
    /// Copied into our regions since the context was made: the one copy that is made of what goes this way and does not lie
    /// there from the beginning.
    pub copied: u64,
}

/// How much is shared.
#[derive(Debug)]
pub(super) struct Sharing {
    limit: usize,
    lent: Arc<AtomicUsize>,
    borrowed: Arc<AtomicUsize>,
    copied: AtomicU64,
    workspaces: Workspaces,
}

/// The workspaces there are, by their addresses.
type Workspaces = Arc<Mutex<BTreeMap<usize, Arc<Lendable>>>>;

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
        Sharing {
            limit,
            lent: Arc::default(),
            borrowed: Arc::default(),
            copied: AtomicU64::new(0),
            workspaces: Arc::default(),
        }
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

    /// Memory to compute in, from which peers can be shown what lies there; `None` if there is no more.
    pub(crate) fn workspace(&self, len: usize) -> Option<OwnMemory> {
        let share = self.lend_memory(len)?;
        let made = Workspace::new(len).inspect_err(|error| debug!(%error, "no memory that can be shared"));
        let (workspace, lease, descriptor) = made.ok()?;
        let (address, registry) = (workspace.as_ref().as_ptr().addr(), self.0.sharing.workspaces.clone());
        let lendable = Lendable { lease, descriptor: Mutex::new(Some(descriptor)) };
        registry.lock().insert(address, Arc::new(lendable));
        Some(OwnMemory { workspace, registry, _share: share })
    }

    /// What lends the workspace in which these bytes lie from its beginning on.
    pub(crate) fn lendable(&self, bytes: &[u8]) -> Option<Arc<Lendable>> {
        self.0.sharing.workspaces.lock().get(&bytes.as_ptr().addr()).cloned()
    }

    pub(crate) fn note_copied(&self, bytes: usize) {
        self.0.sharing.copied.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// A workspace, as long as somebody has it.
#[derive(Debug)]
pub(crate) struct OwnMemory {
    workspace: Workspace,
    registry: Workspaces,
    _share: Share,
}

impl OwnMemory {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.workspace.as_ref()
    }

    /// The bytes, to change, unless a peer has them.
    pub(crate) fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        self.workspace.bytes_mut()
    }

    /// They may be lent, until they are changed again.
    pub(crate) fn settle(&self) {
        self.workspace.settle();
    }
}

impl Drop for OwnMemory {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.workspace.as_ref().as_ptr().addr());
    }
}

/// What lends a workspace, and what it is shown by, once.
#[derive(Debug)]
pub(crate) struct Lendable {
    pub(crate) lease: Lease,
    descriptor: Mutex<Option<OwnedFd>>,
}

impl Lendable {
    /// The descriptor, for the first who wants to show it.
    pub(crate) fn take_descriptor(&self) -> Option<OwnedFd> {
        self.descriptor.lock().take()
    }
}

pub(super) fn default_share() -> usize {
    usize::try_from((memory_of_the_machine() / 16).min(LARGEST_SHARE)).unwrap_or(0)
}
