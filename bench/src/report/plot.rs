//! Bars as SVG: a file a group of figures, a panel a figure, a bar a peer and pinning.
//!
//! ```text
//! title of the panel                      (log scale where the values span more than a factor of 30)
//!   Mosaic, Unix  ########## 8.5 us       pinned
//!                 ############ 11 us      default
//!   raw tokio     ######## 7.0 us
//! ```

use std::fmt::Write;

use mosaic_yardsticks::figures::{Figure, Unit};
use mosaic_yardsticks::outcome::Outcome;
use mosaic_yardsticks::peer::Peer;
use mosaic_yardsticks::process::Pinning;

use crate::peers;
use crate::run::Results;

/// The files and the figures in each.
pub const PLOTS: &[(&str, &[&str])] = &[
    ("round-trips.svg", &["round-trip-64-p50", "round-trip-64k-p50"]),
    ("rates.svg", &["outstanding-64", "one-way-64"]),
    ("arrays.svg", &["array-1m", "array-64m"]),
    ("during-bulk.svg", &["express-during-bulk-p50", "reply-during-bulk-p50"]),
];

/// Pixels.
const WIDTH: f64 = 860.0;
const LABELS: f64 = 140.0;
const BARS: f64 = 600.0;
const BAR: f64 = 10.0;
const PEER: f64 = 2.0 * BAR + 8.0;
const HEAD: f64 = 58.0;
const FOOT: f64 = 16.0;

/// Values that differ by more than this are drawn on a logarithmic scale.
const WIDE: f64 = 30.0;

/// The text of a file with these figures.
pub fn svg(results: &Results, figures: &[&str]) -> Outcome<String> {
    let mut panels = String::new();
    let mut height = 0.0;
    for id in figures {
        let panel = Panel::new(results, mosaic_yardsticks::figures::find(id)?);
        if !panel.rows.is_empty() {
            panel.draw(&mut panels, height);
            height += panel.height();
        }
    }
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n{panels}</svg>\n"
    ))
}

struct Panel<'a> {
    figure: &'a Figure,
    rows: Vec<(&'static dyn Peer, [Option<f64>; 2])>,
    scale: Scale,
}

impl<'a> Panel<'a> {
    fn new(results: &Results, figure: &'a Figure) -> Panel<'a> {
        let rows: Vec<_> = peers::ALL
            .iter()
            .map(|peer| (*peer, Pinning::BOTH.map(|pinning| results.median((peer.id(), pinning, figure.id)))))
            .filter(|(_, values)| values.iter().any(Option::is_some))
            .collect();
        let values = rows.iter().flat_map(|(_, values)| values.iter().flatten().copied());
        let scale = Scale::over(values, figure.unit);
        Panel { figure, rows, scale }
    }

    fn height(&self) -> f64 {
        HEAD + PEER * self.rows.len() as f64 + FOOT
    }

    fn draw(&self, out: &mut String, top: f64) {
        let bottom = top + HEAD + PEER * self.rows.len() as f64;
        let better = if self.figure.unit.less_is_better() { "less is better" } else { "more is better" };
        let kind = if self.scale.logarithmic { ", logarithmic scale" } else { "" };
        text(out, 12.0, top + 22.0, "start", TITLE, self.figure.title);
        text(
            out,
            WIDTH - 12.0,
            top + 22.0,
            "end",
            GREY,
            &format!("{better}{kind}; pale: pinned, full: default"),
        );
        for tick in self.scale.ticks() {
            let x = LABELS + self.scale.place(tick);
            let _ = writeln!(
                out,
                "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"#dddddd\"/>",
                top + HEAD - 8.0
            );
            text(out, x, top + HEAD - 12.0, "middle", GREY, &short(self.figure.unit, tick));
        }
        for (number, (peer, values)) in self.rows.iter().enumerate() {
            self.row(out, top + HEAD + PEER * number as f64, *peer, values);
        }
    }

    fn row(&self, out: &mut String, top: f64, peer: &dyn Peer, values: &[Option<f64>; 2]) {
        text(out, LABELS - 8.0, top + BAR + 4.0, "end", NAME, peer.title());
        let ours = peer.id().starts_with("mosaic");
        let colours = if ours { ["#8fb8de", "#1f5f9f"] } else { ["#cfcfcf", "#7a7a7a"] };
        for (number, value) in values.iter().enumerate() {
            let Some(value) = value else { continue };
            let (y, width) = (top + BAR * number as f64, self.scale.place(*value).max(1.0));
            let _ = writeln!(
                out,
                "<rect x=\"{LABELS}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{}\"/>",
                colours[number]
            );
            let shown = self.figure.unit.show(*value);
            text(out, LABELS + width + 5.0, y + BAR - 1.5, "start", VALUE, &shown);
        }
    }
}

/// Attributes of text.
const TITLE: &str = r##"fill="#111111" font-size="15" font-weight="bold""##;
const NAME: &str = r##"fill="#111111""##;
const VALUE: &str = r##"fill="#333333" font-size="10""##;
const GREY: &str = r##"fill="#666666""##;

fn text(out: &mut String, x: f64, y: f64, anchor: &str, style: &str, words: &str) {
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {style}>{words}</text>");
}

/// A tick's label: no digits that are always zero.
fn short(unit: Unit, value: f64) -> String {
    let shown = unit.show(value);
    match shown.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => shown,
    }
}

/// From values to pixels.
struct Scale {
    logarithmic: bool,
    least: f64,
    most: f64,
}

impl Scale {
    fn over(values: impl Iterator<Item = f64>, unit: Unit) -> Scale {
        let values: Vec<f64> = values.filter(|value| *value > 0.0).collect();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        let logarithmic = most > WIDE * least;
        // Powers of ten are round in every unit but that of memory, which is not drawn.
        debug_assert!(unit != Unit::Bytes);
        let least = if logarithmic { 10_f64.powf((least * 0.7).log10().floor()) } else { 0.0 };
        Scale { logarithmic, least, most }
    }

    fn place(&self, value: f64) -> f64 {
        let part = if self.logarithmic {
            (value / self.least).max(1.0).ln() / (self.most / self.least).ln()
        } else {
            value / self.most
        };
        part * BARS
    }

    /// Round numbers: the powers of ten, or about five steps.
    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let powers = std::iter::successors(Some(self.least), |tick| Some(tick * 10.0));
            return powers.take_while(|tick| *tick <= self.most * 1.0001).collect();
        }
        let rough = self.most / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
        let step = steps.into_iter().find(|step| *step >= rough).unwrap_or(power);
        (0..=(self.most / step) as usize).map(|number| number as f64 * step).collect()
    }
}
