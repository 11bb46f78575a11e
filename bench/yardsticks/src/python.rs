//! Peers in Python: scripts in `bench/python/`, which print their figures as the measuring processes of this program do.

use std::path::PathBuf;
use std::process::Command;

use crate::outcome::Outcome;
use crate::part::Part;
use crate::peer::Peer;
use crate::process::Pinning;
use crate::sheet::Sheet;

/// The interpreter, which has the packages of `python/requirements-test.txt`.
const INTERPRETER: &str = "MOSAIC_TEST_PYTHON";

/// A script, and which of the things that it can measure.
pub struct Python {
    pub id: &'static str,
    pub title: &'static str,
    pub about: &'static str,
    pub script: &'static str,
    pub variant: Option<&'static str>,
}

impl Python {
    fn script(&self) -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../python")).join(self.script)
    }
}

impl Peer for Python {
    fn id(&self) -> &'static str {
        self.id
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn missing(&self) -> Option<String> {
        if !self.script().exists() {
            return Some(format!("there is no bench/python/{}", self.script));
        }
        let unset = std::env::var_os(INTERPRETER).is_none();
        unset.then(|| format!("{INTERPRETER} names no interpreter"))
    }

    fn command(&self, _part: Part, pinning: Pinning, milliseconds: u64) -> Outcome<Command> {
        let mut command = Command::new(std::env::var_os(INTERPRETER).ok_or("no interpreter")?);
        // It would leave its compiled modules beside the sources.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.arg(self.script()).args(["measure", pinning.name(), &milliseconds.to_string()]);
        command.args(self.variant);
        Ok(command)
    }

    fn parts(&self, _pinning: Pinning) -> &'static [Part] {
        &[Part::Messages]
    }

    fn serve(&self, _details: &[&str]) -> Outcome {
        Err("the script serves itself".into())
    }

    fn measure(&self, _part: Part, _sheet: &Sheet) -> Outcome {
        Err("the script measures itself".into())
    }
}
