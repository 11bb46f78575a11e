//! Errors of the core as exceptions of the package, which makes them in `mosaic_comms/_errors.py`.

use mosaic_comms::{
    BindError, CallError, ConnectError, Execution, RemoteError, StartError, UnknownPeer, WaitError,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Why a call failed, as the package's exception.
pub(crate) fn call_error(py: Python<'_>, error: &CallError) -> PyErr {
    let kind = match error {
        CallError::Remote(remote) => return remote_error(py, remote),
        CallError::Disconnected { .. } => "disconnected",
        CallError::Timeout { .. } => "timeout",
        CallError::Cancelled { .. } => "cancelled",
        CallError::Overloaded { .. } => "overloaded",
        CallError::UnknownPeer { .. } => "unknown-peer",
        CallError::InvalidUid(_) => "invalid-uid",
        CallError::TooLarge { .. } => "too-large",
        CallError::Stopped { .. } => "stopped",
        _ => "other",
    };
    make(py, kind, &told(error), error.peer(), Some(error.execution()))
}

/// An error of a handler elsewhere.
pub(crate) fn remote_error(py: Python<'_>, error: &RemoteError) -> PyErr {
    remote(py, error).unwrap_or_else(|failure| failure)
}

fn remote(py: Python<'_>, error: &RemoteError) -> PyResult<PyErr> {
    let fields = PyDict::new(py);
    fields.set_item("kind", &error.kind)?;
    fields.set_item("message", &error.message)?;
    fields.set_item("causes", &error.causes)?;
    fields.set_item("traceback", &error.backtrace)?;
    fields.set_item("uid", &error.uid)?;
    fields.set_item("method", &error.method)?;
    fields.set_item("execution", name(error.execution()))?;
    let value = errors(py)?.call_method("remote_error", (), Some(&fields))?;
    Ok(PyErr::from_value(value))
}

/// A value that does not travel.
pub(crate) fn cannot_encode(py: Python<'_>, what: &str, why: &str) -> PyErr {
    let advice = "plain data and arrays are sent by everybody, whatever else as a pickle where both ends allow it by \
                  MOSAIC_ALLOW_PICKLE=1 or mosaic_comms.allow_pickle()";
    make(py, "encode", &format!("{what} {why}: {advice}"), None, Some(Execution::NotRun))
}

/// Nobody of that name is there.
pub(crate) fn unknown_peer(py: Python<'_>, error: &UnknownPeer) -> PyErr {
    make(py, "unknown-peer", &told(error), Some(&error.uid), Some(Execution::NotRun))
}

pub(crate) fn bind_error(py: Python<'_>, error: &BindError) -> PyErr {
    let kind = if matches!(error, BindError::State { .. }) { "state" } else { "bind" };
    make(py, kind, &told(error), None, None)
}

pub(crate) fn connect_error(py: Python<'_>, error: &ConnectError) -> PyErr {
    let (kind, peer) = match error {
        ConnectError::Unreachable { uid, .. } | ConnectError::Unanswered { uid, .. } => {
            ("unreachable", Some(uid))
        }
        ConnectError::Refused { uid, .. } => ("refused", Some(uid)),
        ConnectError::Gone { uid, .. } => ("disconnected", Some(uid)),
        ConnectError::InvalidUid(_) => ("invalid-uid", None),
        _ => ("state", None),
    };
    make(py, kind, &told(error), peer.map(|uid| uid.as_str()), None)
}

pub(crate) fn start_error(py: Python<'_>, error: &StartError) -> PyErr {
    match error {
        StartError::Bind(error) => bind_error(py, error),
        StartError::Handshake(error) => connect_error(py, error),
        StartError::InvalidUid(_) => make(py, "invalid-uid", &told(error), None, None),
        _ => make(py, "other", &told(error), None, None),
    }
}

pub(crate) fn wait_error(py: Python<'_>, error: &WaitError) -> PyErr {
    let kind = match error {
        WaitError::Timeout { .. } => "timeout",
        WaitError::Stopped => "stopped",
        _ => "invalid-uid",
    };
    make(py, kind, &told(error), None, None)
}

/// An error that only says what is wrong with a setting.
pub(crate) fn setting_error(error: &dyn std::error::Error) -> PyErr {
    pyo3::exceptions::PyValueError::new_err(told(error))
}

/// The error with its causes.
fn told(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        told.push_str(": ");
        told.push_str(&cause.to_string());
        source = cause.source();
    }
    told
}

fn make(
    py: Python<'_>,
    kind: &str,
    message: &str,
    peer: Option<&str>,
    execution: Option<Execution>,
) -> PyErr {
    let made = errors(py)
        .and_then(|errors| errors.call_method1("error", (kind, message, peer, execution.map(name))));
    made.map_or_else(|failure| failure, PyErr::from_value)
}

fn name(execution: Execution) -> &'static str {
    match execution {
        Execution::NotRun => "not-run",
        Execution::MayHaveRun => "may-have-run",
        Execution::Ran => "ran",
    }
}

fn errors(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    Ok(py.import("mosaic_comms._errors")?.into_any())
}
