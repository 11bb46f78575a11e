//! What takes time: a future of the core that gives a Python value. A loop drives it, or a thread waits for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::Handle;

use crate::bell::Bell;
use crate::generation::Native;

/// Makes the Python value, on a thread that holds the interpreter's lock.
pub(crate) type Completion = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

type Pending = Pin<Box<dyn Future<Output = Completion> + Send>>;

/// A future, and the executor whose timers it needs.
pub(crate) struct Running {
    future: Pending,
    executor: Handle,
}

impl Running {
    /// Goes on with it.
    pub(crate) fn poll(&mut self, waker: &Waker) -> Poll<Completion> {
        let _entered = self.executor.enter();
        self.future.as_mut().poll(&mut Context::from_waker(waker))
    }
}

/// Something that takes time and has not been started. It is started once.
#[pyclass(frozen)]
pub(crate) struct Operation(Mutex<Option<Native<Running>>>);

impl Operation {
    /// An operation that gives what `convert` makes of the future's outcome.
    pub(crate) fn new<T, F, C>(executor: &Handle, future: F, convert: C) -> Operation
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
        C: FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    {
        let future = async move {
            let outcome = future.await;
            Box::new(move |py: Python<'_>| convert(py, outcome)) as Completion
        };
        let running = Running { future: Box::pin(future), executor: executor.clone() };
        Operation(Mutex::new(Some(Native::new(running))))
    }

    pub(crate) fn take(&self) -> PyResult<Running> {
        let running = self.0.lock().take().and_then(Native::take);
        running.ok_or_else(|| PyRuntimeError::new_err("an operation can be started once"))
    }
}

#[pymethods]
impl Operation {
    /// Waits for the end without holding the interpreter's lock. A signal's handler runs meanwhile, and may raise.
    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let mut running = self.take()?;
        let bell = Arc::new(Bell::new()?);
        let waker = Waker::from(bell.clone());
        loop {
            if let Poll::Ready(complete) = running.poll(&waker) {
                return complete(py);
            }
            match py.detach(|| bell.wait()) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => py.check_signals()?,
                waited => waited?,
            }
        }
    }
}
