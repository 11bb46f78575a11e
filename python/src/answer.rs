//! The answer to a request, given once: by the handler's task, or here, where a handler has ended when it returns.

use std::sync::Arc;

use mosaic_comms::{Assignment, Call, Encoded, HandlerError, HandlerResult, RemoteError, Unwritten};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::bell::Bell;
use crate::context;
use crate::decode::Sender;
use crate::encode::{self, Encoding, Ownership};
use crate::generation::Native;

/// A request that has no answer yet.
pub(crate) struct Open {
    assignment: Assignment,
    call: Call,
    terms: Terms,
}

/// How an answer is made.
#[derive(Clone)]
struct Terms {
    /// Whether somebody waits for a result.
    wanted: bool,
    bell: Option<Arc<Bell>>,
    sender: Sender,
}

impl Terms {
    /// What is sent for a result that nobody else has unless it is somebody's field.
    fn encode(&self, result: Bound<'_, PyAny>) -> PyResult<Encoded> {
        let Some(bell) = self.bell.as_ref().filter(|_| self.wanted) else {
            return Ok(Encoded { body: vec![0xc0], buffers: Vec::new() });
        };
        encode::result(
            result,
            Encoding { ownership: Ownership::Given, bell: bell.clone(), peers: self.sender },
        )
    }
}

impl Open {
    pub(crate) fn new(assignment: Assignment, call: Call, bell: Option<Arc<Bell>>, sender: Sender) -> Open {
        let terms = Terms { wanted: call.wants_reply(), bell, sender };
        Open { assignment, call, terms }
    }

    fn give(self, result: HandlerResult) {
        let unwritten = self.assignment.finish(result);
        match &self.terms.bell {
            Some(bell) => unwritten.into_iter().for_each(|unwritten| bell.write_later(unwritten)),
            None => unwritten.into_iter().for_each(Unwritten::write),
        }
    }

    /// The request can't be handled: an argument of it can't be read.
    pub(crate) fn refuse(self, py: Python<'_>, error: &PyErr) {
        let message = error.value(py).to_string();
        self.give(Err(HandlerError::exactly(RemoteError::new(RemoteError::ARGUMENT, message))));
    }

    /// Calls a handler, which has ended when it returns, in a context of its own, and gives what it returns. What it raises
    /// has to be given yet.
    pub(crate) fn serve<'py>(
        self,
        handler: &Bound<'py, PyAny>,
        args: impl IntoIterator<Item = Bound<'py, PyAny>>,
        kwargs: &Bound<'py, PyDict>,
    ) -> Result<(), (Open, PyErr)> {
        let called = self.call.in_scope(|| call_in_a_context(handler, args, kwargs));
        // Nobody but the handler refers to its arguments now: it may return one of them, uncopied.
        kwargs.clear();
        match called.and_then(|result| self.terms.encode(result)) {
            Ok(encoded) => {
                self.give(Ok(encoded));
                Ok(())
            }
            Err(error) => Err((self, error)),
        }
    }
}

/// Calls a function in a copy of the context in which this runs. Who awaits a coroutine that it returns is its own affair.
fn call_in_a_context<'py>(
    function: &Bound<'py, PyAny>,
    args: impl IntoIterator<Item = Bound<'py, PyAny>>,
    kwargs: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    static COROUTINE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = function.py();
    let call: Vec<_> = [context::copy(py)?, function.clone()].into_iter().chain(args).collect();
    let result = context::run(&PyTuple::new(py, call)?, Some(kwargs))?;
    match result.get_type().is(COROUTINE.import(py, "types", "CoroutineType")?) {
        true => Ok(py.None().into_bound(py)),
        false => Ok(result),
    }
}

/// Where the outcome of one request goes.
#[pyclass(frozen)]
pub(crate) struct Answer {
    /// By which the end of its caller's patience is told.
    #[pyo3(get)]
    number: u64,
    open: Mutex<Option<Native<Open>>>,
    /// Whether somebody waits for a result.
    #[pyo3(get)]
    wanted: bool,
}

impl Answer {
    pub(crate) fn new(number: u64, open: Open) -> Answer {
        let wanted = open.terms.wanted;
        Answer { number, open: Mutex::new(Some(Native::new(open))), wanted }
    }

    /// The call, until it is answered.
    pub(crate) fn call(&self) -> Option<Call> {
        self.open.lock().as_ref().and_then(Native::get).map(|open| open.call.clone())
    }

    /// For who gives it.
    fn take(&self) -> Option<Open> {
        self.open.lock().take().and_then(Native::take)
    }

    /// The request ends with what was raised.
    pub(crate) fn give_up(self, py: Python<'_>, raised: PyErr) -> PyResult<()> {
        give_up(&Bound::new(py, self)?, raised)
    }
}

fn give_up(answer: &Bound<'_, Answer>, raised: PyErr) -> PyResult<()> {
    static GIVE_UP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = answer.py();
    let give_up = GIVE_UP.import(py, "mosaic_comms._delivery", "give_up")?;
    give_up.call1((answer, raised.into_value(py))).map(drop)
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
    /// Calls a handler, which has ended when it returns, in a context of its own, and gives what comes of it.
    fn serve<'py>(
        slf: &Bound<'py, Self>,
        handler: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: &Bound<'py, PyDict>,
    ) -> PyResult<()> {
        let Some(open) = slf.get().take() else { return Ok(()) };
        let Err((open, raised)) = open.serve(handler, args, kwargs) else { return Ok(()) };
        *slf.get().open.lock() = Some(Native::new(open));
        give_up(slf, raised)
    }

    /// Gives the result, which is the only element of a list, and is taken out of it.
    fn reply(&self, result: &Bound<'_, PyList>) -> PyResult<()> {
        let terms = self.open.lock().as_ref().and_then(Native::get).map(|open| open.terms.clone());
        let Some(terms) = terms else { return Ok(()) };
        let only = result.get_item(0)?;
        result.del_item(0)?;
        let encoded = terms.encode(only)?;
        if let Some(open) = self.take() {
            open.give(Ok(encoded));
        }
        Ok(())
    }

    /// Gives an error.
    fn fail(&self, kind: &str, message: String, causes: Vec<String>, traceback: Option<String>) {
        let mut error = RemoteError::new(kind, message);
        error.causes = causes;
        error.backtrace = traceback;
        if let Some(open) = self.take() {
            open.give(Err(HandlerError::exactly(error)));
        }
    }
}
