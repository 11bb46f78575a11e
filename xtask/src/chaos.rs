//! `cargo xtask chaos [--minutes M]`: a network of processes under random faults. What it does is in
//! `crates/testkit/examples/chaos.rs`; it fails if something hangs, is lost or is declared dead by mistake.

use crate::step::{cargo, run as step};

/// Minutes of faults where none are given.
const MINUTES: &str = "1";

/// Runs it for as long as `arguments` say.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let minutes = match arguments {
        [] => MINUTES,
        [flag, minutes] if flag == "--minutes" && minutes.parse::<f64>().is_ok() => minutes,
        _ => return Err("usage: cargo xtask chaos [--minutes M]".to_owned()),
    };
    step(&mut cargo(&["run", "--release", "-p", "mosaic-testkit", "--example", "chaos", "--", minutes]))
}
