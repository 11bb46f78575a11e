//! Figures of Mosaic comms between two processes of this machine, beside its peers in the same run.
//!
//! `cargo xtask bench` builds and runs it. This program is three: the one that is started directs the runs
//! (`run.rs`), and starts itself again as the process that measures one peer (`measure PART PEER ..`), which starts the one
//! that serves it (`serve PEER`). A measuring process prints one line a figure; Python scripts do the same.

mod mosaic;
mod options;
mod peers;
mod report;
mod run;
mod targets;

use std::process::ExitCode;

use mosaic_yardsticks::outcome::{self, Outcome};
use mosaic_yardsticks::part::Part;
use mosaic_yardsticks::process::{self, Pinning};
use mosaic_yardsticks::sheet::Sheet;

use options::Options;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}", outcome::with_causes(&*failure));
            ExitCode::FAILURE
        }
    }
}

fn start() -> Outcome {
    // In the worker processes of start-up times, this is the whole of the program.
    mosaic_comms::local::worker(|_uid| mosaic_comms::Methods::new())?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["measure", part, peer, pinning, milliseconds] => {
            process::end_with_parent();
            Pinning::parse(pinning)?.apply()?;
            peers::find(peer)?.measure(Part::parse(part)?, &Sheet::new(milliseconds.parse()?))
        }
        ["serve", peer, ref details @ ..] => {
            process::end_with_parent();
            peers::find(peer)?.serve(details)
        }
        _ => {
            let options = Options::parse(&words)?;
            report::publish(&run::everything(&options)?, &options)
        }
    }
}
