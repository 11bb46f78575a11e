//! All figures of all runs, for programs.

use mosaic_yardsticks::figures;
use mosaic_yardsticks::outcome::Outcome;
use mosaic_yardsticks::process::Pinning;
use serde_json::{Value, json};

use super::machine;
use crate::options::Options;
use crate::peers;
use crate::run::Results;

/// Every value of every run in base units (seconds, bytes, so many a second), and the medians.
pub fn text(results: &Results, options: &Options) -> Outcome<String> {
    let mut figures = Vec::new();
    for peer in peers::ALL {
        for pinning in Pinning::BOTH {
            for figure in figures::ALL {
                let place = (peer.id(), pinning, figure.id);
                let Some(runs) = results.of(place) else { continue };
                figures.push(json!({
                    "peer": peer.id(),
                    "pinning": pinning.name(),
                    "figure": figure.id,
                    "median": results.median(place),
                    "runs": runs.values().collect::<Vec<_>>(),
                }));
            }
        }
    }
    let all: Value = json!({
        "command": options.command,
        "machine": machine::description(),
        "runs": results.runs,
        "remarks": results.remarks,
        "figures": figures,
    });
    Ok(serde_json::to_string_pretty(&all)? + "\n")
}
