//! [`Array`] as serde sees it: an extension that refers to a buffer of the message while our own encoder or decoder
//! runs, a plain struct `{dtype, shape, order, values}` with any other format.
//!
//! ```text
//! payload of the extension:  [index, dtype, shape, order]    [0, "<f4", [512, 512], "C"]
//! ```

use std::fmt;
use std::marker::PhantomData;

use ndarray::{Dimension, IxDyn};
use rmp::encode::{write_array_len, write_str, write_uint};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::element::{Element, sealed::Sealed};
use super::storage::Storage;
use super::{Array, Dtype, MAX_AXES, Order, shape};
use crate::out_of_band::{self, Arrived, EXT_ARRAY, Extension};

impl<T: Element> Serialize for Array<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A text format may run inside our encoder, in a field that is JSON by its own wish.
        if out_of_band::is_encoding() && !serializer.is_human_readable() {
            let index = out_of_band::leave(self.to_bytes());
            Extension(EXT_ARRAY, &reference(index, self)).serialize(serializer)
        } else {
            plain(self, serializer)
        }
    }
}

/// Encodes what takes the array's place in the body.
fn reference<T: Element>(index: usize, array: &Array<T>) -> Vec<u8> {
    let mut payload = Vec::with_capacity(32);
    let written = (|| {
        write_array_len(&mut payload, 4)?;
        write_uint(&mut payload, index as u64)?;
        write_str(&mut payload, T::DTYPE.name())?;
        write_array_len(&mut payload, array.shape().len() as u32)?;
        for &axis in array.shape() {
            write_uint(&mut payload, axis as u64)?;
        }
        write_str(&mut payload, array.order().name())
    })();
    written.expect("writing to a Vec does not fail");
    payload
}

fn plain<T: Element, S: Serializer>(array: &Array<T>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut fields = serializer.serialize_struct("Array", 4)?;
    fields.serialize_field("dtype", T::DTYPE.name())?;
    fields.serialize_field("shape", array.shape())?;
    fields.serialize_field("order", array.order().name())?;
    fields.serialize_field("values", &Values(array.as_slice()))?;
    fields.end()
}

/// The elements, one by one.
struct Values<'a, T>(&'a [T]);

impl<T: Element> Serialize for Values<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|&element| element.plain()))
    }
}

impl<'de, T: Element> Deserialize<'de> for Array<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Array<T>, D::Error> {
        // Our own format describes itself, so an array may also be given as a list or as the plain struct.
        match out_of_band::is_decoding() {
            true => deserializer.deserialize_any(ArrayVisitor { list: true, element: PhantomData }),
            false => {
                let visitor = ArrayVisitor { list: false, element: PhantomData };
                deserializer.deserialize_struct("Array", FIELDS, visitor)
            }
        }
    }
}

const FIELDS: &[&str] = &["dtype", "shape", "order", "values"];

/// Takes every form of an array; `list` says that a sequence is its values and not its four fields.
struct ArrayVisitor<T> {
    list: bool,
    element: PhantomData<T>,
}

impl<'de, T: Element> Visitor<'de> for ArrayVisitor<T> {
    type Value = Array<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "an array of {}", T::DTYPE)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Array<T>, D::Error> {
        let arrived = Arrived::deserialize(deserializer)?;
        if arrived.kind != EXT_ARRAY {
            return Err(de::Error::custom(format_args!("extension {} is not an array", arrived.kind)));
        }
        let reference = Reference::parse(&arrived.payload).ok_or_else(|| malformed(&arrived.payload))?;
        reference.resolve().map_err(de::Error::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Array<T>, A::Error> {
        if self.list {
            return Ok(Array::from(values(sequence)?));
        }
        let missing = |count| de::Error::invalid_length(count, &"the four fields of an array");
        let dtype: String = sequence.next_element()?.ok_or_else(|| missing(0))?;
        let shape: Vec<usize> = sequence.next_element()?.ok_or_else(|| missing(1))?;
        let order: String = sequence.next_element()?.ok_or_else(|| missing(2))?;
        let values = sequence.next_element::<Collected<T>>()?.ok_or_else(|| missing(3))?;
        assemble(&dtype, &shape, &order, values.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Array<T>, A::Error> {
        let (mut dtype, mut shape, mut order, mut values) = (None, None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "dtype" => dtype = Some(map.next_value::<String>()?),
                "shape" => shape = Some(map.next_value::<Vec<usize>>()?),
                "order" => order = Some(map.next_value::<String>()?),
                "values" => values = Some(map.next_value::<Collected<T>>()?),
                unknown => return Err(de::Error::unknown_field(unknown, FIELDS)),
            }
        }
        let values = values.ok_or_else(|| de::Error::missing_field("values"))?.0;
        let dtype = dtype.as_deref().unwrap_or(T::DTYPE.name());
        assemble(dtype, &shape.unwrap_or(vec![values.len()]), order.as_deref().unwrap_or("C"), values)
    }
}

/// Makes an array of its plain form.
fn assemble<T: Element, E: de::Error>(
    dtype: &str,
    shape: &[usize],
    order: &str,
    values: Vec<T>,
) -> Result<Array<T>, E> {
    if dtype != T::DTYPE.name() {
        return Err(E::custom(WrongDtype::new::<T>(dtype, shape)));
    }
    let order = Order::from_name(order).ok_or_else(|| E::unknown_variant(order, &["C", "F"]))?;
    Array::from_order(shape, order, values).map_err(E::custom)
}

/// The elements of a sequence.
struct Collected<T>(Vec<T>);

impl<'de, T: Element> Deserialize<'de> for Collected<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Collected<T>, D::Error> {
        let plain = Vec::<T::Plain>::deserialize(deserializer)?;
        Ok(Collected(plain.into_iter().map(T::from_plain).collect()))
    }
}

fn values<'de, T: Element, A: SeqAccess<'de>>(mut sequence: A) -> Result<Vec<T>, A::Error> {
    let mut values = Vec::new();
    while let Some(plain) = sequence.next_element::<<T as Sealed>::Plain>()? {
        values.push(T::from_plain(plain));
    }
    Ok(values)
}

/// What takes the place of an array in a body.
pub(crate) struct Reference<'a> {
    index: u64,
    dtype: &'a str,
    shape: IxDyn,
    order: Order,
}

