//! Contents of large frames by way of shared memory: the sending side of one connection lends, the receiving one borrows.
//!
//! ```text
//! sender                                             receiver
//! large payload, no region that fits:
//!   make one, write the payload ----- descriptor --> map it; it says so in the region itself
//! next one:
//!   copy it into the region --------- location ----> the array that the user gets lies there
//!   the region is free again <-- (in the region) --- the array is dropped
//! ```
//! What is lent is the connection's: with its end all regions go, and so does what a process had that was killed. A region
//! that nobody maps (its descriptor got lost, the receiver has enough) is never used, and payloads are written as ever. The
//! message keeps its own bytes until it is acknowledged, to send them again by another connection.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use mosaic_proto::wire::Location;
use mosaic_shared_memory::{Guest, HEADER, Loan, Region, Standing};
use tracing::debug;

use crate::context::{Context, Lendable, Share};
use crate::pool::class;

/// Payloads of at least this many bytes go by shared memory. Smaller ones gain less than the difference is worth.
pub(crate) const SHARED_FRAME: usize = 256 * 1024;

/// Regions of one connection at most: as many contents may be with the receiver at a time.
const REGIONS: usize = 64;

/// A region may be so many times larger than what is put into it.
const ROOMIER: usize = 4;

/// What has become of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// So many bytes more have been copied.
    Partly(usize),
    /// All of it lies here; so many bytes have been copied last.
    At(Location, usize),
    /// It is to be written.
    Nowhere,
}

/// The sender's side.
#[derive(Debug)]
pub(super) struct Lender {
    context: Context,
    regions: Vec<Lent>,
    /// Memory that payloads lie in from the beginning, shown to the receiver.
    shown: Vec<(u64, Arc<Lendable>)>,
    regions_made: u64,
    /// The descriptor that goes with what is written next.
    introduction: Option<OwnedFd>,
    /// Which region is being filled, and how far.
    filling: Option<(usize, usize)>,
    /// The receiver wants no more, or the system has none.
    enough: bool,
}

#[derive(Debug)]
struct Lent {
    region: Region,
    _share: Share,
}

impl Lent {
    fn is_usable(&self) -> bool {
        self.region.standing() == Standing::Accepted && self.region.is_free()
    }
}

impl Lender {
    pub(super) fn new(context: &Context) -> Lender {
        Lender {
            context: context.clone(),
            regions: Vec::new(),
            shown: Vec::new(),
            regions_made: 0,
            introduction: None,
            filling: None,
            enough: false,
        }
    }

    /// Copies about `most` bytes of a payload, whole pages of the region, to where the receiver sees them. The same one must
    /// come again until it is placed.
    pub(super) fn place(&mut self, payload: &Bytes, most: usize) -> Placed {
        if self.filling.is_none()
            && let Some(location) = self.lend_in_place(payload)
        {
            return Placed::At(location, 0);
        }
        let begun = self.filling.take().or_else(|| Some((self.fitting(payload.len())?, 0)));
        let Some((index, from)) = begun else {
            self.introduce(payload.len());
            return Placed::Nowhere;
        };
        let to = payload.len().min(from + most.next_multiple_of(HEADER));
        let region = &mut self.regions[index].region;
        if let Err(error) = region.fill(from, &payload[from..to]) {
            debug!(%error, "no memory for a region that is shared");
            self.regions.swap_remove(index);
            self.enough = true;
            return Placed::Nowhere;
        }
        self.context.note_copied(to - from);
        if to < payload.len() {
            self.filling = Some((index, to));
            return Placed::Partly(to - from);
        }
        let location = Location { region: region.number(), offset: HEADER as u64, len: payload.len() as u64 };
        if region.lend() { Placed::At(location, to - from) } else { Placed::Nowhere }
    }

    /// Whether a payload lies where the receiver may see it already.
    pub(super) fn is_there(&self, payload: &Bytes) -> bool {
        self.context.lendable(payload).is_some()
    }

    /// Lends a payload that lies in memory which the receiver sees, or shows it that memory for the next time: the first
    /// connection that carries it does.
    fn lend_in_place(&mut self, payload: &Bytes) -> Option<Location> {
        self.shown.retain(|(_, lendable)| !lendable.lease.is_over());
        let lendable = self.context.lendable(payload)?;
        let location = |region| Location { region, offset: HEADER as u64, len: payload.len() as u64 };
        if let Some((region, _)) = self.shown.iter().find(|(_, shown)| Arc::ptr_eq(shown, &lendable)) {
            let lent = lendable.lease.standing() == Standing::Accepted && lendable.lease.lend();
            return lent.then(|| location(*region));
        }
        if !self.waits()
            && self.count() < REGIONS
            && let Some(descriptor) = lendable.take_descriptor()
        {
            self.introduction = Some(descriptor);
            lendable.lease.number(self.regions_made);
            self.shown.push((self.regions_made, lendable));
            self.regions_made += 1;
        }
        None
    }

    /// Regions that the receiver may have mapped.
    fn count(&self) -> usize {
        self.regions.len() + self.shown.len()
    }

