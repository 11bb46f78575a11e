//! The command line: what the options are and which combinations make no sense.

use std::num::ParseFloatError;
use std::path::PathBuf;

use clap::Parser;

use crate::phantom;
use crate::ring::TRANSDUCERS;

/// The most workers that are started on one machine.
pub(crate) const MOST_WORKERS: u16 = 256;

/// Simulates ultrasound shots through a body, shared among worker processes, and draws what was recorded.
///
/// A ring of 128 transducers surrounds the body. Each shot fires one of them, and all of them record.
#[derive(Clone, Debug, Parser)]
#[command(name = "ultrasound")]
pub(crate) struct Arguments {
    /// How many workers compute, 1 to 256.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_WORKERS)))]
    pub(crate) workers: u16,

    /// How many shots to compute, 1 to 128; they share the ring evenly.
    #[arg(long, value_name = "K", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=TRANSDUCERS as i64))]
    pub(crate) shots: u16,

    /// A map of the speed of sound in m/s: a NumPy .npy file of float32 or float64, (rows, columns). Without it,
    /// a breast phantom of 200 x 200 cells.
    #[arg(long, value_name = "FILE", value_parser = existing_file)]
    pub(crate) model: Option<PathBuf>,

    /// The side of a cell of the map, in mm.
    #[arg(long, value_name = "MM", default_value_t = phantom::SPACING * 1e3, value_parser = spacing)]
    pub(crate) spacing: f64,

    /// Where the picture of the map and the shots goes.
    #[arg(long, value_name = "FILE", default_value = "shots.png", value_parser = file_to_write)]
    pub(crate) out: PathBuf,

    /// Lose one worker halfway, to see the others finish its shots; needs at least two workers.
    #[arg(long)]
    pub(crate) kill_one: bool,

    /// Write the phantom's map to a .npy file and stop.
    #[arg(long, value_name = "FILE", value_parser = file_to_write)]
    pub(crate) write_phantom: Option<PathBuf>,
}

/// What is wrong with a value, or a combination of values, on the command line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ArgumentError {
    #[error("no such file")]
    NoSuchFile,
    #[error("it is not a file; give the path of a .npy file")]
    NotAFile,
    #[error("it is a directory; give the path of a file")]
    IsADirectory,
    #[error("the directory `{}` does not exist; create it first", directory.display())]
    NoSuchDirectory { directory: PathBuf },
    #[error("not a number")]
    NotANumber(#[from] ParseFloatError),
    #[error("a cell is 0.001 to 1000 mm wide")]
    Spacing,
    #[error("--kill-one needs at least two workers, so that one is left to finish: give --workers 2 or more")]
    NobodyLeft,
}

impl Arguments {
    /// Checks what the options say together.
    ///
    /// # Errors
    /// Options that contradict each other.
    pub(crate) fn check(&self) -> Result<(), ArgumentError> {
        if self.kill_one && self.workers < 2 { Err(ArgumentError::NobodyLeft) } else { Ok(()) }
    }

    /// The side of a cell, in m.
    pub(crate) fn spacing_in_metres(&self) -> f64 {
        self.spacing * 1e-3
    }
}

fn existing_file(text: &str) -> Result<PathBuf, ArgumentError> {
    let path = PathBuf::from(text);
    if !path.exists() {
        return Err(ArgumentError::NoSuchFile);
    }
    if path.is_dir() { Err(ArgumentError::NotAFile) } else { Ok(path) }
}

/// A path that can be written as far as can be told now: an hour's work should not end at a missing directory.
fn file_to_write(text: &str) -> Result<PathBuf, ArgumentError> {
    let path = PathBuf::from(text);
    if path.is_dir() || text.is_empty() {
        return Err(ArgumentError::IsADirectory);
    }
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() && !directory.is_dir() => {
            Err(ArgumentError::NoSuchDirectory { directory: directory.to_owned() })
        }
        _ => Ok(path),
    }
}

fn spacing(text: &str) -> Result<f64, ArgumentError> {
    let spacing: f64 = text.parse()?;
    if (1e-3..=1e3).contains(&spacing) { Ok(spacing) } else { Err(ArgumentError::Spacing) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("ultrasound").chain(line.split_whitespace()))
    }

    fn refusal(line: &str) -> String {
        parse(line).unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_those_that_the_help_promises() {
        let arguments = parse("").unwrap();
        assert_eq!((arguments.workers, arguments.shots, arguments.spacing), (4, 16, 0.6));
        assert!(arguments.model.is_none() && !arguments.kill_one && arguments.check().is_ok());
    }

    #[test]
    fn nonsense_is_refused_with_what_would_be_right() {
        assert!(refusal("--workers 0").contains("1..=256"));
        assert!(refusal("--workers 257").contains("1..=256"));
        assert!(refusal("--shots 0").contains("1..=128"));
        assert!(refusal("--shots 129").contains("1..=128"));
        assert!(refusal("--shots many").contains("many"));
        assert!(refusal("--spacing 0").contains("0.001 to 1000 mm"));
        assert!(refusal("--spacing NaN").contains("0.001 to 1000 mm"));
    }

    #[test]
    fn paths_are_checked_before_anything_starts() {
        assert!(refusal("--model nowhere.npy").contains("no such file"));
        assert!(refusal("--model /").contains("not a file"));
        assert!(refusal("--out nowhere/shots.png").contains("`nowhere` does not exist"));
        assert!(refusal("--out /").contains("a directory"));
    }

    #[test]
    fn last_worker_cannot_be_killed() {
        assert!(parse("--workers 2 --kill-one").unwrap().check().is_ok());
        let error = parse("--workers 1 --kill-one").unwrap().check().unwrap_err();
        assert!(error.to_string().contains("--workers 2"));
    }

    #[test]
    fn options_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
