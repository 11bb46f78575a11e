//! A folder of its own for each test, the command in it, and what the command said.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A folder for sockets and keys, in which nobody else is.
pub(crate) struct Home(TempDir);

/// A process of the command that goes on until it is told to end; killed if the test fails.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) lines: Lines<BufReader<ChildStdout>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub(crate) fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    pub(crate) fn end(mut self) -> (i32, Vec<String>) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let rest = self.lines.by_ref().map(Result::unwrap).collect();
        (self.child.wait().unwrap().code().unwrap(), rest)
    }
}

impl Home {
    pub(crate) fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mosaic"));
        command.args(arguments).env("HOME", self.path()).env("XDG_RUNTIME_DIR", self.path());
        for variable in ["MOSAIC_KEY_FILE", "MOSAIC_MONITOR_HOST", "MOSAIC_MONITOR_PORT", "MOSAIC_INTERFACE"]
        {
            command.env_remove(variable);
        }
        command
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut child = self.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Running { child, lines }
    }

    /// A monitor, and where it is.
    pub(crate) fn monitor(&self) -> (Running, String) {
        let mut monitor = self.start(&["monitor", "--address", "127.0.0.1"]);
        let line = monitor.line();
        let rest = line.strip_prefix("MOSAIC_MONITOR_HOST=127.0.0.1 MOSAIC_MONITOR_PORT=").unwrap();
        (monitor, format!("127.0.0.1:{rest}"))
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }
}

impl Home {
    /// What the command says and how it ends, for a snapshot. What differs from run to run is left out.
    pub(crate) fn told(&self, arguments: &[&str]) -> String {
        let (code, out, error) = self.run(arguments);
        let shown: Vec<_> = arguments.iter().map(|argument| quoted(argument)).collect();
        let mut text = format!("$ mosaic {}\n{out}", shown.join(" "));
        for line in error.lines() {
            text.push_str(format!("! {line}").trim_end());
            text.push('\n');
        }
        text.push_str(&format!("exit code {code}\n"));
        text.replace(self.path().to_str().unwrap(), "~")
    }
}

fn quoted(argument: &str) -> String {
    match argument.contains(['"', ' ', '[', '*']) {
        true => format!("'{argument}'"),
        false => argument.to_owned(),
    }
}

/// Compares with a snapshot, in which ports, process ids and measured numbers have stand-ins.
macro_rules! assert_told {
    ($name:expr, $text:expr) => {
        insta::with_settings!({
            filters => vec![
                (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
                (r"127\.0\.0\.1-\d+", "127.0.0.1-PORT"),
                (r"mosaic:\d+", "mosaic:PID"),
                (r"\b[0-9a-f]{16}\b", "INSTANCE"),
                (r"\b\d+(\.\d+)? (us|ms|s)\t", "TIME\t"),
                (r"(?m)(TIME\tTIME\tTIME\t).*$", "${1}QUEUES"),
            ],
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, { insta::assert_snapshot!($name, $text) })
    };
}

pub(crate) use assert_told;
