//! What an asyncio loop has of us: it drives operations and receives for the managers that live on it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::prelude::*;

use crate::bell::{Attention, Bell, OperationWaker, Turn};
use crate::operation::Operation;

/// How long answers wait for others at most, but for the handler that runs then.
const ANSWERS_WAIT: Duration = Duration::from_millis(1);

/// The driver of one loop. The loop watches [`Driver::fileno`], and calls [`Driver::drain`] when it is readable.
#[pyclass(frozen, weakref)]
pub(crate) struct Driver {
    bell: Arc<Bell>,
}

impl Driver {
    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// Takes turns until one ends the loop. What they answer is written together, unless one takes long: nobody is to wait
    /// for the handlers that come behind his own.
    fn take_turns(&self, py: Python<'_>, turns: &mut VecDeque<Turn>) -> PyResult<()> {
        let mut written = Instant::now();
        while let Some(turn) = turns.pop_front() {
            match take_turn(py, turn) {
                Err(error) if error.is_instance_of::<PyException>(py) => error.write_unraisable(py, None),
                taken => taken?,
            }
            if written.elapsed() > ANSWERS_WAIT {
                py.detach(|| self.bell.write());
                written = Instant::now();
            }
        }
        Ok(())
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

fn go_on(py: Python<'_>, waker: Arc<OperationWaker>) -> PyResult<()> {
    let operation = waker.operation.bind(py).clone();
    let attention = waker.attention;
    match Operation::go_on(&operation, &Waker::from(waker))? {
        Poll::Ready(()) if attention == Attention::None => operation.get().failure(py),
        _ => Ok(()),
    }
}

fn take_turn(py: Python<'_>, turn: Turn) -> PyResult<()> {
    match turn {
        Turn::GoOn(waker) => go_on(py, waker),
        Turn::Arrive(inbox, arrival) => inbox.hand_over(py, arrival),
        Turn::Release(object) => {
            drop(object);
            Ok(())
        }
    }
}

#[pymethods]
impl Driver {
    #[new]
    fn new() -> PyResult<Driver> {
        Ok(Driver { bell: Arc::new(Bell::new()?) })
    }

    /// The descriptor to watch.
    fn fileno(&self) -> PyResult<i32> {
        self.bell.descriptor().ok_or_else(|| PyRuntimeError::new_err("this loop belongs to another process"))
    }

    /// Does what there is to do. What goes wrong with one thing is reported and keeps nothing else from being done, unless
    /// it is what ends the loop.
    fn drain(&self, py: Python<'_>) -> PyResult<()> {
        let mut turns = self.bell.answer();
        let drained = self.take_turns(py, &mut turns);
        py.detach(|| self.bell.write_last());
        drained.inspect_err(|_| self.bell.leave_first(turns))
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