    fn standings(&self) -> impl Iterator<Item = Standing> {
        let shown = self.shown.iter().map(|(_, lendable)| lendable.lease.standing());
        self.regions.iter().map(|lent| lent.region.standing()).chain(shown)
    }

    /// Whether the receiver has yet to map what was shown to it last.
    fn waits(&self) -> bool {
        self.introduction.is_some() || self.standings().any(|standing| standing == Standing::Offered)
    }

    /// The descriptor that is to go with what is written next.
    pub(super) fn introduction(&self) -> Option<BorrowedFd<'_>> {
        self.introduction.as_ref().map(OwnedFd::as_fd)
    }

    /// It is under way, and not needed here any more.
    pub(super) fn introduced(&mut self) {
        self.introduction = None;
    }

    /// Whether the receiver has never heard of what was shown to it, as far as is known: something in between may pass on
    /// bytes alone.
    pub(super) fn is_unheard(&self) -> bool {
        self.count() > 0
            && self.introduction.is_none()
            && self.standings().all(|standing| standing == Standing::Offered)
    }

    /// The smallest region that is free, and neither too small nor far too large.
    fn fitting(&self, len: usize) -> Option<usize> {
        let sizes = len..=len.saturating_mul(ROOMIER);
        let usable = self.regions.iter().enumerate().filter(|(_, lent)| lent.is_usable());
        let fitting = usable.filter(|(_, lent)| sizes.contains(&lent.region.capacity()));
        fitting.min_by_key(|(_, lent)| lent.region.capacity()).map(|(index, _)| index)
    }

    /// Makes a region for payloads of this length to come, one at a time: each must be mapped before the next is shown.
    fn introduce(&mut self, len: usize) {
        let (size, before) = (class(len), self.regions.len());
        self.regions.retain(|lent| lent.region.standing() != Standing::Refused);
        self.enough |= self.regions.len() < before;
        if self.enough || self.waits() || size > self.context.may_share() {
            return;
        }
        let Some(share) = self.make_room(size) else { return };
        match Region::new(self.regions_made, size) {
            Ok((region, descriptor)) => {
                self.regions_made += 1;
                self.regions.push(Lent { region, _share: share });
                self.introduction = Some(descriptor);
            }
            Err(error) => {
                debug!(%error, "no region of memory can be made");
                self.enough = true;
            }
        }
    }

    /// Takes what a region costs, and lets go of those for it that nobody uses, if that is of any help.
    fn make_room(&mut self, size: usize) -> Option<Share> {
        let usable = self.regions.iter().filter(|lent| lent.is_usable());
        let unused = usable.map(|lent| lent.region.capacity()).sum::<usize>();
        if size > unused.saturating_add(self.context.may_lend()) {
            return None;
        }
        loop {
            if self.count() < REGIONS
                && let Some(share) = self.context.lend_memory(size)
            {
                return Some(share);
            }
            let unused = self.regions.iter().position(Lent::is_usable)?;
            self.regions.remove(unused);
        }
    }
}

/// The receiver's side.
#[derive(Debug)]
pub(crate) struct Borrower {
    context: Context,
    regions: BTreeMap<u64, (Guest, Arc<Share>)>,
}

impl Borrower {
    pub(crate) fn new(context: &Context) -> Borrower {
        Borrower { context: context.clone(), regions: BTreeMap::new() }
    }

    /// Maps what a descriptor of the peer's is of, if we want more.
    pub(crate) fn welcome(&mut self, descriptor: &OwnedFd) {
        self.regions.retain(|_, (guest, _)| !guest.is_retired());
        let guest = match Guest::open(descriptor) {
            Ok(guest) => guest,
            Err(error) => return debug!(%error, "the peer has sent a descriptor that is of no use"),
        };
        let is_new = self.regions.len() < REGIONS && !self.regions.contains_key(&guest.number());
        match self.context.borrow_memory(guest.capacity()).filter(|_| is_new) {
            Some(share) => {
                guest.accept();
                self.regions.insert(guest.number(), (guest, Arc::new(share)));
            }
            None => guest.refuse(),
        }
    }

    /// What the peer has lent us at this location.
    pub(crate) fn borrow(&self, location: Location) -> Option<Borrowed> {
        let (guest, share) = self.regions.get(&location.region)?;
        let [offset, len] = [location.offset, location.len].map(|number| usize::try_from(number).ok());
        Some(Borrowed { loan: guest.borrow(offset?, len?)?, _share: share.clone() })
    }
}

/// A content that lies in memory of the peer's, and is for us to use until this is dropped.
#[derive(Debug)]
pub(crate) struct Borrowed {
    loan: Loan,
    /// It counts for as long as it is mapped.
    _share: Arc<Share>,
}

impl Borrowed {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.loan.as_ref()
    }

    /// Whether it is ours alone: the sender keeps what it has not copied.
    pub(crate) fn is_changeable(&self) -> bool {
        self.loan.is_changeable()
    }

    pub(crate) fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        self.loan.bytes_mut()
    }
}
