//! The picture of a run: the sound-speed map with its transducers, and one panel per shot with all its traces.
//!
//! ```text
//!   title                                              | scales
//!   [ map    ] [ shot 1 ] [ shot 2 ] ...               | speed
//!   [ shot 6 ] [ shot 7 ] ...                          | pressure
//! ```
//!
//! All shots share one pressure scale, clipped so that the faint waves behind the first arrivals are seen.

use crate::canvas::{Anchor, Area, Canvas, INK, TextSize};
use crate::colours::{diverging, sequential};
use crate::model::Model;
use crate::ring::Cell;
use crate::solver::Traces;

/// Pixels of each side of a panel: two per receiver of the default ring.
const PANEL: i32 = 256;

/// Pixels around a panel for its title, ticks and labels.
const LEFT: i32 = 48;
const RIGHT: i32 = 18;
const ABOVE: i32 = 34;
const BELOW: i32 = 40;

/// Pixels for the title above all panels, for the scales beside them, and of margin around everything.
const TITLE: i32 = 44;
const SCALES: i32 = 150;
const MARGIN: i32 = 16;

/// The share of samples after the first arrivals that the pressure scale covers; the rest saturates, which shows
/// the scattered waves, a hundred times fainter than the direct ones.
const CLIP: f64 = 0.92;

/// What to draw.
pub(crate) struct Picture<'a> {
    /// The map, whose cells are `spacing` metres wide.
    pub(crate) model: &'a Model,
    pub(crate) spacing: f64,
    /// Where the transducers are.
    pub(crate) transducers: &'a [Cell],
    /// The time between samples, in s.
    pub(crate) time_step: f64,
    /// The transducer that each shot fired, and what all of them recorded.
    pub(crate) shots: &'a [(usize, Traces)],
}

/// An axis: the values at both ends of a panel's side, and what they are.
struct Axis {
    from: f64,
    to: f64,
    label: &'static str,
}

