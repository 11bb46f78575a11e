//! The arguments that a method receives: [`Args`] and what may be wrong with them.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::decode::{DecodeError, Undecoded, decode, shared, wrong};
use crate::dispatch::Asked;
use crate::encode::Cause;
use crate::msgpack::{self, Entries, Entry};
use crate::out_of_band::Buffers;
use crate::pool::Received;

/// Why an argument is not what a method needs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentError {
    /// The method needs an argument that was not given.
    #[error("argument `{name}` is missing; given: {}", List(given))]
    Missing {
        /// The name of the argument.
        name: String,
        /// The names that were given.
        given: Vec<String>,
    },
    /// An argument was given that the method does not know.
    #[error("unknown argument `{name}`{}; known: {}", Hint(similar), List(known))]
    Unknown {
        /// The name that was given.
        name: String,
        /// The names that the method knows.
        known: Vec<String>,
        /// The known name that was probably meant.
        similar: Option<String>,
    },
    /// An argument is of another type.
    #[error("argument `{name}`: expected `{expected}`, found {found}")]
    Wrong {
        /// The name of the argument.
        name: String,
        /// The type that the method takes.
        expected: String,
        /// What the argument is, in short.
        found: String,
        /// What the `Deserialize` of that type said.
        #[source]
        cause: Cause,
    },
}

/// The received arguments of one call, decoded one by one as the method asks for them.
///
/// # Example
/// ```
/// use mosaic_comms::{Args, IntoArgs, kwargs};
/// let encoded = kwargs! { factor: 2, name: "p" }.into_args()?;
/// let args = Args::new(encoded.body, Vec::new())?;
/// args.expect_only(&["factor", "name", "seed"])?;
/// let factor: f32 = args.get("factor")?;
/// let seed: Option<u64> = args.optional("seed")?;
/// assert_eq!((factor, seed), (2.0, None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Args {
    body: Body,
    entries: Entries,
    buffers: Buffers,
}

/// Where the arguments lie.
enum Body {
    Bytes(Bytes),
    Asked(Arc<Asked>),
}

impl Body {
    fn into_bytes(self) -> Bytes {
        match self {
            Body::Bytes(bytes) => bytes,
            asked => Bytes::from_owner(asked),
        }
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Body::Bytes(bytes) => bytes,
            Body::Asked(asked) => asked.body(),
        }
    }
}

/// The body of a call without arguments, as MessagePack's nil; an empty body is taken for it too.
const NIL: &[u8] = &[0xc0];

impl Args {
    /// Takes the body and the buffers of a message, and finds the arguments in it.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] if the body is not a MessagePack map with text keys;
    /// [`DecodeError::Duplicate`] if two arguments have the same name.
    pub fn new(body: impl Into<Bytes>, buffers: Vec<Received>) -> Result<Args, DecodeError> {
        Args::find(Body::Bytes(body.into()), buffers)
    }

    /// The arguments of what is asked for, where they lie.
    pub(crate) fn of(asked: &Arc<Asked>, buffers: Vec<Received>) -> Result<Args, DecodeError> {
        Args::find(Body::Asked(asked.clone()), buffers)
    }

    fn find(body: Body, buffers: Vec<Received>) -> Result<Args, DecodeError> {
        let mut entries = Entries::new();
        if !body.is_empty() && *body != *NIL {
            entries = msgpack::entries(&body)?;
            unique(&body, &entries)?;
        }
        Ok(Args { body, entries, buffers: shared(buffers) })
    }

