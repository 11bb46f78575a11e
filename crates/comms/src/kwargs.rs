//! The arguments that a caller gives: [`kwargs!`](crate::kwargs), [`Kwargs`] and whatever else has names in it.

use std::ops::Range;

use serde::Serialize;
use smallvec::SmallVec;

use crate::encode::{CAPACITY, EncodeError, Encoded, append};
use crate::msgpack::{self, Content};
use crate::type_name::readable;

/// Keyword arguments of a call, each encoded when it is added. Made by [`kwargs!`](crate::kwargs).
///
/// The first error is kept until the call is made, so that building never fails.
///
/// # Example
/// ```
/// use mosaic_comms::{IntoArgs, Kwargs};
/// let encoded = Kwargs::new().with("factor", 2.0).with("steps", 10).into_args()?;
/// assert_eq!(encoded.body[0], 0x82);
/// assert!(Kwargs::new().with("factor", 2.0).with("factor", 3.0).into_args().is_err());
/// # Ok::<(), mosaic_comms::EncodeError>(())
/// ```
#[derive(Debug)]
#[must_use = "arguments do nothing until they are given to a call"]
pub struct Kwargs {
    encoded: Encoded,
    names: SmallVec<[Range<usize>; 4]>,
    error: Option<EncodeError>,
}

impl Default for Kwargs {
    fn default() -> Kwargs {
        Kwargs::new()
    }
}

impl Kwargs {
    /// Makes an empty set of arguments.
    pub fn new() -> Kwargs {
        let mut body = Vec::with_capacity(CAPACITY);
        body.push(EMPTY_MAP);
        Kwargs { encoded: Encoded { body, buffers: Vec::new() }, names: SmallVec::new(), error: None }
    }

    /// Adds an argument. Arrays and blobs stay where they are and are shared.
    pub fn with<T: Serialize>(mut self, name: &str, value: T) -> Kwargs {
        if self.error.is_none() {
            self.error = self.add(name, &value).err();
        }
        self
    }

    fn add<T: Serialize>(&mut self, name: &str, value: &T) -> Result<(), EncodeError> {
        let body = &self.encoded.body;
        if self.names.iter().any(|range| &body[range.clone()] == name.as_bytes()) {
            return Err(EncodeError::Duplicate { name: name.to_owned() });
        }
        let failed = |cause: rmp_serde::encode::Error| EncodeError::Argument {
            name: name.to_owned(),
            // The macro adds a reference that the caller did not write.
            type_name: readable::<T>().trim_start_matches('&').to_owned(),
            cause: cause.into(),
        };
        let body = &mut self.encoded.body;
        rmp::encode::write_str(body, name).expect("writing to a Vec does not fail");
        self.names.push(body.len() - name.len()..body.len());
        append(&mut self.encoded, value).map_err(failed)
    }

    fn finish(mut self) -> Result<Encoded, EncodeError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let body = &mut self.encoded.body;
        match self.names.len() {
            count @ 0..=15 => body[0] = EMPTY_MAP | count as u8,
            count => {
                body.splice(..1, std::iter::once(0xdf).chain((count as u32).to_be_bytes()));
            }
        }
        Ok(self.encoded)
    }
}

/// The marker of a map without entries; up to 15 are counted in its low bits.
const EMPTY_MAP: u8 = 0x80;

/// What may be given as the arguments of a call: [`kwargs!`](crate::kwargs), `()` for none, or anything that
/// serializes as a struct or as a map with text keys.
pub trait IntoArgs {
    /// Encodes the arguments.
    ///
    /// # Errors
    /// [`EncodeError::Argument`] and [`EncodeError::Duplicate`] name the argument of [`Kwargs`];
    /// [`EncodeError::Value`] if a value's `Serialize` fails; [`EncodeError::NotNamed`] if it has no names in it.
    fn into_args(self) -> Result<Encoded, EncodeError>;
}

/// What was encoded before is sent as it is: arguments that [`try_send`](crate::CommsManager::try_send) handed back.
impl IntoArgs for Encoded {
    fn into_args(self) -> Result<Encoded, EncodeError> {
        Ok(self)
    }
}

impl IntoArgs for Kwargs {
    fn into_args(self) -> Result<Encoded, EncodeError> {
        self.finish()
    }
}

impl<T: Serialize> IntoArgs for T {
    fn into_args(self) -> Result<Encoded, EncodeError> {
        let mut encoded = crate::encode_value(&self)?;
        let named = match msgpack::head(&encoded.body, 0).map(|head| head.content) {
            Ok(Content::Nil | Content::Array(0)) => {
                encoded.body = vec![EMPTY_MAP];
                true
            }
            Ok(Content::Map(_)) => msgpack::entries(&encoded.body).is_ok(),
            _ => false,
        };
        match named {
            true => Ok(encoded),
            false => Err(EncodeError::NotNamed { type_name: readable::<T>() }),
        }
    }
}

/// Makes [`Kwargs`](crate::Kwargs) of `name: value` pairs; a name alone stands for the variable of that name, which
/// is not moved.
///
/// # Example
/// ```
/// use mosaic_comms::{Array, IntoArgs, kwargs};
/// let field = Array::from(vec![0f32; 1000]);
/// let args = kwargs! { field, factor: 2.0 };
/// assert_eq!(args.into_args()?.buffers[0].as_ptr(), field.as_slice().as_ptr().cast());
/// # Ok::<(), mosaic_comms::EncodeError>(())
/// ```
#[macro_export]
macro_rules! kwargs {
    (@add $kwargs:expr,) => { $kwargs };
    (@add $kwargs:expr, $name:ident : $value:expr $(, $($rest:tt)*)?) => {
        $crate::kwargs!(@add $kwargs.with($crate::__argument_name(stringify!($name)), &$value), $($($rest)*)?)
    };
    (@add $kwargs:expr, $name:ident $(, $($rest:tt)*)?) => {
        $crate::kwargs!(@add $kwargs.with($crate::__argument_name(stringify!($name)), &$name), $($($rest)*)?)
    };
    ($($arguments:tt)*) => { $crate::kwargs!(@add $crate::Kwargs::new(), $($arguments)*) };
}

/// Returns the name that an identifier stands for: `r#type` is `type`. For [`kwargs!`](crate::kwargs).
#[doc(hidden)]
pub fn __argument_name(identifier: &str) -> &str {
    identifier.strip_prefix("r#").unwrap_or(identifier)
}
