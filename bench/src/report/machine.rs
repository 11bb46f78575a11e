//! Which machine it was.

use std::fs;
use std::process::Command;

/// Processor, memory, kernel and compiler, in one line.
pub fn description() -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "processor".to_owned());
    let kibibytes =
        field("/proc/meminfo", "MemTotal").and_then(|text| text.trim_end_matches(" kB").parse().ok());
    let gibibytes = kibibytes.map_or(0.0, |kibibytes: f64| kibibytes / 1024.0 / 1024.0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version = kernel.split(['-', '+']).next().unwrap_or_default().trim();
    let compiler = first_words("rustc", &["--version"], 2);
    let commit = first_words("git", &["rev-parse", "--short=12", "HEAD"], 1);
    format!(
        "{processors} virtual processors ({model}), {gibibytes:.0} GiB of memory, Linux {version}, {compiler}; commit {commit}"
    )
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn first_words(program: &str, arguments: &[&str], count: usize) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.split_whitespace().take(count).collect::<Vec<_>>().join(" ")
}
