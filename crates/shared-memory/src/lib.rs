//! Memory that two processes of one user see, lent from one to the other and given back, piece of content after piece of
//! content. A memory-safe interface over memfd, seals and mappings; how descriptors and locations travel is not known here.
//!
//! ```text
//! host   Region::new --> descriptor ----------------------> Guest::open, then accept or refuse   guest
//!        fill, lend  --> where the content lies ----------> borrow --> Loan: read, change
//!        is_free     <-- (a word of the memory itself) <--- the loan is dropped
//! ```
//! Each region has one content at a time. It is the host's to write, then the guest's alone until its [`Loan`] is dropped,
//! then the host's again; the content of a [`Workspace`] stays the host's, who can't change it while it is lent, and its guest only
//! reads it. Who has it is a word in the header of the region, which no side needs to be told of. Who drops its
//! side for good says so in another word; the memory lives until both sides have.
//!
//! The other process is taken to keep to this. It is of the same user, who could as well change our memory by other ways.
#![deny(unsafe_code)]

mod guest;
mod header;
mod mapping;
mod region;
mod workspace;

pub use guest::{Guest, Unusable};
pub use header::HEADER;
pub use mapping::Loan;
pub use region::{Region, Standing};
pub use workspace::{Lease, Workspace};
