//! `cargo xtask simulate [--seeds N] [--seed S]`: courses of whole managers on a virtual clock, each from its seed. What
//! happens in them, and what must hold, is in `crates/comms/tests/simulation/`. One course alone is shown as it goes.

use crate::step::{cargo, optimise, run as step};

/// Courses where no number is given.
const SEEDS: &str = "2000";

const USAGE: &str = "usage: cargo xtask simulate [--seeds N] [--seed S]";

/// Takes the courses that `arguments` ask for.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let (mut seeds, mut first) = (SEEDS, "0");
    for pair in arguments.chunks(2) {
        match pair {
            [flag, number] if number.parse::<u64>().is_ok() && flag == "--seeds" => seeds = number,
            [flag, number] if number.parse::<u64>().is_ok() && flag == "--seed" => first = number,
            _ => return Err(USAGE.to_owned()),
        }
    }
    let mut command = cargo(&["test", "--workspace", "--test", "simulation"]);
    optimise(&mut command);
    command.args(["--", "every_invariant_holds_after_every_step", "--nocapture"]);
    command.env("MOSAIC_SEEDS", seeds).env("MOSAIC_SEED", first);
    step(&mut command)
}
