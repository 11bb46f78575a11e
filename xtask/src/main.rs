//! The project's own commands: `cargo xtask check`, `cargo xtask tidy`.
//!
//! This file reads the command line and hands over to one file a command. It uses the standard library alone, so
//! that it is built in a second on any machine.

mod check;
mod step;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
Usage: cargo xtask <command>

Commands:
  check              what CI runs before the tests: formatting, clippy, tidy, documentation, dependencies
  tidy               the house rules that a program can see (a part of check, in a second)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((command, [])) if command == "check" => check::run(),
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
