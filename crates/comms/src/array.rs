//! Arrays that travel without being copied: [`Array`], its storage and its view as an ndarray.
//!
//! An array owns its elements or shares them with its clones, with the message that carries it, and with the pooled
//! buffer that it was received in. How one becomes bytes of a message is in `array/wire.rs`; arithmetic is ndarray's.

mod any;
mod element;
mod shape;
mod storage;
mod wire;

use std::fmt;

use bytes::Bytes;
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD, Dimension, IxDyn};

use crate::context::Context;
use crate::link::SHARED_FRAME;
pub use any::{AnyArray, ElementsError};
pub use element::{Dtype, Element};
pub use shape::{MAX_AXES, Order, ShapeError};
use storage::Storage;
pub(crate) use storage::share;
pub(crate) use wire::Reference;

/// An n-dimensional array of numbers. Clones share its elements.
///
/// Made from a `Vec` or an `ndarray::Array` by move and sent from where it lies. A received one lies in a 64-byte
/// aligned buffer of the pool, or in memory that its sender, another process of this host, shares with this one, and gives it back on
/// drop; arrays of `bool` are checked and copied once instead.
///
/// In a format that is not Mosaic's own (JSON, for example), it is a struct of `dtype`, `shape`, `order` and `values`.
///
/// # Example
/// ```
/// use mosaic_comms::Array;
/// let field = Array::from(ndarray::array![[1.0, 2.0], [3.0, 4.0]]);
/// assert_eq!(field.shape(), [2, 2]);
/// assert_eq!(field.view().sum(), 10.0);
/// ```
#[derive(Clone)]
pub struct Array<T: Element> {
    shape: IxDyn,
    order: Order,
    storage: Storage<T>,
}

impl<T: Element> Array<T> {
    /// Makes an array of this shape from elements in row-major order, without copying them.
    ///
    /// # Errors
    /// [`ShapeError`] if the shape takes more or fewer elements.
    ///
    /// # Example
    /// ```
    /// use mosaic_comms::Array;
    /// let field = Array::from_shape_vec([2, 3], vec![0f32; 6])?;
    /// assert!(Array::from_shape_vec([2, 4], vec![0f32; 6]).is_err());
    /// # Ok::<(), mosaic_comms::ShapeError>(())
    /// ```
    pub fn from_shape_vec(shape: impl AsRef<[usize]>, values: Vec<T>) -> Result<Array<T>, ShapeError> {
        Array::from_order(shape.as_ref(), Order::C, values)
    }

    /// Makes an array of this shape from elements that are already in this order.
    fn from_order(shape: &[usize], order: Order, values: Vec<T>) -> Result<Array<T>, ShapeError> {
        shape::check(T::DTYPE, shape, size_of_val(values.as_slice()))?;
        Ok(Array { shape: IxDyn(shape), order, storage: Storage::from(values) })
    }

