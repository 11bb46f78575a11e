//! The tables of figures and of ratios, in Markdown: a line a figure, a column a peer.

use mosaic_yardsticks::figures::{self, Figure, digits};
use mosaic_yardsticks::peer::Peer;
use mosaic_yardsticks::process::Pinning;

use crate::peers;
use crate::run::Results;

/// Whom the others are compared with.
const YARDSTICK: &str = "mosaic-tcp";

/// What the table of ratios says.
pub const ABOUT_RATIOS: &str = "How many times better Mosaic over TCP is than each of the others, within the same run \
                                (medians, pinned / default): below 1, the other is ahead.";

/// Pinned / default in each cell.
pub fn figures(results: &Results) -> String {
    table(
        results,
        |_| true,
        |peer, figure| {
            let shown = Pinning::BOTH.map(|pinning| {
                let median = results.median((peer.id(), pinning, figure.id));
                median.map(|value| figure.unit.show(value))
            });
            joined(shown)
        },
    )
}

/// How much better ours over TCP is than each of the others.
pub fn ratios(results: &Results) -> String {
    table(
        results,
        |peer| !peer.id().starts_with("mosaic"),
        |peer, figure| {
            let shown = Pinning::BOTH.map(|pinning| {
                let place = |id| (id, pinning, figure.id);
                let ratio = results.ratio(place(YARDSTICK), place(peer.id()))?;
                let better = if figure.unit.less_is_better() { 1.0 / ratio } else { ratio };
                better.is_finite().then(|| digits(better))
            });
            joined(shown)
        },
    )
}

fn table(
    results: &Results,
    shown: impl Fn(&dyn Peer) -> bool,
    cell: impl Fn(&dyn Peer, &Figure) -> String,
) -> String {
    let peers = peers::ALL.iter().copied().filter(|peer| results.has(peer.id()) && shown(*peer));
    let peers: Vec<_> = peers.collect();
    let mut table = String::from("| |");
    peers.iter().for_each(|peer| table += &format!(" {} |", peer.title()));
    table += "\n|---|";
    peers.iter().for_each(|_| table += "---|");
    table += "\n";
    for figure in figures::ALL {
        let cells: Vec<_> = peers.iter().map(|peer| cell(*peer, figure)).collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            table += &format!("| {} | {} |\n", figure.title, cells.join(" | "));
        }
    }
    table
}

/// Two values with one unit, where they share it.
fn joined(shown: [Option<String>; 2]) -> String {
    match shown {
        [None, None] => String::new(),
        [Some(pinned), Some(default)] => match (pinned.split_once(' '), default.split_once(' ')) {
            (Some((number, unit)), Some((_, other))) if unit == other => format!("{number} / {default}"),
            _ => format!("{pinned} / {default}"),
        },
        [Some(pinned), None] => format!("{pinned} / "),
        [None, Some(default)] => default,
    }
}
