//! The answer to a request, given once by the handler's task.

use std::sync::Arc;

use mosaic_comms::{Assignment, Call, Encoded, HandlerError, HandlerResult, RemoteError, Unwritten};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::bell::Bell;
use crate::decode::Sender;
use crate::encode::{self, Encoding, Ownership};
use crate::generation::Native;

/// Where the outcome of one request goes.
#[pyclass(frozen)]
pub(crate) struct Answer {
    /// By which the end of its caller's patience is told.
    #[pyo3(get)]
    number: u64,
    open: Mutex<Option<Native<Open>>>,
    bell: Option<Arc<Bell>>,
    sender: Sender,
    /// Whether somebody waits for a result.
    #[pyo3(get)]
    wanted: bool,
}

/// A request that has no answer yet.
struct Open {
    assignment: Assignment,
    call: Call,
}

impl Answer {
    pub(crate) fn new(
        number: u64,
        assignment: Assignment,
        call: Call,
        bell: Option<Arc<Bell>>,
        sender: Sender,
    ) -> Answer {
        let wanted = call.wants_reply();
        Answer {
            number,
            open: Mutex::new(Some(Native::new(Open { assignment, call }))),
            bell,
            sender,
            wanted,
        }
    }

    /// The call, until it is answered.
    pub(crate) fn call(&self) -> Option<Call> {
        self.open.lock().as_ref().and_then(Native::get).map(|open| open.call.clone())
    }

    fn give(&self, result: HandlerResult) {
        let Some(open) = self.open.lock().take().and_then(Native::take) else { return };
        let unwritten = open.assignment.finish(result);
        match &self.bell {
            Some(bell) => unwritten.into_iter().for_each(|unwritten| bell.write_later(unwritten)),
            None => unwritten.into_iter().for_each(Unwritten::write),
        }
    }

    /// The request can't be handled: an argument of it can't be read.
    pub(crate) fn refuse(&self, py: Python<'_>, error: &PyErr) {
        let message = error.value(py).to_string();
        self.give(Err(HandlerError::exactly(RemoteError::new(RemoteError::ARGUMENT, message))));
    }
}

/// The call that code serves which has this in its context: an answer, or one of Python's that is a part of another.
pub(crate) fn served(serving: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Call>> {
    let Some(serving) = serving else { return Ok(None) };
    if let Ok(answer) = serving.cast::<Answer>() {
        return Ok(answer.get().call());
    }
    let within = serving.getattr(pyo3::intern!(serving.py(), "within"))?;
    Ok(within.cast::<Answer>().ok().and_then(|answer| answer.get().call()))
}

#[pymethods]
impl Answer {
    /// Gives the result, which is the only element of a list, or nothing if nobody wants it.
    fn reply(&self, result: &Bound<'_, PyList>) -> PyResult<()> {
        let Some(bell) = self.bell.as_ref().filter(|_| self.wanted) else {
            self.give(Ok(Encoded { body: vec![0xc0], buffers: Vec::new() }));
            return Ok(());
        };
        let encoding = Encoding { ownership: Ownership::Given, bell: bell.clone(), peers: self.sender };
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
