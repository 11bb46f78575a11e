//! The values of docs/wire.md, read from the page: arrays, byte strings and errors are what the encoder writes and the
//! decoder reads.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::fmt::Debug;

use mosaic_comms::{Array, Blob, Encoded, Received, RemoteError, decode_value, encode_value};
use ndarray::ShapeBuilder;
use num_complex::Complex;
use serde::Serialize;
use serde::de::DeserializeOwned;

const PAGE: &str = include_str!("../../../docs/wire.md");

/// All blocks headed `value`: their names and their bytes.
fn values() -> Vec<(&'static str, Vec<u8>)> {
    let mut lines = PAGE.lines();
    let mut values = Vec::new();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("```value ") else { continue };
        let text = lines.by_ref().take_while(|line| *line != "```");
        let hex = text.flat_map(|line| line.split(';').next().unwrap().split_whitespace());
        values.push((name, hex.map(|byte| u8::from_str_radix(byte, 16).expect(name)).collect()));
    }
    values
}

/// That `value` is written as `body` and `buffer`, and read from them.
fn check<T>(name: &str, value: &T, body: &[u8], buffer: Option<&[u8]>)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let Encoded { body: written, buffers } = encode_value(value).unwrap();
    assert_eq!(written, body, "{name}");
    assert_eq!(
        buffers.iter().map(|bytes| bytes.as_ref()).collect::<Vec<_>>(),
        Vec::from_iter(buffer),
        "{name}"
    );
    let buffers = buffers.into_iter().map(Received::Shared).collect();
    assert_eq!(decode_value::<T>(body, buffers).unwrap(), *value, "{name}");
}

#[test]
fn values_are_the_pages() {
    let values = values();
    assert_eq!(values.len(), 5);
    for (name, body) in values {
        match name {
            "array" => {
                let numbers = vec![0.0_f32, 1.0, 2.0, 3.0, 4.0, 5.0];
                let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
                let array = Array::from_shape_vec([2, 3], numbers).unwrap();
                check(name, &array, &body, Some(&bytes));
            }
            "array-of-axes-in-the-order-of-fortran" => {
                let numbers = (0..6).map(|n| Complex::new(f64::from(n), 0.5)).collect::<Vec<_>>();
                let parts = numbers.iter().flat_map(|number| [number.re, number.im]);
                let bytes: Vec<u8> = parts.flat_map(f64::to_le_bytes).collect();
                let array = ndarray::Array::from_shape_vec((2, 3).f(), numbers).unwrap();
                check(name, &Array::from(array), &body, Some(&bytes));
            }
            "byte-string" => check(name, &Blob::from(vec![7; 16 * 1024]), &body, Some(&[7; 16 * 1024])),
            "small-byte-string" => check(name, &Blob::from(vec![1, 2, 3]), &body, None),
            "error" => {
                let mut error = RemoteError::new(RemoteError::ARGUMENT, "no `b`");
                error.causes = vec!["why".to_owned()];
                (error.uid, error.method) = ("worker:0".to_owned(), "add".to_owned());
                check(name, &error, &body, None);
            }
            _ => panic!("the value `{name}` is not checked"),
        }
    }
}
