//! Processes: where they run, how they are started and that they end.
//!
//! A measuring process leads a group of its own, to which its serving process belongs, so that both are ended at once
//! when they take too long. Each ends by itself when its standard input does, which is a pipe from its parent.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::outcome::Outcome;

/// Where both processes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pinning {
    /// Both on CPU 0: what the software costs.
    Pinned,
    /// Wherever the system puts them.
    Default,
}

impl Pinning {
    pub const BOTH: [Pinning; 2] = [Pinning::Pinned, Pinning::Default];

    pub fn name(self) -> &'static str {
        match self {
            Pinning::Pinned => "pinned",
            Pinning::Default => "default",
        }
    }

    pub fn parse(name: &str) -> Outcome<Pinning> {
        let found = Pinning::BOTH.into_iter().find(|pinning| pinning.name() == name);
        found.ok_or_else(|| format!("`{name}` is neither `pinned` nor `default`").into())
    }

    /// Applies to this thread, and to the threads and processes that it starts.
    pub fn apply(self) -> Outcome {
        if self == Pinning::Pinned {
            let mut cpus = CpuSet::new();
            cpus.set(0);
            sched_setaffinity(None, &cpus)?;
        }
        Ok(())
    }
}

/// Ends this process as soon as its standard input ends.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        // What it says is of no interest, nor why it ended.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
}

/// The serving process of a measurement, or one that helps: killed when it is dropped.
pub struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Server {
    /// Starts this program again as the server of `peer`.
    pub fn start(peer: &str, details: &[&str]) -> Outcome<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", peer]).args(details).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or("a server without output")?);
        Ok(Server { child, output })
    }

    /// The next line that it prints: its address, or that it is ready.
    pub fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err("the serving process ended early".into());
        }
        Ok(line.trim().to_owned())
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Outcome {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a measuring process has printed, and how it failed if it did.
#[derive(Default)]
pub struct Printed {
    pub lines: Vec<String>,
    pub failure: Option<String>,
}

/// Runs a measuring process until it ends or `limit` is over, and ends whatever is left of its group.
pub fn lines_of(mut command: Command, limit: Duration) -> Printed {
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut printed = Printed::default();
    match command.spawn() {
        Err(error) => printed.failure = Some(format!("could not be started: {error}")),
        Ok(mut child) => {
            printed.failure = read_until(&mut child, Instant::now() + limit, &mut printed.lines);
            // A server that was stopped, or all of those that took too long.
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            let status = child.wait().map_err(|error| error.to_string());
            printed.failure = printed.failure.or_else(|| match status {
                Ok(status) if status.success() => None,
                Ok(status) => Some(format!("failed ({status})")),
                Err(error) => Some(error),
            });
        }
    }
    printed
}

/// Reads the lines of a child until it ends; says what is wrong if it does not.
fn read_until(child: &mut Child, deadline: Instant, read: &mut Vec<String>) -> Option<String> {
    let output = BufReader::new(child.stdout.take()?);
    let (sender, lines) = channel();
    // It ends with the output, which ends with the group.
    std::thread::spawn(move || output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => read.push(line),
            Err(RecvTimeoutError::Timeout) => return Some("took too long".to_owned()),
            Err(RecvTimeoutError::Disconnected) => return unfinished(child, deadline),
        }
    }
}

/// The output of a process ends a moment before the process does.
fn unfinished(child: &mut Child, deadline: Instant) -> Option<String> {
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            _ => return None,
        }
    }
    Some("did not end".to_owned())
}

/// The processor time that a process has used.
pub fn processor_time(pid: u32) -> Outcome<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything. User and system time are the 14th and the 15th field.
    let (_, rest) = stat.rsplit_once(')').ok_or("no name")?;
    let times = rest.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks: u64 = times.sum::<Result<u64, _>>()?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// The memory of a process that is its own, in bytes.
pub fn own_memory(pid: u32) -> Outcome<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
}
