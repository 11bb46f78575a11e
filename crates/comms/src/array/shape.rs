//! Shapes: the lengths of an array's axes, the order of its elements in memory, and whether bytes are enough.

use std::fmt;

use ndarray::{Dimension, IxDyn, ShapeBuilder, StrideShape};

use super::Dtype;

/// Axes of an array at most, as in numpy before 2.0.
pub const MAX_AXES: usize = 32;

/// The order of an array's elements in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// The last index runs fastest (row-major), as in C and by default in ndarray and numpy.
    #[default]
    C,
    /// The first index runs fastest (column-major), as in Fortran.
    F,
}

impl Order {
    /// Returns the letter on the wire, `C` or `F`.
    pub const fn name(self) -> &'static str {
        match self {
            Order::C => "C",
            Order::F => "F",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Order> {
        [Order::C, Order::F].into_iter().find(|order| order.name() == name)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// Why elements and a shape do not make an array.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// There are more or fewer bytes than the shape takes.
    #[error("an array {dtype} {shape:?} takes {needed} bytes, but there are {present}")]
    Size {
        /// The type of the elements.
        dtype: Dtype,
        /// The lengths of the axes.
        shape: Vec<usize>,
        /// The bytes that such an array takes.
        needed: usize,
        /// The bytes that there are.
        present: usize,
    },
    /// No memory can hold this shape.
    #[error("an array {dtype} {shape:?} is larger than the address space ({present} bytes are there)")]
    TooLarge {
        /// The type of the elements.
        dtype: Dtype,
        /// The lengths of the axes.
        shape: Vec<usize>,
        /// The bytes that there are.
        present: usize,
    },
    /// There are more than [`MAX_AXES`] axes.
    #[error("an array has {axes} axes, more than {MAX_AXES}")]
    TooManyAxes {
        /// How many axes there are.
        axes: usize,
    },
}

/// Checks that `present` bytes are exactly what an array of this shape takes.
pub(crate) fn check(dtype: Dtype, shape: &[usize], present: usize) -> Result<(), ShapeError> {
    if shape.len() > MAX_AXES {
        return Err(ShapeError::TooManyAxes { axes: shape.len() });
    }
    match size(dtype, shape) {
        Some(needed) if needed == present => Ok(()),
        Some(needed) => Err(ShapeError::Size { dtype, shape: shape.to_vec(), needed, present }),
        None => Err(ShapeError::TooLarge { dtype, shape: shape.to_vec(), present }),
    }
}

/// Returns the bytes that an array of this shape takes. ndarray needs even the product of the axes that are not
/// empty to be within the address space.
fn size(dtype: Dtype, shape: &[usize]) -> Option<usize> {
    let mut axes = shape.iter().filter(|&&axis| axis != 0);
    let full = axes.try_fold(dtype.size(), |product, &axis| product.checked_mul(axis))?;
    isize::try_from(full).ok()?;
    Some(if shape.contains(&0) { 0 } else { full })
}

/// Joins shape and order to what ndarray takes for both.
pub(crate) fn strided(shape: &IxDyn, order: Order) -> StrideShape<IxDyn> {
    shape.clone().set_f(order == Order::F && shape.ndim() > 1).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_axes_are_one_element() {
        assert_eq!(check(Dtype::Float64, &[], 8), Ok(()));
        assert!(check(Dtype::Float64, &[], 0).is_err());
    }

    #[test]
    fn products_that_overflow_are_refused() {
        for shape in [&[usize::MAX, 2][..], &[1 << 32, 1 << 32], &[0, usize::MAX, 2], &[1 << 60, 1 << 3]] {
            let error = check(Dtype::Float64, shape, 0).unwrap_err();
            assert!(matches!(error, ShapeError::TooLarge { .. }), "{shape:?}: {error}");
        }
    }

    #[test]
    fn an_empty_axis_takes_no_bytes() {
        assert_eq!(check(Dtype::Float32, &[3, 0, 5], 0), Ok(()));
        assert!(check(Dtype::Float32, &[3, 0, 5], 4).is_err());
    }

    #[test]
    fn axes_are_bounded() {
        assert_eq!(check(Dtype::Uint8, &[1; 33], 1), Err(ShapeError::TooManyAxes { axes: 33 }));
    }
}
