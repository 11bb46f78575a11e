//! What a context has open, for a process that was forked with a live one: the child has to close all of it, since what
//! it keeps open hides the end of its parent. Which descriptors those are is known to the reactors alone; each of ours
//! has a mark of our own in it, by which it is found.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::event::{EventfdFlags, eventfd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

/// Registered with a reactor as long as that lives.
#[derive(Debug)]
pub(crate) struct Mark(AsyncFd<OwnedFd>);

impl Mark {
    /// Marks the reactor of this executor.
    pub(crate) fn new(executor: &Handle) -> io::Result<Mark> {
        let _entered = executor.enter();
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "what makes it unsound is a descriptor that others may close; this one is owned"
        )]
        AsyncFd::with_interest(event, Interest::READABLE).map(Mark)
    }
}

/// The reactors that these marks are in, and everything that is registered with them.
pub(crate) fn of_reactors<'a>(marks: impl Iterator<Item = &'a Mark>) -> io::Result<Vec<RawFd>> {
    let marks: BTreeSet<RawFd> = marks.map(|mark| mark.0.get_ref().as_raw_fd()).collect();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let Some(descriptor) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may be the folder that is being read, which is closed by then.
        let Ok(info) = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")) else { continue };
        let watched: Vec<RawFd> = info.lines().filter_map(watched).collect();
        if watched.iter().any(|watched| marks.contains(watched)) {
            found.insert(descriptor);
            found.extend(watched);
        }
    }
    Ok(found.into_iter().collect())
}

/// The descriptor that a line of an epoll instance's information is about: `tfd:       13 events: ..`.
fn watched(line: &str) -> Option<RawFd> {
    line.strip_prefix("tfd:")?.split_whitespace().next()?.parse().ok()
}
