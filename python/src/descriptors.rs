//! Contexts, and what becomes of their descriptors in a forked child. This is one of the two files of this crate that
//! have `unsafe`.

use std::os::fd::RawFd;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::generation::{Native, begin_another};

/// What the managers of one process share: I/O threads, receive buffers, a memory budget.
///
/// Parameters
/// ----------
/// io_threads : int, optional
///     Threads that read, write and keep the time of all links, 1 by default.
/// keep_buffers : int, optional
///     Bytes of idle receive buffers that are kept for use again, 256 MiB by default.
/// budget : int, optional
///     Bytes that all peers together may have under way to this process, half of the machine's memory by default.
///
/// Examples
/// --------
/// >>> context = mosaic_comms.Context(io_threads=2)
/// >>> async def main():
/// ...     async with mosaic_comms.start("monitor", address="127.0.0.1", context=context) as comms:
/// ...         return comms.connected("monitor")
/// >>> asyncio.run(main())
/// True
#[pyclass(frozen, weakref, module = "mosaic_comms")]
pub(crate) struct Context(Native<mosaic_comms::Context>);

impl Context {
    pub(crate) fn get(&self) -> PyResult<&mosaic_comms::Context> {
        self.0.get().ok_or_else(|| PyRuntimeError::new_err("this context belongs to the parent process"))
    }
}

#[pymethods]
impl Context {
    #[new]
    #[pyo3(signature = (io_threads=None, keep_buffers=None, budget=None))]
    fn new(io_threads: Option<usize>, keep_buffers: Option<usize>, budget: Option<u64>) -> PyResult<Context> {
        // Arrays of numpy are to be changed as one likes, also in forked children: they need memory of their own.
        let mut builder = mosaic_comms::Context::builder().share_memory(0);
        if let Some(threads) = io_threads {
            builder = builder.io_threads(threads);
        }
        if let Some(bytes) = keep_buffers {
            builder = builder.keep_buffers(bytes);
        }
        if let Some(bytes) = budget {
            builder = builder.budget(bytes);
        }
        Ok(Context(Native::new(builder.build()?)))
    }

    /// The descriptors that it has open, also in a child that has inherited it.
    fn descriptors(&self) -> PyResult<Vec<RawFd>> {
        self.0.inherited().map_or_else(|| Ok(Vec::new()), |context| Ok(context.descriptors()?))
    }
}

/// In a forked child: closes these descriptors, and forgets whatever was made before. Nothing is shut down, sent or
/// joined: the parent goes on with all of it.
#[pyfunction]
pub(crate) fn leave_to_the_parent(descriptors: Vec<RawFd>) {
    begin_another();
    for descriptor in descriptors {
        // SAFETY: the child has one thread, and what owns these descriptors in Rust belongs to the generation before: by
        // `Native` it is neither used nor dropped in this process. So nobody uses or closes them again.
        #[allow(unsafe_code)]
        unsafe {
            rustix::io::close(descriptor);
        }
    }
}
