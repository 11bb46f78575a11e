//! Sound-speed maps: what a map must hold, and reading and writing it as a NumPy `.npy` file.
//!
//! This file owns every check of what a user hands in; the solver may rely on them. It does not know the grid
//! spacing, which a `.npy` file cannot carry.

use std::fs::{self, File};
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use ndarray_npy::npy::header::{Header, ReadHeaderError};
use ndarray_npy::{ReadNpyError, ReadNpyExt, WriteNpyError, WriteNpyExt};

/// Speeds of sound that occur, in m/s: foam and gels at the low end, ceramics at the high end.
pub(crate) const PLAUSIBLE_SPEEDS: RangeInclusive<f32> = 300.0..=8000.0;

/// Cells along each side of the smallest map: the ring of transducers and a wavelength must fit.
pub(crate) const SMALLEST_SIDE: usize = 32;

/// Cells along each side of the largest map: a shot on it takes minutes and a few hundred megabytes.
pub(crate) const LARGEST_SIDE: usize = 4096;

/// Bytes of the largest file that is read: the largest map in `f64`, and its header.
const LARGEST_FILE: u64 = (LARGEST_SIDE * LARGEST_SIDE * 8 + LARGEST_HEADER) as u64;

/// Bytes of the largest `.npy` header that is parsed; NumPy itself refuses more (`max_header_size`).
const LARGEST_HEADER: usize = 10_000;

/// A checked map of the speed of sound.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Model {
    speed: Array2<f32>,
}

/// Why an array is not a sound-speed map.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum MapError {
    #[error("it is not a NumPy .npy file ({cause}); write it with numpy.save(path, map)")]
    NotNpy { cause: ReadHeaderError },
    #[error(
        "its header takes {bytes} bytes, and at most {LARGEST_HEADER} are read; write it with numpy.save(path, map)"
    )]
    HeaderTooLong { bytes: usize },
    #[error("it holds {found}, and a map holds '<f4' or '<f8'; convert it with map.astype('float32')")]
    WrongType { found: String },
    #[error("its shape is {shape:?}, and a map has two dimensions, (rows, columns)")]
    NotTwoDimensional { shape: Vec<usize> },
    #[error("it has {rows} x {columns} cells, and a map has at least {SMALLEST_SIDE} x {SMALLEST_SIDE}")]
    TooSmall { rows: usize, columns: usize },
    #[error("it has {rows} x {columns} cells, and a map has at most {LARGEST_SIDE} x {LARGEST_SIDE}")]
    TooLarge { rows: usize, columns: usize },
    #[error("its header announces {expected} bytes of data and {found} follow; the file is damaged")]
    WrongLength { expected: usize, found: usize },
    #[error("its data cannot be read")]
    Data { source: ReadNpyError },
    #[error(
        "cell [{row}, {column}] holds {speed}, and a speed of sound is {} to {} m/s",
        PLAUSIBLE_SPEEDS.start(),
        PLAUSIBLE_SPEEDS.end()
    )]
    Implausible { row: usize, column: usize, speed: f32 },
}

/// Why the file of a map could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ModelFileError {
    #[error("cannot read the sound-speed map `{}`", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the sound-speed map `{}` takes {bytes} bytes, and at most {LARGEST_FILE} are read", path.display())]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("the sound-speed map `{}` is unusable", path.display())]
    Unusable { path: PathBuf, source: MapError },
    #[error("cannot format the sound-speed map")]
    Format { source: WriteNpyError },
    #[error("cannot write the sound-speed map `{}`", path.display())]
    Unwritable { path: PathBuf, source: std::io::Error },
}

impl Model {
    /// Checks a map of speeds in m/s, of shape (rows, columns).
    ///
    /// # Errors
    /// A map that is too small, too large, or whose first implausible cell is named.
    pub(crate) fn new(speed: Array2<f32>) -> Result<Self, MapError> {
        check_sides(speed.nrows(), speed.ncols())?;
        let speed = if speed.is_standard_layout() { speed } else { speed.as_standard_layout().into_owned() };
        match speed.indexed_iter().find(|(_, speed)| !PLAUSIBLE_SPEEDS.contains(*speed)) {
            Some(((row, column), &speed)) => Err(MapError::Implausible { row, column, speed }),
            None => Ok(Self { speed }),
        }
    }

