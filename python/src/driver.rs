//! What an asyncio loop has of us: it drives operations and receives for the managers that live on it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};

use parking_lot::Mutex;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::bell::{Bell, FutureWaker, Turn};
use crate::generation::Native;
use crate::operation::{Completion, Operation, Running};

/// The driver of one loop. The loop watches [`Driver::fileno`], and calls [`Driver::drain`] when it is readable.
#[pyclass(frozen, weakref)]
pub(crate) struct Driver {
    bell: Arc<Bell>,
    running: Mutex<HashMap<u64, Native<Task>>>,
    next: AtomicU64,
}

/// An operation that is under way.
struct Task {
    running: Running,
    waker: Waker,
    /// The asyncio future that waits; `None` if nobody does.
    future: Option<Py<PyAny>>,
}

impl Driver {
    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// Polls for the first time. What is not ready then is kept, under the number that is given.
    fn begin(&self, operation: &Operation) -> PyResult<Result<Completion, (u64, Task)>> {
        let mut running = operation.take()?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let waker = Waker::from(Arc::new(FutureWaker { number, bell: self.bell.clone() }));
        Ok(match running.poll(&waker) {
            Poll::Ready(complete) => Ok(complete),
            Poll::Pending => Err((number, Task { running, waker, future: None })),
        })
    }

    fn keep(&self, number: u64, task: Task) {
        self.running.lock().insert(number, Native::new(task));
    }

    /// Goes on with a task, which nobody else can reach meanwhile.
    fn go_on(&self, py: Python<'_>, number: u64) -> PyResult<()> {
        let Some(mut task) = self.running.lock().remove(&number).and_then(Native::take) else {
            return Ok(());
        };
        let waker = task.waker.clone();
        match task.running.poll(&waker) {
            Poll::Pending => self.keep(number, task),
            Poll::Ready(complete) => {
                let outcome = complete(py);
                match task.future {
                    Some(future) => settle(future.bind(py), outcome)?,
                    None => drop(outcome?),
                }
            }
        }
        Ok(())
    }
}

/// Gives an asyncio future its outcome, unless it has been cancelled.
fn settle(future: &Bound<'_, PyAny>, outcome: PyResult<Py<PyAny>>) -> PyResult<()> {
    let py = future.py();
    if future.call_method0(pyo3::intern!(py, "done"))?.is_truthy()? {
        return Ok(());
    }
    match outcome {
        Ok(value) => future.call_method1(pyo3::intern!(py, "set_result"), (value,))?,
        Err(error) => future.call_method1(pyo3::intern!(py, "set_exception"), (error.into_value(py),))?,
    };
    Ok(())
}

#[pymethods]
impl Driver {
    #[new]
    fn new() -> PyResult<Driver> {
        let bell = Arc::new(Bell::new()?);
        Ok(Driver { bell, running: Mutex::default(), next: AtomicU64::new(0) })
    }

    /// The descriptor to watch.
    fn fileno(&self) -> PyResult<i32> {
        self.bell.descriptor().ok_or_else(|| PyRuntimeError::new_err("this loop belongs to another process"))
    }

    /// Does what there is to do. What goes wrong with one thing is reported and keeps nothing else from being done.
    fn drain(&self, py: Python<'_>) {
        for turn in self.bell.answer() {
            let done = match turn {
                Turn::Poll(number) => self.go_on(py, number),
                Turn::Arrive(inbox, arrival) => inbox.hand_over(py, arrival),
                Turn::Release(object) => {
                    drop(object);
                    Ok(())
                }
            };
            if let Err(error) = done {
                error.write_unraisable(py, None);
            }
        }
    }

    /// Starts an operation that ends in an asyncio future. Gives a number for [`Driver::abandon`].
    fn start(&self, py: Python<'_>, operation: &Operation, future: Bound<'_, PyAny>) -> PyResult<u64> {
        match self.begin(operation)? {
            Ok(complete) => {
                settle(&future, complete(py))?;
                Ok(u64::MAX)
            }
            Err((number, task)) => {
                self.keep(number, Task { future: Some(future.unbind()), ..task });
                Ok(number)
            }
        }
    }

    /// Starts an operation that nobody waits for. What fails at once is raised, what fails later is reported.
    fn spawn(&self, py: Python<'_>, operation: &Operation) -> PyResult<()> {
        match self.begin(operation)? {
            Ok(complete) => complete(py).map(drop),
            Err((number, task)) => {
                self.keep(number, task);
                Ok(())
            }
        }
    }

    /// Ends an operation: nobody waits for it any more.
    fn abandon(&self, number: u64) {
        let task = self.running.lock().remove(&number);
        drop(task);
    }
}
