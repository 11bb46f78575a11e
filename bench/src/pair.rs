//! Two processes: this program, and this program again in another role.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};

use crate::ours::Transport;

const ROLE: &str = "MOSAIC_BENCH_ROLE";

/// What a child of this program does.
pub enum Role {
    /// Serves calls as the runtime `uid`; the monitor is at `port`.
    Mosaic { port: u16, uid: String, transport: Transport },
    /// Echoes raw frames.
    Raw,
}

impl Role {
    pub fn of_this_process() -> Option<Role> {
        let role = std::env::var(ROLE).ok()?;
        let words: Vec<_> = role.split(' ').collect();
        match words[..] {
            [port, uid, name] => Some(Role::Mosaic {
                port: port.parse().ok()?,
                uid: uid.to_owned(),
                transport: Transport::ALL.into_iter().find(|transport| transport.name() == name)?,
            }),
            _ => Some(Role::Raw),
        }
    }
}

/// Where both processes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinning {
    /// Both on CPU 0: what the software costs.
    OneCore,
    /// Wherever the system puts them: bimodal on small virtual machines.
    Default,
}

impl Pinning {
    /// Applies to this thread and those that it starts.
    pub fn apply(self) -> std::io::Result<()> {
        let mut cpus = CpuSet::new();
        let count = if self == Pinning::OneCore { 1 } else { CpuSet::MAX_CPU.min(64) };
        (0..count).for_each(|cpu| cpus.set(cpu));
        Ok(sched_setaffinity(None, &cpus)?)
    }
}

/// A child that ends with us.
pub struct Peer(pub Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn start(role: &Role) -> std::io::Result<Peer> {
    let role = match role {
        Role::Mosaic { port, uid, transport } => format!("{port} {uid} {}", transport.name()),
        Role::Raw => "raw".to_owned(),
    };
    let mut command = Command::new(std::env::current_exe()?);
    command.env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(Peer(command.spawn()?))
}

/// The median of what was measured.
pub fn median(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values[values.len() / 2]
}

/// The value that 99 of 100 do not exceed.
pub fn p99(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values[values.len() * 99 / 100]
}