impl Picture<'_> {
    /// Draws the picture; the same input gives the same bits.
    pub(crate) fn draw(&self) -> Canvas {
        let (columns, rows) = arrangement(self.shots.len() as i32 + 1);
        let (cell_width, cell_height) = (LEFT + PANEL + RIGHT, ABOVE + PANEL + BELOW);
        let width = 2 * MARGIN + columns * cell_width + SCALES;
        let mut canvas = Canvas::new(width, 2 * MARGIN + TITLE + rows * cell_height);
        let area = |index: i32| Area {
            x: MARGIN + index % columns * cell_width + LEFT,
            y: MARGIN + TITLE + index / columns * cell_height + ABOVE,
            width: PANEL,
            height: PANEL,
        };
        canvas.text(&self.title(), MARGIN + LEFT, MARGIN + TITLE / 2, TextSize::Large, Anchor::Left);
        let limit = clip(self.shots);
        self.draw_model(&mut canvas, area(0));
        for (index, (fired, traces)) in self.shots.iter().enumerate() {
            self.draw_shot(&mut canvas, area(index as i32 + 1), index, *fired, traces, limit);
        }
        self.draw_scales(&mut canvas, MARGIN + columns * cell_width + 24, limit);
        canvas
    }

    fn title(&self) -> String {
        let (rows, columns) = (self.model.rows(), self.model.columns());
        let shots = self.shots.len();
        let plural = if shots == 1 { "" } else { "s" };
        let count = self.transducers.len();
        format!("Ultrasound: {shots} shot{plural} through {rows} x {columns} cells, {count} transducers")
    }

    fn draw_model(&self, canvas: &mut Canvas, panel: Area) {
        let (rows, columns) = (self.model.rows(), self.model.columns());
        let longest = rows.max(columns) as i32;
        let area =
            Area { width: PANEL * columns as i32 / longest, height: PANEL * rows as i32 / longest, ..panel };
        let (slowest, range) = self.speeds();
        canvas.paint(area, |x, y| {
            let cell = [nearest(y, area.height, rows), nearest(x, area.width, columns)];
            sequential((self.model.speed()[cell] - slowest) / range)
        });
        let millimetres =
            |cells: usize| Axis { from: 0.0, to: cells as f64 * self.spacing * 1e3, label: "mm" };
        draw_axes(canvas, area, "sound speed", &millimetres(columns), &millimetres(rows));
        for (index, cell) in self.transducers.iter().enumerate() {
            let fired = self.shots.iter().any(|(fired, _)| *fired == index);
            let along = |cell: usize, cells: usize, pixels: i32| {
                ((cell as f64 + 0.5) / cells as f64 * f64::from(pixels)) as i32
            };
            let (x, y) = (along(cell.column, columns, area.width), along(cell.row, rows, area.height));
            draw_transducer(canvas, area.x + x, area.y + y, fired);
        }
    }

    fn draw_shot(
        &self,
        canvas: &mut Canvas,
        area: Area,
        shot: usize,
        fired: usize,
        traces: &Traces,
        limit: f32,
    ) {
        canvas.paint(area, |x, y| {
            let trace = traces.of(nearest(x, area.width, traces.receivers));
            // The mean over the samples that fall on the pixel; at least one does.
            let from = nearest(y, area.height, traces.steps);
            let to = ((y + 1) as usize * traces.steps / area.height as usize).max(from + 1);
            let mean = trace[from..to].iter().sum::<f32>() / (to - from) as f32;
            diverging(mean / limit)
        });
        let receivers = Axis { from: 0.0, to: traces.receivers as f64, label: "receiver" };
        let time = Axis { from: 0.0, to: traces.steps as f64 * self.time_step * 1e6, label: "µs" };
        draw_axes(canvas, area, &format!("shot {shot}: transducer {fired}"), &receivers, &time);
    }

    /// The slowest speed and the range to the fastest, in m/s; one of a map of a single speed.
    fn speeds(&self) -> (f32, f32) {
        let slowest = self.model.slowest();
        (slowest, (self.model.fastest() - slowest).max(1.0))
    }

    fn draw_scales(&self, canvas: &mut Canvas, x: i32, limit: f32) {
        let top = MARGIN + TITLE + ABOVE;
        let height = (PANEL - 60) / 2;
        let (slowest, range) = self.speeds();
        let speed = Area { x, y: top, width: 18, height };
        let up = |y: i32| 1.0 - y as f32 / (height - 1) as f32;
        canvas.paint(speed, |_, y| sequential(up(y)));
        let labels = [slowest, slowest + range / 2.0, slowest + range].map(|speed| format!("{speed:.0}"));
        draw_scale(canvas, speed, "speed, m/s", &labels);
        let pressure = Area { y: top + height + 60, ..speed };
        canvas.paint(pressure, |_, y| diverging(2.0 * up(y) - 1.0));
        let labels = [format!("-{limit:.1e}"), "0".to_owned(), format!("{limit:.1e}")];
        draw_scale(canvas, pressure, "pressure / source", &labels);
    }
}

/// Columns and rows of panels: about half as wide again as high.
fn arrangement(panels: i32) -> (i32, i32) {
    let columns = (f64::from(panels) * 1.6).sqrt().ceil() as i32;
    (columns, (panels + columns - 1) / columns)
}

/// Which of `count` things a pixel shows, out of `pixels` that show them all.
fn nearest(pixel: i32, pixels: i32, count: usize) -> usize {
    pixel as usize * count / pixels as usize
}

/// The magnitude that [`CLIP`] of the samples of all shots stay below, and more than zero.
fn clip(shots: &[(usize, Traces)]) -> f32 {
    let samples = shots.iter().flat_map(|(_, traces)| &traces.samples);
    // A wave that has not arrived yet says nothing about the scale.
    let mut magnitudes: Vec<f32> = samples.map(|sample| sample.abs()).filter(|value| *value > 1e-6).collect();
    if magnitudes.is_empty() {
        return 1.0;
    }
    let rank = ((magnitudes.len() - 1) as f64 * CLIP) as usize;
    *magnitudes.select_nth_unstable_by(rank, f32::total_cmp).1
}

