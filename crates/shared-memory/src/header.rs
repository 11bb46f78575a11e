//! The first page of a region: what both sides say to each other of it.
//!
//! ```text
//!  byte 0          8          16        20      24        28       32
//!  | "mosaic", 1   | number   | standing | lease | retired | access | zeros up to 4096, then the content |
//! ```
//! Integers are of the machine's own order: both sides are on one. The first two are written before the descriptor is shown,
//! and so is the access.

/// Bytes of the header; the content follows.
pub const HEADER: usize = 4096;

/// What every region begins with; its last byte is the version of the layout.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"mosaic\0\x01");

/// The words that both sides may write to, by their place in the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// Whether the guest uses the region: [`OFFERED`], [`ACCEPTED`] or [`REFUSED`].
    Standing = 16,
    /// Who has the content: [`FREE`], [`LENT`], [`HELD`] or [`CHANGING`].
    Lease = 20,
    /// 1 once the host has dropped its side.
    Retired = 24,
    /// What the guest may do with contents: [`CHANGE`] or [`READ`].
    Access = 28,
}

pub(crate) const OFFERED: u32 = 0;
pub(crate) const ACCEPTED: u32 = 1;
pub(crate) const REFUSED: u32 = 2;

/// The host's, to write.
pub(crate) const FREE: u32 = 0;
/// The guest's, who has not taken it yet.
pub(crate) const LENT: u32 = 1;
/// The guest's, who has taken it.
pub(crate) const HELD: u32 = 2;
/// The host's, who may be at it where it lies.
pub(crate) const CHANGING: u32 = 3;

/// The content is the guest's alone.
pub(crate) const CHANGE: u32 = 0;
/// The content is the host's too.
pub(crate) const READ: u32 = 1;