impl<'a> Reference<'a> {
    /// Reads the payload of an extension, which came from a peer.
    pub(crate) fn parse(mut payload: &'a [u8]) -> Option<Reference<'a>> {
        use rmp::decode::{read_array_len, read_int};
        let parts = read_array_len(&mut payload).ok()?;
        let index = read_int(&mut payload).ok()?;
        let dtype = text(&mut payload)?;
        let axes = read_array_len(&mut payload).ok()? as usize;
        if parts != 4 || axes > MAX_AXES {
            return None;
        }
        let mut shape = IxDyn::zeros(axes);
        for axis in shape.slice_mut() {
            *axis = read_int(&mut payload).ok()?;
        }
        let order = Order::from_name(text(&mut payload)?)?;
        payload.is_empty().then_some(Reference { index, dtype, shape, order })
    }

    /// The type of its elements.
    pub(super) fn dtype(&self) -> Result<Dtype, Unusable> {
        Dtype::from_name(self.dtype).ok_or_else(|| Unusable::Unknown { dtype: clip(self.dtype) })
    }

    pub(super) fn resolve<T: Element>(self) -> Result<Array<T>, Unusable> {
        if self.dtype != T::DTYPE.name() {
            return Err(WrongDtype::new::<T>(self.dtype, self.shape.slice()).into());
        }
        let buffer = out_of_band::arrived(self.index)?;
        shape::check(T::DTYPE, self.shape.slice(), (*buffer).as_ref().len())?;
        Ok(Array { storage: Storage::receive(buffer)?, shape: self.shape, order: self.order })
    }
}

impl fmt::Display for Reference<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {:?}", clip(self.dtype), self.shape.slice())
    }
}

fn text<'a>(payload: &mut &'a [u8]) -> Option<&'a str> {
    let (text, rest) = rmp::decode::read_str_from_slice(*payload).ok()?;
    *payload = rest;
    Some(text)
}

/// Cuts a peer's text to a length that suits an error.
fn clip(text: &str) -> String {
    text.chars().take(16).collect()
}

fn malformed<E: de::Error>(payload: &[u8]) -> E {
    E::custom(format_args!("the extension of an array is malformed ({} bytes)", payload.len()))
}

/// Why a reference does not become an array.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("there are no arrays of `{dtype}`")]
    Unknown { dtype: String },
    #[error(transparent)]
    Dtype(#[from] WrongDtype),
    #[error(transparent)]
    Buffer(#[from] out_of_band::NoBuffer),
    #[error(transparent)]
    Shape(#[from] shape::ShapeError),
    #[error(transparent)]
    Element(#[from] super::element::InvalidElement),
}

/// Another type of elements than was asked for.
#[derive(Debug, thiserror::Error)]
#[error("expected `Array<{asked}>`, found `{found} {shape:?}`")]
pub(crate) struct WrongDtype {
    asked: &'static str,
    found: String,
    shape: Vec<usize>,
}

impl WrongDtype {
    fn new<T: Element>(found: &str, shape: &[usize]) -> WrongDtype {
        let asked = std::any::type_name::<T>().rsplit("::").next().unwrap_or_default();
        WrongDtype { asked, found: clip(found), shape: shape.to_vec() }
    }
}