    /// Returns the lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        self.shape.slice()
    }

    /// Returns the order of the elements in memory.
    pub fn order(&self) -> Order {
        self.order
    }

    /// Returns the type of the elements.
    pub fn dtype(&self) -> Dtype {
        T::DTYPE
    }

    /// Returns how many elements there are.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Returns whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the elements as they lie in memory: see [`Array::order`].
    pub fn as_slice(&self) -> &[T] {
        self.storage.elements()
    }

    /// Returns the elements as they lie in memory, to change, if nobody else shares them.
    pub fn as_slice_mut(&mut self) -> Option<&mut [T]> {
        self.storage.elements_mut()
    }

    /// Returns the array as an ndarray to read.
    pub fn view(&self) -> ArrayViewD<'_, T> {
        let shape = shape::strided(&self.shape, self.order);
        ArrayViewD::from_shape(shape, self.as_slice()).expect("the shape was checked when the array was made")
    }

    /// Returns the array as an ndarray to change, if nobody else shares its elements: no clone, no message that is
    /// still under way, no other array of the message that it came with, not the [`Args`](crate::Args) it is from.
    pub fn view_mut(&mut self) -> Option<ArrayViewMutD<'_, T>> {
        let shape = shape::strided(&self.shape, self.order);
        let elements = self.storage.elements_mut()?;
        Some(
            ArrayViewMutD::from_shape(shape, elements)
                .expect("the shape was checked when the array was made"),
        )
    }

    /// Copies the array to an ndarray, which keeps the order.
    pub fn to_owned(&self) -> ArrayD<T> {
        self.view().to_owned()
    }

    /// Makes the array an ndarray; it copies only what [`Array::into_vec`] would copy.
    pub fn into_ndarray(self) -> ArrayD<T> {
        let shape = shape::strided(&self.shape, self.order);
        ArrayD::from_shape_vec(shape, self.into_vec()).expect("the shape was checked when the array was made")
    }

    /// Returns the elements as they lie in memory. They are not copied if the array was made from a `Vec` or an
    /// ndarray and nobody shares them.
    pub fn into_vec(self) -> Vec<T> {
        self.storage.into_vec()
    }

    /// Moves the elements, by one copy, to memory that other processes of this user on this host can be shown. Sent to one
    /// of them the array is not copied from then on, however often and however large it is; it lies in the same memory for
    /// both. To everybody else it goes as any array does, and so does it where no memory can be shared
    /// ([`ContextBuilder::share_memory`](crate::ContextBuilder::share_memory)) or it has less than 256 KiB.
    ///
    /// It may be changed where it lies ([`Array::as_slice_mut`]) when its receiver has dropped it. Before that, changing it
    /// moves it to memory of its own, by a copy.
    ///
    /// # Example
    /// ```
    /// use mosaic_comms::{Array, Context};
    /// let context = Context::builder().build()?;
    /// let mut field = Array::from(vec![0.0_f64; 1 << 20]).lendable(&context);
    /// field.as_slice_mut().ok_or("somebody else has it")?[7] = 1.0;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn lendable(self, context: &Context) -> Array<T> {
        match size_of_val(self.as_slice()) < SHARED_FRAME {
            true => self,
            false => Array { storage: self.storage.lendable(context), ..self },
        }
    }

    /// Returns the elements as the bytes that travel, shared and not copied.
    pub fn to_bytes(&self) -> Bytes {
        self.storage.to_bytes()
    }
}

impl<T: Element> From<Vec<T>> for Array<T> {
    fn from(values: Vec<T>) -> Array<T> {
        Array { shape: IxDyn(&[values.len()]), order: Order::C, storage: Storage::from(values) }
    }
}

/// Moves the elements of a row-major or column-major ndarray; those of any other layout are copied.
impl<T: Element, D: Dimension> From<ndarray::Array<T, D>> for Array<T> {
    fn from(array: ndarray::Array<T, D>) -> Array<T> {
        let shape = IxDyn(array.shape());
        let order = match (array.is_standard_layout(), array.t().is_standard_layout()) {
            (false, true) => Order::F,
            _ => Order::C,
        };
        let values = match array.is_standard_layout() || order == Order::F {
            true => dense(array),
            false => array.iter().copied().collect(),
        };
        Array { shape, order, storage: Storage::from(values) }
    }
}

/// Takes the elements out of an ndarray without gaps, whose allocation may be larger than it (after slicing).
fn dense<T: Element, D: Dimension>(array: ndarray::Array<T, D>) -> Vec<T> {
    let len = array.len();
    let (mut values, offset) = array.into_raw_vec_and_offset();
    match offset.unwrap_or(0) {
        0 => {
            values.truncate(len);
            values
        }
        offset => values[offset..offset + len].to_vec(),
    }
}

impl<T: Element> PartialEq for Array<T> {
    fn eq(&self, other: &Array<T>) -> bool {
        self.shape == other.shape
            && match self.order == other.order {
                true => self.as_slice() == other.as_slice(),
                false => self.view() == other.view(),
            }
    }
}

/// Elements that `Debug` shows at most: a log line must not carry megabytes.
const SHOWN: usize = 8;

impl<T: Element> fmt::Debug for Array<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Array {} {:?} {} ", T::DTYPE, self.shape(), self.order)?;
        let elements = self.as_slice();
        let mut list = out.debug_list();
        list.entries(elements.iter().take(SHOWN));
        match elements.len() > SHOWN {
            true => list.finish_non_exhaustive(),
            false => list.finish(),
        }
    }
}
