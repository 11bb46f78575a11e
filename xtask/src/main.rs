//! The project's own commands: `cargo xtask check`, `cargo xtask test`, `cargo xtask tidy`, `cargo xtask counts`,
//! `cargo xtask simulate`, `cargo xtask chaos`, `cargo xtask bench`.
//!
//! This file reads the command line and hands over to one file a command. It uses the standard library alone, so
//! that it is built in a second on any machine.

mod bench;
mod chaos;
mod check;
mod counts;
mod leftovers;
mod package;
mod python;
mod simulate;
mod step;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
Usage: cargo xtask <command>

Commands:
  check              what CI runs before the tests: formatting, clippy, tidy, documentation, dependencies
  test [FILTER..]    all tests, or those whose names contain a filter; then looks for what they left behind
  tidy               the house rules that a program can see (a part of check, in a second)
  counts [--store]   instructions of a round trip and its parts, compared with those that are stored
  simulate [--seeds N] [--seed S]  whole managers on a virtual clock, a course a seed (default: 2000 from 0)
  chaos [--minutes M]  a network of processes under random faults (default: a minute)
  bench [--quick] [--json FILE] [--only PEER,PEER..]
                     figures beside those of other libraries, in 15 minutes or 3; see docs/benchmarks/README.md
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((command, [])) if command == "check" => check::run(),
        Some((command, filters)) if command == "test" => test::run(filters),
        Some((command, arguments)) if command == "simulate" => simulate::run(arguments),
        Some((command, arguments)) if command == "chaos" => chaos::run(arguments),
        Some((command, arguments)) if command == "bench" => bench::run(arguments),
        Some((command, arguments)) if command == "counts" => counts::run(arguments),
        Some((command, [])) if command == "tidy" => tidy::run(&workspace()),
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nerror: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository, which is the parent of this crate's folder.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// The folder that cargo builds into, however it was set: this program was built into `<target>/<profile>/`.
fn target() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let target = program.ancestors().nth(2);
    target.map(Path::to_path_buf).ok_or_else(|| format!("{} is not in a target folder", program.display()))
}
