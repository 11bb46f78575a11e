//! `cargo xtask bench [--quick] [--json FILE] [--only PEER,PEER..]`: builds `bench/`, which is no part of the workspace,
//! runs it, and looks for processes that it left behind.
//!
//! Its sockets, temporary files and credential are in a private folder that is removed afterwards; its Python scripts
//! run in the environment of the tests, with the package built as users have it.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::leftovers::{PrivateFolder, Processes};
use crate::package::{Package, Profile};
use crate::step::{cargo, run as step};
use crate::{python, target, workspace};

const MANIFEST: &str = "bench/Cargo.toml";

/// Builds it and runs it with `arguments`.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    step(&mut cargo(&["build", "--release", "--manifest-path", MANIFEST]))?;
    let folder = PrivateFolder::create()?;
    let processes = Processes::below(&built_into());
    let mut command = cargo(&["run", "--quiet", "--release", "--manifest-path", MANIFEST, "--"]);
    command.args(arguments).env("TMPDIR", folder.path()).env("XDG_RUNTIME_DIR", folder.path());
    command.env("MOSAIC_KEY_FILE", folder.path().join("job.key"));
    if let Err(failure) = with_python(&mut command) {
        eprintln!("\nPython is not measured: {failure}");
    }
    step(&mut command).and(processes.left_over())
}

/// Tells it the interpreter, which finds the package.
fn with_python(command: &mut Command) -> Result<(), String> {
    let target = target()?;
    let interpreter = python::interpreter(&workspace(), &target)?;
    let package = Package::install(&workspace(), &target, &interpreter, Profile::Release)?;
    command.env("MOSAIC_TEST_PYTHON", interpreter).env("PYTHONPATH", package.folder());
    Ok(())
}

/// The folder that cargo builds `bench/` into.
fn built_into() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("bench/target"), PathBuf::from)
}
