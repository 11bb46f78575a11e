//! Bodies to Python values. Bytes come from a peer: whatever they are, the outcome is a value or an error.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;
use mosaic_comms::{EXT_ARRAY, EXT_BYTES, EXT_PICKLE, Received, Undecoded};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use rmp::Marker;

use crate::memory::Memory;
use crate::numpy;

/// How deep values may be nested, as everywhere in the protocol.
pub(crate) const MAX_NESTING: usize = 128;

/// Names that a thread keeps at most, and bytes of each: they come from peers.
const MAX_NAMES: usize = 1024;
const MAX_NAME: usize = 64;

thread_local! {
    static NAMES: RefCell<BTreeMap<Box<str>, Py<PyString>>> = RefCell::default();
}

/// Whether pickles of this message may be read: its sender was authenticated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    Authenticated,
    Anyone,
}

struct Decoder<'a, 'py> {
    py: Python<'py>,
    rest: &'a [u8],
    buffers: Vec<Option<Bound<'py, Memory>>>,
    pickled: Option<(u64, Bound<'py, PyList>)>,
    sender: Sender,
}

/// The result of a call.
pub(crate) fn value(py: Python<'_>, received: Undecoded, sender: Sender) -> PyResult<Py<PyAny>> {
    let body = received.body.clone();
    let mut decoder = Decoder::new(py, &body, received.buffers, sender)?;
    if body.is_empty() {
        return Ok(py.None());
    }
    let value = decoder.value(0).map_err(|error| named(py, error, "the result"))?;
    decoder.end()?;
    Ok(value.unbind())
}

/// The keyword arguments of a call, and the positional ones if there are any.
pub(crate) type Arguments<'py> = (Bound<'py, PyDict>, Option<Bound<'py, PyTuple>>);

/// The arguments of a call. What is wrong with one is said with its name.
pub(crate) fn arguments(py: Python<'_>, received: Undecoded, sender: Sender) -> PyResult<Arguments<'_>> {
    let body: Bytes = received.body.clone();
    let kwargs = PyDict::new(py);
    let mut args = None;
    let mut decoder = Decoder::new(py, &body, received.buffers, sender)?;
    if body.is_empty() || body == [0xc0][..] {
        return Ok((kwargs, args));
    }
    for _ in 0..decoder.map_len()? {
        let text = decoder.text()?;
        let value = decoder.value(1).map_err(|error| named(py, error, &format!("argument `{text}`")))?;
        match text {
            "*" => args = Some(value.cast::<PyList>()?.to_tuple()),
            _ => kwargs.set_item(name(py, text), value)?,
        }
    }
    decoder.end()?;
    Ok((kwargs, args))
}

/// A name that comes again and again, such as a method's or an argument's: the interpreter finds what is called so sooner by
/// the very string by which it was found before.
pub(crate) fn name<'py>(py: Python<'py>, text: &str) -> Bound<'py, PyString> {
    NAMES.with_borrow_mut(|names| {
        if let Some(name) = names.get(text) {
            return name.bind(py).clone();
        }
        let name = PyString::new(py, text);
        if text.len() <= MAX_NAME {
            if names.len() == MAX_NAMES {
                names.clear();
            }
            names.insert(text.into(), name.clone().unbind());
        }
        name
    })
}

fn named(py: Python<'_>, error: PyErr, what: &str) -> PyErr {
    let message = format!("{what} can't be read: {}", error.value(py));
    let named = PyValueError::new_err(message);
    named.set_cause(py, Some(error));
    named
}

fn utf8(bytes: &[u8]) -> PyResult<&str> {
    std::str::from_utf8(bytes).map_err(|_| malformed("text is UTF-8"))
}

fn malformed(what: &str) -> PyErr {
    PyValueError::new_err(format!("the body is malformed: {what}"))
}

impl<'a, 'py> Decoder<'a, 'py> {
    fn new(
        py: Python<'py>,
        body: &'a [u8],
        buffers: Vec<Received>,
        sender: Sender,
    ) -> PyResult<Decoder<'a, 'py>> {
        let buffers = buffers.into_iter().map(|buffer| Bound::new(py, Memory::new(buffer)).map(Some));
        Ok(Decoder { py, rest: body, buffers: buffers.collect::<PyResult<_>>()?, pickled: None, sender })
    }

