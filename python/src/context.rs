//! Contexts of Python's `contextvars`, in which handlers and those who wait for operations run.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

/// A copy of the context in which this runs.
pub(crate) fn copy(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static COPY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    COPY.import(py, "contextvars", "copy_context")?.call0()
}

/// Calls a function in a context: `call` is the context, the function and its positional arguments. The method is called by
/// its type: one of the context's own would be made for each call.
pub(crate) fn run<'py>(
    call: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    static RUN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = call.py();
    let method = || py.import("contextvars")?.getattr("Context")?.getattr("run").map(Bound::unbind);
    RUN.get_or_try_init(py, method)?.bind(py).call(call, kwargs)
}
