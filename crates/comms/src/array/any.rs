//! [`AnyArray`]: an array whose element type is known when the program runs, for tools that serve every method.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use half::f16;
use ndarray::IxDyn;
use num_complex::Complex;
use serde::ser::{Serialize, Serializer};

use super::element::InvalidElement;
use super::storage::Storage;
use super::wire::{Reference, Unusable};
use super::{Array, Dtype, Element, Order, ShapeError, shape};
use crate::pool::Received;

/// Why bytes are not the elements of an array.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ElementsError {
    /// There are more or fewer bytes than the shape takes, or more axes than an array may have.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A byte is no value of the element type; only `bool` has such.
    #[error("byte {at} is {byte}, which is no bool")]
    Element {
        /// Where it is.
        at: usize,
        /// What it is.
        byte: u8,
    },
}

impl From<InvalidElement> for ElementsError {
    fn from(InvalidElement { at, byte }: InvalidElement) -> ElementsError {
        ElementsError::Element { at, byte }
    }
}

macro_rules! any_array {
    ($($name:ident($type:ty)),* $(,)?) => {
        /// An [`Array`] of any element type. Clones share its elements.
        ///
        /// # Example
        /// ```
        /// use mosaic_comms::{AnyArray, Array, Dtype, Order};
        /// let array = AnyArray::from_bytes(Dtype::Int16, Order::C, &[2], vec![1, 0, 2, 0])?;
        /// assert_eq!(array, Array::from(vec![1i16, 2]).into());
        /// # Ok::<(), mosaic_comms::ElementsError>(())
        /// ```
        #[derive(Clone, PartialEq)]
        #[non_exhaustive]
        pub enum AnyArray {
            $(#[doc = concat!("Of `", stringify!($type), "`.")] $name(Array<$type>),)*
        }

        impl AnyArray {
            /// Makes an array of this type, order and shape from the bytes of its elements, little-endian. They are not
            /// copied where they are aligned for the type.
            ///
            /// # Errors
            /// [`ElementsError`] if they are more or fewer than the shape takes, or no values of the type.
            pub fn from_bytes(
                dtype: Dtype,
                order: Order,
                shape: &[usize],
                bytes: impl Into<Bytes>,
            ) -> Result<AnyArray, ElementsError> {
                let bytes = bytes.into();
                match dtype {
                    $(Dtype::$name => from_bytes::<$type>(order, shape, bytes).map(AnyArray::$name),)*
                }
            }

            /// Returns the type of the elements.
            pub fn dtype(&self) -> Dtype {
                match self { $(AnyArray::$name(array) => array.dtype(),)* }
            }

            /// Returns the lengths of the axes.
            pub fn shape(&self) -> &[usize] {
                match self { $(AnyArray::$name(array) => array.shape(),)* }
            }

            /// Returns the order of the elements in memory.
            pub fn order(&self) -> Order {
                match self { $(AnyArray::$name(array) => array.order(),)* }
            }

            /// Returns the elements as the bytes that travel, little-endian, shared and not copied.
            pub fn to_bytes(&self) -> Bytes {
                match self { $(AnyArray::$name(array) => array.to_bytes(),)* }
            }

            /// The array that an extension of a body refers to.
            pub(crate) fn resolve(reference: Reference<'_>) -> Result<AnyArray, Unusable> {
                match reference.dtype()? {
                    $(Dtype::$name => reference.resolve().map(AnyArray::$name),)*
                }
            }
        }

        impl Serialize for AnyArray {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(AnyArray::$name(array) => array.serialize(serializer),)* }
            }
        }

        impl fmt::Debug for AnyArray {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $(AnyArray::$name(array) => array.fmt(out),)* }
            }
        }

        $(impl From<Array<$type>> for AnyArray {
            fn from(array: Array<$type>) -> AnyArray {
                AnyArray::$name(array)
            }
        })*
    };
}

any_array! {
    Bool(bool),
    Int8(i8),
    Int16(i16),
    Int32(i32),
    Int64(i64),
    Uint8(u8),
    Uint16(u16),
    Uint32(u32),
    Uint64(u64),
    Float16(f16),
    Float32(f32),
    Float64(f64),
    Complex64(Complex<f32>),
    Complex128(Complex<f64>),
}

fn from_bytes<T: Element>(order: Order, shape: &[usize], bytes: Bytes) -> Result<Array<T>, ElementsError> {
    shape::check(T::DTYPE, shape, bytes.len())?;
    let storage = Storage::receive(Arc::new(Received::Shared(bytes)))?;
    Ok(Array { shape: IxDyn(shape), order, storage })
}
