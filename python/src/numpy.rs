//! numpy's arrays, through `__array_interface__`: which of them travel as arrays, where their elements lie, whether
//! anybody else may change them, and arrays made of what was received.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use crate::memory::{Memory, Region};

/// Kinds of numpy's types whose values are their bytes.
const PLAIN_KINDS: &str = "biufcmMSU";

/// Types that a package adds to numpy, where they have no kind of their own.
const ADDED: &[&str] = &[
    "bfloat16",
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3b11fnuz",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "int4",
    "uint4",
];

macro_rules! numpy_type {
    ($function:ident, $name:literal) => {
        fn $function(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
            static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
            TYPE.import(py, "numpy", $name)
        }
    };
}

numpy_type!(ndarray, "ndarray");
numpy_type!(memmap, "memmap");
numpy_type!(generic, "generic");
numpy_type!(dtype, "dtype");

/// Whether the object is an array that may travel as one. Other subclasses have more than their elements.
pub(crate) fn is_array(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = object.py();
    Ok(object.is_exact_instance(ndarray(py)?) || object.is_exact_instance(memmap(py)?))
}

/// The number that one of numpy's scalars is.
pub(crate) fn scalar<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = object.py();
    if !object.is_instance(generic(py)?)? {
        return Ok(None);
    }
    let value = object.call_method0(pyo3::intern!(py, "item"))?;
    Ok(if value.is_instance(generic(py)?)? { None } else { Some(value) })
}

/// An array as it travels.
pub(crate) struct Described<'py> {
    pub(crate) array: Bound<'py, PyAny>,
    pub(crate) dtype: String,
    pub(crate) shape: Vec<u64>,
    pub(crate) order: &'static str,
    /// Somebody else may change the elements while they are under way.
    pub(crate) shared: bool,
    address: usize,
    length: usize,
}

impl<'py> Described<'py> {
    pub(crate) fn region(&self) -> Region {
        Region { address: self.address, length: self.length, owner: self.array.clone().unbind() }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }
}

/// Describes an array; `None` if its elements are not plain. It is copied if it lies in no order of its own.
pub(crate) fn describe<'py>(array: &Bound<'py, PyAny>) -> PyResult<Option<Described<'py>>> {
    let py = array.py();
    let element = array.getattr(pyo3::intern!(py, "dtype"))?;
    let kind: String = element.getattr(pyo3::intern!(py, "kind"))?.extract()?;
    let mut name: String = element.getattr(pyo3::intern!(py, "str"))?.extract()?;
    if !PLAIN_KINDS.contains(&kind) {
        name = element.getattr(pyo3::intern!(py, "name"))?.extract()?;
        if !ADDED.contains(&name.as_str()) {
            return Ok(None);
        }
    } else if name.starts_with('>') {
        let little = element.call_method1(pyo3::intern!(py, "newbyteorder"), ("<",))?;
        return describe(&array.call_method1(pyo3::intern!(py, "astype"), (little,))?);
    }
    let interface = array.getattr(pyo3::intern!(py, "__array_interface__"))?;
    let interface = interface.cast::<PyDict>()?;
    let item = |name: &Bound<'py, PyString>| {
        interface.get_item(name)?.ok_or_else(|| PyValueError::new_err("an array without its interface"))
    };
    let shape: Vec<u64> = item(pyo3::intern!(py, "shape"))?.extract()?;
    let (address, read_only): (usize, bool) = item(pyo3::intern!(py, "data"))?.extract()?;
    let size: u64 = element.getattr(pyo3::intern!(py, "itemsize"))?.extract()?;
    let strides: Option<Vec<i64>> = item(pyo3::intern!(py, "strides"))?.extract()?;
    let order = match strides {
        None => "C",
        Some(strides) if is_fortran(&shape, &strides, size) => "F",
        // A copy has the order that the elements had, as far as that is possible.
        Some(_) => return describe(&array.call_method1(pyo3::intern!(py, "copy"), ("C",))?),
    };
    let length = usize::try_from(shape.iter().product::<u64>() * size)?;
    let shared = !read_only;
    Ok(Some(Described { array: array.clone(), dtype: name, shape, order, shared, address, length }))
}

