//! Python values to bodies: plain data as MessagePack, large arrays and byte strings beside it, and, where that is
//! allowed, whatever else as one pickle. Which values are plain is said in `docs/python.md`.

use std::sync::Arc;

use bytes::Bytes;
use mosaic_comms::{EXT_ARRAY, EXT_BYTES, EXT_PICKLE, Encoded};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple,
};
use rmp::encode as write;

use crate::bell::Bell;
use crate::decode::{MAX_NESTING, Sender};
use crate::failure::cannot_encode;
use crate::memory::{Hold, Region, references};
use crate::numpy;

/// Bytes from which memory is sent from where it lies: below, a copy costs less than keeping it.
const PINNED_FROM: usize = 64 << 10;

/// Bytes from which a byte string lies beside the body.
const BESIDE_FROM: usize = 16 << 10;

/// Buffers of a message at most that are arrays': the rest of what the protocol takes is for a pickle.
const MAX_ARRAYS: usize = 512;

/// Whose the arrays of a message are until the peer has them.
pub(crate) enum Ownership {
    /// The sender's, who changes nothing until the hold is let go.
    Lent(Option<Hold>),
    /// The sender's, who may change them at once.
    Copied,
    /// Ours where nobody else has them: they are a handler's result.
    Given,
}

/// How a message is encoded.
pub(crate) struct Encoding {
    pub(crate) ownership: Ownership,
    pub(crate) bell: Arc<Bell>,
    /// Whether anybody vouches for those who get it: only then whatever is not plain may be pickled.
    pub(crate) peers: Sender,
}

/// A promise not to change an array while it is under way: it is sent from where it lies.
///
/// Examples
/// --------
/// >>> class Worker:
/// ...     def __init__(self):
/// ...         self.table = np.arange(1_000_000)
/// ...     def whole(self, sender):
/// ...         return mosaic_comms.share(self.table)  # Nobody changes it: it need not be copied.
/// >>> async def main():
/// ...     async with mosaic_comms.start("monitor", address="127.0.0.1") as comms:
/// ...         place = comms.address, comms.port
/// ...         async with mosaic_comms.start("worker:0", Worker(), "127.0.0.1", monitor=place):
/// ...             await comms.wait_for("worker:0")
/// ...             return (await comms.proxy("worker:0").whole()).sum()
/// >>> int(asyncio.run(main()))
/// 499999500000
#[pyclass(frozen, name = "share", module = "mosaic_comms")]
pub(crate) struct Share {
    #[pyo3(get)]
    array: Py<PyAny>,
}

#[pymethods]
impl Share {
    #[new]
    fn new(array: Py<PyAny>) -> Share {
        Share { array }
    }
}

/// Why a value is not plain.
enum Obstacle {
    /// It is none of the types that are, or nested too deep.
    Value(String),
    Failed(PyErr),
}

impl<E: Into<PyErr>> From<E> for Obstacle {
    fn from(error: E) -> Obstacle {
        Obstacle::Failed(error.into())
    }
}

struct Encoder<'py> {
    how: Encoding,
    encoded: Encoded,
    /// What travels as a pickle, and where in the body each is referred to.
    pickled: Vec<Bound<'py, PyAny>>,
    references: Vec<usize>,
}

/// The arguments of a call, with positional ones under the name `*`.
pub(crate) fn arguments(
    kwargs: &Bound<'_, PyDict>,
    args: Option<&Bound<'_, PyTuple>>,
    how: Encoding,
) -> PyResult<Encoded> {
    let mut encoder = Encoder::new(how);
    let args = args.filter(|args| !args.is_empty());
    write_map(&mut encoder.encoded.body, kwargs.len() + usize::from(args.is_some()));
    for (name, value) in kwargs.iter() {
        let name = name.cast::<PyString>()?;
        let name = name.to_str()?;
        write_text(&mut encoder.encoded.body, name);
        encoder.whole(&value, || format!("argument `{name}`"))?;
    }
    if let Some(args) = args {
        write_text(&mut encoder.encoded.body, "*");
        write_list(&mut encoder.encoded.body, args.len());
        for (index, value) in args.iter().enumerate() {
            encoder.whole(&value, || format!("argument {index}"))?;
        }
    }
    encoder.finish()
}