    /// Decodes an argument.
    ///
    /// # Errors
    /// [`ArgumentError::Missing`] if it was not given, [`ArgumentError::Wrong`] if it is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, ArgumentError> {
        let missing = || ArgumentError::Missing { name: name.to_owned(), given: owned(self.names()) };
        self.decode(name, self.value(name).ok_or_else(missing)?)
    }

    /// Decodes an argument, if it was given and is not nil.
    ///
    /// # Errors
    /// [`ArgumentError::Wrong`] if it is not a `T`.
    pub fn optional<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ArgumentError> {
        match self.value(name) {
            None | Some(NIL) => Ok(None),
            Some(value) => self.decode(name, value).map(Some),
        }
    }

    /// Decodes all arguments as one struct or map.
    ///
    /// # Errors
    /// [`DecodeError::Wrong`] if they are not a `T`.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        let body: &[u8] = if self.body.is_empty() { NIL } else { &self.body };
        match decode(body, &self.buffers) {
            // No arguments are also a unit, and also a struct without required fields, whichever came.
            Err(cause) if self.is_empty() => {
                let other: &[u8] = if body == NIL { &[0x80] } else { NIL };
                decode(other, &self.buffers).map_err(|_| wrong::<T>(body, cause))
            }
            result => result.map_err(|cause| wrong::<T>(body, cause)),
        }
    }

    /// Checks that nothing was given but what the method knows.
    ///
    /// # Errors
    /// [`ArgumentError::Unknown`] names the first that it does not, and the one that was probably meant.
    pub fn expect_only(&self, known: &[&str]) -> Result<(), ArgumentError> {
        match self.names().find(|name| !known.contains(name)) {
            None => Ok(()),
            Some(name) => Err(ArgumentError::Unknown {
                name: name.to_owned(),
                known: owned(known.iter().copied()),
                similar: similar(name, known),
            }),
        }
    }

    /// Gives the arguments as they came.
    pub fn into_undecoded(mut self) -> Undecoded {
        let nothing = || Arc::new(Received::Shared(Bytes::new()));
        // They are shared by the values that were decoded before; those keep what they refer to.
        let slots = Arc::get_mut(&mut self.buffers).unwrap_or_default();
        let taken = slots.iter_mut().map(|slot| std::mem::replace(slot, nothing()));
        let buffers = taken.map(|buffer| Arc::try_unwrap(buffer).unwrap_or_else(copied)).collect();
        Undecoded { body: self.body.into_bytes(), buffers }
    }

    /// Returns the names of the arguments in the order in which they were given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| self.name(entry))
    }

    /// Returns whether no arguments were given.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn name(&self, entry: &Entry) -> &str {
        std::str::from_utf8(&self.body[entry.key.clone()]).expect("names were checked to be text")
    }

    fn value(&self, name: &str) -> Option<&[u8]> {
        let entry = self.entries.iter().find(|entry| self.body[entry.key.clone()] == *name.as_bytes())?;
        Some(&self.body[entry.value.clone()])
    }

    fn decode<T: DeserializeOwned>(&self, name: &str, value: &[u8]) -> Result<T, ArgumentError> {
        match decode(value, &self.buffers).map_err(|cause| wrong::<T>(value, cause)) {
            Ok(value) => Ok(value),
            Err(DecodeError::Wrong { expected, found, cause }) => {
                Err(ArgumentError::Wrong { name: name.to_owned(), expected, found, cause })
            }
            Err(other) => unreachable!("a value that was checked is {other}"),
        }
    }
}

impl fmt::Debug for Args {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = out.debug_map();
        for entry in &self.entries {
            let value = crate::decode::describe(&self.body[entry.value.clone()]);
            map.entry(&self.name(entry), &format_args!("{value}"));
        }
        map.finish()
    }
}

/// Up to as many names are compared pair by pair, which needs no memory; nearly every call has fewer.
const FEW: usize = 8;

/// What others still refer to.
fn copied(shared: Arc<Received>) -> Received {
    Received::Shared(Bytes::copy_from_slice((*shared).as_ref()))
}

/// Checks that no name comes twice. Sorting many bounds the work that a peer can cause.
fn unique(body: &[u8], entries: &[Entry]) -> Result<(), DecodeError> {
    let name = |entry: &Entry| &body[entry.key.clone()];
    let twice = if entries.len() <= FEW {
        let earlier =
            |index: usize| entries[..index].iter().any(|entry| name(entry) == name(&entries[index]));
        (1..entries.len()).find(|&index| earlier(index)).map(|index| name(&entries[index]))
    } else {
        let mut names: Vec<&[u8]> = entries.iter().map(name).collect();
        names.sort_unstable();
        names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
    };
    match twice {
        None => Ok(()),
        Some(name) => Err(DecodeError::Duplicate { name: String::from_utf8_lossy(name).into_owned() }),
    }
}

fn owned<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.map(str::to_owned).collect()
}

/// Similarity from which on a name is suggested, from 0 (nothing in common) to 1 (equal).
const SIMILAR: f64 = 0.8;

/// The known name that was probably meant.
pub(crate) fn similar(name: &str, known: &[&str]) -> Option<String> {
    let scored = known.iter().map(|known| (strsim::jaro_winkler(name, known), known));
    let (score, best) = scored.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (score >= SIMILAR).then(|| (*best).to_owned())
}

/// Names that an error lists at most.
const LISTED: usize = 16;

/// Names, as an error lists them.
pub(crate) struct List<'a>(pub(crate) &'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return out.write_str("none");
        }
        for (index, name) in self.0.iter().take(LISTED).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(out, "{comma}`{name}`")?;
        }
        match self.0.len().saturating_sub(LISTED) {
            0 => Ok(()),
            more => write!(out, " and {more} more"),
        }
    }
}

/// A suggestion, if there is one.
pub(crate) struct Hint<'a>(pub(crate) &'a Option<String>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|similar| write!(out, " (did you mean `{similar}`?)"))
    }
}
