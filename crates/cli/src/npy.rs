//! Arrays as numpy keeps them in files, format versions 1 to 3: a line of Python that says what follows, then the bytes.
//!
//! ```text
//!  93 'NUMPY'  major minor  length of the header, 2 bytes little-endian (4 from version 2 on)
//!  {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  spaces up to a multiple of 64, and a line feed
//!  the elements, as they lie in memory
//! ```

use std::fs;
use std::io;
use std::path::Path;

use mosaic_comms::{AnyArray, Dtype, ElementsError, Order};
use thiserror::Error;

const MAGIC: &[u8] = b"\x93NUMPY";

/// The elements begin at a multiple of so many bytes.
const ALIGNMENT: usize = 64;

/// Why a file is not an array.
#[derive(Debug, Error)]
pub(crate) enum NpyError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it does not begin as a .npy file does: numpy.save makes one")]
    NoMagic,
    #[error("its header is cut off")]
    CutOff,
    #[error("its header does not say `{0}` as numpy writes it")]
    Header(&'static str),
    #[error("its elements are `{found}`; arrays that travel are one of {}", names())]
    Dtype { found: String },
    #[error(transparent)]
    Elements(#[from] ElementsError),
}

fn names() -> String {
    Dtype::ALL.map(Dtype::name).join(" ")
}

/// Reads the array of a file.
pub(crate) fn read(path: &Path) -> Result<AnyArray, NpyError> {
    parse(fs::read(path)?)
}

/// Writes an array to a file, over what was there.
pub(crate) fn write(path: &Path, array: &AnyArray) -> io::Result<()> {
    let mut bytes = header(array);
    bytes.extend_from_slice(&array.to_bytes());
    fs::write(path, bytes)
}

fn parse(mut bytes: Vec<u8>) -> Result<AnyArray, NpyError> {
    if !bytes.starts_with(MAGIC) {
        return Err(NpyError::NoMagic);
    }
    let major = *bytes.get(MAGIC.len()).ok_or(NpyError::CutOff)?;
    let start = MAGIC.len() + 2;
    let width = if major < 2 { 2 } else { 4 };
    let length = bytes.get(start..start + width).ok_or(NpyError::CutOff)?;
    let length = length.iter().rev().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
    let end = start + width + length;
    let header = bytes.get(start + width..end).ok_or(NpyError::CutOff)?;
    let header = String::from_utf8_lossy(header).into_owned();
    let found = text_of(&header, "descr")?;
    let dtype = dtype(found).ok_or_else(|| NpyError::Dtype { found: found.to_owned() })?;
    let order = match word_of(&header, "fortran_order")? {
        "True" => Order::F,
        "False" => Order::C,
        _ => return Err(NpyError::Header("fortran_order")),
    };
    let shape = shape_of(&header)?;
    Ok(AnyArray::from_bytes(dtype, order, &shape, bytes.split_off(end))?)
}

/// The type of a name, of which numpy has several for one byte.
fn dtype(name: &str) -> Option<Dtype> {
    Dtype::from_name(name).or_else(|| Dtype::from_name(&name.replace('<', "|")))
}

/// What follows a key of the header.
fn after<'a>(header: &'a str, key: &'static str) -> Result<&'a str, NpyError> {
    let (_, rest) = header.split_once(&format!("'{key}':")).ok_or(NpyError::Header(key))?;
    Ok(rest.trim_start())
}

fn text_of<'a>(header: &'a str, key: &'static str) -> Result<&'a str, NpyError> {
    let text = after(header, key)?;
    let text = text.strip_prefix('\'').and_then(|text| text.split('\'').next());
    // What numpy calls structured is a list here.
    text.ok_or_else(|| NpyError::Dtype { found: after(header, key).unwrap_or_default().trim().to_owned() })
}

fn word_of<'a>(header: &'a str, key: &'static str) -> Result<&'a str, NpyError> {
    let word = after(header, key)?.split([',', '}']).next();
    Ok(word.unwrap_or_default().trim())
}

fn shape_of(header: &str) -> Result<Vec<usize>, NpyError> {
    const KEY: &str = "shape";
    let axes = after(header, KEY)?.strip_prefix('(').and_then(|rest| rest.split(')').next());
    let axes = axes.ok_or(NpyError::Header(KEY))?.split(',').map(str::trim).filter(|axis| !axis.is_empty());
    axes.map(|axis| axis.parse().map_err(|_| NpyError::Header(KEY))).collect()
}

fn header(array: &AnyArray) -> Vec<u8> {
    let axes = array.shape().iter().map(|axis| format!("{axis},")).collect::<Vec<_>>().join(" ");
    let order = if array.order() == Order::F { "True" } else { "False" };
    let dtype = array.dtype().name();
    let mut text = format!("{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': ({axes}), }}");
    let before = MAGIC.len() + 4;
    let whole = (before + text.len() + 1).next_multiple_of(ALIGNMENT);
    text.extend(std::iter::repeat_n(' ', whole - before - text.len() - 1));
    text.push('\n');
    // 32 axes of 20 digits each fit into the two bytes.
    [MAGIC, &[1, 0], &(text.len() as u16).to_le_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]
mod tests {
    use mosaic_comms::Array;

    use super::*;

    fn file(header: &str, elements: &[u8]) -> Vec<u8> {
        [MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes(), elements].concat()
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let bytes = (0..24).collect::<Vec<u8>>();
        for (dtype, order, shape) in [
            (Dtype::Int16, Order::C, &[3, 4][..]),
            (Dtype::Float32, Order::F, &[2, 3]),
            (Dtype::Complex64, Order::C, &[3]),
            (Dtype::Uint64, Order::C, &[1, 1, 3]),
        ] {
            let array = AnyArray::from_bytes(dtype, order, shape, bytes.clone()).unwrap();
            write(&path, &array).unwrap();
            assert_eq!(read(&path).unwrap(), array);
            assert_eq!(fs::read(&path).unwrap().len() % ALIGNMENT, 24);
        }
        let scalar = AnyArray::from_bytes(Dtype::Int32, Order::C, &[], vec![7, 0, 0, 0]).unwrap();
        write(&path, &scalar).unwrap();
        assert_eq!(read(&path).unwrap(), scalar);
    }

    #[test]
    fn a_header_that_numpy_wrote_is_read() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }                    \n";
        let array = parse(file(header, &[0, 0, 128, 63, 0, 0, 0, 64])).unwrap();
        assert_eq!(array, Array::from(vec![1f32, 2.0]).into());
    }

    #[test]
    fn what_is_no_array_says_why() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n";
        for (bytes, why) in [
            (b"PK\x03\x04".to_vec(), "does not begin as a .npy file does"),
            (file(header, &[])[..40].to_vec(), "its header is cut off"),
            (file(header, &[0; 4]), "takes 8 bytes, but there are 4"),
            (
                file(&header.replace("<f4", ">f4"), &[0; 8]),
                "its elements are `>f4`; arrays that travel are one of |b1",
            ),
            (file(&header.replace("'<f4'", "[('x', '<f4')]"), &[0; 8]), "its elements are `[('x', '<f4')]"),
            (file(&header.replace("False", "Maybe"), &[0; 8]), "does not say `fortran_order`"),
            (file(&header.replace("(2,)", "two"), &[0; 8]), "does not say `shape`"),
        ] {
            let error = parse(bytes).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
