//! What is made of the figures: tables on the terminal; figures, plots and a page in a folder.

mod json;
mod machine;
mod page;
mod plot;
mod table;
mod targets;

use std::fs;

use mosaic_yardsticks::outcome::Outcome;

use crate::options::Options;
use crate::run::Results;

/// Prints the tables, and writes all that there is.
pub fn publish(results: &Results, options: &Options) -> Outcome {
    println!("{}", table::figures(results));
    println!("{}", targets::markdown(results)?);
    results.remarks.iter().for_each(|remark| println!("{remark}"));
    if let Some(file) = &options.json {
        fs::write(file, json::text(results, options)?)?;
    }
    let folder = &options.folder;
    fs::write(folder.join("figures.json"), json::text(results, options)?)?;
    for (name, figures) in plot::PLOTS {
        fs::write(folder.join(name), plot::svg(results, figures)?)?;
    }
    page::renew(&folder.join("README.md"), &page::text(results, options)?)?;
    println!("\nwritten to {}", folder.display());
    Ok(())
}
