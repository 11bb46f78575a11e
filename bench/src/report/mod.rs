//! What is made of the figures: tables on the terminal, and after a full run everything in `docs/benchmarks/`.

mod json;
mod machine;
mod page;
mod plot;
mod table;
mod targets;

use std::fs;
use std::path::Path;

use crate::options::Options;
use crate::outcome::Outcome;
use crate::run::Results;

/// Prints the tables, and writes what the options ask for.
pub fn publish(results: &Results, options: &Options) -> Outcome {
    println!("{}", table::figures(results));
    println!("{}", targets::markdown(results)?);
    results.remarks.iter().for_each(|remark| println!("{remark}"));
    if let Some(file) = &options.json {
        fs::write(file, json::text(results, options)?)?;
    }
    match &options.documentation {
        Some(folder) => document(results, options, folder),
        None => Ok(()),
    }
}

/// Writes the figures, the plots and the page that shows them.
fn document(results: &Results, options: &Options, folder: &Path) -> Outcome {
    fs::write(folder.join("figures.json"), json::text(results, options)?)?;
    for (name, figures) in plot::PLOTS {
        fs::write(folder.join(name), plot::svg(results, figures)?)?;
    }
    page::renew(&folder.join("README.md"), &page::text(results, options)?)
}
