//! The element types of an [`Array`](crate::Array) and their names on the wire.

use std::fmt;

use half::f16;
use num_complex::Complex;
use serde::{Serialize, de::DeserializeOwned};

// The names say little-endian and the bytes travel as they lie in memory.
#[cfg(target_endian = "big")]
compile_error!("mosaic-comms sends arrays as they lie in memory, which must be little-endian");

/// The type of an array's elements, under the name that numpy gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Dtype {
    /// `bool`, one byte that is 0 or 1.
    Bool,
    /// `i8`.
    Int8,
    /// `i16`.
    Int16,
    /// `i32`.
    Int32,
    /// `i64`.
    Int64,
    /// `u8`.
    Uint8,
    /// `u16`.
    Uint16,
    /// `u32`.
    Uint32,
    /// `u64`.
    Uint64,
    /// `half::f16`.
    Float16,
    /// `f32`.
    Float32,
    /// `f64`.
    Float64,
    /// `Complex<f32>`.
    Complex64,
    /// `Complex<f64>`.
    Complex128,
}

impl Dtype {
    /// Every type that an array may have.
    pub const ALL: [Dtype; 14] = [
        Dtype::Bool,
        Dtype::Int8,
        Dtype::Int16,
        Dtype::Int32,
        Dtype::Int64,
        Dtype::Uint8,
        Dtype::Uint16,
        Dtype::Uint32,
        Dtype::Uint64,
        Dtype::Float16,
        Dtype::Float32,
        Dtype::Float64,
        Dtype::Complex64,
        Dtype::Complex128,
    ];

    /// Returns the name on the wire, such as `<f4`.
    pub const fn name(self) -> &'static str {
        match self {
            Dtype::Bool => "|b1",
            Dtype::Int8 => "|i1",
            Dtype::Int16 => "<i2",
            Dtype::Int32 => "<i4",
            Dtype::Int64 => "<i8",
            Dtype::Uint8 => "|u1",
            Dtype::Uint16 => "<u2",
            Dtype::Uint32 => "<u4",
            Dtype::Uint64 => "<u8",
            Dtype::Float16 => "<f2",
            Dtype::Float32 => "<f4",
            Dtype::Float64 => "<f8",
            Dtype::Complex64 => "<c8",
            Dtype::Complex128 => "<c16",
        }
    }

    /// Returns the type of this name, if there is one.
    ///
    /// # Example
    /// ```
    /// use mosaic_comms::Dtype;
    /// assert_eq!(Dtype::from_name("<c16"), Some(Dtype::Complex128));
    /// assert_eq!(Dtype::from_name(">f4"), None);
    /// ```
    pub fn from_name(name: &str) -> Option<Dtype> {
        Dtype::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// Returns the bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Dtype::Bool | Dtype::Int8 | Dtype::Uint8 => 1,
            Dtype::Int16 | Dtype::Uint16 | Dtype::Float16 => 2,
            Dtype::Int32 | Dtype::Uint32 | Dtype::Float32 => 4,
            Dtype::Int64 | Dtype::Uint64 | Dtype::Float64 | Dtype::Complex64 => 8,
            Dtype::Complex128 => 16,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A type that an [`Array`](crate::Array) may hold. Its bytes in memory are its bytes on the wire, so no other crate
/// can add one.
pub trait Element: sealed::Sealed + Copy + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// The name of this type on the wire.
    const DTYPE: Dtype;
}

/// Bytes that are no value of the element type; only `bool` has such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {at} is {byte}, which is no bool")]
pub struct InvalidElement {
    pub(super) at: usize,
    pub(super) byte: u8,
}

pub(crate) mod sealed {
    use super::*;

    /// How elements become bytes and bytes elements.
    pub trait Sealed: Sized {
        /// What stands for an element in a format that has no place for bytes.
        type Plain: Serialize + DeserializeOwned;

