//! The acoustic wave equation in two dimensions, with a speed of sound that varies and a constant density:
//!
//! ```text
//! (1 / c^2) d^2 p / dt^2 - laplacian(p) = s(t) delta(x - x_source)
//! ```
//!
//! It is solved by central finite differences, of second order in time and eighth in space (`stencil`), in an
//! unbounded medium (`border`). A shot runs on one thread and adds in a fixed order, so that two workers with the
//! same binary get the same bits. This file knows nothing of workers, files or pictures.

use serde::{Deserialize, Serialize};

use crate::border::{Border, Layout};
use crate::model::Model;
use crate::ring::Cell;
use crate::stencil::{LARGEST_EIGENVALUE, Neighbours, REACH};

/// Cells of the shortest wavelength at the source's centre frequency; a Ricker wavelet reaches 2.5 times that
/// frequency, which leaves four cells.
const CELLS_PER_WAVELENGTH: f64 = 10.0;

/// c dt / h at the fastest cell; stable below 0.55, and the error of the time steps grows with its square.
const COURANT: f64 = 0.35;

/// How long a shot records: in passages of a wave through water along the map's longer side.
const PASSAGES: f64 = 1.33;

/// The speed of sound in water, in m/s.
const WATER: f64 = 1500.0;

/// The most steps of a shot: beyond, the traces would be larger than what a worker should send at once.
const MOST_STEPS: usize = 100_000;

/// The pressure at rest, which the traces leave out. A uniform pressure solves the wave equation, and any other than
/// zero keeps subnormal numbers away, on which processors are slow: ahead of the wave, finite differences leave
/// values that fall to nothing within a few cells. With zero here, a shot takes five times as long.
const REST: f32 = 1e-18;

/// How shots are computed. [`Config::suited`] chooses what suits a map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Config {
    /// The side of a cell, in m.
    pub(crate) spacing: f64,
    /// The time between two samples of a trace, in s. Twice as long is four times as wrong.
    pub(crate) time_step: f64,
    /// The samples of a trace.
    pub(crate) steps: usize,
    /// The centre frequency of the source's Ricker wavelet, in Hz.
    pub(crate) frequency: f64,
    /// The cells of the absorbing border, which lies around the map; 20 reflect a thousandth or less.
    pub(crate) border: usize,
}

impl Config {
    /// What suits a map whose cells are `spacing` metres wide: the highest frequency that the grid carries well,
    /// and time steps and a duration that let the wave cross the map. The phantom takes 800 steps.
    pub(crate) fn suited(model: &Model, spacing: f64) -> Self {
        let time_step = COURANT * spacing / f64::from(model.fastest());
        let duration = PASSAGES * model.rows().max(model.columns()) as f64 * spacing / WATER;
        let steps = (duration / time_step / 50.0).round() as usize * 50;
        let frequency = f64::from(model.slowest()) / (CELLS_PER_WAVELENGTH * spacing);
        Self { spacing, time_step, steps: steps.min(MOST_STEPS), frequency, border: 20 }
    }
}

/// Why a simulation or a shot is impossible.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SolverError {
    #[error(
        "a time step of {time_step:.3e} s is unstable where the speed of sound is {speed} m/s; \
         with cells of {spacing:.3e} m it must be at most {limit:.3e} s"
    )]
    Unstable { time_step: f64, speed: f32, spacing: f64, limit: f64 },
    #[error("the {name} is {value}, and it must be a positive number of {unit}")]
    NotPositive { name: &'static str, value: f64, unit: &'static str },
    #[error("a shot takes {steps} steps, and it must take 1 to {MOST_STEPS}")]
    Steps { steps: usize },
    #[error("the border is {cells} cells thick, and it must be 1 to 200")]
    Border { cells: usize },
    #[error("transducer {index} is at cell [{row}, {column}], outside the map of {rows} x {columns} cells")]
    OutsideMap { index: usize, row: usize, column: usize, rows: usize, columns: usize },
    #[error("there is no transducer {index}: they are numbered from 0, and there are {count}")]
    NoSuchTransducer { index: usize, count: usize },
}

/// What the transducers record of one shot: sample `n` of a trace is the pressure at `n` time steps, in units of
/// the source's amplitude.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Traces {
    /// Rows: one per transducer.
    pub(crate) receivers: usize,
    /// Columns: one per time step.
    pub(crate) steps: usize,
    /// receivers x steps values, in C order.
    pub(crate) samples: Vec<f32>,
}

impl Traces {
    /// The trace of one receiver.
    pub(crate) fn of(&self, receiver: usize) -> &[f32] {
        &self.samples[receiver * self.steps..][..self.steps]
    }
}

/// A map with transducers, ready for any number of shots.
#[derive(Clone, Debug)]
pub(crate) struct Simulation {
    config: Config,
    layout: Layout,
    border: Border,
    /// (c dt / h)^2 at each cell of the layout.
    squared_courant: Vec<f32>,
    /// Indices into flat arrays of the layout.
    transducers: Vec<usize>,
}

