//! The answer to a request, given once by the handler's task.

use std::sync::Arc;

use mosaic_comms::{Encoded, HandlerError, HandlerResult, RemoteError};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyList;
use tokio::sync::oneshot;

use crate::bell::Bell;
use crate::encode::{self, Encoding, Ownership};
use crate::generation::Native;

/// Where the outcome of one request goes.
#[pyclass(frozen)]
pub(crate) struct Answer {
    /// By which the end of its caller's patience is told.
    #[pyo3(get)]
    number: u64,
    outcome: Mutex<Option<Native<oneshot::Sender<HandlerResult>>>>,
    bell: Option<Arc<Bell>>,
    /// Whether somebody waits for a result.
    #[pyo3(get)]
    wanted: bool,
}

impl Answer {
    pub(crate) fn new(
        number: u64,
        outcome: oneshot::Sender<HandlerResult>,
        bell: Option<Arc<Bell>>,
        wanted: bool,
    ) -> Answer {
        Answer { number, outcome: Mutex::new(Some(Native::new(outcome))), bell, wanted }
    }

    fn give(&self, result: HandlerResult) {
        if let Some(outcome) = self.outcome.lock().take().and_then(Native::take) {
            // The caller may have given up.
            let _ = outcome.send(result);
        }
    }

    /// The request can't be handled: an argument of it can't be read.
    pub(crate) fn refuse(&self, py: Python<'_>, error: &PyErr) {
        let message = error.value(py).to_string();
        self.give(Err(HandlerError::exactly(RemoteError::new(RemoteError::ARGUMENT, message))));
    }
}

#[pymethods]
impl Answer {
    /// Gives the result, which is the only element of a list, or nothing if nobody wants it.
    #[pyo3(signature = (result, *, pickle))]
    fn reply(&self, result: &Bound<'_, PyList>, pickle: bool) -> PyResult<()> {
        let Some(bell) = self.bell.as_ref().filter(|_| self.wanted) else {
            self.give(Ok(Encoded { body: vec![0xc0], buffers: Vec::new() }));
            return Ok(());
        };
        let encoding = Encoding { ownership: Ownership::Given, bell: bell.clone(), pickle };
        self.give(Ok(encode::result(result, encoding)?));
        Ok(())
    }

    /// Gives an error.
    fn fail(&self, kind: &str, message: String, causes: Vec<String>, traceback: Option<String>) {
        let mut error = RemoteError::new(kind, message);
        error.causes = causes;
        error.backtrace = traceback;
        self.give(Err(HandlerError::exactly(error)));
    }
}
