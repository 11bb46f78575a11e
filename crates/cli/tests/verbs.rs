//! Every verb of the command, as a process of its own, in a network of real processes.
#![allow(clippy::unwrap_used, reason = "a test whose helpers fail has failed")]

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A folder for sockets and keys, in which nobody else is.
struct Home(TempDir);

/// A process of the command that goes on until it is told to end; killed if the test fails.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn end(mut self) -> (i32, Vec<String>) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let rest = self.lines.by_ref().map(Result::unwrap).collect();
        (self.child.wait().unwrap().code().unwrap(), rest)
    }
}

impl Home {
    fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mosaic"));
        command.args(arguments).env("HOME", self.path()).env("XDG_RUNTIME_DIR", self.path());
        for variable in ["MOSAIC_KEY_FILE", "MOSAIC_MONITOR_HOST", "MOSAIC_MONITOR_PORT", "MOSAIC_INTERFACE"]
        {
            command.env_remove(variable);
        }
        command
    }

    fn start(&self, arguments: &[&str]) -> Running {
        let mut child = self.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Running { child, lines }
    }

    /// A monitor, and where it is.
    fn monitor(&self) -> (Running, String) {
        let mut monitor = self.start(&["monitor", "--address", "127.0.0.1"]);
        let line = monitor.line();
        let rest = line.strip_prefix("MOSAIC_MONITOR_HOST=127.0.0.1 MOSAIC_MONITOR_PORT=").unwrap();
        (monitor, format!("127.0.0.1:{rest}"))
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }
}

#[test]
fn a_network_is_listed_pinged_followed_and_stopped() {
    let home = Home::new();
    let (monitor, place) = home.monitor();
    let mut events = home.start(&["events", "--monitor", &place]);
    assert_eq!(events.line(), "there\tmonitor");

    let (code, listed, _) = home.run(&["ls", "--monitor", &place]);
    let uids: Vec<_> = listed.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!((code, uids.len(), uids.contains(&"monitor")), (0, 2, true), "{listed}");
    assert!(uids.iter().any(|uid| uid.starts_with("mosaic:")), "{listed}");

    let (code, listed, _) = home.run(&["ls", "--json", "monitor", "--monitor", &place]);
    let row: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((code, row["uid"].as_str(), row["address"].as_str()), (0, Some("monitor"), Some("127.0.0.1")));

    let (code, pinged, _) = home.run(&["ping", "monitor", "--count", "2", "--monitor", &place]);
    assert_eq!((code, pinged.lines().count()), (0, 2), "{pinged}");
    assert!(
        pinged.lines().all(|line| line.starts_with("monitor: ") && line.contains(" us, lag ")),
        "{pinged}"
    );

    let (code, _, error) = home.run(&["ping", "monitr", "--monitor", &place]);
    assert_eq!(code, 1);
    assert!(error.contains("there is no runtime `monitr`") && error.contains("`monitor`"), "{error}");

    // Each of the commands above has joined and left again.
    let seen: Vec<_> = (0..8).map(|_| events.line()).collect();
    let of = |what: &str| seen.iter().filter(|line| line.starts_with(what)).count();
    assert_eq!((of("joined\tmosaic:"), of("gone\tmosaic:")), (4, 4), "{seen:?}");

    assert_eq!(home.run(&["stop", "monitor", "--monitor", &place]).0, 0);
    let mut monitor = monitor;
    assert_eq!(monitor.child.wait().unwrap().code(), Some(0));
    let last: Vec<_> = events.lines.by_ref().map(Result::unwrap).collect();
    assert!(last.iter().any(|line| line.starts_with("gone\tmonitor")), "{last:?}");
    assert_eq!(events.child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_monitor_and_its_follower_end_in_good_order_when_they_are_told_to() {
    let home = Home::new();
    let (monitor, place) = home.monitor();
    let port = place.rsplit_once(':').unwrap().1.to_owned();
    let key = home.path().join(format!(".mosaic/127.0.0.1-{port}.key"));
    assert!(key.exists(), "the monitor makes the job's credential");
    let mut events = home.start(&["events", "--json", "--monitor", &place]);
    assert_eq!(events.line(), r#"{"detail":"","event":"there","uid":"monitor"}"#);
    assert_eq!(events.end().0, 0);
    assert_eq!(monitor.end().0, 0);
    assert!(!home.path().join(format!("mosaic/{port}.sock")).exists());
    assert!(!key.exists(), "nobody can come back to a port that was drawn");
}

#[test]
fn a_credential_is_made_once_and_shown_by_its_fingerprint() {
    let home = Home::new();
    let file = home.path().join("job.key");
    let name = file.to_str().unwrap();
    let (code, made, _) = home.run(&["keygen", name]);
    let (path, fingerprint) = made.trim_end().split_once('\t').unwrap();
    assert_eq!((code, path, fingerprint.len()), (0, name, 64));
    let (code, shown, _) = home.run(&["key", "show", name]);
    assert_eq!((code, &shown), (0, &made));
    assert_eq!(home.run(&["key", "show", "--key-file", name]).1, made);
    let (code, _, error) = home.run(&["keygen", name]);
    assert_eq!(code, 1);
    assert!(error.contains("exists already"), "{error}");
    let secret = std::fs::read_to_string(&file).unwrap().lines().nth(1).unwrap().to_owned();
    assert!(!made.contains(&secret) && !error.contains(&secret));
    let (code, _, error) = home.run(&["key", "show", "--monitor", "10.0.0.1:3000"]);
    assert_eq!(code, 1);
    assert!(error.contains(".mosaic/10.0.0.1-3000.key"), "{error}");
}

#[test]
fn the_doctor_says_what_is_missing_and_what_to_do() {
    let home = Home::new();
    let (code, found, _) = home.run(&["doctor"]);
    assert_eq!(code, 1);
    assert!(found.contains("no\tmonitor\tnothing says where the monitor is: give --monitor"), "{found}");
    let (monitor, place) = home.monitor();
    let (code, found, error) = home.run(&["doctor", "--monitor", &place]);
    assert_eq!(code, 0, "{found}{error}");
    assert_eq!(found.lines().filter(|line| line.starts_with("ok\t")).count(), 3, "{found}");
    monitor.end();
}

#[test]
fn a_command_line_that_is_wrong_says_what_would_be_right() {
    let home = Home::new();
    for (arguments, code, wanted) in [
        (&["ls"][..], 3, "nothing says where the monitor is: give --monitor HOST:PORT"),
        (&["ls", "--monitor", "here"], 2, "is not HOST:PORT, as in 10.0.0.1:3000"),
        (&["ls", "--monitor", "127.0.0.1:1"], 3, "the monitor at 127.0.0.1:1 was not reached"),
        (&["frobnicate"], 2, "unrecognized subcommand"),
    ] {
        let (found, _, error) = home.run(arguments);
        assert_eq!(found, code, "{arguments:?}: {error}");
        assert!(error.contains(wanted), "{arguments:?}: {error}");
    }
}

#[test]
fn help_completions_and_the_manual_name_every_verb() {
    let home = Home::new();
    let verbs = ["monitor", "ls", "ping", "events", "stop", "keygen", "key", "doctor"];
    for arguments in [&["--help"][..], &["completions", "bash"], &["man"]] {
        let (code, text, _) = home.run(arguments);
        assert_eq!(code, 0);
        assert!(verbs.iter().all(|verb| text.contains(verb)), "{arguments:?}: {text}");
    }
}