    /// Decodes the bytes of a `.npy` file (format 1.0 to 3.0, C or Fortran order, `f4` or `f8`).
    ///
    /// # Errors
    /// Anything that is not a two-dimensional map of plausible speeds. Sizes that the header announces are
    /// checked before memory is reserved for them.
    pub(crate) fn from_npy(bytes: &[u8]) -> Result<Self, MapError> {
        check_header_length(bytes)?;
        let mut data = bytes;
        let header = Header::from_reader(&mut data).map_err(|cause| MapError::NotNpy { cause })?;
        let width = element_width(&header)?;
        let &[rows, columns] = header.shape.as_slice() else {
            return Err(MapError::NotTwoDimensional { shape: header.shape });
        };
        check_sides(rows, columns)?;
        let expected = rows * columns * width;
        if data.len() != expected {
            return Err(MapError::WrongLength { expected, found: data.len() });
        }
        let speed = match width {
            4 => Array2::<f32>::read_npy(bytes),
            _ => Array2::<f64>::read_npy(bytes).map(|speed| speed.mapv(|speed| speed as f32)),
        };
        Self::new(speed.map_err(|source| MapError::Data { source })?)
    }

    /// Reads a map from a `.npy` file.
    ///
    /// # Errors
    /// The path, and why it could not be opened or is not a map.
    pub(crate) fn read(path: &Path) -> Result<Self, ModelFileError> {
        let unreadable = |source| ModelFileError::Unreadable { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        if length > LARGEST_FILE {
            return Err(ModelFileError::TooLarge { path: path.to_owned(), bytes: length });
        }
        // A pipe or a growing file has no length to check beforehand.
        file.take(LARGEST_FILE).read_to_end(&mut bytes).map_err(unreadable)?;
        Self::from_npy(&bytes).map_err(|source| ModelFileError::Unusable { path: path.to_owned(), source })
    }

    /// The bytes of a `.npy` file (format 1.0, C order, `<f4`) that holds this map.
    ///
    /// # Errors
    /// What the library says, if it cannot format the header.
    pub(crate) fn to_npy(&self) -> Result<Vec<u8>, ModelFileError> {
        let mut bytes = Vec::new();
        self.speed.write_npy(&mut bytes).map_err(|source| ModelFileError::Format { source })?;
        Ok(bytes)
    }

    /// Writes this map to a `.npy` file.
    ///
    /// # Errors
    /// The path, and why it could not be written.
    pub(crate) fn write(&self, path: &Path) -> Result<(), ModelFileError> {
        let unwritable = |source| ModelFileError::Unwritable { path: path.to_owned(), source };
        fs::write(path, self.to_npy()?).map_err(unwritable)
    }

    /// The speed of sound in m/s, of shape (rows, columns), in C order.
    pub(crate) fn speed(&self) -> &Array2<f32> {
        &self.speed
    }

    /// Cells from top to bottom.
    pub(crate) fn rows(&self) -> usize {
        self.speed.nrows()
    }

    /// Cells from left to right.
    pub(crate) fn columns(&self) -> usize {
        self.speed.ncols()
    }

    /// The smallest speed in the map, in m/s.
    pub(crate) fn slowest(&self) -> f32 {
        self.speed.iter().copied().fold(f32::INFINITY, f32::min)
    }

    /// The largest speed in the map, in m/s.
    pub(crate) fn fastest(&self) -> f32 {
        self.speed.iter().copied().fold(0.0, f32::max)
    }
}

fn check_sides(rows: usize, columns: usize) -> Result<(), MapError> {
    if rows.min(columns) < SMALLEST_SIDE {
        return Err(MapError::TooSmall { rows, columns });
    }
    if rows.max(columns) > LARGEST_SIDE {
        return Err(MapError::TooLarge { rows, columns });
    }
    Ok(())
}

/// The library reserves what formats 2.0 and 3.0 announce, up to 4 GiB, before it reads the header.
fn check_header_length(bytes: &[u8]) -> Result<(), MapError> {
    match bytes {
        [_, _, _, _, _, _, 2 | 3, 0, a, b, c, d, ..] => {
            let bytes = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
            if bytes > LARGEST_HEADER { Err(MapError::HeaderTooLong { bytes }) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

/// Bytes of an element, where the type is one that a map may have.
fn element_width(header: &Header) -> Result<usize, MapError> {
    match header.type_descriptor.as_string().map(String::as_str) {
        Some("<f4") => Ok(4),
        Some("<f8") => Ok(8),
        _ => Err(MapError::WrongType { found: header.type_descriptor.to_string() }),
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