fn draw_axes(canvas: &mut Canvas, area: Area, title: &str, across: &Axis, down: &Axis) {
    canvas.frame(area);
    let (right, bottom) = (area.x + area.width, area.y + area.height);
    canvas.text(title, area.x + area.width / 2, area.y - 14, TextSize::Small, Anchor::Centre);
    canvas.text(down.label, area.x - 8, area.y - 14, TextSize::Small, Anchor::Right);
    canvas.text(across.label, right, bottom + 30, TextSize::Small, Anchor::Right);
    for (value, offset) in ticks(across, area.width) {
        canvas.fill(Area { x: area.x + offset, y: bottom + 1, width: 1, height: 4 }, INK);
        canvas.text(&value, area.x + offset, bottom + 14, TextSize::Small, Anchor::Centre);
    }
    for (value, offset) in ticks(down, area.height) {
        canvas.fill(Area { x: area.x - 5, y: area.y + offset, width: 4, height: 1 }, INK);
        canvas.text(&value, area.x - 8, area.y + offset, TextSize::Small, Anchor::Right);
    }
}

/// The numbers at round values of an axis, about five of them, and their distances in pixels from its start.
fn ticks(axis: &Axis, pixels: i32) -> Vec<(String, i32)> {
    let range = axis.to - axis.from;
    let mut step = 1e-3;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle().take(60) {
        if range / step <= 6.5 {
            break;
        }
        step *= factor;
    }
    let decimals = if step < 0.01 {
        3
    } else if step < 0.1 {
        2
    } else if step < 1.0 {
        1
    } else {
        0
    };
    let count = (range / step + 1e-9).floor() as i32;
    let tick = |index: i32| {
        let value = f64::from(index) * step;
        (format!("{:.decimals$}", axis.from + value), (value / range * f64::from(pixels - 1)).round() as i32)
    };
    (0..=count).map(tick).collect()
}

/// A dot; a larger one with a red heart for a transducer that was fired.
fn draw_transducer(canvas: &mut Canvas, x: i32, y: i32, fired: bool) {
    let square =
        |reach: i32| Area { x: x - reach, y: y - reach, width: 2 * reach + 1, height: 2 * reach + 1 };
    if fired {
        canvas.fill(square(3), [255, 255, 255]);
        canvas.fill(square(2), [214, 39, 40]);
    } else {
        canvas.fill(square(1), [255, 255, 255]);
        canvas.fill(square(0), INK);
    }
}

/// The title above a colour bar, and three labels beside it from bottom to top.
fn draw_scale(canvas: &mut Canvas, bar: Area, title: &str, labels: &[String; 3]) {
    canvas.frame(bar);
    canvas.text(title, bar.x, bar.y - 14, TextSize::Small, Anchor::Left);
    for (index, label) in labels.iter().enumerate() {
        let y = bar.y + (bar.height - 1) * (2 - index as i32) / 2;
        canvas.fill(Area { x: bar.x + bar.width + 1, y, width: 4, height: 1 }, INK);
        canvas.text(label, bar.x + bar.width + 9, y, TextSize::Small, Anchor::Left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        let labels = |to: f64| {
            let axis = Axis { from: 0.0, to, label: "" };
            let ticks = ticks(&axis, 256);
            assert!(ticks.iter().all(|(_, offset)| (0..256).contains(offset)));
            ticks.into_iter().map(|(label, _)| label).collect::<Vec<_>>()
        };
        assert_eq!(labels(128.0), ["0", "20", "40", "60", "80", "100", "120"]);
        assert_eq!(labels(106.3), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels(0.5), ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(labels(4096.0), ["0", "1000", "2000", "3000", "4000"]);
    }

    #[test]
    fn panels_have_room_for_any_number_of_shots() {
        for panels in 1..=129 {
            let (columns, rows) = arrangement(panels);
            assert!(columns * rows >= panels && columns * (rows - 1) < panels, "{panels}");
        }
    }

    #[test]
    fn silence_and_single_speeds_are_drawn() {
        let model = Model::new(ndarray::Array2::from_elem((32, 48), 1500.0)).unwrap();
        let silent = Traces { receivers: 2, steps: 3, samples: vec![0.0; 6] };
        let picture = Picture {
            model: &model,
            spacing: 1e-3,
            transducers: &[Cell { row: 0, column: 47 }],
            time_step: 1e-7,
            shots: &[(0, silent)],
        };
        assert_eq!(picture.draw().to_png().unwrap(), picture.draw().to_png().unwrap());
    }
}