impl Simulation {
    /// Prepares a map and checks that shots on it are stable.
    ///
    /// # Errors
    /// A setting that is out of range, a transducer outside the map, or a time step above the stability limit
    /// `2 h / (c sqrt(2 e))`, where `e` is the largest eigenvalue of the second derivative (the condition of
    /// R. Courant, K. Friedrichs and H. Lewy, Mathematische Annalen 100, 32-74, 1928).
    pub(crate) fn new(model: &Model, transducers: &[Cell], config: &Config) -> Result<Self, SolverError> {
        check_settings(config)?;
        check_stability(model, config)?;
        check_transducers(model, transducers)?;
        let layout = Layout::around(model.rows(), model.columns(), config.border);
        let (margin, speed) = (layout.margin(), f64::from(model.fastest()));
        let index = |cell: &Cell| (cell.row + margin) * layout.columns + cell.column + margin;
        Ok(Self {
            border: Border::new(layout, config.spacing, config.time_step, speed, config.frequency),
            squared_courant: squared_courant(model, config, layout),
            transducers: transducers.iter().map(index).collect(),
            layout,
            config: config.clone(),
        })
    }

    /// Fires one transducer and returns what all of them record.
    ///
    /// # Errors
    /// A transducer that does not exist.
    pub(crate) fn shot(&self, source: usize) -> Result<Traces, SolverError> {
        let count = self.transducers.len();
        let &fired =
            self.transducers.get(source).ok_or(SolverError::NoSuchTransducer { index: source, count })?;
        let steps = self.config.steps;
        let mut samples = vec![0.0; count * steps];
        let mut now = vec![REST; self.layout.cells()];
        let mut next = vec![REST; self.layout.cells()];
        let mut memory = self.border.memory();
        for step in 0..steps {
            for (receiver, &cell) in self.transducers.iter().enumerate() {
                samples[receiver * steps + step] = now[cell] - REST;
            }
            self.advance(&now, &mut next);
            self.border.absorb(&mut memory, &now, &mut next, &self.squared_courant);
            // The update is dt^2 c^2 s(t) delta, and delta is 1 / h^2 in one cell.
            next[fired] += self.squared_courant[fired] * self.source(step);
            std::mem::swap(&mut now, &mut next);
        }
        Ok(Traces { receivers: count, steps, samples })
    }

    /// Overwrites the previous pressure in `next` with 2 now - previous + (c dt)^2 laplacian(now).
    fn advance(&self, now: &[f32], next: &mut [f32]) {
        let stride = self.layout.columns;
        let length = self.layout.inner_columns().len();
        for row in self.layout.inner_rows() {
            let start = row * stride + REACH;
            let (x, y) =
                (Neighbours::new(now, start, length, 1), Neighbours::new(now, start, length, stride));
            let squared_courant = &self.squared_courant[start..][..length];
            let now = &now[start..][..length];
            let next = &mut next[start..][..length];
            for cell in 0..length {
                let laplacian = x.second(cell, now[cell]) + y.second(cell, now[cell]);
                next[cell] = 2.0 * now[cell] - next[cell] + squared_courant[cell] * laplacian;
            }
        }
    }

    fn source(&self, step: usize) -> f32 {
        ricker(self.config.frequency, step as f64 * self.config.time_step) as f32
    }
}

/// The wavelet of N. Ricker, Geophysics 18, 10-40 (1953), of unit amplitude: `(1 - 2 a) exp(-a)` with
/// `a = (pi f (t - 1.5 / f))^2`; `frequency` f in Hz, `time` t in s. At t = 0 it is below 1e-8.
pub(crate) fn ricker(frequency: f64, time: f64) -> f64 {
    let a = (std::f64::consts::PI * (frequency * time - 1.5)).powi(2);
    (1.0 - 2.0 * a) * (-a).exp()
}

fn check_settings(config: &Config) -> Result<(), SolverError> {
    let positive = [
        ("grid spacing", config.spacing, "metres"),
        ("time step", config.time_step, "seconds"),
        ("frequency", config.frequency, "hertz"),
    ];
    for (name, value, unit) in positive {
        if !(value.is_finite() && value > 0.0) {
            return Err(SolverError::NotPositive { name, value, unit });
        }
    }
    if !(1..=MOST_STEPS).contains(&config.steps) {
        return Err(SolverError::Steps { steps: config.steps });
    }
    if !(1..=200).contains(&config.border) {
        return Err(SolverError::Border { cells: config.border });
    }
    Ok(())
}

fn check_stability(model: &Model, config: &Config) -> Result<(), SolverError> {
    let Config { spacing, time_step, .. } = *config;
    let speed = model.fastest();
    let limit = 2.0 * spacing / (f64::from(speed) * (2.0 * LARGEST_EIGENVALUE).sqrt());
    if time_step > limit {
        return Err(SolverError::Unstable { time_step, speed, spacing, limit });
    }
    Ok(())
}

fn check_transducers(model: &Model, transducers: &[Cell]) -> Result<(), SolverError> {
    let (rows, columns) = (model.rows(), model.columns());
    for (index, &Cell { row, column }) in transducers.iter().enumerate() {
        if row >= rows || column >= columns {
            return Err(SolverError::OutsideMap { index, row, column, rows, columns });
        }
    }
    Ok(())
}

/// (c dt / h)^2 at each cell; the border continues the speeds at the edge of the map.
fn squared_courant(model: &Model, config: &Config, layout: Layout) -> Vec<f32> {
    let inside = |index: usize, side: usize| index.saturating_sub(layout.margin()).min(side - 1);
    let value = |index: usize| {
        let row = inside(index / layout.columns, model.rows());
        let column = inside(index % layout.columns, model.columns());
        let courant = f64::from(model.speed()[[row, column]]) * config.time_step / config.spacing;
        (courant * courant) as f32
    };
    (0..layout.cells()).map(value).collect()
}

#[cfg(test)]
#[path = "solver_tests.rs"]
mod tests;