    fn end(&self) -> PyResult<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(malformed("bytes follow the value")) }
    }

    fn take(&mut self, length: usize) -> PyResult<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| malformed("it is cut off"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self, width: usize) -> PyResult<u64> {
        Ok(self.take(width)?.iter().fold(0, |number, &digit| number << 8 | u64::from(digit)))
    }

    fn length(&mut self, width: usize) -> PyResult<usize> {
        Ok(usize::try_from(self.number(width)?)?)
    }

    fn marker(&mut self) -> PyResult<Marker> {
        Ok(Marker::from_u8(self.take(1)?[0]))
    }

    fn map_len(&mut self) -> PyResult<usize> {
        match self.marker()? {
            Marker::FixMap(len) => Ok(usize::from(len)),
            Marker::Map16 => self.length(2),
            Marker::Map32 => self.length(4),
            _ => Err(malformed("arguments are a map")),
        }
    }

    fn text(&mut self) -> PyResult<&'a str> {
        let length = match self.marker()? {
            Marker::FixStr(len) => usize::from(len),
            Marker::Str8 => self.length(1)?,
            Marker::Str16 => self.length(2)?,
            Marker::Str32 => self.length(4)?,
            _ => return Err(malformed("the name of an argument is text")),
        };
        utf8(self.take(length)?)
    }

    fn value(&mut self, depth: usize) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py;
        Ok(match self.marker()? {
            Marker::Null => py.None().into_bound(py),
            Marker::True => true.into_pyobject(py)?.to_owned().into_any(),
            Marker::False => false.into_pyobject(py)?.to_owned().into_any(),
            Marker::FixPos(number) => number.into_pyobject(py)?.into_any(),
            Marker::FixNeg(number) => number.into_pyobject(py)?.into_any(),
            Marker::U8 => self.number(1)?.into_pyobject(py)?.into_any(),
            Marker::U16 => self.number(2)?.into_pyobject(py)?.into_any(),
            Marker::U32 => self.number(4)?.into_pyobject(py)?.into_any(),
            Marker::U64 => self.number(8)?.into_pyobject(py)?.into_any(),
            Marker::I8 => (self.number(1)? as i8).into_pyobject(py)?.into_any(),
            Marker::I16 => (self.number(2)? as i16).into_pyobject(py)?.into_any(),
            Marker::I32 => (self.number(4)? as i32).into_pyobject(py)?.into_any(),
            Marker::I64 => (self.number(8)? as i64).into_pyobject(py)?.into_any(),
            Marker::F32 => f64::from(f32::from_bits(self.number(4)? as u32)).into_pyobject(py)?.into_any(),
            Marker::F64 => f64::from_bits(self.number(8)?).into_pyobject(py)?.into_any(),
            Marker::FixStr(len) => self.string(usize::from(len))?,
            Marker::Str8 => self.sized(1, Self::string)?,
            Marker::Str16 => self.sized(2, Self::string)?,
            Marker::Str32 => self.sized(4, Self::string)?,
            Marker::Bin8 => self.sized(1, Self::binary)?,
            Marker::Bin16 => self.sized(2, Self::binary)?,
            Marker::Bin32 => self.sized(4, Self::binary)?,
            Marker::FixArray(len) => self.list(usize::from(len), depth)?,
            Marker::Array16 => self.sized(2, |decoder, len| decoder.list(len, depth))?,
            Marker::Array32 => self.sized(4, |decoder, len| decoder.list(len, depth))?,
            Marker::FixMap(len) => self.dict(usize::from(len), depth)?,
            Marker::Map16 => self.sized(2, |decoder, len| decoder.dict(len, depth))?,
            Marker::Map32 => self.sized(4, |decoder, len| decoder.dict(len, depth))?,
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 => self.sized(1, Self::extension)?,
            Marker::Ext16 => self.sized(2, Self::extension)?,
            Marker::Ext32 => self.sized(4, Self::extension)?,
            Marker::Reserved => return Err(malformed("no value begins with c1")),
        })
    }

    /// A value behind its length.
    fn sized(
        &mut self,
        width: usize,
        read: impl FnOnce(&mut Self, usize) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let length = self.length(width)?;
        read(self, length)
    }

    fn string(&mut self, length: usize) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyString::new(self.py, utf8(self.take(length)?)?).into_any())
    }

    fn binary(&mut self, length: usize) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyBytes::new(self.py, self.take(length)?).into_any())
    }

    fn list(&mut self, length: usize, depth: usize) -> PyResult<Bound<'py, PyAny>> {
        self.enter(depth)?;
        let list = PyList::empty(self.py);
        for _ in 0..length {
            list.append(self.value(depth + 1)?)?;
        }
        Ok(list.into_any())
    }

    fn dict(&mut self, length: usize, depth: usize) -> PyResult<Bound<'py, PyAny>> {
        self.enter(depth)?;
        let dict = PyDict::new(self.py);
        for _ in 0..length {
            let key = self.value(depth + 1)?;
            dict.set_item(key, self.value(depth + 1)?)?;
        }
        Ok(dict.into_any())
    }

    fn enter(&self, depth: usize) -> PyResult<()> {
        if depth < MAX_NESTING { Ok(()) } else { Err(malformed("it is nested too deep")) }
    }

    fn extension(&mut self, length: usize) -> PyResult<Bound<'py, PyAny>> {
        let kind = self.take(1)?[0] as i8;
        let payload = self.take(length)?;
        // The payload is read as a value of its own: what follows it is not touched.
        let rest = std::mem::replace(&mut self.rest, payload);
        let parts = self.value(MAX_NESTING - 2);
        let read_all = self.end();
        self.rest = rest;
        let parts = parts?;
        read_all?;
        match kind {
            EXT_ARRAY => self.array(&parts),
            EXT_BYTES => self.byte_string(&parts),
            EXT_PICKLE => self.pickle(&parts),
            kind => Err(PyValueError::new_err(format!("MessagePack extension {kind} is not known here"))),
        }
    }

    fn buffer(&self, index: usize) -> PyResult<&Bound<'py, Memory>> {
        let found = self.buffers.get(index).and_then(Option::as_ref);
        found.ok_or_else(|| malformed(&format!("there is no buffer {index}")))
    }

    fn array(&mut self, parts: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let (index, name, shape, order): (usize, String, Vec<u64>, String) = seq(parts)?;
        if order != "C" && order != "F" {
            return Err(malformed("the order of an array is C or F"));
        }
        numpy::received(self.buffer(index)?, &name, &shape, &order)
    }

    fn byte_string(&mut self, parts: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let (index,): (usize,) = seq(parts)?;
        self.buffer(index)?.get().to_bytes(self.py)
    }

    fn pickle(&mut self, parts: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let (index, position, count): (u64, usize, usize) = seq(parts)?;
        if self.pickled.as_ref().is_none_or(|(read, _)| *read != index) {
            let values = self.unpickle(usize::try_from(index)?, count)?;
            self.pickled = Some((index, values));
        }
        let (_, values) = self.pickled.as_ref().expect("it was read just now");
        values.get_item(position).map_err(|_| malformed("a pickle has fewer values"))
    }

    /// Reads a pickle, which runs code of the program.
    fn unpickle(&mut self, index: usize, count: usize) -> PyResult<Bound<'py, PyList>> {
        static LOAD: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let authenticated = self.sender == Sender::Authenticated;
        let load = LOAD.import(self.py, "mosaic_comms._pickling", "load")?;
        let end = index.checked_add(1).and_then(|first| first.checked_add(count));
        let range = end.and_then(|end| self.buffers.get(index + 1..end));
        let range = range.ok_or_else(|| malformed("a pickle's buffers are missing"))?;
        let buffers = range.iter().flatten().map(numpy::as_bytes).collect::<PyResult<Vec<_>>>()?;
        let stream = numpy::as_bytes(self.buffer(index)?)?;
        let values = load.call1((stream, buffers, authenticated))?;
        values.cast_into::<PyList>().map_err(PyErr::from)
    }
}

/// The parts of an extension, each of its type.
fn seq<'py, T>(parts: &Bound<'py, PyAny>) -> PyResult<T>
where
    T: for<'a> FromPyObject<'a, 'py>,
{
    let parts = parts.cast::<PyList>()?.to_tuple();
    parts.extract::<T>().map_err(|_| malformed("an extension is not what it should be"))
}
