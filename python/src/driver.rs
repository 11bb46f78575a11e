//! What an asyncio loop has of us: it drives operations and receives for the managers that live on it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::bell::{Attention, Bell, OperationWaker, Turn};
use crate::lanes::Lanes;
use crate::operation::Operation;

/// How long what goes out waits for more at most, but for the handler that runs then. Each write costs a system call and may
/// cost the processor; until then, the peer has nothing to do. See decision 0021.
const WRITES_WAIT: Duration = Duration::from_micros(200);

/// Times that a drain looks for what its turns have left to be done, before the loop has its own turn.
const ROUNDS: usize = 4;

thread_local! {
    /// The driver, by its bell, whose drain runs on this thread.
    static DRAINS: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The driver of one loop. The loop watches [`Driver::fileno`], and calls [`Driver::drain`] when it is readable.
#[pyclass(frozen, weakref)]
pub(crate) struct Driver {
    bell: Arc<Bell>,
    lanes: Lanes,
}

impl Driver {
    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// Whether this thread runs the loop, which is the driver's, now. Within a drain it is known; else Python tells, which
    /// takes a system call on 3.11.
    fn runs(&self, event_loop: &Bound<'_, PyAny>) -> PyResult<bool> {
        static RUNNING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        if DRAINS.get() == Some(self.identity()) {
            return Ok(true);
        }
        let running = RUNNING.import(event_loop.py(), "asyncio", "_get_running_loop")?;
        Ok(running.call0()?.is(event_loop))
    }

    fn identity(&self) -> usize {
        Arc::as_ptr(&self.bell).addr()
    }

    /// Reads what has come, and does what comes of it.
    fn drain_in_rounds(&self, py: Python<'_>, has_rung: bool) -> PyResult<()> {
        py.detach(|| {
            if self.lanes.read() || has_rung {
                self.bell.hush();
            }
        });
        let mut written = Instant::now();
        for _ in 0..ROUNDS {
            if !self.bell.is_native() {
                break;
            }
            let mut turns = self.bell.take();
            if turns.is_empty() {
                break;
            }
            self.take_turns(py, &mut turns, &mut written).inspect_err(|_| self.bell.leave_first(turns))?;
        }
        Ok(())
    }

    /// Takes turns until one ends the loop. What they send is written together, unless they take long: nobody is to wait
    /// for the handlers that come behind his own, and both sides are to be at work at the same time.
    fn take_turns(&self, py: Python<'_>, turns: &mut VecDeque<Turn>, written: &mut Instant) -> PyResult<()> {
        while let Some(turn) = turns.pop_front() {
            match catch_unwind(AssertUnwindSafe(|| self.take_turn(py, turn))) {
                Ok(Err(error)) if error.is_instance_of::<PyException>(py) => error.write_unraisable(py, None),
                Ok(taken) => taken?,
                Err(panic) => {
                    self.bell.leave_first(std::mem::take(turns));
                    resume_unwind(panic);
                }
            }
            if !self.bell.is_native() {
                // A handler has forked, and this is the child: the rest is its parent's.
                std::mem::forget(std::mem::take(turns));
                return Ok(());
            }
            if written.elapsed() > WRITES_WAIT && self.bell.has_unwritten() {
                py.detach(|| self.bell.write());
                *written = Instant::now();
            }
        }
        Ok(())
    }

    fn take_turn(&self, py: Python<'_>, turn: Turn) -> PyResult<()> {
        match turn {
            Turn::GoOn(waker) => go_on(py, waker)?,
            Turn::Arrive(inbox, arrival) => inbox.hand_over(py, arrival)?,
            Turn::Run(task) => task.run(),
            Turn::Carry(lane) => self.lanes.add(lane),
            Turn::Release(object) => drop(object),
        }
        Ok(())
    }

    /// Starts an operation on the loop that runs now, which is mostly `event_loop`, the driver's.
    pub(crate) fn start_here(
        &self,
        operation: &Bound<'_, Operation>,
        event_loop: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        match self.runs(event_loop)? {
            true => self.start(operation, event_loop.clone().unbind()),
            false => start_elsewhere(operation),
        }
    }

    /// Polls for the first time. What is not over then is kept by its waker, which the core has.
    fn begin(
        &self,
        operation: &Bound<'_, Operation>,
        event_loop: Py<PyAny>,
        attention: Attention,
    ) -> PyResult<Poll<()>> {
        let kept = operation.clone().unbind();
        let waker = OperationWaker { operation: kept, bell: self.bell.clone(), attention };
        operation.get().start(operation.py(), event_loop, &Waker::from(Arc::new(waker)))
    }
}

impl Drop for Driver {
    /// What nobody takes any more has the links that leave it, and those have the bell.
    fn drop(&mut self) {
        self.bell.empty();
    }
}

fn go_on(py: Python<'_>, waker: Arc<OperationWaker>) -> PyResult<()> {
    let operation = waker.operation.bind(py).clone();
    let attention = waker.attention;
    match Operation::go_on(&operation, &Waker::from(waker))? {
        Poll::Ready(()) if attention == Attention::None => operation.get().failure(py),
        _ => Ok(()),
    }
}

/// Starts an operation on a loop that is not the driver's.
fn start_elsewhere(operation: &Bound<'_, Operation>) -> PyResult<()> {
    static START: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    START.import(operation.py(), "mosaic_comms._loops", "start")?.call1((operation,)).map(drop)
}

fn another_process() -> PyErr {
    PyRuntimeError::new_err("this loop belongs to another process")
}

#[pymethods]
impl Driver {
    #[new]
    fn new() -> PyResult<Driver> {
        let bell = Bell::new()?;
        let lanes = Lanes::new(bell.descriptor().ok_or_else(another_process)?)?;
        Ok(Driver { bell: Arc::new(bell), lanes })
    }

    /// The descriptor to watch.
    fn fileno(&self) -> PyResult<i32> {
        self.lanes.descriptor().ok_or_else(another_process)
    }

    /// The descriptors that it has open, also in a child that has inherited it.
    fn descriptors(&self) -> Vec<i32> {
        let bell = self.bell.descriptor().map(|bell| bell.as_raw_fd());
        self.lanes.descriptor().into_iter().chain(bell).collect()
    }

    /// Does what there is to do. What goes wrong with one thing is reported and keeps nothing else from being done, unless
    /// it is no `Exception`, such as what ends a loop: then the rest is done in the next turn, if there is one.
    fn drain(&self, py: Python<'_>) -> PyResult<()> {
        let has_rung = self.bell.begin();
        DRAINS.set(Some(self.identity()));
        let drained = catch_unwind(AssertUnwindSafe(|| self.drain_in_rounds(py, has_rung)));
        DRAINS.set(None);
        py.detach(|| self.bell.end());
        drained.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Starts an operation for whoever awaits it then.
    fn start(&self, operation: &Bound<'_, Operation>, event_loop: Py<PyAny>) -> PyResult<()> {
        self.begin(operation, event_loop, Attention::Paid).map(drop)
    }

    /// Starts an operation that nobody waits for. What fails at once is raised, what fails later is reported.
    fn spawn(&self, operation: &Bound<'_, Operation>) -> PyResult<()> {
        let py = operation.py();
        match self.begin(operation, py.None(), Attention::None)? {
            Poll::Ready(()) => operation.get().failure(py),
            Poll::Pending => Ok(()),
        }
    }
}
