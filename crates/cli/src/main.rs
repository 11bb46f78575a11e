//! The `mosaic` command: reads the command line and hands over to one file a verb, below `commands/`.
#![forbid(unsafe_code)]

mod commands;
mod network;
mod npy;
mod scrape;
mod table;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use self::network::{NetworkError, Where};

/// Starts a monitor, and looks at a running network of runtimes.
///
/// Exit codes: 0 done, 1 it failed, 2 the command line is wrong, 3 the monitor was not reached.
#[derive(Debug, Parser)]
#[command(name = "mosaic", version)]
struct Arguments {
    #[command(flatten)]
    place: Where,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs a monitor, at which runtimes meet, until it is interrupted or stopped
    Monitor(commands::monitor::Monitor),
    /// Lists the runtimes of the network
    Ls(commands::ls::Ls),
    /// Measures how long a runtime takes to answer
    Ping(commands::ping::Ping),
    /// Tells what methods a runtime has, with their arguments
    Methods(commands::methods::Methods),
    /// Calls a method and prints its result as JSON
    Call(commands::call::Call),
    /// Follows who joins, who is gone, and why, until it is interrupted
    Events(commands::events::Events),
    /// Stops a runtime in good order
    Stop(commands::stop::Stop),
    /// Makes a job's credential
    Keygen(commands::key::Keygen),
    /// Looks at a job's credential
    #[command(subcommand)]
    Key(commands::key::Key),
    /// Says what there is to join a network from here, and what to do about what is missing
    Doctor(commands::doctor::Doctor),
    /// Prints the completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Prints the manual page
    Man,
}

fn main() -> ExitCode {
    let Arguments { place, verb } = Arguments::parse();
    match run(&place, verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", told(&*error));
            ExitCode::from(if error.is::<NetworkError>() { 3 } else { 1 })
        }
    }
}

fn run(place: &Where, verb: Verb) -> Result<(), Box<dyn Error>> {
    match verb {
        Verb::Monitor(monitor) => monitor.run(place),
        Verb::Ls(ls) => ls.run(place),
        Verb::Ping(ping) => ping.run(place),
        Verb::Methods(methods) => methods.run(place),
        Verb::Call(call) => call.run(place),
        Verb::Events(events) => events.run(place),
        Verb::Stop(stop) => stop.run(place),
        Verb::Keygen(keygen) => keygen.run(),
        Verb::Key(key) => key.run(place),
        Verb::Doctor(doctor) => doctor.run(place),
        Verb::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "mosaic", &mut std::io::stdout());
            Ok(())
        }
        Verb::Man => Ok(clap_mangen::Man::new(Arguments::command()).render(&mut std::io::stdout())?),
    }
}

/// An error and its causes, in one line.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// A time-out as it is given.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0.0);
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "it is no number of seconds above 0, as in 2.5".to_owned())
}

/// Where a file is looked for that the user did not name.
fn shown(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
