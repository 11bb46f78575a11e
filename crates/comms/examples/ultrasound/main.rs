//! Ultrasound tomography: shots through a body, shared among workers, and a picture of what the transducers record.
//!
//! ```text
//! cargo run --release --example ultrasound -- --workers 4 --shots 16 --out shots.png
//! ```
//!
//! `solver` and the files it uses (`stencil`, `border`) are the physics, `model`, `phantom` and `ring` its input,
//! `picture` and `table` its output.

mod arguments;
mod border;
mod canvas;
mod colours;
mod in_process;
mod model;
mod phantom;
mod picture;
mod ring;
mod solver;
mod stencil;
mod table;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use indicatif::ProgressBar;

use arguments::Arguments;
use in_process::Work;
use model::Model;
use picture::Picture;
use ring::TRANSDUCERS;
use solver::{Config, Simulation};

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the table is this program's output")]
fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    arguments.check()?;
    if let Some(path) = &arguments.write_phantom {
        return Ok(phantom::phantom()?.write(path)?);
    }
    let model = load(arguments.model.as_deref())?;
    let config = Config::suited(&model, arguments.spacing_in_metres());
    let transducers = ring::ring(&model, TRANSDUCERS);
    let simulation = Simulation::new(&model, &transducers, &config)?;
    let work = Work {
        simulation: &simulation,
        transducers: TRANSDUCERS,
        shots: arguments.shots.into(),
        workers: arguments.workers.into(),
        kill_one: arguments.kill_one,
    };
    // Draws on standard error, and only when that is a terminal.
    let bar = ProgressBar::new(arguments.shots.into());
    let (shots, reports) = in_process::compute(&work, || bar.inc(1))?;
    bar.finish_and_clear();
    let picture = Picture {
        model: &model,
        spacing: config.spacing,
        transducers: &transducers,
        time_step: config.time_step,
        shots: &shots,
    };
    std::fs::write(&arguments.out, picture.draw().to_png()?)
        .map_err(|error| format!("cannot write the picture `{}`: {error}", arguments.out.display()))?;
    print!("{}", table::table(&reports));
    println!("The picture is in {}.", arguments.out.display());
    Ok(())
}

fn load(path: Option<&Path>) -> Result<Model, Box<dyn Error>> {
    match path {
        Some(path) => Ok(Model::read(path)?),
        None => Ok(Model::from_npy(include_bytes!("phantom.npy"))?),
    }
}

/// An error and its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
