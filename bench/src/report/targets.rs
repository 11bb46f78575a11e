//! The table of targets, those that were missed included.

use std::fmt::Write;

use mosaic_yardsticks::figures::{Unit, digits, find};
use mosaic_yardsticks::outcome::Outcome;

use crate::peers;
use crate::run::Results;
use crate::targets::{ALL, Target, Verdict};

/// A line a target, in Markdown.
pub fn markdown(results: &Results) -> Outcome<String> {
    let mut table = String::from("| figure | who | gate | goal | reached | |\n|---|---|---|---|---|---|\n");
    for target in ALL {
        let figure = find(target.figure)?;
        let show = |value: Option<f64>| match target.beside {
            _ if value.is_none() => String::new(),
            Some(_) => value.map(|value| format!("{} x", digits(value))).unwrap_or_default(),
            None => value.map(|value| figure.unit.show(value)).unwrap_or_default(),
        };
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} |",
            figure.title,
            who(target)?,
            bound(figure.unit, show(target.gate)),
            bound(figure.unit, show(target.goal)),
            show(target.measured(results)),
            words(target.verdict(results)?, target)
        );
    }
    Ok(table)
}

fn who(target: &Target) -> Outcome<String> {
    let mut who = format!("{}, {}", peers::find(target.peer)?.title(), target.pinning.name());
    if let Some(other) = target.beside {
        let _ = write!(who, ", to {}", peers::find(other)?.title());
    }
    Ok(who)
}

fn bound(unit: Unit, shown: String) -> String {
    match shown.as_str() {
        "" => shown,
        _ if unit.less_is_better() => format!("<= {shown}"),
        _ => format!(">= {shown}"),
    }
}

fn words(verdict: Verdict, target: &Target) -> &'static str {
    match (verdict, target.gate) {
        (Verdict::GoalReached, _) => "goal reached",
        (Verdict::GatePassed, _) => "gate passed",
        (Verdict::Missed, Some(_)) => "**missed**",
        (Verdict::Missed, None) => "goal missed",
        (Verdict::NotMeasured, _) => "not measured",
    }
}
