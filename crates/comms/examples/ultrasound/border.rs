//! The absorbing border: a convolutional perfectly matched layer (C-PML) around the map.
//!
//! For the wave equation of second order it is that of I. Pasalic and R. McGarry, "Convolutional perfectly matched
//! layer for isotropic and anisotropic acoustic wave equations", SEG Technical Program Expanded Abstracts,
//! 2925-2929 (2010). Along x (and alike along y), the layer replaces the second derivative of the pressure p by
//!
//! ```text
//! dxx p + dx psi + zeta,   psi[n] = a psi[n-1] + b dx p[n],   zeta[n] = a zeta[n-1] + b (dxx p[n] + dx psi[n]),
//! a = exp(-(sigma + alpha) dt),   b = (a - 1) sigma / (sigma + alpha).
//! ```
//!
//! The profiles are those of D. Komatitsch and R. Martin, "An unsplit convolutional perfectly matched layer improved
//! at grazing incidence for the seismic wave equation", Geophysics 72(5), SM155-SM167 (2007): with the depth d into a
//! layer of thickness L, `sigma = (d/L)^2 * 3 c ln(1/R) / (2 L)` and `alpha = pi f (1 - d/L)`.

use std::ops::Range;

use crate::stencil::{Neighbours, REACH};

/// R: what the layer would reflect at normal incidence if space were continuous.
const THEORETICAL_REFLECTION: f64 = 1e-5;

/// How a grid's flat arrays are laid out: the map, the layer around it, and [`REACH`] cells of zeros around both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Rows and columns, all included.
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Cells of the layer.
    pub(crate) thickness: usize,
}

impl Layout {
    /// The layout around a map of `rows` x `columns` cells.
    pub(crate) fn around(rows: usize, columns: usize, thickness: usize) -> Self {
        let margin = 2 * (thickness + REACH);
        Self { rows: rows + margin, columns: columns + margin, thickness }
    }

    /// Cells before the first of the map along each axis.
    pub(crate) fn margin(&self) -> usize {
        self.thickness + REACH
    }

    /// Cells in a flat array.
    pub(crate) fn cells(&self) -> usize {
        self.rows * self.columns
    }

    /// The rows that are computed.
    pub(crate) fn inner_rows(&self) -> Range<usize> {
        REACH..self.rows - REACH
    }

    /// The columns that are computed.
    pub(crate) fn inner_columns(&self) -> Range<usize> {
        REACH..self.columns - REACH
    }

    /// The two ends of an axis of `side` cells where the layer acts: psi is zero further in, but its derivative
    /// reaches [`REACH`] cells out of the layer.
    fn ends(&self, side: usize) -> [Range<usize>; 2] {
        let depth = (self.thickness + REACH).min((side - 2 * REACH) / 2);
        [REACH..REACH + depth, side - REACH - depth..side - REACH]
    }
}

/// The weights a and b at every cell of one axis; zero outside the layer.
#[derive(Clone, Debug)]
struct Profile {
    a: Vec<f32>,
    b: Vec<f32>,
}

impl Profile {
    /// `speed` is the largest in the map in m/s, `frequency` the source's in Hz, the rest in metres and seconds.
    fn new(side: usize, thickness: usize, spacing: f64, time_step: f64, speed: f64, frequency: f64) -> Self {
        let length = thickness as f64 * spacing;
        let steepest = 1.5 * speed * -THEORETICAL_REFLECTION.ln() / length;
        let weights = |cell: usize| {
            let from_end = cell.min(side - 1 - cell);
            let depth = (thickness + REACH).saturating_sub(from_end).min(thickness) as f64 / thickness as f64;
            if depth <= 0.0 {
                return (0.0, 0.0);
            }
            let sigma = steepest * depth * depth;
            let decay = sigma + std::f64::consts::PI * frequency * (1.0 - depth);
            let a = (-decay * time_step).exp();
            (a as f32, ((a - 1.0) * sigma / decay) as f32)
        };
        let (a, b) = (0..side).map(weights).unzip();
        Self { a, b }
    }
}

/// The layer of one simulation: what does not change from step to step.
#[derive(Clone, Debug)]
pub(crate) struct Border {
    layout: Layout,
    across_rows: Profile,
    across_columns: Profile,
}

/// The memory of the layer during one shot; flat arrays like the pressure's.
pub(crate) struct Memory {
    psi_x: Vec<f32>,
    psi_y: Vec<f32>,
    zeta_x: Vec<f32>,
    zeta_y: Vec<f32>,
}

