//! Where the transducers are: on an ellipse around the body, each at the centre of a cell.

use crate::model::Model;

/// The transducers of the default ring.
pub(crate) const TRANSDUCERS: usize = 128;

/// The ellipse's half axes over the map's sides: as wide as the grid allows without touching its border.
const HALF_AXES: (f64, f64) = (0.43, 0.47);

/// A cell of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    /// Rows from the top.
    pub(crate) row: usize,
    /// Columns from the left.
    pub(crate) column: usize,
}

/// The cells of `count` transducers on an ellipse in the middle of the map, at equal steps of the ellipse's
/// parameter, clockwise from the right. Every one of them records; a shot fires one of them.
pub(crate) fn ring(model: &Model, count: usize) -> Vec<Cell> {
    let on_axis = |side: usize, half_axis: f64, position: f64| {
        let middle = (side - 1) as f64 / 2.0;
        (middle + half_axis * side as f64 * position).round() as usize
    };
    let cell = |index: usize| {
        let (sine, cosine) = (std::f64::consts::TAU * index as f64 / count as f64).sin_cos();
        Cell {
            row: on_axis(model.rows(), HALF_AXES.0, sine),
            column: on_axis(model.columns(), HALF_AXES.1, cosine),
        }
    };
    (0..count).map(cell).collect()
}

/// The transducer that a shot fires, where `shots` shots share the ring evenly.
pub(crate) fn transducer_of(shot: usize, shots: usize, transducers: usize) -> usize {
    shot * transducers / shots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SMALLEST_SIDE;
    use crate::phantom::phantom;
    use ndarray::Array2;

    #[test]
    fn ring_of_the_phantom_stands_in_water() {
        let phantom = phantom().unwrap();
        for cell in ring(&phantom, TRANSDUCERS) {
            assert_eq!(phantom.speed()[[cell.row, cell.column]], 1500.0, "{cell:?}");
        }
    }

    #[test]
    fn transducers_of_the_phantom_are_distinct() {
        let cells = ring(&phantom().unwrap(), TRANSDUCERS);
        for (index, cell) in cells.iter().enumerate() {
            assert!(!cells[..index].contains(cell), "{cell:?}");
        }
    }

    #[test]
    fn ring_fits_the_smallest_map() {
        let model = Model::new(Array2::from_elem((SMALLEST_SIDE, SMALLEST_SIDE), 1500.0)).unwrap();
        for cell in ring(&model, TRANSDUCERS) {
            assert!(cell.row < SMALLEST_SIDE && cell.column < SMALLEST_SIDE, "{cell:?}");
        }
    }

    #[test]
    fn shots_fire_different_transducers() {
        let fired: Vec<_> = (0..16).map(|shot| transducer_of(shot, 16, 128)).collect();
        assert_eq!(fired[..3], [0, 8, 16]);
        let fired: Vec<_> = (0..128).map(|shot| transducer_of(shot, 128, 128)).collect();
        assert_eq!(fired, Vec::from_iter(0..128));
    }
}
