//! The targets: for some figures a gate that must be passed, and a goal that is aimed at.

use mosaic_yardsticks::figures::find;
use mosaic_yardsticks::outcome::Outcome;
use mosaic_yardsticks::process::Pinning::{self, Default, Pinned};

use crate::run::Results;

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * 1024.0;

/// What one figure of ours is to reach.
pub struct Target {
    pub peer: &'static str,
    pub pinning: Pinning,
    pub figure: &'static str,
    /// Not the figure itself counts, but how many times that of this peer it is, within a run.
    pub beside: Option<&'static str>,
    pub gate: Option<f64>,
    pub goal: Option<f64>,
}

/// How a target was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    GoalReached,
    GatePassed,
    Missed,
    NotMeasured,
}

const fn target(figure: &'static str, peer: &'static str, pinning: Pinning, gate: f64, goal: f64) -> Target {
    Target { peer, pinning, figure, beside: None, gate: Some(gate), goal: Some(goal) }
}

const fn beside(mut target: Target, peer: &'static str) -> Target {
    target.beside = Some(peer);
    target
}

const fn without_gate(mut target: Target) -> Target {
    target.gate = None;
    target
}

const fn without_goal(mut target: Target) -> Target {
    target.goal = None;
    target
}

/// All of them.
pub const ALL: &[Target] = &[
    target("round-trip-64-p50", "mosaic-unix", Pinned, 13e-6, 8.5e-6),
    target("round-trip-64-p50", "mosaic-tcp", Pinned, 13e-6, 8.5e-6),
    target("round-trip-64-p50", "mosaic-tls", Pinned, 13e-6, 10e-6),
    without_gate(beside(target("round-trip-64-p50", "mosaic-unix", Pinned, 0.0, 1.25), "raw-tokio")),
    without_gate(beside(target("round-trip-64-p50", "mosaic-tcp", Pinned, 0.0, 1.25), "raw-tokio")),
    target("outstanding-64", "mosaic-unix", Default, 0.45e6, 0.6e6),
    target("outstanding-64", "mosaic-tcp", Default, 0.45e6, 0.6e6),
    target("outstanding-64", "mosaic-unix", Pinned, 1.4e6, 1.8e6),
    target("outstanding-64", "mosaic-tcp", Pinned, 1.4e6, 1.8e6),
    target("one-way-64", "mosaic-unix", Default, 3e6, 4.5e6),
    target("one-way-64", "mosaic-tcp", Default, 3e6, 4.5e6),
    target("array-1m", "mosaic-tcp", Default, 5e9, 13e9),
    target("array-1m", "mosaic-unix", Default, 6e9, 13e9),
    target("array-64m", "mosaic-tcp", Default, 5e9, 6e9),
    target("array-64m", "mosaic-unix", Default, 5e9, 6e9),
    beside(target("array-1m", "mosaic-tls", Default, 0.5, 0.65), "mosaic-tcp"),
    beside(target("array-64m", "mosaic-tls", Default, 0.4, 0.5), "mosaic-tcp"),
    target("express-during-bulk-p50", "mosaic-unix", Default, 30e-6, 20e-6),
    target("express-during-bulk-p99", "mosaic-unix", Default, 1.5e-3, 0.2e-3),
    target("express-during-bulk-p50", "mosaic-tcp", Default, 30e-6, 20e-6),
    target("express-during-bulk-p99", "mosaic-tcp", Default, 1.5e-3, 0.2e-3),
    target("reply-during-bulk-p50", "mosaic-unix", Default, 30e-6, 20e-6),
    target("reply-during-bulk-p99", "mosaic-unix", Default, 1.5e-3, 0.2e-3),
    target("reply-during-bulk-p50", "mosaic-tcp", Default, 30e-6, 20e-6),
    target("reply-during-bulk-p99", "mosaic-tcp", Default, 1.5e-3, 0.2e-3),
    target("heart-p999", "mosaic-unix", Default, 50e-3, 10e-3),
    target("heart-p999", "mosaic-tcp", Default, 50e-3, 10e-3),
    target("handshake", "mosaic-unix", Default, 5e-3, 2e-3),
    target("handshake", "mosaic-tls", Default, 5e-3, 2e-3),
    target("start-16", "mosaic-unix", Default, 0.5, 0.3),
    target("join-1000", "mosaic-unix", Default, 10.0, 5.0),
    target("link-memory", "mosaic-unix", Default, 32.0 * KIB, 16.0 * KIB),
    target("link-memory", "mosaic-tcp", Default, 32.0 * KIB, 16.0 * KIB),
    target("link-memory", "mosaic-tls", Default, 48.0 * KIB, 32.0 * KIB),
    target("manager-memory", "mosaic-unix", Default, 4.0 * MIB, 2.0 * MIB),
    without_goal(target("strangers-stay", "mosaic-tls", Default, 2.0, 0.0)),
    without_goal(target("strangers-go", "mosaic-tls", Default, 2.0, 0.0)),
    without_goal(target("strangers-garbage", "mosaic-tls", Default, 2.0, 0.0)),
    without_goal(target("strangers-hello", "mosaic-tls", Default, 2.0, 0.0)),
    target("round-trip-64-p50", "mosaic-asyncio", Pinned, 60e-6, 40e-6),
    target("outstanding-64", "mosaic-asyncio", Default, 80e3, 120e3),
    target("outstanding-64", "mosaic-uvloop", Default, 120e3, 180e3),
    target("array-64m", "mosaic-asyncio", Default, 2.5e9, 4e9),
];

impl Target {
    /// The median that counts.
    pub fn measured(&self, results: &Results) -> Option<f64> {
        let own = (self.peer, self.pinning, self.figure);
        match self.beside {
            Some(other) => results.ratio(own, (other, self.pinning, self.figure)),
            None => results.median(own),
        }
    }

    /// How it was met.
    pub fn verdict(&self, results: &Results) -> Outcome<Verdict> {
        let less_is_better = find(self.figure)?.unit.less_is_better();
        let Some(measured) = self.measured(results) else { return Ok(Verdict::NotMeasured) };
        let met = |bound: f64| if less_is_better { measured <= bound } else { measured >= bound };
        // Where there is only one of them, it decides.
        Ok(match (self.gate.map(met), self.goal.map(met)) {
            (_, Some(true)) => Verdict::GoalReached,
            (Some(true), _) => Verdict::GatePassed,
            _ => Verdict::Missed,
        })
    }
}
