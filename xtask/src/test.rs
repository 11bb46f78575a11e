//! `cargo xtask test [FILTER..]`: every test there is, and then a look at what they left behind.
//!
//! The courses of whole managers come last, as many as [`simulate`] takes where no number is given, and
//! only if there is no filter.
//!
//! Tests are run by nextest where it is installed (a process a test, and a time limit on each: see
//! `.config/nextest.toml`) and else by cargo itself; documentation examples always by cargo, those of the Python package
//! by pytest. The runners print as they always do.
//!
//! Tests get three things through their environment: `MOSAIC_TEST_PYTHON`, an interpreter that has pyzmq, msgpack and
//! numpy; a private folder as `TMPDIR` and `XDG_RUNTIME_DIR`, so that what they leave there is seen and nobody else's
//! files are; and in it `MOSAIC_KEY_FILE`, a credential that they share and the home folder doesn't.

use std::process::Command;

use crate::leftovers::{PrivateFolder, Processes};
use crate::package::{Package, Profile, pytest};
use crate::step::{cargo, run as step, succeeds};
use crate::{python, simulate, target, workspace};

/// Runs the tests whose names contain one of `filters` (all of them if there is none).
pub(crate) fn run(filters: &[String]) -> Result<(), String> {
    let target = target()?;
    let python = python::interpreter(&workspace(), &target)?;
    let package = Package::install(&workspace(), &target, &python, Profile::Test);
    let folder = PrivateFolder::create()?;
    let key_file = folder.path().join("job.key");
    let processes = Processes::below(&target);
    let with_environment = |mut command: Command| {
        command.env("MOSAIC_TEST_PYTHON", &python).env("MOSAIC_KEY_FILE", &key_file);
        command.env("MOSAIC_TEST_EXAMPLES", target.join("debug/examples"));
        command.env("TMPDIR", folder.path()).env("XDG_RUNTIME_DIR", folder.path());
        command
    };

    // Tests run them, and cargo does not build them when it is told which tests to run.
    let examples = step(&mut cargo(&["build", "--workspace", "--examples"]));
    let tests = step(&mut with_environment(tests(filters)));
    let doctests = step(&mut with_environment(doctests(filters)));
    let package = package.and_then(|package| {
        let types = package.check_types().iter_mut().try_for_each(step);
        let tests = pytest(&mut with_environment(package.test(filters)));
        types.and(tests)
    });
    let courses = if filters.is_empty() { simulate::run(&[]) } else { Ok(()) };
    // Whichever test came first has made it.
    let _ = std::fs::remove_file(&key_file);
    let outcomes = [examples, tests, doctests, package, courses, processes.left_over(), folder.left_over()];
    let failures: Vec<String> = outcomes.into_iter().filter_map(Result::err).collect();
    if failures.is_empty() { Ok(()) } else { Err(format!("test failed:\n  {}", failures.join("\n  "))) }
}

fn tests(filters: &[String]) -> Command {
    if succeeds(&mut cargo(&["nextest", "--version"])) {
        let mut command = cargo(&["nextest", "run", "--workspace"]);
        if !filters.is_empty() {
            // They may name nothing but documentation examples.
            command.arg("--no-tests=warn").args(filters);
        }
        return command;
    }
    let mut command = cargo(&["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]);
    command.arg("--").args(filters);
    command
}

fn doctests(filters: &[String]) -> Command {
    let mut command = cargo(&["test", "--workspace", "--doc", "--no-fail-fast", "--"]);
    command.args(filters);
    command
}
