//! `mosaic keygen` and `mosaic key show`: the credential of a job. The key itself is never printed.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use mosaic_comms::Credential;

use crate::network::Where;
use crate::shown;

#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// The file to make; it must not be there yet
    file: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Prints the file of the credential and its fingerprint
    Show {
        /// The file; else where a runtime would find it
        file: Option<PathBuf>,
    },
}

impl Keygen {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        print(&Credential::create(&self.file)?)
    }
}

impl Key {
    pub(crate) fn run(self, place: &Where) -> Result<(), Box<dyn Error>> {
        let Key::Show { file } = self;
        let places = match file {
            Some(file) => vec![file],
            None => Credential::places(&place.config()?),
        };
        match places.iter().find(|place| place.exists()) {
            Some(found) => print(&Credential::load(found)?),
            None if places.is_empty() => {
                Err("nothing says where the credential is: give the file, --monitor HOST:PORT or --key-file"
                    .into())
            }
            None => Err(format!("there is no credential: looked for {}", shown(&places)).into()),
        }
    }
}

fn print(credential: &Credential) -> Result<(), Box<dyn Error>> {
    writeln!(std::io::stdout(), "{}\t{}", credential.path().display(), credential.fingerprint())?;
    Ok(())
}
