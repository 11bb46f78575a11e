//! What happens in the network, for the Python layer.

use std::sync::Arc;

use mosaic_comms::{Event, Reason, Uid};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::Handle;

use crate::failure;
use crate::generation::Native;
use crate::operation::Operation;

/// What happens in the network from the moment on at which it was asked for.
#[pyclass(frozen)]
pub(crate) struct Events {
    events: Native<Arc<tokio::sync::Mutex<mosaic_comms::Events>>>,
    executor: Handle,
}

impl Events {
    pub(crate) fn new(events: mosaic_comms::Events, executor: &Handle) -> Events {
        let events = Arc::new(tokio::sync::Mutex::new(events));
        Events { events: Native::new(events), executor: executor.clone() }
    }
}

#[pymethods]
impl Events {
    /// The next event: its kind, whose it is, and what else there is to say. None at the end.
    fn next(&self) -> PyResult<Operation> {
        let events = self.events.get().cloned();
        let events =
            events.ok_or_else(|| PyRuntimeError::new_err("these events are the parent process's"))?;
        let next = async move { events.lock().await.next().await };
        Ok(Operation::new(&self.executor, Box::pin(next), |py, event| {
            event.map_or_else(|| Ok(py.None()), |event| as_tuple(py, event))
        }))
    }
}

fn as_tuple(py: Python<'_>, event: Event) -> PyResult<Py<PyAny>> {
    let with_reason = |kind: &str, uid: &Uid, reason: &Reason| {
        (kind, uid.as_str(), reason.to_string()).into_pyobject(py).map(|tuple| tuple.into_any().unbind())
    };
    match event {
        Event::Connected { uid, place } => {
            let place = (place.address, place.port);
            Ok(("connected", uid.as_str(), place).into_pyobject(py)?.into_any().unbind())
        }
        Event::Disconnected { uid, reason } => with_reason("disconnected", &uid, &reason),
        Event::Unreachable { uid, reason } => with_reason("unreachable", &uid, &reason),
        Event::Suspected { uid } => {
            Ok(("suspected", uid.as_str(), py.None()).into_pyobject(py)?.into_any().unbind())
        }
        Event::Condemned { reason } => {
            Ok(("condemned", "", reason.to_string()).into_pyobject(py)?.into_any().unbind())
        }
        Event::Missed { count } => Ok(("missed", "", count).into_pyobject(py)?.into_any().unbind()),
        Event::Failed { uid, error } => {
            let error = failure::remote_error(py, &error).into_value(py);
            Ok(("failed", uid.as_str(), error).into_pyobject(py)?.into_any().unbind())
        }
        _ => Ok(("other", "", py.None()).into_pyobject(py)?.into_any().unbind()),
    }
}