/// The result of a handler: nobody else has it unless it is somebody's field.
pub(crate) fn result(given: Bound<'_, PyAny>, how: Encoding) -> PyResult<Encoded> {
    let mut encoder = Encoder::new(how);
    // It is looked at as what a container has.
    encoder.whole(&given.clone(), || "the result".to_owned())?;
    encoder.finish()
}

const VEC: &str = "writing to a Vec does not fail";

fn write_number(body: &mut Vec<u8>, number: u64) {
    write::write_uint(body, number).expect(VEC);
}

fn write_map(body: &mut Vec<u8>, entries: usize) {
    write::write_map_len(body, entries as u32).expect(VEC);
}

fn write_list(body: &mut Vec<u8>, elements: usize) {
    write::write_array_len(body, elements as u32).expect(VEC);
}

fn write_text(body: &mut Vec<u8>, text: &str) {
    write::write_str(body, text).expect(VEC);
}

fn write_extension(body: &mut Vec<u8>, kind: i8, payload: &[u8]) {
    write::write_ext_meta(body, payload.len() as u32, kind).expect(VEC);
    body.extend_from_slice(payload);
}

impl<'py> Encoder<'py> {
    fn new(how: Encoding) -> Encoder<'py> {
        let encoded = Encoded { body: Vec::with_capacity(128), buffers: Vec::new() };
        Encoder { how, encoded, pickled: Vec::new(), references: Vec::new() }
    }

    /// A value as plain data, or as a pickle.
    fn whole(&mut self, value: &Bound<'py, PyAny>, what: impl Fn() -> String) -> PyResult<()> {
        let (body, buffers) = (self.encoded.body.len(), self.encoded.buffers.len());
        match self.plain(value, 1, true) {
            Ok(()) => Ok(()),
            Err(Obstacle::Failed(error)) => Err(error),
            Err(Obstacle::Value(_)) if self.may_pickle(value.py())? => {
                self.encoded.body.truncate(body);
                self.encoded.buffers.truncate(buffers);
                self.refer_to_pickle(value);
                Ok(())
            }
            Err(Obstacle::Value(why)) => Err(cannot_encode(value.py(), &what(), &why)),
        }
    }

    /// Whether the program allows it, and whoever gets it will read it.
    fn may_pickle(&self, py: Python<'_>) -> PyResult<bool> {
        static ALLOWED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        if self.how.peers == Sender::Anyone {
            return Ok(false);
        }
        ALLOWED.import(py, "mosaic_comms._pickling", "pickle_allowed")?.call0()?.extract()
    }

    /// `alone`: nobody has this value who has not given us the whole.
    fn plain(&mut self, value: &Bound<'py, PyAny>, depth: usize, alone: bool) -> Result<(), Obstacle> {
        if depth > MAX_NESTING {
            return Err(Obstacle::Value(format!("is nested deeper than {MAX_NESTING}")));
        }
        let body = &mut self.encoded.body;
        if value.is_none() {
            write::write_nil(body).expect(VEC);
        } else if let Ok(text) = value.cast_exact::<PyString>() {
            write_text(body, text.to_str()?);
        } else if let Ok(number) = value.cast_exact::<PyInt>() {
            integer(body, number.as_any())?;
        } else if let Ok(number) = value.cast_exact::<PyFloat>() {
            write::write_f64(body, number.value()).expect(VEC);
        } else if let Ok(truth) = value.cast_exact::<PyBool>() {
            write::write_bool(body, truth.is_true()).expect(VEC);
        } else if let Ok(list) = value.cast_exact::<PyList>() {
            write_list(body, list.len());
            let alone = alone && references(value) <= numpy::ALONE;
            list.iter().try_for_each(|element| self.plain(&element, depth + 1, alone))?;
        } else if let Ok(map) = value.cast_exact::<PyDict>() {
            self.map(map, depth, alone && references(value) <= numpy::ALONE)?;
        } else if let Ok(bytes) = value.cast_exact::<PyBytes>() {
            self.bytes(bytes);
        } else {
            self.uncommon(value, depth, alone)?;
        }
        Ok(())
    }

    fn map(&mut self, map: &Bound<'py, PyDict>, depth: usize, alone: bool) -> Result<(), Obstacle> {
        write_map(&mut self.encoded.body, map.len());
        for (key, value) in map.iter() {
            if !is_key(&key) {
                return Err(Obstacle::Value(format!("has a key of type `{}`", type_name(&key))));
            }
            self.plain(&key, depth + 1, false)?;
            self.plain(&value, depth + 1, alone)?;
        }
        Ok(())
    }

    fn bytes(&mut self, bytes: &Bound<'py, PyBytes>) {
        let content = bytes.as_bytes();
        if content.len() < BESIDE_FROM {
            write::write_bin(&mut self.encoded.body, content).expect(VEC);
            return;
        }
        // Nobody can change them.
        let owner = bytes.clone().into_any().unbind();
        let region = Region { address: content.as_ptr().expose_provenance(), length: content.len(), owner };
        let bytes = region.pin(&self.how.bell, self.hold());
        self.byte_string(bytes);
    }

    fn byte_string(&mut self, bytes: Bytes) {
        let mut payload = Vec::with_capacity(8);
        write_list(&mut payload, 1);
        write_number(&mut payload, self.encoded.buffers.len() as u64);
        write_extension(&mut self.encoded.body, EXT_BYTES, &payload);
        self.encoded.buffers.push(bytes);
    }

    fn uncommon(&mut self, value: &Bound<'py, PyAny>, depth: usize, alone: bool) -> Result<(), Obstacle> {
        if let Ok(share) = value.cast::<Share>() {
            return self.array(share.get().array.bind(value.py()), Lending::Promised);
        }
        if numpy::is_array(value)? {
            let lending = if alone { Lending::Alone } else { Lending::Unknown };
            return self.array(value, lending);
        }
        if let Some(number) = numpy::scalar(value)? {
            return self.plain(&number, depth, alone);
        }
        if self.may_pickle(value.py())? {
            return Err(not_plain(value));
        }
        if let Ok(tuple) = value.cast::<PyTuple>() {
            write_list(&mut self.encoded.body, tuple.len());
            return tuple.iter().try_for_each(|element| self.plain(&element, depth + 1, false));
        }
        if value.is_instance_of::<PyByteArray>() || value.is_instance_of::<PyMemoryView>() {
            let bytes = value.py().get_type::<PyBytes>().call1((value,))?;
            self.bytes(bytes.cast::<PyBytes>().map_err(PyErr::from)?);
            return Ok(());
        }
        self.subclass(value, depth)
    }

    /// A value of a class that is a plain type and something else besides, which is left out.
    fn subclass(&mut self, value: &Bound<'py, PyAny>, depth: usize) -> Result<(), Obstacle> {
        let body = &mut self.encoded.body;
        if let Ok(text) = value.cast::<PyString>() {
            write_text(body, text.to_str()?);
        } else if value.is_instance_of::<PyInt>() {
            integer(body, value)?;
        } else if let Ok(number) = value.cast::<PyFloat>() {
            write::write_f64(body, number.value()).expect(VEC);
        } else if let Ok(list) = value.cast::<PyList>() {
            write_list(body, list.len());
            return list.iter().try_for_each(|element| self.plain(&element, depth + 1, false));
        } else if let Ok(map) = value.cast::<PyDict>() {
            return self.map(map, depth, false);
        } else {
            return Err(not_plain(value));
        }
        Ok(())
    }

    fn array(&mut self, array: &Bound<'py, PyAny>, lending: Lending) -> Result<(), Obstacle> {
        if !numpy::is_array(array)? {
            return Err(not_plain(array));
        }
        if self.encoded.buffers.len() >= MAX_ARRAYS {
            return Err(Obstacle::Value(format!("has more than {MAX_ARRAYS} arrays")));
        }
        let Some(described) = numpy::describe(array)? else {
            let element = array.getattr("dtype")?;
            return Err(Obstacle::Value(format!("is an array of `{element}`, whose elements are not plain")));
        };
        let mut payload = Vec::with_capacity(32);
        write_list(&mut payload, 4);
        write_number(&mut payload, self.encoded.buffers.len() as u64);
        write_text(&mut payload, &described.dtype);
        write_list(&mut payload, described.shape.len());
        for &axis in &described.shape {
            write_number(&mut payload, axis);
        }
        write_text(&mut payload, described.order);
        write_extension(&mut self.encoded.body, EXT_ARRAY, &payload);
        let lent = match (&self.how.ownership, lending) {
            _ if described.len() < PINNED_FROM => false,
            // It was copied to bring it into an order.
            _ if !described.array.is(array) => true,
            (_, Lending::Promised) | (Ownership::Lent(_), _) => true,
            (Ownership::Copied, _) => false,
            (Ownership::Given, Lending::Alone) => !described.shared || numpy::is_alone(array)?,
            (Ownership::Given, Lending::Unknown) => !described.shared,
        };
        let region = described.region();
        drop(described);
        let bytes = match lent {
            true => region.pin(&self.how.bell, self.hold()),
            false => region.copy(),
        };
        self.encoded.buffers.push(bytes);
        Ok(())
    }

    fn hold(&self) -> Option<Hold> {
        match &self.how.ownership {
            Ownership::Lent(hold) => hold.clone(),
            Ownership::Copied | Ownership::Given => None,
        }
    }

    /// Writes a reference, whose three numbers of 32 bits are known when all has been pickled.
    fn refer_to_pickle(&mut self, value: &Bound<'py, PyAny>) {
        write_extension(&mut self.encoded.body, EXT_PICKLE, &[0; 16]);
        self.references.push(self.encoded.body.len() - 16);
        self.pickled.push(value.clone());
    }

    /// Pickles what is left to pickle, all of it at once: what several arguments refer to stays one object.
    fn finish(mut self) -> PyResult<Encoded> {
        static DUMP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let Some(first) = self.pickled.first() else { return Ok(self.encoded) };
        let py = first.py();
        let values = PyList::new(py, &self.pickled)?;
        let dumped = DUMP.import(py, "mosaic_comms._pickling", "dump")?.call1((values,))?;
        let (stream, buffers): (Bound<'_, PyBytes>, Vec<Bound<'_, PyAny>>) = dumped.extract()?;
        let index = self.encoded.buffers.len() as u32;
        for (position, at) in self.references.iter().enumerate() {
            let numbers = [index, position as u32, buffers.len() as u32];
            let reference = &mut self.encoded.body[*at..*at + 16];
            reference[0] = 0x93;
            for (place, number) in reference[1..].chunks_exact_mut(5).zip(numbers) {
                place[0] = 0xce;
                place[1..].copy_from_slice(&number.to_be_bytes());
            }
        }
        let mut out = Vec::new();
        for buffer in buffers {
            let described = numpy::describe(&buffer)?;
            let described = described.ok_or_else(|| PyTypeError::new_err("a pickle's buffer is no bytes"))?;
            let pinned = matches!(self.how.ownership, Ownership::Lent(_)) && described.len() >= PINNED_FROM;
            let region = described.region();
            out.push(match pinned {
                true => region.pin(&self.how.bell, self.hold()),
                false => region.copy(),
            });
        }
        self.encoded.buffers.push(Bytes::copy_from_slice(stream.as_bytes()));
        self.encoded.buffers.extend(out);
        Ok(self.encoded)
    }
}

/// What is known of an array's owners.
#[derive(Clone, Copy)]
enum Lending {
    /// Somebody said that nobody changes it.
    Promised,
    /// Nobody has it but through what we were given.
    Alone,
    Unknown,
}

fn integer(body: &mut Vec<u8>, number: &Bound<'_, PyAny>) -> Result<(), Obstacle> {
    if let Ok(number) = number.extract::<i64>() {
        write::write_sint(body, number).expect(VEC);
    } else if let Ok(number) = number.extract::<u64>() {
        write_number(body, number);
    } else {
        return Err(Obstacle::Value("is an integer beyond 64 bits".to_owned()));
    }
    Ok(())
}

/// Keys may be what can be a key again at the other end.
fn is_key(key: &Bound<'_, PyAny>) -> bool {
    key.is_none()
        || key.is_instance_of::<PyString>()
        || key.is_instance_of::<PyInt>()
        || key.is_instance_of::<PyFloat>()
        || key.is_exact_instance_of::<PyBytes>()
}

fn not_plain(value: &Bound<'_, PyAny>) -> Obstacle {
    Obstacle::Value(format!("is of type `{}`", type_name(value)))
}

fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().fully_qualified_name().map_or_else(|_| "object".to_owned(), |name| name.to_string())
}
