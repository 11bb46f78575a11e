//! [`Value`]: whatever travels, for programs that learn its type only when they run.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::array::{AnyArray, Reference};
use crate::blob::Blob;
use crate::out_of_band::{Arrived, EXT_ARRAY};

/// Anything that an argument or a result may be. Arrays and byte strings travel as [`Array`](crate::Array) and
/// [`Blob`] do.
///
/// In a format that is not Mosaic's own (JSON, for example), it is what its parts are there; a map whose keys are no
/// text may be refused.
///
/// # Example
/// ```
/// use mosaic_comms::{Array, Value, decode_value, encode_value};
/// let encoded = encode_value(&(1, "two", Array::from(vec![3i16])))?;
/// let buffers = encoded.buffers.into_iter().map(mosaic_comms::Received::Shared).collect();
/// let value: Value = decode_value(&encoded.body, buffers)?;
/// let three = Value::Array(Array::from(vec![3i16]).into());
/// assert_eq!(value, Value::List(vec![Value::Unsigned(1), Value::Text("two".into()), three]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing.
    Nil,
    /// True or false.
    Bool(bool),
    /// An integer that is not negative.
    Unsigned(u64),
    /// A negative integer.
    Negative(i64),
    /// A floating-point number.
    Float(f64),
    /// Text.
    Text(String),
    /// A byte string.
    Bytes(Blob),
    /// A list.
    List(Vec<Value>),
    /// A map, in the order in which its entries came.
    Map(Vec<(Value, Value)>),
    /// An array.
    Array(AnyArray),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Nil => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Unsigned(value) => serializer.serialize_u64(*value),
            Value::Negative(value) => serializer.serialize_i64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::Text(value) => serializer.serialize_str(value),
            Value::Bytes(value) => value.serialize(serializer),
            Value::List(values) => serializer.collect_seq(values),
            Value::Map(entries) => serializer.collect_map(entries.iter().map(|(key, value)| (key, value))),
            Value::Array(array) => array.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(u64::try_from(value).map_or(Value::Negative(value), Value::Unsigned))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_bytes<E: de::Error>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(Blob::from(value.to_vec())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Map(entries))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let arrived = Arrived::deserialize(deserializer)?;
        if arrived.kind != EXT_ARRAY {
            return Blob::resolve(&arrived).map(Value::Bytes);
        }
        let reference = Reference::parse(&arrived.payload);
        let reference =
            reference.ok_or_else(|| de::Error::custom("the extension of an array is malformed"))?;
        AnyArray::resolve(reference).map(Value::Array).map_err(de::Error::custom)
    }
}
