//! The data lanes that a loop carries: what comes is read on its thread. Their descriptors and the bell are watched by one epoll
//! instance, and the loop watches that.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use mosaic_comms::DataLane;
use parking_lot::Mutex;
use rustix::event::{Timespec, epoll};

use crate::generation::Native;

/// What is told of at once at most; the rest comes with the loop's next turn.
const AT_ONCE: usize = 64;

/// By which the bell is told from the lanes.
const BELL: u64 = 0;

/// An epoll instance with a bell and data lanes in it.
pub(crate) struct Lanes {
    epoll: Native<OwnedFd>,
    carried: Mutex<Carried>,
}

#[derive(Default)]
struct Carried {
    lanes: BTreeMap<u64, Native<DataLane>>,
    /// Those that the I/O thread reads meanwhile.
    left: Vec<u64>,
    last: u64,
}

impl Lanes {
    pub(crate) fn new(bell: impl AsFd) -> io::Result<Lanes> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, bell, epoll::EventData::new_u64(BELL), epoll::EventFlags::IN)?;
        Ok(Lanes { epoll: Native::new(epoll), carried: Mutex::default() })
    }

    /// What the loop watches.
    pub(crate) fn descriptor(&self) -> Option<RawFd> {
        self.epoll.inherited().map(AsRawFd::as_raw_fd)
    }

    /// Carries a lane from now on. One that can't be watched is dropped, and the I/O thread does it all.
    pub(crate) fn add(&self, lane: DataLane) {
        let (Some(epoll), Some(descriptor)) = (self.epoll.get(), lane.descriptor()) else { return };
        let mut carried = self.carried.lock();
        carried.last += 1;
        let number = carried.last;
        if epoll::add(epoll, descriptor, epoll::EventData::new_u64(number), epoll::EventFlags::IN).is_ok() {
            carried.lanes.insert(number, Native::new(lane));
        }
    }

    /// Reads what has come. Whether the bell has rung, where that was asked for.
    pub(crate) fn read(&self) -> bool {
        let Some(epoll) = self.epoll.get() else { return false };
        let mut carried = self.carried.lock();
        if carried.read_only(epoll) {
            return false;
        }
        let mut events = Vec::with_capacity(AT_ONCE);
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        // It fails only if a signal comes in between: there is another turn.
        let _ = epoll::wait(epoll, rustix::buffer::spare_capacity(&mut events), Some(&at_once));
        let mut rung = false;
        carried.take_back(epoll);
        for event in events {
            match event.data.u64() {
                BELL => rung = true,
                number => _ = carried.read(epoll, number),
            }
        }
        rung
    }
}

impl Carried {
    /// Reads the only lane that there is: to ask whether something has come would take as long. Whether something had.
    fn read_only(&mut self, epoll: &OwnedFd) -> bool {
        let mut numbers = self.lanes.keys();
        match (numbers.next(), numbers.next()) {
            (Some(&only), None) if self.left.is_empty() => self.read(epoll, only),
            _ => false,
        }
    }

    /// Reads a lane. Whether something had come.
    fn read(&mut self, epoll: &OwnedFd, number: u64) -> bool {
        let Some(lane) = self.lanes.get_mut(&number).and_then(Native::get_mut) else { return false };
        match lane.read() {
            mosaic_comms::Carried::Here => {}
            mosaic_comms::Carried::Idle => return false,
            mosaic_comms::Carried::Left => {
                // The end of the peer is told of also while nothing is asked for.
                if !self.left.contains(&number) {
                    self.left.push(number);
                }
                watch(epoll, lane, number, epoll::EventFlags::empty());
            }
            mosaic_comms::Carried::Over => {
                if let Some(descriptor) = lane.descriptor() {
                    // Others may keep it open for a while. It fails if it is not there.
                    let _ = epoll::delete(epoll, descriptor);
                }
                self.lanes.remove(&number);
            }
        }
        true
    }

    /// What the I/O thread has read to its end is ours again.
    fn take_back(&mut self, epoll: &OwnedFd) {
        let Carried { lanes, left, .. } = self;
        left.retain(|number| {
            let Some(lane) = lanes.get(number).and_then(Native::get) else { return false };
            let is_back = lane.take_back();
            if is_back {
                watch(epoll, lane, *number, epoll::EventFlags::IN);
            }
            !is_back
        });
    }
}

fn watch(epoll: &OwnedFd, lane: &DataLane, number: u64, events: epoll::EventFlags) {
    if let Some(descriptor) = lane.descriptor() {
        // It fails only if the lane is not there.
        let _ = epoll::modify(epoll, descriptor, epoll::EventData::new_u64(number), events);
    }
}
