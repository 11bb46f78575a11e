//! `cargo xtask counts [--store]`: instructions of encoding, decoding, dispatch and a round trip in memory, compared
//! with those that are stored for this compiler and C library. Wall time says little on a shared machine; these repeat.
//!
//! They are for comparison: the program is built as the simulated courses are, to save a build, and takes some more than users'
//! programs do.
//!
//! What is counted is in `crates/testkit/examples/instructions.rs`. The stored numbers, a line each:
//!
//! ```text
//! rustc 1.95.0 glibc 2.36 round-trip 12345
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::step::{cargo, optimise, run as step, succeeds};
use crate::{target, workspace};

/// Where the numbers are stored.
const STORED: &str = "docs/benchmarks/instructions.txt";

/// What is counted, and how often it is done in the first run. The second does it twice as often.
const CASES: [(&str, u64); 4] =
    [("encode", 10_000), ("decode", 10_000), ("dispatch", 2_000), ("round-trip", 1_000)];

/// By how many percent a number may differ from the stored one.
const TOLERANCE: u64 = 2;

/// Counts, and compares or stores.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let store = match arguments {
        [] => false,
        [flag] if flag == "--store" => true,
        _ => return Err("usage: cargo xtask counts [--store]".to_owned()),
    };
    if !succeeds(Command::new("valgrind").arg("--version")) {
        eprintln!("\nskipped: cargo xtask counts (valgrind is not installed)");
        return Ok(());
    }
    // An incremental build is cut into other pieces, and takes other instructions.
    if std::env::var("CARGO_INCREMENTAL").as_deref() != Ok("0") {
        eprintln!("\nskipped: cargo xtask counts (it compares builds with CARGO_INCREMENTAL=0, as CI's are)");
        return Ok(());
    }
    let mut build = cargo(&["build", "--workspace", "--example", "instructions"]);
    optimise(&mut build);
    step(&mut build)?;
    let program = target()?.join("debug/examples/instructions");
    let environment = environment()?;
    let path = workspace().join(STORED);
    let mut stored = read(&path);
    let mut failures = Vec::new();
    for (case, count) in CASES {
        let measured = each(&program, case, count)?;
        let key = format!("{environment} {case}");
        let before = stored.get(&key).copied();
        eprintln!(
            "{key} {measured}{}",
            before.map_or_else(String::new, |before| format!(" (stored: {before})"))
        );
        match before {
            Some(before) if measured.abs_diff(before) * 100 > before * TOLERANCE => {
                failures.push(format!("{case} takes {measured} instructions, {before} are stored"));
            }
            Some(_) => {}
            None => eprintln!("skipped: nothing is stored for {environment} (cargo xtask counts --store)"),
        }
        stored.insert(key, measured);
    }
    if store {
        let lines: String = stored.iter().map(|(key, number)| format!("{key} {number}\n")).collect();
        return std::fs::write(&path, lines).map_err(|error| format!("{STORED}: {error}"));
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "more than {TOLERANCE} % off: {}; if that is meant, `cargo xtask counts --store`",
            failures.join("; ")
        )),
    }
}

/// The instructions of doing it once.
fn each(program: &Path, case: &str, count: u64) -> Result<u64, String> {
    let (once, twice) = (instructions(program, case, count)?, instructions(program, case, 2 * count)?);
    Ok(twice.saturating_sub(once) / count)
}

fn instructions(program: &Path, case: &str, count: u64) -> Result<u64, String> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(program).arg(case).arg(count.to_string()).stdin(Stdio::null());
    let output = valgrind.output().map_err(|error| format!("valgrind: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected :"));
    let number = collected.and_then(|(_, number)| number.trim().parse().ok());
    number.filter(|_| output.status.success()).ok_or_else(|| format!("valgrind counted nothing:\n{text}"))
}

/// What else the numbers depend on: the compiler, without its date, and the C library, which copies and allocates.
fn environment() -> Result<String, String> {
    let compiler = said(Command::new("rustc").arg("--version"))?;
    let compiler = compiler.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let library = said(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
    Ok(format!("{compiler} {}", library.trim()))
}

fn said(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn read(path: &Path) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let number = |line: &str| {
        let (key, number) = line.rsplit_once(' ')?;
        Some((key.to_owned(), number.parse().ok()?))
    };
    text.lines().filter_map(number).collect()
}
