//! What is asked for on the command line.

use std::path::PathBuf;
use std::time::Duration;

use mosaic_yardsticks::outcome::Outcome;

use crate::peers;

const USAGE: &str = "usage: cargo xtask bench [--quick] [--json FILE] [--only PEER,PEER..]";

/// How the figures are measured and where they go.
pub struct Options {
    /// How often each peer is measured.
    pub runs: usize,
    /// For how long each of a peer's figures is measured.
    pub milliseconds: u64,
    /// After this, no peer is measured once more.
    pub within: Duration,
    /// The ids of the peers to measure; all if there is none.
    pub only: Vec<String>,
    /// A file for all figures.
    pub json: Option<PathBuf>,
    /// The folder of the page and its plots: the documentation, or one beside this program for a run that is short or
    /// leaves peers out.
    pub folder: PathBuf,
    /// As it would be typed.
    pub command: String,
}

impl Options {
    pub fn parse(words: &[&str]) -> Outcome<Options> {
        let mut options = Options {
            runs: 5,
            milliseconds: 180,
            within: Duration::from_secs(14 * 60),
            only: Vec::new(),
            json: None,
            folder: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmarks")),
            command: format!("cargo xtask bench {}", words.join(" ")).trim_end().to_owned(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--quick" => options.hurry()?,
                "--json" => options.json = Some(words.next().ok_or(USAGE)?.into()),
                "--only" => options.only_these(words.next().ok_or(USAGE)?)?,
                _ => return Err(USAGE.into()),
            }
        }
        Ok(options)
    }

    fn hurry(&mut self) -> Outcome {
        self.runs = 2;
        self.milliseconds = 60;
        self.within = Duration::from_secs(160);
        self.spare_the_documentation()
    }

    fn only_these(&mut self, ids: &str) -> Outcome {
        self.only = ids.split(',').map(str::to_owned).collect();
        self.only.iter().try_for_each(|id| peers::find(id).map(drop))?;
        self.spare_the_documentation()
    }

    fn spare_the_documentation(&mut self) -> Outcome {
        self.folder = std::env::current_exe()?.with_file_name("report");
        Ok(std::fs::create_dir_all(&self.folder)?)
    }
}
