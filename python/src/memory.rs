//! Memory that Rust and Python share without copying it. This is one of the two files of this crate that have `unsafe`.

use std::sync::Arc;

use bytes::Bytes;
use mosaic_comms::Received;
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tokio::sync::mpsc;

use crate::bell::{Bell, Turn};
use crate::generation::Native;

/// What was received, for numpy: `numpy.asarray` makes an array of bytes of it, writable, without a copy. The memory
/// goes back to its pool when nothing refers to it any more.
#[pyclass(frozen)]
pub(crate) struct Memory {
    address: usize,
    length: usize,
    /// Nobody but the arrays that are made of it reaches the memory through this.
    _owner: Mutex<Native<Received>>,
}

impl Memory {
    pub(crate) fn new(received: Received) -> Memory {
        let mut received = match received {
            // Others of this process may read it: ours alone is a copy.
            Received::Shared(bytes) => Received::Pooled(copied(&bytes)),
            pooled => pooled,
        };
        let bytes: &mut [u8] = match &mut received {
            Received::Pooled(buffer) => buffer.as_mut(),
            Received::Shared(_) => &mut [],
        };
        let (address, length) = (bytes.as_mut_ptr().expose_provenance(), bytes.len());
        Memory { address, length, _owner: Mutex::new(Native::new(received)) }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// A byte string with a copy of it.
    pub(crate) fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (start, length) =
            (std::ptr::with_exposed_provenance(self.address), isize::try_from(self.length)?);
        // SAFETY: `length` bytes are ours from there on as long as `self` lives. As whatever copies what numpy's arrays refer
        // to, this may meet one who writes to such an array meanwhile: then it has a mixture. It gives a new object, or none
        // and an exception.
        #[allow(unsafe_code)]
        unsafe {
            Bound::from_owned_ptr_or_err(py, pyo3::ffi::PyBytes_FromStringAndSize(start, length))
        }
    }
}

fn copied(bytes: &[u8]) -> mosaic_comms::Buffer {
    let mut buffer = mosaic_comms::Pool::new(0).take(bytes.len());
    buffer.as_mut().copy_from_slice(bytes);
    buffer
}

#[pymethods]
impl Memory {
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let interface = PyDict::new(py);
        interface.set_item("version", 3)?;
        interface.set_item("typestr", "|u1")?;
        interface.set_item("shape", (self.length,))?;
        interface.set_item("data", (self.address, false))?;
        Ok(interface)
    }

    fn __len__(&self) -> usize {
        self.length
    }
}

/// Held by all memory of a message that was sent from where it lies: once the last is gone, the peer has it.
pub(crate) type Hold = mpsc::Sender<()>;

/// Memory of a Python object that may be read.
pub(crate) struct Region {
    pub(crate) address: usize,
    pub(crate) length: usize,
    /// Keeps the memory where it is.
    pub(crate) owner: Py<PyAny>,
}

impl Region {
    fn bytes(&self) -> &[u8] {
        // SAFETY: whoever makes a region says that `length` bytes from `address` are readable as long as `owner` lives,
        // and `owner` is a part of it. A program that changes them while they are sent breaks the rule that it was told
        // of (`docs/python.md`), as with every library that sends without copying: the kernel then reads a mixture of
        // both values, and nothing else looks at these bytes.
        #[allow(unsafe_code)]
        unsafe {
            std::slice::from_raw_parts(std::ptr::with_exposed_provenance(self.address), self.length)
        }
    }

    /// Refers to it. The loop whose bell it is lets the object go.
    pub(crate) fn pin(self, bell: &Arc<Bell>, hold: Option<Hold>) -> Bytes {
        match self.length {
            0 => Bytes::new(),
            _ => Bytes::from_owner(Pinned { region: Some(self), bell: bell.clone(), _hold: hold }),
        }
    }

    /// Copies it.
    pub(crate) fn copy(self) -> Bytes {
        if self.length == 0 { Bytes::new() } else { Bytes::copy_from_slice(self.bytes()) }
    }
}

/// A region while a message refers to it.
struct Pinned {
    region: Option<Region>,
    bell: Arc<Bell>,
    _hold: Option<Hold>,
}

impl AsRef<[u8]> for Pinned {
    fn as_ref(&self) -> &[u8] {
        self.region.as_ref().map_or(&[], Region::bytes)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(region) = self.region.take() {
            self.bell.leave(Turn::Release(region.owner));
        }
    }
}

/// How many references to an object there are.
pub(crate) fn references(object: &Bound<'_, PyAny>) -> isize {
    // SAFETY: the object lives, and the interpreter's lock is held, both by what a `Bound` is.
    #[allow(unsafe_code)]
    unsafe {
        pyo3::ffi::Py_REFCNT(object.as_ptr())
    }
}
