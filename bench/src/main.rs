//! Figures of Mosaic comms between two processes of this machine, beside its peers in the same run.
//!
//! `cargo xtask bench` builds and runs it. This program is three: the one that is started directs the runs
//! (`run.rs`), and starts itself again as the process that measures one peer (`measure PART PEER ..`), which starts the one
//! that serves it (`serve PEER`). A measuring process prints one line a figure; Python scripts do the same.

mod calls;
mod figures;
mod flood;
mod frames;
mod options;
mod outcome;
mod part;
mod peers;
mod process;
mod report;
mod run;
mod sheet;
mod targets;

use std::process::ExitCode;

use options::Options;
use outcome::Outcome;
use sheet::Sheet;

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
            process::Pinning::parse(pinning)?.apply()?;
            peers::find(peer)?.measure(part::Part::parse(part)?, &Sheet::new(milliseconds.parse()?))
        }
        ["serve", peer, ref details @ ..] => peers::find(peer)?.serve(details),
        _ => {
            let options = Options::parse(&words)?;
            report::publish(&run::everything(&options)?, &options)
        }
    }
}