        fn plain(self) -> Self::Plain;
        fn from_plain(plain: Self::Plain) -> Self;
        fn bytes(elements: &[Self]) -> &[u8];
        /// The elements that these bytes are, if they can be looked at in place.
        fn view(bytes: &[u8]) -> Option<&[Self]>;
        fn view_mut(bytes: &mut [u8]) -> Option<&mut [Self]>;
        fn copy(bytes: &[u8]) -> Result<Vec<Self>, InvalidElement>;
    }
}

/// Implements [`Element`] for a type of which every bit pattern is a value.
macro_rules! element {
    ($($type:ty, $dtype:ident, $plain:ty, $to:expr, $from:expr;)*) => {$(
        impl Element for $type {
            const DTYPE: Dtype = Dtype::$dtype;
        }

        impl sealed::Sealed for $type {
            type Plain = $plain;

            fn plain(self) -> $plain {
                let to: fn($type) -> $plain = $to;
                to(self)
            }

            fn from_plain(plain: $plain) -> $type {
                let from: fn($plain) -> $type = $from;
                from(plain)
            }

            fn bytes(elements: &[$type]) -> &[u8] {
                bytemuck::cast_slice(elements)
            }

            fn view(bytes: &[u8]) -> Option<&[$type]> {
                bytemuck::try_cast_slice(bytes).ok()
            }

            fn view_mut(bytes: &mut [u8]) -> Option<&mut [$type]> {
                bytemuck::try_cast_slice_mut(bytes).ok()
            }

            fn copy(bytes: &[u8]) -> Result<Vec<$type>, InvalidElement> {
                Ok(bytemuck::pod_collect_to_vec(bytes))
            }
        }
    )*};
}

element! {
    i8, Int8, i8, |x| x, |x| x;
    i16, Int16, i16, |x| x, |x| x;
    i32, Int32, i32, |x| x, |x| x;
    i64, Int64, i64, |x| x, |x| x;
    u8, Uint8, u8, |x| x, |x| x;
    u16, Uint16, u16, |x| x, |x| x;
    u32, Uint32, u32, |x| x, |x| x;
    u64, Uint64, u64, |x| x, |x| x;
    f16, Float16, f32, f16::to_f32, f16::from_f32;
    f32, Float32, f32, |x| x, |x| x;
    f64, Float64, f64, |x| x, |x| x;
    Complex<f32>, Complex64, (f32, f32), |x| (x.re, x.im), |(re, im)| Complex { re, im };
    Complex<f64>, Complex128, (f64, f64), |x| (x.re, x.im), |(re, im)| Complex { re, im };
}

impl Element for bool {
    const DTYPE: Dtype = Dtype::Bool;
}

impl sealed::Sealed for bool {
    type Plain = bool;

    fn plain(self) -> bool {
        self
    }

    fn from_plain(plain: bool) -> bool {
        plain
    }

    fn bytes(elements: &[bool]) -> &[u8] {
        bytemuck::cast_slice(elements)
    }

    // Bytes would have to be checked at every look; they are copied once instead.
    fn view(_: &[u8]) -> Option<&[bool]> {
        None
    }

    fn view_mut(_: &mut [u8]) -> Option<&mut [bool]> {
        None
    }

    fn copy(bytes: &[u8]) -> Result<Vec<bool>, InvalidElement> {
        match bytes.iter().position(|&byte| byte > 1) {
            None => Ok(bytes.iter().map(|&byte| byte == 1).collect()),
            Some(at) => Err(InvalidElement { at, byte: bytes[at] }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Element>() {
        assert_eq!(T::DTYPE.size(), size_of::<T>());
        assert_eq!(Dtype::from_name(T::DTYPE.name()), Some(T::DTYPE));
        assert!(T::DTYPE.name().ends_with(&size_of::<T>().to_string()));
    }

    #[test]
    fn sizes_and_names_are_those_of_the_types() {
        check::<bool>();
        check::<i8>();
        check::<i16>();
        check::<i32>();
        check::<i64>();
        check::<u8>();
        check::<u16>();
        check::<u32>();
        check::<u64>();
        check::<f16>();
        check::<f32>();
        check::<f64>();
        check::<Complex<f32>>();
        check::<Complex<f64>>();
    }
}