fn is_fortran(shape: &[u64], strides: &[i64], size: u64) -> bool {
    let mut expected = size;
    shape.iter().zip(strides).all(|(&axis, &stride)| {
        let fits = axis == 1 || u64::try_from(stride) == Ok(expected);
        expected *= axis.max(1);
        fits
    })
}

/// References to an object that nobody has but a container of ours and whoever looks at it.
pub(crate) const ALONE: isize = 2;

/// Whether nobody refers to the elements of this array but the one who gives it: not to itself, and not to what it is a
/// view of.
pub(crate) fn is_alone(array: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = array.py();
    let mut holder = array.clone();
    // It is described, and it is the holder that we look at.
    let mut references = ALONE + 2;
    loop {
        if crate::memory::references(&holder) > references {
            return Ok(false);
        }
        if holder.is_instance_of::<Memory>() {
            return Ok(true);
        }
        if !is_array(&holder)? {
            // Memory of somebody else: a file that is mapped, a `bytearray`.
            return Ok(false);
        }
        let base = holder.getattr(pyo3::intern!(py, "base"))?;
        if base.is_none() {
            return Ok(true);
        }
        holder = base;
        references = ALONE;
    }
}

/// An array of what was received.
pub(crate) fn received<'py>(
    memory: &Bound<'py, Memory>,
    name: &str,
    shape: &[u64],
    order: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let py = memory.py();
    let element = element(py, name)?;
    let shape = PyTuple::new(py, shape)?;
    let size: usize = element.getattr(pyo3::intern!(py, "itemsize"))?.extract()?;
    if memory.get().len() == 0 {
        let empty = py.import("numpy")?.call_method1("empty", (&shape, &element, order))?;
        let bytes: usize = empty.getattr("nbytes")?.extract()?;
        return if bytes == 0 { Ok(empty) } else { Err(wrong_size(name, 0)) };
    }
    if size == 0 {
        return Err(wrong_size(name, memory.get().len()));
    }
    let bytes = as_bytes(memory)?;
    if name == "|b1" && bytes.call_method0("max")?.gt(1)? {
        return Err(PyValueError::new_err("an array of bool has bytes that are neither 0 nor 1"));
    }
    let none = py.None();
    let array = ndarray(py)?.call1((shape, element, bytes, 0, none, order))?;
    let taken: usize = array.getattr(pyo3::intern!(py, "nbytes"))?.extract()?;
    if taken == memory.get().len() { Ok(array) } else { Err(wrong_size(name, memory.get().len())) }
}

/// An array of the bytes.
pub(crate) fn as_bytes<'py>(memory: &Bound<'py, Memory>) -> PyResult<Bound<'py, PyAny>> {
    static AS_ARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = memory.py();
    AS_ARRAY.import(py, "numpy", "asarray")?.call1((memory,))
}

fn wrong_size(name: &str, length: usize) -> PyErr {
    PyValueError::new_err(format!("the axes of an array of `{name}` do not make {length} bytes"))
}

/// The type of this name, which a peer has given.
fn element<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let unknown = || PyValueError::new_err(format!("arrays of `{name}` are not known here"));
    if ADDED.contains(&name) {
        // It makes its types known to numpy when it is imported.
        py.import("ml_dtypes").map_err(|_| PyValueError::new_err(format!("`{name}` needs ml_dtypes")))?;
    }
    let element = dtype(py)?.call1((name,)).map_err(|_| unknown())?;
    let kind: String = element.getattr(pyo3::intern!(py, "kind"))?.extract()?;
    let known = PLAIN_KINDS.contains(&kind) || ADDED.contains(&name);
    if known { Ok(element) } else { Err(unknown()) }
}
