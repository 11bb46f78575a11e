//! What takes time: a future of the core that gives a Python value. A loop's driver drives it, or a thread waits for it.
//!
//! For asyncio it is an awaitable like a future of its own, but one that wakes whoever waits at once, on the loop's thread,
//! where asyncio's would cost another turn of the loop.
//!
//! ```text
//! fresh --- started by a driver ---> under way ---> over
//!   \--- a thread waits ---> over        \--- given up ---> over, cancelled
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use mosaic_comms::Call;
use parking_lot::Mutex;
use pyo3::exceptions::{PyBaseException, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyCFunction, PyDict, PyType};
use tokio::runtime::Handle;

use crate::bell::Bell;
use crate::context;
use crate::generation::Native;

/// A future, and what makes a Python value of its outcome.
trait Work: Send {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// Makes the value, once it is over.
    fn complete(self: Box<Self>, py: Python<'_>) -> PyResult<Py<PyAny>>;
}

struct Converted<F: Future, C> {
    future: F,
    outcome: Option<F::Output>,
    convert: C,
}

impl<F, C> Work for Converted<F, C>
where
    F: Future<Output: Send> + Send + Unpin,
    C: FnOnce(Python<'_>, F::Output) -> PyResult<Py<PyAny>> + Send,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.future).poll(context).map(|outcome| self.outcome = Some(outcome))
    }

    fn complete(self: Box<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let Converted { future, outcome, convert } = *self;
        drop(future);
        let outcome = outcome.ok_or_else(|| PyRuntimeError::new_err("the operation is not over"))?;
        convert(py, outcome)
    }
}

/// What is under way, and the executor whose timers it needs.
struct Running {
    work: Box<dyn Work>,
    executor: Handle,
    /// The call whose handler has made it.
    within: Option<Call>,
}

impl Running {
    /// Goes on with it.
    fn poll(&mut self, waker: &Waker) -> Poll<()> {
        let _entered = self.executor.enter();
        let Running { work, within, .. } = self;
        let mut poll = || work.poll(&mut Context::from_waker(waker));
        match within {
            Some(call) => call.in_scope(poll),
            None => poll(),
        }
    }

    fn complete(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.work.complete(py)
    }
}

/// Something that takes time and has not been started. It is started once.
#[pyclass(frozen)]
pub(crate) struct Operation {
    stage: Mutex<Stage>,
    /// What asyncio asks of whatever a task waits for: whether it was awaited, and not only given to the loop.
    blocking: AtomicBool,
}

enum Stage {
    Fresh(Native<Running>),
    UnderWay(UnderWay),
    /// Started, by whoever has its future.
    Taken,
    Over(PyResult<Py<PyAny>>),
    Cancelled(Option<Py<PyAny>>),
}

/// An operation that a loop drives.
struct UnderWay {
    event_loop: Py<PyAny>,
    /// Called when it is over, in its context, with what [`as_told_to`] gives.
    waiting: Option<(Py<PyAny>, Option<Py<PyAny>>)>,
    /// Not there while it is polled.
    running: Option<Native<Running>>,
}

