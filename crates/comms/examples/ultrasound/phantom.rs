//! The phantom that the example images: a slice of a breast in a water bath.
//!
//! `phantom.npy` beside this file is what [`phantom`] makes, to the bit; a test compares them. The arithmetic is
//! `+ - * /` on `f64` only, so every machine makes the same file. To write it again:
//!
//! ```text
//! cargo run --example ultrasound -- --write-phantom crates/comms/examples/ultrasound/phantom.npy
//! ```
//!
//! The mean speeds of fat, parenchyma, malignant and benign lesions are those of C. Li, N. Duric, P. Littrup and
//! L. Huang, "In vivo breast sound-speed imaging with ultrasound tomography", Ultrasound in Medicine & Biology
//! 35(10), 1615-1628 (2009). The speeds of water (warm), skin and cyst are typical round values.

use ndarray::Array2;

use crate::model::{MapError, Model};

/// The grid spacing of the phantom, in metres.
pub(crate) const SPACING: f64 = 0.6e-3;

/// Cells along each side of the phantom: 120 mm.
pub(crate) const SIDE: usize = 200;

/// Points along each side of a cell over which the speed is averaged, so that edges have no stairs.
const SAMPLES: usize = 4;

const WATER: f64 = 1500.0;
const SKIN: f64 = 1580.0;
const FAT: f64 = 1422.0;
const PARENCHYMA: f64 = 1487.0;
const MALIGNANT: f64 = 1548.0;
const BENIGN: f64 = 1513.0;
const CYST: f64 = 1525.0;

/// An ellipse of one speed; lengths in mm, the origin at the centre of the map, x to the right, y downwards.
struct Ellipse {
    centre: (f64, f64),
    radii: (f64, f64),
    /// The cosine and sine of the angle from x to the first radius.
    direction: (f64, f64),
    /// In m/s.
    speed: f64,
}

/// Later ellipses lie on top of earlier ones.
const TISSUES: [Ellipse; 10] = [
    ellipse((0.0, 0.0), (43.0, 37.0), (1.0, 0.0), SKIN),
    ellipse((0.0, 0.0), (41.2, 35.2), (1.0, 0.0), FAT),
    ellipse((5.0, -3.0), (27.0, 20.0), (0.8, 0.6), PARENCHYMA),
    ellipse((-13.0, 9.0), (17.0, 11.0), (0.6, -0.8), PARENCHYMA),
    ellipse((-24.0, -9.0), (8.0, 3.5), (0.28, 0.96), PARENCHYMA),
    ellipse((9.0, 5.0), (7.0, 3.5), (0.96, 0.28), FAT),
    ellipse((-5.0, -10.0), (5.5, 4.0), (0.6, 0.8), MALIGNANT),
    ellipse((-15.0, 13.0), (2.6, 2.6), (1.0, 0.0), MALIGNANT),
    ellipse((17.0, -9.0), (4.6, 4.6), (1.0, 0.0), CYST),
    ellipse((16.0, 13.0), (3.8, 2.8), (0.8, -0.6), BENIGN),
];

const fn ellipse(centre: (f64, f64), radii: (f64, f64), direction: (f64, f64), speed: f64) -> Ellipse {
    Ellipse { centre, radii, direction, speed }
}

/// Makes the phantom: 200 x 200 cells of 0.6 mm, in m/s.
///
/// # Errors
/// None that the checks of a map can find; the type says so for those who change it.
pub(crate) fn phantom() -> Result<Model, MapError> {
    Model::new(Array2::from_shape_fn((SIDE, SIDE), |(row, column)| mean_speed(row, column) as f32))
}

/// The mean of the speeds at the sample points of a cell, in m/s.
fn mean_speed(row: usize, column: usize) -> f64 {
    let mut sum = 0.0;
    for down in 0..SAMPLES {
        for right in 0..SAMPLES {
            sum += speed_at(coordinate(column, right), coordinate(row, down));
        }
    }
    sum / (SAMPLES * SAMPLES) as f64
}

/// Where a sample point of a cell lies along one axis, in mm from the centre of the map.
fn coordinate(cell: usize, sample: usize) -> f64 {
    let cells = cell as f64 + (sample as f64 + 0.5) / SAMPLES as f64 - SIDE as f64 / 2.0;
    cells * SPACING * 1e3
}

fn speed_at(x: f64, y: f64) -> f64 {
    TISSUES.iter().rev().find(|tissue| tissue.contains(x, y)).map_or(WATER, |tissue| tissue.speed)
}

impl Ellipse {
    fn contains(&self, x: f64, y: f64) -> bool {
        let (cosine, sine) = self.direction;
        let (x, y) = (x - self.centre.0, y - self.centre.1);
        let along = (x * cosine + y * sine) / self.radii.0;
        let across = (y * cosine - x * sine) / self.radii.1;
        along * along + across * across <= 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_file_is_what_the_generator_makes() {
        let shipped = include_bytes!("phantom.npy");
        assert!(phantom().unwrap().to_npy().unwrap() == shipped, "write phantom.npy again");
    }

    #[test]
    fn directions_have_unit_length() {
        for Ellipse { direction: (cosine, sine), .. } in &TISSUES {
            assert!((cosine * cosine + sine * sine - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn water_surrounds_the_breast() {
        let phantom = phantom().unwrap();
        assert_eq!(phantom.speed()[[0, 0]], WATER as f32);
        assert_eq!(phantom.slowest(), FAT as f32);
        assert_eq!(phantom.fastest(), SKIN as f32);
    }
}
