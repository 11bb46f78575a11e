//! The runs: every peer after the other, pinned and default, and that several times over, so that whatever slows the
//! machine for a while slows all of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mosaic_yardsticks::figures::find;
use mosaic_yardsticks::outcome::Outcome;
use mosaic_yardsticks::peer::Peer;
use mosaic_yardsticks::process::{Pinning, Printed, lines_of};

use crate::options::Options;
use crate::peers::ALL;

/// No part of a peer takes longer.
const PATIENCE: Duration = Duration::from_secs(45);

/// What was begun when time was up has this long to end.
const OVERTIME: Duration = Duration::from_secs(15);

/// Where a value belongs: the id of a peer, how it was pinned, the id of a figure.
pub type Place = (&'static str, Pinning, &'static str);

/// What was measured.
#[derive(Default)]
pub struct Results {
    /// The values by run; a run that failed before has none.
    values: BTreeMap<Place, BTreeMap<usize, f64>>,
    /// Runs that all peers had a part in.
    pub runs: usize,
    /// What went wrong or was left out, in words.
    pub remarks: Vec<String>,
}

impl Results {
    /// The values of a figure by run.
    pub fn of(&self, place: Place) -> Option<&BTreeMap<usize, f64>> {
        self.values.get(&place)
    }

    /// The median over the runs.
    pub fn median(&self, place: Place) -> Option<f64> {
        median(self.of(place)?.values().copied().collect())
    }

    /// The median of the quotients within each run.
    pub fn ratio(&self, of: Place, to: Place) -> Option<f64> {
        let (of, to) = (self.of(of)?, self.of(to)?);
        median(of.iter().filter_map(|(run, value)| Some(value / to.get(run)?)).collect())
    }

    /// Whether there is any figure of this peer.
    pub fn has(&self, peer: &str) -> bool {
        self.values.keys().any(|(id, ..)| *id == peer)
    }

    /// Takes what a measuring process has printed.
    fn add(&mut self, peer: &dyn Peer, pinning: Pinning, run: usize, printed: Printed) -> Outcome {
        for line in printed.lines {
            self.take(peer, pinning, run, &line)?;
        }
        if let Some(failure) = printed.failure {
            let remark = format!("{}, {}, run {}: {failure}", peer.title(), pinning.name(), run + 1);
            eprintln!("  {remark}");
            self.remarks.push(remark);
        }
        Ok(())
    }

    fn take(&mut self, peer: &dyn Peer, pinning: Pinning, run: usize, line: &str) -> Outcome {
        let (id, value) = line.split_once(' ').ok_or_else(|| format!("no figure: `{line}`"))?;
        let place = (peer.column(), pinning, find(id)?.id);
        self.values.entry(place).or_default().insert(run, value.parse()?);
        Ok(())
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.get(values.len() / 2)?;
    let below = values.get((values.len() - 1) / 2)?;
    Some((middle + below) / 2.0)
}

/// Measures what is asked for.
pub fn everything(options: &Options) -> Outcome<Results> {
    let mut results = Results::default();
    let deadline = Instant::now() + options.within;
    let peers = present(options, &mut results);
    for run in 0..options.runs {
        for (peer, pinning) in peers.iter().flat_map(|peer| Pinning::BOTH.map(|pinning| (*peer, pinning))) {
            if Instant::now() > deadline {
                results.remarks.push(format!("time was up within run {} of {}", run + 1, options.runs));
                return Ok(results);
            }
            for part in peer.parts(pinning) {
                eprintln!("run {} of {}: {}, {}", run + 1, options.runs, peer.title(), pinning.name());
                let command = peer.command(*part, pinning, options.milliseconds)?;
                let limit = PATIENCE.min(deadline.saturating_duration_since(Instant::now()) + OVERTIME);
                results.add(peer, pinning, run, lines_of(command, limit))?;
            }
        }
        results.runs += 1;
    }
    Ok(results)
}

/// The peers that are asked for and can be measured here.
fn present(options: &Options, results: &mut Results) -> Vec<&'static dyn Peer> {
    let asked = |peer: &&&dyn Peer| options.only.is_empty() || options.only.iter().any(|id| id == peer.id());
    let mut present = Vec::new();
    for peer in ALL.iter().filter(asked) {
        match peer.missing() {
            None => present.push(*peer),
            Some(missing) => results.remarks.push(format!("{} is left out: {missing}", peer.title())),
        }
    }
    present
}