impl Border {
    /// The layer for a grid: `spacing` in m, `time_step` in s, the map's largest `speed` in m/s, `frequency` in Hz.
    pub(crate) fn new(layout: Layout, spacing: f64, time_step: f64, speed: f64, frequency: f64) -> Self {
        let profile = |side| Profile::new(side, layout.thickness, spacing, time_step, speed, frequency);
        Self { layout, across_rows: profile(layout.rows), across_columns: profile(layout.columns) }
    }

    /// The memory at rest.
    pub(crate) fn memory(&self) -> Memory {
        let zeros = || vec![0.0; self.layout.cells()];
        Memory { psi_x: zeros(), psi_y: zeros(), zeta_x: zeros(), zeta_y: zeros() }
    }

    /// Takes one step: updates the memory with the pressure now and adds the layer's part to the pressure next.
    /// `squared_courant` is (c dt / h)^2 at each cell; all are flat arrays of this layout.
    pub(crate) fn absorb(&self, memory: &mut Memory, now: &[f32], next: &mut [f32], squared_courant: &[f32]) {
        self.update_psi(memory, now);
        for row in self.layout.inner_rows() {
            for columns in self.layout.ends(self.layout.columns) {
                let weights =
                    (&self.across_columns.a[columns.clone()], &self.across_columns.b[columns.clone()]);
                let span = self.span(row, &columns, 1);
                span.add(&memory.psi_x, &mut memory.zeta_x, now, next, squared_courant, |cell| {
                    (weights.0[cell], weights.1[cell])
                });
            }
        }
        for row in self.layout.ends(self.layout.rows).into_iter().flatten() {
            let weights = (self.across_rows.a[row], self.across_rows.b[row]);
            let span = self.span(row, &self.layout.inner_columns(), self.layout.columns);
            span.add(&memory.psi_y, &mut memory.zeta_y, now, next, squared_courant, |_| weights);
        }
    }

    fn update_psi(&self, memory: &mut Memory, now: &[f32]) {
        for row in self.layout.inner_rows() {
            for columns in self.layout.ends(self.layout.columns) {
                let weights =
                    (&self.across_columns.a[columns.clone()], &self.across_columns.b[columns.clone()]);
                let span = self.span(row, &columns, 1);
                span.convolve(&mut memory.psi_x, now, |cell| (weights.0[cell], weights.1[cell]));
            }
        }
        for row in self.layout.ends(self.layout.rows).into_iter().flatten() {
            let weights = (self.across_rows.a[row], self.across_rows.b[row]);
            let span = self.span(row, &self.layout.inner_columns(), self.layout.columns);
            span.convolve(&mut memory.psi_y, now, |_| weights);
        }
    }

    fn span(&self, row: usize, columns: &Range<usize>, stride: usize) -> Span {
        Span { start: row * self.layout.columns + columns.start, length: columns.len(), stride }
    }
}

/// Cells side by side in one row, and the stride of the derivatives that are taken at them.
struct Span {
    start: usize,
    length: usize,
    stride: usize,
}

impl Span {
    fn neighbours<'a>(&self, field: &'a [f32]) -> Neighbours<'a> {
        Neighbours::new(field, self.start, self.length, self.stride)
    }

    /// psi = a psi + b dp, with the weights (a, b) of each cell.
    #[inline(always)]
    fn convolve(&self, psi: &mut [f32], now: &[f32], weights: impl Fn(usize) -> (f32, f32)) {
        let pressure = self.neighbours(now);
        let psi = &mut psi[self.start..][..self.length];
        for (cell, psi) in psi.iter_mut().enumerate() {
            let (a, b) = weights(cell);
            *psi = a * *psi + b * pressure.first(cell);
        }
    }

    /// zeta = a zeta + b (ddp + dpsi), and the pressure next gains dpsi + zeta.
    #[inline(always)]
    fn add(
        &self,
        psi: &[f32],
        zeta: &mut [f32],
        now: &[f32],
        next: &mut [f32],
        squared_courant: &[f32],
        weights: impl Fn(usize) -> (f32, f32),
    ) {
        let (pressure, psi) = (self.neighbours(now), self.neighbours(psi));
        let centre = &now[self.start..][..self.length];
        let zeta = &mut zeta[self.start..][..self.length];
        let next = &mut next[self.start..][..self.length];
        let squared_courant = &squared_courant[self.start..][..self.length];
        for cell in 0..self.length {
            let (a, b) = weights(cell);
            let slope = psi.first(cell);
            zeta[cell] = a * zeta[cell] + b * (pressure.second(cell, centre[cell]) + slope);
            next[cell] += squared_courant[cell] * (slope + zeta[cell]);
        }
    }
}
