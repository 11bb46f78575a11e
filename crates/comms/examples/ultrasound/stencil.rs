//! Central finite differences of eighth order on a regular grid, written so that the compiler vectorises them.
//!
//! The weights are those of B. Fornberg, "Generation of finite difference formulas on arbitrarily spaced grids",
//! Mathematics of Computation 51, 699-706 (1988), table 1, for a spacing of one cell: the callers divide.
//! The arrays are flat, in C order; `stride` is the distance between neighbours along the axis of the derivative:
//! one for x, the length of a row for y. Around every cell that is asked for, [`REACH`] neighbours must exist.

/// Neighbours on each side that a derivative takes.
pub(crate) const REACH: usize = 4;

/// Weights of the first derivative at distances 1 to 4; antisymmetric.
const FIRST: [f32; REACH] = [4.0 / 5.0, -1.0 / 5.0, 4.0 / 105.0, -1.0 / 280.0];

/// Weight of the second derivative at the cell itself.
const SECOND_CENTRE: f32 = -205.0 / 72.0;

/// Weights of the second derivative at distances 1 to 4; symmetric.
const SECOND: [f32; REACH] = [8.0 / 5.0, -1.0 / 5.0, 8.0 / 315.0, -1.0 / 560.0];

/// The largest |eigenvalue| of the second derivative along one axis, times the spacing squared: the sum of the
/// weights' magnitudes, which the shortest wave on the grid (two cells) attains.
pub(crate) const LARGEST_EIGENVALUE: f64 =
    205.0 / 72.0 + 2.0 * (8.0 / 5.0 + 1.0 / 5.0 + 8.0 / 315.0 + 1.0 / 560.0);

/// The cells at distances 1 to 4 before and after each of `length` cells from `start`: (before, after).
///
/// Slices of one length let the compiler drop the bounds checks in the loops over them.
pub(crate) struct Neighbours<'a> {
    before: [&'a [f32]; REACH],
    after: [&'a [f32]; REACH],
}

impl<'a> Neighbours<'a> {
    #[inline(always)]
    pub(crate) fn new(field: &'a [f32], start: usize, length: usize, stride: usize) -> Self {
        let at = |first: usize| &field[first..first + length];
        Self {
            before: [1, 2, 3, 4].map(|distance| at(start - distance * stride)),
            after: [1, 2, 3, 4].map(|distance| at(start + distance * stride)),
        }
    }

    /// The first derivative at a cell, times the spacing.
    #[inline(always)]
    pub(crate) fn first(&self, cell: usize) -> f32 {
        let term = |d: usize| FIRST[d] * (self.after[d][cell] - self.before[d][cell]);
        (term(3) + term(2)) + (term(1) + term(0))
    }

    /// The second derivative at a cell of value `centre`, times the spacing squared.
    #[inline(always)]
    pub(crate) fn second(&self, cell: usize, centre: f32) -> f32 {
        let term = |d: usize| SECOND[d] * (self.after[d][cell] + self.before[d][cell]);
        (term(3) + term(2)) + (term(1) + term(0)) + SECOND_CENTRE * centre
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest errors of the two derivatives of sin(k x) at a wavenumber `k` in radians a cell, relative to
    /// the derivatives' own amplitudes.
    fn errors(k: f64, stride: usize) -> (f64, f64) {
        let cells = 64;
        let field: Vec<f32> = (0..cells * stride).map(|i| (k * (i / stride) as f64).sin() as f32).collect();
        let (start, length) = (REACH * stride, (cells - 2 * REACH) * stride);
        let neighbours = Neighbours::new(&field, start, length, stride);
        let (mut first, mut second) = (0f64, 0f64);
        for cell in 0..length {
            let phase = k * ((start + cell) / stride) as f64;
            let centre = field[start + cell];
            first = first.max((f64::from(neighbours.first(cell)) / k - phase.cos()).abs());
            second = second.max((f64::from(neighbours.second(cell, centre)) / (k * k) + phase.sin()).abs());
        }
        (first, second)
    }

    #[test]
    fn derivatives_are_of_eighth_order_along_both_axes() {
        for stride in [1, 7] {
            let (coarse, fine) = (errors(1.2, stride), errors(0.6, stride));
            let (first, second) = ((coarse.0 / fine.0).log2(), (coarse.1 / fine.1).log2());
            assert!((7.3..8.5).contains(&first), "first derivative: order {first}");
            assert!((7.3..8.5).contains(&second), "second derivative: order {second}");
        }
    }

    #[test]
    fn shortest_wave_attains_the_largest_eigenvalue() {
        let field: Vec<f32> = (0..9).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let second = Neighbours::new(&field, 4, 1, 1).second(0, field[4]);
        assert!((f64::from(second) + LARGEST_EIGENVALUE).abs() < 1e-5);
    }
}
