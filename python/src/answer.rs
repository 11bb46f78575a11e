//! The answer to a request, given once: by the handler's task, or here, where a handler has ended when it returns.

use std::cell::RefCell;
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

thread_local! {
    /// The request whose plain handler this thread runs.
    static SERVED: RefCell<Option<Arc<Served>>> = const { RefCell::new(None) };
}

/// A request that is served, and where its outcome goes.
pub(crate) struct Served {
    /// By which the end of its caller's patience is told.
    number: u64,
    /// Nothing once it is answered.
    open: Mutex<Option<Native<Open>>>,
    bell: Option<Arc<Bell>>,
    sender: Sender,
    /// Whether somebody waits for a result.
    wanted: bool,
}

struct Open {
    assignment: Assignment,
    call: Call,
}

impl Served {
    pub(crate) fn new(
        number: u64,
        assignment: Assignment,
        call: Call,
        bell: Option<Arc<Bell>>,
        sender: Sender,
    ) -> Arc<Served> {
        let wanted = call.wants_reply();
        let open = Mutex::new(Some(Native::new(Open { assignment, call })));
        Arc::new(Served { number, open, bell, sender, wanted })
    }

    /// The call, until it is answered.
    fn call(&self) -> Option<Call> {
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

    /// What travels of a result that nobody else has unless it is somebody's field: nil if nobody waits for it, or no loop
    /// would let it go.
    fn encode(&self, result: Bound<'_, PyAny>) -> PyResult<Encoded> {
        let Some(bell) = self.bell.as_ref().filter(|_| self.wanted) else {
            return Ok(Encoded { body: vec![0xc0], buffers: Vec::new() });
        };
        encode::result(
            result,
            Encoding { ownership: Ownership::Given, bell: bell.clone(), peers: self.sender },
        )
    }

    /// The request can't be handled: an argument of it can't be read.
    pub(crate) fn refuse(&self, py: Python<'_>, error: &PyErr) {
        let message = error.value(py).to_string();
        self.give(Err(HandlerError::exactly(RemoteError::new(RemoteError::ARGUMENT, message))));
    }

    /// Calls a handler, which has ended when it returns, in a context of its own, and gives what comes of it.
    pub(crate) fn serve<'py>(
        self: &Arc<Self>,
        handler: &Bound<'py, PyAny>,
        args: impl IntoIterator<Item = Bound<'py, PyAny>>,
        kwargs: &Bound<'py, PyDict>,
    ) -> PyResult<()> {
        let py = handler.py();
        let _serving = Serving::begin(self);
        let called = call_in_a_context(handler, args, kwargs);
        // Nobody but the handler refers to its arguments now: it may return one of them, uncopied.
        kwargs.clear();
        match called.and_then(|result| self.encode(result)) {
            Ok(encoded) => {
                self.give(Ok(encoded));
                Ok(())
            }
            Err(raised) => self.fail_with(py, raised),
        }
    }

    /// The request ends with what its handler has raised.
    pub(crate) fn fail_with(self: &Arc<Self>, py: Python<'_>, raised: PyErr) -> PyResult<()> {
        static FAIL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let fail = FAIL.import(py, "mosaic_comms._delivery", "fail_with")?;
        fail.call1((Answer(self.clone()), raised.into_value(py))).map(drop)
    }
}

/// While it lives, its request is the one whose plain handler runs.
struct Serving {
    before: Option<Arc<Served>>,
}

impl Serving {
    fn begin(served: &Arc<Served>) -> Serving {
        Serving { before: SERVED.replace(Some(served.clone())) }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(SERVED.replace(self.before.take()));
    }
}

/// Calls a function in a copy of the context in which this runs. Who awaits a coroutine that it returns is its own affair.
fn call_in_a_context<'py>(
    function: &Bound<'py, PyAny>,
    args: impl IntoIterator<Item = Bound<'py, PyAny>>,
    kwargs: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = function.py();
    let call: Vec<_> = [context::copy(py)?, function.clone()].into_iter().chain(args).collect();
    let result = context::run(&PyTuple::new(py, call)?, Some(kwargs))?;
    if is_coroutine(&result)? { Ok(py.None().into_bound(py)) } else { Ok(result) }
}

fn is_coroutine(result: &Bound<'_, PyAny>) -> PyResult<bool> {
    static COROUTINE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    Ok(result.get_type().is(COROUTINE.import(result.py(), "types", "CoroutineType")?))
}

/// The call that the code serves which runs now: that of the plain handler of this thread, or else what its context has, an
/// answer or one of Python's that is a part of another.
pub(crate) fn served(serving: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Call>> {
    if let Some(call) = SERVED.with_borrow(|here| here.as_ref().and_then(|served| served.call())) {
        return Ok(Some(call));
    }
    let Some(serving) = serving else { return Ok(None) };
    if let Ok(answer) = serving.cast::<Answer>() {
        return Ok(answer.get().0.call());
    }
    let within = serving.getattr(pyo3::intern!(serving.py(), "within"))?;
    Ok(within.cast::<Answer>().ok().and_then(|answer| answer.get().0.call()))
}

/// Where the outcome of a request goes, as Python has it.
#[pyclass(frozen)]
pub(crate) struct Answer(pub(crate) Arc<Served>);

#[pymethods]
impl Answer {
    /// By which the end of its caller's patience is told.
    #[getter]
    fn number(&self) -> u64 {
        self.0.number
    }

    /// Whether somebody waits for a result.
    #[getter]
    fn wanted(&self) -> bool {
        self.0.wanted
    }

    /// Calls a handler, which has ended when it returns, in a context of its own, and gives what comes of it.
    fn serve<'py>(
        &self,
        handler: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: &Bound<'py, PyDict>,
    ) -> PyResult<()> {
        self.0.serve(handler, args, kwargs)
    }

    /// Gives the result, which is the only element of a list, and is taken out of it.
    fn reply(&self, result: &Bound<'_, PyList>) -> PyResult<()> {
        let only = result.get_item(0)?;
        result.del_item(0)?;
        self.0.give(Ok(self.0.encode(only)?));
        Ok(())
    }

    /// Gives an error.
    fn fail(&self, kind: &str, message: String, causes: Vec<String>, traceback: Option<String>) {
        let mut error = RemoteError::new(kind, message);
        error.causes = causes;
        error.backtrace = traceback;
        self.0.give(Err(HandlerError::exactly(error)));
    }
}
