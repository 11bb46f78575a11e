//! What a process is told that is started as a worker: an environment variable, and a pipe as its standard input.
//!
//! The variable names the pipe by its number in the kernel. Processes that a worker starts inherit the variable but not
//! the pipe, and so don't take themselves for workers.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use mosaic_proto::Uid;

const VARIABLE: &str = "MOSAIC_LOCAL_WORKER";

/// Who a worker process is to be, and where it finds its monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Birth {
    pub(super) uid: Uid,
    pub(super) address: String,
    pub(super) port: u16,
}

impl Birth {
    /// Tells it to a process that is about to start, and returns the head's end of its lifeline. That end is closed in
    /// every other process that is started, as std makes pipes.
    pub(super) fn tell(&self, command: &mut Command) -> io::Result<PipeWriter> {
        let (reader, lifeline): (PipeReader, PipeWriter) = io::pipe()?;
        let reader = OwnedFd::from(reader);
        let told = format!("{} {} {} {}", number(&reader)?, self.uid, self.address, self.port);
        command.env(VARIABLE, told).stdin(Stdio::from(reader));
        Ok(lifeline)
    }

    /// What this process was told, with its end of the lifeline; `None` if it isn't a worker. From here on its standard
    /// input is empty, for others could read the lifeline away.
    pub(super) fn take() -> io::Result<Option<(Birth, File)>> {
        let Some(birth) = told() else { return Ok(None) };
        let lifeline = io::stdin().as_fd().try_clone_to_owned()?;
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        Ok(Some((birth, File::from(lifeline))))
    }
}

/// The worker that this process was started as, if it has not become it.
pub(super) fn unborn() -> Option<String> {
    told().map(|birth| birth.uid.to_string())
}

fn told() -> Option<Birth> {
    let told = std::env::var(VARIABLE).ok()?;
    let mut words = told.split(' ');
    let pipe: u64 = words.next()?.parse().ok()?;
    let uid = Uid::new(words.next()?).ok()?;
    let address = words.next()?.to_owned();
    let port = words.next()?.parse().ok()?;
    let inherited = io::stdin().as_fd().try_clone_to_owned().and_then(|stdin| number(&stdin)).ok()?;
    (pipe == inherited).then_some(Birth { uid, address, port })
}

/// The inode of a pipe, which both its ends share.
fn number(pipe: &OwnedFd) -> io::Result<u64> {
    Ok(File::from(pipe.try_clone()?).metadata()?.ino())
}