impl Operation {
    /// An operation that gives what `convert` makes of the future's outcome.
    pub(crate) fn new<F, C>(executor: &Handle, future: F, convert: C) -> Operation
    where
        F: Future<Output: Send> + Send + Unpin + 'static,
        C: FnOnce(Python<'_>, F::Output) -> PyResult<Py<PyAny>> + Send + 'static,
    {
        let work = Box::new(Converted { future, outcome: None, convert });
        let running = Running { work, executor: executor.clone(), within: None };
        Operation { stage: Mutex::new(Stage::Fresh(Native::new(running))), blocking: AtomicBool::new(false) }
    }

    /// The same as part of the handler of a call: what it requests is nested in that.
    pub(crate) fn within(self, call: Option<Call>) -> Operation {
        if let Stage::Fresh(running) = &mut *self.stage.lock()
            && let Some(running) = running.get_mut()
        {
            running.within = call;
        }
        self
    }

    /// Goes as far as it can without waiting. What is left of it can be started; nothing is if it is over, and has given
    /// nothing.
    pub(crate) fn begin(self, py: Python<'_>) -> PyResult<Option<Operation>> {
        let mut running = self.take()?;
        match running.poll(Waker::noop()) {
            Poll::Ready(()) => running.complete(py).map(|_| None),
            Poll::Pending => {
                *self.stage.lock() = Stage::Fresh(Native::new(running));
                Ok(Some(self))
            }
        }
    }

    fn take(&self) -> PyResult<Running> {
        let mut stage = self.stage.lock();
        let running = match &*stage {
            Stage::Fresh(_) => match std::mem::replace(&mut *stage, Stage::Taken) {
                Stage::Fresh(running) => running.take(),
                _ => None,
            },
            _ => None,
        };
        running.ok_or_else(|| {
            PyRuntimeError::new_err("an operation can be started once, by the process that made it")
        })
    }

    /// Starts it for a loop. Whether it is over with that.
    pub(crate) fn start(&self, py: Python<'_>, event_loop: Py<PyAny>, waker: &Waker) -> PyResult<Poll<()>> {
        let mut running = self.take()?;
        let stage = match running.poll(waker) {
            Poll::Ready(()) => Stage::Over(running.complete(py)),
            Poll::Pending => {
                Stage::UnderWay(UnderWay { event_loop, waiting: None, running: Some(Native::new(running)) })
            }
        };
        let polled = if matches!(stage, Stage::Over(_)) { Poll::Ready(()) } else { Poll::Pending };
        *self.stage.lock() = stage;
        Ok(polled)
    }

    /// Goes on with it, and wakes whoever waits if it is over with that, which is what this tells.
    pub(crate) fn go_on(slf: &Bound<'_, Operation>, waker: &Waker) -> PyResult<Poll<()>> {
        let (py, this) = (slf.py(), slf.get());
        let running = match &mut *this.stage.lock() {
            Stage::UnderWay(under_way) => under_way.running.take().and_then(Native::take),
            _ => None,
        };
        // It has been given up, or was over before.
        let Some(mut running) = running else { return Ok(Poll::Pending) };
        if running.poll(waker).is_pending() {
            if let Stage::UnderWay(under_way) = &mut *this.stage.lock() {
                under_way.running = Some(Native::new(running));
            }
            return Ok(Poll::Pending);
        }
        let over = Stage::Over(running.complete(py));
        let before = {
            let mut stage = this.stage.lock();
            // A signal's handler may have cancelled it while the outcome was converted.
            if !matches!(*stage, Stage::UnderWay(_)) {
                return Ok(Poll::Pending);
            }
            std::mem::replace(&mut *stage, over)
        };
        if let Stage::UnderWay(UnderWay { waiting: Some((callback, context)), .. }) = before {
            let ended = as_told_to(callback.bind(py), slf);
            match context {
                Some(context) => context::run(&(context, callback, ended).into_pyobject(py)?, None)?,
                None => callback.bind(py).call1((ended,))?,
            };
        }
        Ok(Poll::Ready(()))
    }

    /// What went wrong, if it is over and something did.
    pub(crate) fn failure(&self, py: Python<'_>) -> PyResult<()> {
        match &*self.stage.lock() {
            Stage::Over(Err(failure)) => Err(failure.clone_ref(py)),
            _ => Ok(()),
        }
    }

    /// Ends it, if it is under way: nobody waits for it any more.
    fn give_up(&self, message: Option<Py<PyAny>>) -> Option<UnderWay> {
        let mut stage = self.stage.lock();
        match &*stage {
            Stage::UnderWay(_) => match std::mem::replace(&mut *stage, Stage::Cancelled(message)) {
                Stage::UnderWay(under_way) => Some(under_way),
                _ => None,
            },
            _ => None,
        }
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
            if running.poll(&waker).is_ready() {
                return running.complete(py);
            }
            // One that has come meanwhile would not end the wait.
            py.check_signals()?;
            match py.detach(|| bell.wait()) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => py.check_signals()?,
                waited => waited?,
            }
        }
    }

    /// Whether it is over.
    fn done(&self) -> bool {
        matches!(*self.stage.lock(), Stage::Over(_) | Stage::Cancelled(_))
    }

    /// The outcome of an operation that is over.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match &*self.stage.lock() {
            Stage::Over(Ok(value)) => Ok(value.clone_ref(py)),
            Stage::Over(Err(failure)) => Err(failure.clone_ref(py)),
            Stage::Cancelled(message) => Err(cancelled(py, message.as_ref())?),
            _ => Err(PyRuntimeError::new_err("the operation is not over")),
        }
    }

    // ---- what a task of asyncio does with what it waits for ----

    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// Gives itself to the task that waits, until it is over.
    fn __next__(slf: Bound<'_, Self>) -> Option<Bound<'_, Self>> {
        let waits = matches!(*slf.get().stage.lock(), Stage::UnderWay(_));
        slf.get().blocking.store(waits, Ordering::Relaxed);
        waits.then_some(slf)
    }

    /// The coroutine that waits is thrown an exception.
    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        &self,
        kind: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = traceback;
        self.close();
        let raised = match value {
            Some(value) if value.is_instance_of::<PyBaseException>() => value,
            Some(value) => kind.call1((value,))?,
            None if kind.is_instance_of::<PyBaseException>() => kind,
            None => kind.call0()?,
        };
        Err(PyErr::from_value(raised))
    }

    /// The coroutine that waits ends.
    fn close(&self) {
        drop(self.give_up(None));
    }

    #[getter(_asyncio_future_blocking)]
    fn blocking(&self) -> bool {
        self.blocking.load(Ordering::Relaxed)
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, blocking: bool) {
        self.blocking.store(blocking, Ordering::Relaxed);
    }

    #[getter(_loop)]
    fn event_loop(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match &*self.stage.lock() {
            Stage::UnderWay(under_way) => Ok(under_way.event_loop.clone_ref(py)),
            _ => Err(PyRuntimeError::new_err("no loop drives this operation")),
        }
    }

    /// Calls back when it is over, with this object or one that stands for it. There is one to call back, which is whoever
    /// waits.
    #[pyo3(signature = (callback, *, context=None))]
    fn add_done_callback(&self, callback: Py<PyAny>, context: Option<Py<PyAny>>) -> PyResult<()> {
        match &mut *self.stage.lock() {
            Stage::UnderWay(under_way) => {
                under_way.waiting = Some((callback, context));
                Ok(())
            }
            _ => Err(PyRuntimeError::new_err("the operation is not under way")),
        }
    }

    /// The task that waits is cancelled: it is told in a turn of its own.
    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let py = slf.py();
        let Some(UnderWay { event_loop, waiting, running }) = slf.get().give_up(msg) else {
            return Ok(false);
        };
        drop(running);
        if let Some((callback, context)) = waiting {
            let options = PyDict::new(py);
            options.set_item(pyo3::intern!(py, "context"), context)?;
            event_loop.call_method(py, pyo3::intern!(py, "call_soon"), (callback, slf), Some(&options))?;
        }
        Ok(true)
    }
}

/// What a callback gets when an operation is over. One that is C is asyncio's own, of a task, which asks only whether to go
/// on: a future of asyncio's tells it that it may without a call of a method.
fn as_told_to<'py>(callback: &Bound<'py, PyAny>, operation: &Bound<'py, Operation>) -> Bound<'py, PyAny> {
    static ENDED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let is_c = callback.is_exact_instance_of::<PyCFunction>();
    let ended = is_c.then(|| ENDED.import(callback.py(), "mosaic_comms._loops", "ENDED").ok()).flatten();
    ended.unwrap_or(operation.as_any()).clone()
}

fn cancelled(py: Python<'_>, message: Option<&Py<PyAny>>) -> PyResult<PyErr> {
    static CANCELLED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let kind = CANCELLED.import(py, "asyncio", "CancelledError")?;
    let raised = match message {
        Some(message) => kind.call1((message,))?,
        None => kind.call0()?,
    };
    Ok(PyErr::from_value(raised))
}
