//! Lending a region within one process, as between two: by the descriptor and the words of the memory alone.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use mosaic_shared_memory::{Guest, HEADER, Region, Standing, Workspace};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

fn joined(capacity: usize) -> (Region, Guest) {
    let (region, descriptor) = Region::new(7, capacity).expect("there is memory");
    let guest = Guest::open(&descriptor).expect("it is a region");
    (region, guest)
}

#[test]
fn a_content_is_the_guests_until_its_loan_is_dropped() {
    let (mut region, guest) = joined(100_000);
    assert_eq!((guest.number(), guest.capacity()), (7, 100_000));
    region.fill(0, &[1; 60_000]).expect("it fits");
    region.fill(60_000, &[2; 40_000]).expect("it fits");
    assert!(guest.borrow(HEADER, 100_000).is_none(), "it is not lent yet");
    assert!(region.lend());
    assert!(!region.lend(), "it is lent once at a time");
    let mut loan = guest.borrow(HEADER, 100_000).expect("it is lent");
    assert!(loan.as_ref()[..60_000].iter().all(|&byte| byte == 1));
    assert!(loan.as_ref()[60_000..].iter().all(|&byte| byte == 2));
    assert!(guest.borrow(HEADER, 100_000).is_none(), "it is taken once");
    let refused = region.fill(0, &[3]).expect_err("it is lent");
    assert_eq!((refused.kind(), region.is_free()), (ErrorKind::WouldBlock, false));
    loan.bytes_mut().expect("it is nobody else's")[0] = 9;
    assert_eq!(loan.as_ref()[0], 9, "it may be changed");
    drop(loan);
    assert!(region.is_free());
    region.fill(0, &[3; 64]).expect("it is given back");
    assert!(region.lend());
    assert_eq!(guest.borrow(HEADER, 64).expect("it is lent").as_ref(), [3; 64]);
}

#[test]
fn large_contents_arrive_whole_in_whatever_pieces_they_are_filled_in() {
    let (mut region, guest) = joined(9 << 20);
    let content: Vec<u8> = (0..9 << 20).map(|at: u32| (at * 7 + at / 251) as u8).collect();
    for piece in [9 << 20, 64, 100_000, 4096 + 63] {
        for (number, bytes) in content.chunks(piece).enumerate() {
            region.fill(number * piece, bytes).expect("it fits");
        }
        assert!(region.lend());
        assert!(guest.borrow(HEADER, content.len()).expect("it is lent").as_ref() == content, "{piece}");
        region.fill(0, &vec![0; 9 << 20]).expect("it is given back");
    }
}

#[test]
fn what_a_host_keeps_is_changed_by_it_alone_and_not_while_it_is_lent() {
    let (mut workspace, lease, descriptor) = Workspace::new(1000).expect("there is memory");
    assert!(Guest::open(&descriptor).is_err(), "it has no number yet");
    lease.number(3);
    let guest = Guest::open(&descriptor).expect("it is a region");
    workspace.bytes_mut().expect("it is not lent").fill(7);
    assert!(!lease.lend(), "it may be being changed");
    workspace.settle();
    assert!(lease.lend());
    assert!(!lease.lend(), "it is lent once at a time");
    assert!(workspace.bytes_mut().is_none());
    let mut loan = guest.borrow(HEADER, 1000).expect("it is lent");
    assert!(loan.bytes_mut().is_none() && !loan.is_changeable());
    assert_eq!((loan.as_ref(), workspace.as_ref()), (&[7; 1000][..], &[7; 1000][..]));
    assert!(workspace.bytes_mut().is_none());
    drop(loan);
    workspace.bytes_mut().expect("it is given back").fill(8);
    workspace.settle();
    assert!(lease.lend() && !lease.is_over());
    let loan = guest.borrow(HEADER, 1000).expect("it is lent");
    drop(workspace);
    assert!(lease.is_over() && guest.is_retired());
    assert_eq!(loan.as_ref(), [8; 1000]);
}

#[test]
fn what_is_not_within_the_region_is_not_borrowed_and_not_filled() {
    let (mut region, guest) = joined(4096);
    assert!(region.lend());
    let wrong =
        [(0, 64), (64, 64), (HEADER, 4097), (HEADER + 8, 8), (HEADER + 4096, 1), (usize::MAX & !63, 64)];
    for (offset, len) in wrong {
        assert!(guest.borrow(offset, len).is_none(), "{len} at {offset}");
    }
    drop(guest.borrow(HEADER + 64, 4032).expect("it is within"));
    for at in [1, 4096, usize::MAX] {
        assert_eq!(region.fill(at, &[0; 4096]).expect_err("it is beyond").kind(), ErrorKind::OutOfMemory);
    }
}

#[test]
fn each_side_learns_what_the_other_says() {
    let (region, guest) = joined(1);
    assert_eq!((region.standing(), guest.is_retired()), (Standing::Offered, false));
    guest.accept();
    assert_eq!(region.standing(), Standing::Accepted);
    guest.refuse();
    assert_eq!(region.standing(), Standing::Refused);
    drop(region);
    assert!(guest.is_retired());
}

#[test]
fn a_loan_outlives_both_sides() {
    let (mut region, guest) = joined(1000);
    region.fill(0, &[5; 1000]).expect("it fits");
    assert!(region.lend());
    let loan = guest.borrow(HEADER, 1000).expect("it is lent");
    drop((region, guest));
    assert_eq!(loan.as_ref(), [5; 1000]);
}

/// A file that is no region: of this size, with these seals.
fn file(size: u64, seals: SealFlags) -> OwnedFd {
    let file = memfd_create("test", MemfdFlags::ALLOW_SEALING).expect("the system gives one");
    ftruncate(&file, size).expect("it can be made longer");
    fcntl_add_seals(&file, seals).expect("it can be sealed");
    file
}

#[test]
fn what_could_shrink_or_does_not_begin_as_a_region_is_not_mapped() {
    let sealed = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    let unsealed = Guest::open(&file(8192, SealFlags::GROW)).expect_err("it could shrink");
    assert_eq!(unsealed.to_string(), "a descriptor can't be mapped as a region of memory");
    assert!(Guest::open(&file(100, sealed)).is_err(), "it has no header");
    let other = Guest::open(&file(8192, sealed)).expect_err("it is of zeros");
    assert_eq!(other.to_string(), "a descriptor is of memory that does not begin as a region");
    let (socket, _peer) = std::os::unix::net::UnixStream::pair().expect("the system gives one");
    assert!(Guest::open(&socket.into()).is_err(), "it is no memory at all");
}

#[test]
fn a_region_can_not_be_cut_short() {
    let (_region, descriptor) = Region::new(1, 4096).expect("there is memory");
    assert!(ftruncate(&descriptor, 0).is_err());
    assert!(fcntl_add_seals(&descriptor, SealFlags::WRITE).is_err(), "nor its seals be changed");
}
