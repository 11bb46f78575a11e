//! Memory for what is received: aligned buffers that are used again.
//!
//! A fresh allocation of many megabytes is slow because the kernel hands out its pages one fault at a time; a
//! [`Pool`] keeps buffers that were let go, within a bound. It does not limit what is in use: the memory budget does.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::MmapMut;
use parking_lot::Mutex;

use crate::context::OwnMemory;
use crate::link::Borrowed;

/// The alignment of every [`Buffer`] in bytes: a cache line, and as much as any vector instruction asks for.
pub const ALIGNMENT: usize = 64;

/// Bytes that a pool keeps idle by default: four arrays of the size that programs exchange (64 MiB).
pub const DEFAULT_KEEP: usize = 256 << 20;

/// Buffers below this many bytes are not pooled: the allocator is as quick with them as a pool.
const SMALLEST: usize = 4096;

/// A pool of receive buffers. Clones share it.
///
/// # Example
/// ```
/// let pool = mosaic_comms::Pool::new(1 << 20);
/// let buffer = pool.take(100_000);
/// assert_eq!(buffer.as_ref().len(), 100_000);
/// drop(buffer);
/// assert!(pool.idle_bytes() >= 100_000);
/// ```
#[derive(Clone, Default)]
pub struct Pool {
    idle: Arc<Mutex<Idle>>,
}

impl Pool {
    /// Makes a pool that keeps at most `keep` bytes of idle buffers.
    pub fn new(keep: usize) -> Pool {
        Pool { idle: Arc::new(Mutex::new(Idle { keep, ..Idle::default() })) }
    }

    /// Changes how many bytes of idle buffers are kept. More saves page faults when sizes vary; less saves memory.
    pub fn set_keep(&self, keep: usize) {
        let freed = {
            let mut idle = self.idle.lock();
            idle.keep = keep;
            idle.evict()
        };
        // The kernel takes the memory back here, where the lock is no longer held.
        drop(freed);
    }

    /// Takes a buffer of exactly `len` bytes. Its content is arbitrary: zeros, or what was received into it before.
    ///
    /// # Panics
    /// If `len` is beyond what the address space holds; whoever receives checks lengths against its limits first.
    pub fn take(&self, len: usize) -> Buffer {
        if len < SMALLEST {
            return Buffer::new(len);
        }
        let class = class(len);
        let used = self.idle.lock().take(class);
        let memory = used.unwrap_or_else(|| Memory::new(class));
        Buffer { memory, len, home: Some(self.clone()) }
    }

    /// Returns how many bytes of idle buffers the pool holds now.
    pub fn idle_bytes(&self) -> usize {
        self.idle.lock().bytes
    }

    fn put_back(&self, memory: Memory) {
        let freed = self.idle.lock().put(memory);
        drop(freed);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Pool").field("idle_bytes", &self.idle_bytes()).finish_non_exhaustive()
    }
}

/// Memory for one received frame: exactly as many bytes as were asked for, aligned to [`ALIGNMENT`].
///
/// It goes back to its [`Pool`] on drop, or to the sender, where it is memory that another process shares with this one. By
/// default it is empty.
#[derive(Default)]
pub struct Buffer {
    memory: Memory,
    len: usize,
    home: Option<Pool>,
}

impl From<OwnMemory> for Buffer {
    fn from(own: OwnMemory) -> Buffer {
        let len = own.bytes().len();
        Buffer { memory: Memory::Own(own), len, home: None }
    }
}

impl Buffer {
    /// Memory of no pool.
    pub(crate) fn new(len: usize) -> Buffer {
        Buffer { memory: Memory::new(len), len, home: None }
    }

    /// Nobody changes it now: it may be lent to another process, until somebody does.
    pub(crate) fn settle(&self) {
        if let Memory::Own(own) = &self.memory {
            own.settle();
        }
    }
}

impl From<Borrowed> for Buffer {
    fn from(borrowed: Borrowed) -> Buffer {
        let len = borrowed.bytes().len();
        Buffer { memory: Memory::Borrowed(borrowed), len, home: None }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory.aligned()[..self.len]
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self.memory.keep_to_oneself();
        &mut self.memory.aligned_mut()[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.put_back(std::mem::take(&mut self.memory));
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Buffer({} bytes)", self.len)
    }
}

/// A received buffer of a message.
#[derive(Debug)]
pub enum Received {
    /// It came over a connection, into memory of the pool.
    Pooled(Buffer),
    /// It is the sender's own memory: the message did not leave the process.
    Shared(Bytes),
}

impl AsRef<[u8]> for Received {
    fn as_ref(&self) -> &[u8] {
        match self {
            Received::Pooled(buffer) => buffer.as_ref(),
            Received::Shared(bytes) => bytes,
        }
    }
}

impl From<Buffer> for Received {
    fn from(buffer: Buffer) -> Received {
        Received::Pooled(buffer)
    }
}

impl From<Bytes> for Received {
    fn from(bytes: Bytes) -> Received {
        Received::Shared(bytes)
    }
}

/// Memory of at least this many bytes is mapped, and huge pages are asked for: the kernel then hands it out 2 MiB at a
/// time.
const MAPPED: usize = 4 << 20;

/// An allocation, or a mapping where huge pages help.
enum Memory {
    /// With where the first aligned byte is. The allocator is asked for zeroed memory, which large allocations are
    /// without being touched; aligning inside a plain allocation is what keeps that without `unsafe`.
    Allocated {
        bytes: Vec<u8>,
        start: usize,
    },
    Mapped(MmapMut),
    /// Memory of the sender's, another process: it goes back to it on drop.
    Borrowed(Borrowed),
    /// Memory of ours that other processes may see.
    Own(OwnMemory),
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::Allocated { bytes: Vec::new(), start: 0 }
    }
}

