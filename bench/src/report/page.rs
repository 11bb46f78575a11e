//! The part of `docs/benchmarks/README.md` that a full run writes: what stands between two markers. Elsewhere there is
//! nothing else.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use mosaic_yardsticks::outcome::Outcome;

use super::{machine, plot, table, targets};
use crate::options::Options;
use crate::peers;
use crate::run::Results;

const BEGIN: &str = "<!-- figures: begin -->";
const END: &str = "<!-- figures: end -->";

/// Everything between the markers.
pub fn text(results: &Results, options: &Options) -> Outcome<String> {
    let mut page = format!(
        "Written by `{}`: {} runs of each, on {}.\n",
        options.command,
        results.runs,
        machine::description()
    );
    let _ = write!(page, "\n## Targets\n\n{}", targets::markdown(results)?);
    let _ = write!(page, "\n## Figures\n\nMedians, pinned / default.\n\n{}", table::figures(results));
    let _ = write!(page, "\n## Ratios\n\n{}\n\n{}", table::ABOUT_RATIOS, table::ratios(results));
    page += "\n## Plots\n\n";
    for (file, figures) in plot::PLOTS {
        let _ = writeln!(page, "![{}]({file})\n", figures.join(", "));
    }
    page += "## Who is measured\n\n";
    for peer in peers::ALL.iter().filter(|peer| results.has(peer.id())) {
        let _ = writeln!(page, "- **{}**: {}", peer.title(), peer.about());
    }
    if !results.remarks.is_empty() {
        page += "\n## What went wrong or was left out\n\n";
        results.remarks.iter().for_each(|remark| page += &format!("- {remark}\n"));
    }
    Ok(page)
}

/// Puts `text` between the markers of a file.
pub fn renew(file: &Path, text: &str) -> Outcome {
    let page = if file.exists() { fs::read_to_string(file)? } else { format!("{BEGIN}\n{END}\n") };
    let missing = || format!("{} lacks the line `{BEGIN}` or, after it, `{END}`", file.display());
    let (before, rest) = page.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    Ok(fs::write(file, format!("{before}{BEGIN}\n\n{text}\n{END}{after}"))?)
}
