//! The Python interpreter that tests use: a virtual environment in the target folder with the packages of
//! `python/requirements-test.txt`, made anew only when that file changes.
//!
//! Tests that need another Python, or have no network, set `MOSAIC_TEST_PYTHON` and are left alone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::step;

const REQUIREMENTS: &str = "python/requirements-test.txt";

/// The interpreter to pass on, with its packages installed.
pub(crate) fn interpreter(workspace: &Path, target: &Path) -> Result<PathBuf, String> {
    if let Some(own) = env::var_os("MOSAIC_TEST_PYTHON") {
        return Ok(own.into());
    }
    let requirements = workspace.join(REQUIREMENTS);
    let wanted = fs::read_to_string(&requirements).map_err(|error| format!("{REQUIREMENTS}: {error}"))?;
    let environment = target.join("python-venv");
    let interpreter = environment.join("bin/python");
    // Written when everything is installed: an interrupted installation is no installation.
    let stamp = environment.join("installed-requirements.txt");
    if interpreter.exists() && fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(interpreter);
    }

    if environment.exists() {
        fs::remove_dir_all(&environment).map_err(|error| format!("{}: {error}", environment.display()))?;
    }
    create(&environment).map_err(|failure| {
        format!(
            "{failure}\ntests need Python 3.11 or newer with its venv module: install it (Debian: apt-get install \
             python3-venv), or set MOSAIC_TEST_PYTHON to an interpreter that has the packages of {REQUIREMENTS}"
        )
    })?;
    install(&interpreter, &requirements).map_err(|failure| {
        format!(
            "{failure}\ntests need the packages of {REQUIREMENTS}: check the network (pip reads its proxy and \
             mirror from the environment), or set MOSAIC_TEST_PYTHON to an interpreter that has them"
        )
    })?;
    fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(interpreter)
}

fn create(environment: &Path) -> Result<(), String> {
    step::run(Command::new("python3").args(["-m", "venv"]).arg(environment))
}

fn install(interpreter: &Path, requirements: &Path) -> Result<(), String> {
    let quietly = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    step::run(Command::new(interpreter).args(quietly).arg(requirements))
}