impl Memory {
    fn new(size: usize) -> Memory {
        if size >= MAPPED
            && let Ok(mapped) = MmapMut::map_anon(size)
        {
            // A kernel without huge pages says no, and all works as before.
            #[cfg(target_os = "linux")]
            let _ = mapped.advise(memmap2::Advice::HugePage);
            return Memory::Mapped(mapped);
        }
        let bytes = vec![0; size.checked_add(ALIGNMENT - 1).expect("a buffer fits the address space")];
        let start = bytes.as_ptr().addr().wrapping_neg() % ALIGNMENT;
        Memory::Allocated { bytes, start }
    }

    fn size(&self) -> usize {
        match self {
            Memory::Allocated { bytes, .. } => bytes.len().saturating_sub(ALIGNMENT - 1),
            Memory::Mapped(mapped) => mapped.len(),
            Memory::Borrowed(borrowed) => borrowed.bytes().len(),
            Memory::Own(own) => own.bytes().len(),
        }
    }

    fn aligned(&self) -> &[u8] {
        match self {
            Memory::Allocated { bytes, start } => &bytes[*start..],
            Memory::Mapped(mapped) => mapped,
            Memory::Borrowed(borrowed) => borrowed.bytes(),
            Memory::Own(own) => own.bytes(),
        }
    }

    /// Moves to memory that is ours alone what lies in memory that others see now.
    fn keep_to_oneself(&mut self) {
        let is_ours = match self {
            Memory::Allocated { .. } | Memory::Mapped(_) => true,
            Memory::Borrowed(borrowed) => borrowed.is_changeable(),
            Memory::Own(own) => own.bytes_mut().is_some(),
        };
        if !is_ours {
            let mut copy = Memory::new(self.size());
            copy.aligned_mut()[..self.size()].copy_from_slice(self.aligned());
            *self = copy;
        }
    }

    fn aligned_mut(&mut self) -> &mut [u8] {
        const OURS: &str = "it was moved to memory of its own, or is in such";
        match self {
            Memory::Allocated { bytes, start } => &mut bytes[*start..],
            Memory::Mapped(mapped) => mapped,
            Memory::Borrowed(borrowed) => borrowed.bytes_mut().expect(OURS),
            Memory::Own(own) => own.bytes_mut().expect(OURS),
        }
    }
}

/// Rounds a length up to one of four sizes between powers of two, so that at most a quarter is wasted.
pub(crate) fn class(len: usize) -> usize {
    let step = 1 << (len.max(SMALLEST).ilog2() - 2);
    len.checked_next_multiple_of(step).unwrap_or(len)
}

/// The idle buffers by size, each with the turn at which it came back. A size that ran empty keeps its entry: there
/// are four between powers of two, and it will come again.
struct Idle {
    keep: usize,
    bytes: usize,
    turn: u64,
    sizes: BTreeMap<usize, VecDeque<(u64, Memory)>>,
}

impl Default for Idle {
    fn default() -> Idle {
        Idle { keep: DEFAULT_KEEP, bytes: 0, turn: 0, sizes: BTreeMap::new() }
    }
}

impl Idle {
    /// Takes the buffer of this size that came back last: it is the likeliest to be in a cache.
    fn take(&mut self, size: usize) -> Option<Memory> {
        let (_, memory) = self.sizes.get_mut(&size)?.pop_back()?;
        self.bytes -= size;
        Some(memory)
    }

    /// Puts a buffer in and returns the ones that had to go for it.
    fn put(&mut self, memory: Memory) -> Vec<Memory> {
        let size = memory.size();
        if size > self.keep {
            return vec![memory];
        }
        self.turn += 1;
        self.bytes += size;
        self.sizes.entry(size).or_default().push_back((self.turn, memory));
        self.evict()
    }

    /// Removes those that have been idle the longest until the rest is within the bound.
    fn evict(&mut self) -> Vec<Memory> {
        let mut freed = Vec::new();
        while self.bytes > self.keep {
            let Some(size) = self.longest_idle() else { break };
            let line = self.sizes.get_mut(&size);
            freed.extend(line.and_then(VecDeque::pop_front).map(|(_, memory)| memory));
            self.bytes -= size;
        }
        freed
    }

    fn longest_idle(&self) -> Option<usize> {
        let fronts = self.sizes.iter().filter_map(|(size, line)| Some((line.front()?.0, *size)));
        fronts.min().map(|(_, size)| size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_waste_at_most_a_quarter() {
        for len in (SMALLEST..200_000).step_by(37).chain([1 << 26, (1 << 26) + 1, usize::MAX]) {
            assert!(class(len) >= len && class(len) - len <= len / 4, "{len} became {}", class(len));
        }
    }

    #[test]
    fn classes_are_their_own_class() {
        for len in (SMALLEST..100_000).step_by(41) {
            assert_eq!(class(class(len)), class(len));
        }
    }

    #[test]
    fn the_longest_idle_goes_first() {
        let pool = Pool::new(20_000);
        let (old, new) = (pool.take(8192), pool.take(16_384));
        drop(old);
        drop(new);
        assert_eq!(pool.idle_bytes(), 16_384);
    }
}
