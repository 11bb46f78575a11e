//! Memory that the host computes in, and lends to be read where it lies.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::HEADER;
use crate::header::{MAGIC, Word};
use crate::mapping::{HeaderNumber, Mapping, OwnContent};
use crate::region::{self, Standing};

/// A content that stays its host's: changed while it is not lent, read by both while it is.
#[derive(Debug)]
pub struct Workspace(OwnContent);

/// What lends a [`Workspace`], wherever that is.
#[derive(Debug, Clone)]
pub struct Lease(Arc<Mapping>);

impl Workspace {
    /// Makes one of zeros, what lends it, and the descriptor by which one guest gets to it.
    ///
    /// # Errors
    /// What the system says if it gives no descriptor, no addresses or no memory.
    pub fn new(len: usize) -> io::Result<(Workspace, Lease, OwnedFd)> {
        let (mapping, descriptor) = region::make(len)?;
        mapping.populate(0, HEADER + len)?;
        let content = OwnContent::new(mapping, len);
        let lease = Lease(content.mapping().clone());
        Ok((Workspace(content), lease, descriptor))
    }

    /// The content, to change, unless it is lent.
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        self.0.bytes_mut()
    }

    /// Whoever changed it has done so: it may be lent, until it is changed again.
    pub fn settle(&self) {
        self.0.settle();
    }
}

impl AsRef<[u8]> for Workspace {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        self.0.mapping().word(Word::Retired).store(1, Ordering::Release);
    }
}

impl Lease {
    /// Gives the region the number by which its guest is to know it. To be called once, before the descriptor is sent.
    pub fn number(&self, number: u64) {
        self.0.number(HeaderNumber::Region).store(number, Ordering::Relaxed);
        self.0.number(HeaderNumber::Magic).store(MAGIC, Ordering::Release);
    }

    /// Lends the content; false if it is with the guest already, or being changed.
    pub fn lend(&self) -> bool {
        self.0.lend()
    }

    /// What has become of the descriptor.
    pub fn standing(&self) -> Standing {
        region::standing(&self.0)
    }

    /// Whether the workspace has been dropped.
    pub fn is_over(&self) -> bool {
        self.0.word(Word::Retired).load(Ordering::Acquire) != 0
    }
}
