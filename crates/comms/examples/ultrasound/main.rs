//! Ultrasound tomography: shots through a body, shared among workers, and a picture of what the transducers record.
//!
//! ```text
//! cargo run --release --example ultrasound -- --workers 4 --shots 16 --out shots.png
//! ```
//!
//! `main` is the head and its workers: it starts itself again once for each worker. `worker` is what they do, `survey`
//! hands the shots out. `solver` and the files it uses (`stencil`, `border`) are the physics, `model`, `phantom` and
//! `ring` its input, `picture` and `table` its output.

mod arguments;
mod border;
mod canvas;
mod colours;
mod model;
mod phantom;
mod picture;
mod ring;
mod solver;
mod stencil;
mod survey;
mod table;
mod worker;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use indicatif::ProgressBar;
use mosaic_comms::local;

use arguments::Arguments;
use model::Model;
use picture::Picture;
use ring::TRANSDUCERS;
use solver::Config;
use survey::Survey;
use worker::Worker;

fn main() -> ExitCode {
    // In the process of a worker, this is all that runs.
    let worker = local::worker(|_uid| Worker::default()).map_err(Into::into);
    match worker.and_then(|()| run(Arguments::parse())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the table is this program's output")]
async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    arguments.check()?;
    if let Some(path) = &arguments.write_phantom {
        return Ok(phantom::phantom()?.write(path)?);
    }
    let model = load(arguments.model.as_deref())?;
    let config = Config::suited(&model, arguments.spacing_in_metres());
    let survey = Survey {
        model: &model,
        config: &config,
        shots: arguments.shots.into(),
        workers: arguments.workers.into(),
        kill_one: arguments.kill_one,
    };
    // Draws on standard error, and only when that is a terminal.
    let bar = ProgressBar::new(arguments.shots.into());
    let (shots, reports) = survey.run(|| bar.inc(1)).await?;
    bar.finish_and_clear();
    let picture = Picture {
        model: &model,
        spacing: config.spacing,
        transducers: &ring::ring(&model, TRANSDUCERS),
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
