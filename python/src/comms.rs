//! A manager, as the Python layer uses it: every member gives a value or an operation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mosaic_comms::{
    Argument, CallError, CommsManager, Encoded, HandlerError, Method, Notify, ObjectRef, Place, RemoteError,
    Topology, Uid,
};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::answer::served;
use crate::decode::{self, Sender};
use crate::descriptors::Context;
use crate::driver::Driver;
use crate::encode::{self, Encoding, Ownership};
use crate::events::Events;
use crate::failure;
use crate::generation::Native;
use crate::operation::Operation;
use crate::runtime::{Inbox, OfInbox, PythonRuntime};
use crate::settings;

/// The manager of one runtime.
#[pyclass(frozen)]
pub(crate) struct Comms {
    manager: Native<CommsManager>,
    executor: Handle,
    inbox: Arc<Inbox>,
    /// Its end has been told: calls that it has cut short end quietly.
    over: Arc<AtomicBool>,
    /// Where the monitor is said to be.
    #[pyo3(get)]
    monitor: Option<(String, u16)>,
}

impl Comms {
    fn manager(&self) -> PyResult<&CommsManager> {
        self.manager
            .get()
            .ok_or_else(|| PyRuntimeError::new_err("this manager belongs to the parent process"))
    }

    /// An operation that gives nothing but its errors.
    fn operation<E: Send + 'static>(
        &self,
        future: impl Future<Output = Result<(), E>> + Send + 'static,
        error: fn(Python<'_>, &E) -> PyErr,
    ) -> Operation {
        Operation::new(&self.executor, Box::pin(future), move |py, outcome: Result<(), E>| {
            outcome.map(|()| py.None()).map_err(|failed| error(py, &failed))
        })
    }

    fn without_errors(&self, future: impl Future<Output = ()> + Send + 'static) -> Operation {
        Operation::new(&self.executor, Box::pin(future), |py, ()| Ok(py.None()))
    }

    fn encode(
        &self,
        kwargs: &Bound<'_, PyDict>,
        target: Option<&Target<'_>>,
        ownership: Ownership,
    ) -> PyResult<Encoded> {
        let bell = self.inbox.bell();
        let bell = bell.ok_or_else(|| PyRuntimeError::new_err("this manager has no loop yet"))?;
        let encoding = Encoding { ownership, bell, peers: self.inbox.sender() };
        encode::arguments(kwargs, target.map(|(_, _, args)| args), encoding)
    }
}

/// The object that a command is for, and the positional arguments of its method.
type Target<'py> = (String, String, Bound<'py, PyTuple>);

/// A method as Python describes it.
type Described = (String, String, Option<Vec<(String, Option<String>)>>);

fn as_method((name, docs, arguments): Described) -> Method {
    let method = Method::new(name).with_docs(&[&docs]);
    let Some(arguments) = arguments else { return method };
    method.with_arguments(arguments.into_iter().map(|(name, default)| match default {
        Some(default) => Argument::optional(name, default),
        None => Argument::required(name),
    }))
}

fn uid(name: &str) -> PyResult<Uid> {
    Uid::new(name).map_err(|error| PyValueError::new_err(error.to_string()))
}

impl Drop for Comms {
    fn drop(&mut self) {
        if self.manager.get().is_some() {
            self.inbox.close();
        }
    }
}

#[pymethods]
impl Comms {
    #[new]
    fn new(
        py: Python<'_>,
        uid: &str,
        plain_handler: Py<PyAny>,
        receiver: Py<PyAny>,
        observer: Py<PyAny>,
        context: &Context,
        settings: &Bound<'_, PyDict>,
    ) -> PyResult<Comms> {
        let context = context.get()?;
        let insecure =
            settings.get_item("security")?.is_some_and(|name| name.eq("insecure").unwrap_or(false));
        let sender = if insecure { Sender::Anyone } else { Sender::Authenticated };
        let inbox = Arc::new(Inbox::new(plain_handler, receiver, observer, sender));
        let config = settings::config(settings, context)?.event_loop(Arc::new(OfInbox(inbox.clone())));
        let monitor = config.monitor_place();
        let manager = CommsManager::new(uid, PythonRuntime(inbox.clone()), config)
            .map_err(|error| failure::start_error(py, &error))?;
        let (executor, over) = (context.io_executor(), Arc::default());
        Ok(Comms { manager: Native::new(manager), executor, inbox, over, monitor })
    }

    /// From now on everything that comes is received on this loop.
    fn attach(&self, driver: &Driver) {
        self.inbox.attach(driver.bell());
    }

    /// The loop does not run any more: nothing is received, and a stop waits for no handler.
    fn detach(&self) {
        self.inbox.close();
    }

    /// From now on those who ask are told of these methods: each with its documentation, and its arguments with what they
    /// are where they are left out.
    fn describe(&self, methods: Vec<Described>) {
        self.inbox.describe(methods.into_iter().map(as_method).collect());
    }

    /// The manager has stopped.
    fn conclude(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    #[getter]
    fn address(&self) -> PyResult<String> {
        Ok(self.manager()?.address())
    }

    #[getter]
    fn port(&self) -> PyResult<u16> {
        Ok(self.manager()?.port())
    }

    fn dropped(&self) -> PyResult<u64> {
        Ok(self.manager()?.dropped())
    }

    // ---- who is there ----

    fn connected(&self, uid: &str) -> PyResult<bool> {
        Ok(self.manager()?.connected(uid))
    }

    fn shaken(&self, uid: &str) -> PyResult<bool> {
        Ok(self.manager()?.shaken(uid))
    }

    fn departed(&self, uid: &str) -> PyResult<Option<String>> {
        Ok(self.manager()?.departed(uid).map(|reason| reason.to_string()))
    }

    fn uid_address(&self, py: Python<'_>, uid: &str) -> PyResult<String> {
        self.manager()?.uid_address(uid).map_err(|error| failure::unknown_peer(py, &error))
    }

    fn uid_port(&self, py: Python<'_>, uid: &str) -> PyResult<u16> {
        self.manager()?.uid_port(uid).map_err(|error| failure::unknown_peer(py, &error))
    }

    fn peers(&self, pattern: &str) -> PyResult<Vec<String>> {
        Ok(self.manager()?.peers(pattern).iter().map(|uid| uid.to_string()).collect())
    }

    fn topology<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let network = PyDict::new(py);
        for (uid, place) in self.manager()?.topology().iter() {
            let place = (&place.address, place.port, place.instance.to_string());
            network.set_item(uid.as_str(), place)?;
        }
        Ok(network)
    }

    fn events(&self) -> PyResult<Events> {
        let events = self.manager()?.events();
        Ok(Events::new(events, &self.executor))
    }

    // ---- connections ----

    fn connect_recv(&self) -> PyResult<Operation> {
        let manager = self.manager()?.clone();
        Ok(self.operation(async move { manager.connect_recv().await }, failure::bind_error))
    }

    fn connect_send(&self, uid: String, address: String, port: u16) -> PyResult<Operation> {
        let manager = self.manager()?.clone();
        let connect = async move { manager.connect_send(uid, &address, port).await };
        Ok(self.operation(connect, failure::connect_error))
    }

    fn handshake(&self, uid: String, address: String, port: u16) -> PyResult<Operation> {
        let manager = self.manager()?.clone();
        let handshake = async move { manager.handshake(uid, &address, port).await };
        Ok(self.operation(handshake, failure::connect_error))
    }

    fn disconnect_send(&self) -> PyResult<Operation> {
        let manager = self.manager()?.clone();
        Ok(self.without_errors(async move { manager.disconnect_send().await }))
    }

    fn disconnect_recv(&self) -> PyResult<()> {
        self.manager()?.disconnect_recv();
        Ok(())
    }

    fn listen(&self) -> PyResult<()> {
        self.manager()?.listen();
        Ok(())
    }

    fn stop(&self) -> PyResult<Operation> {
        let manager = self.manager()?.clone();
        Ok(self.without_errors(async move { manager.stop().await }))
    }

    #[pyo3(signature = (uid, timeout=None))]
    fn wait_for(&self, uid: String, timeout: Option<f64>) -> PyResult<Operation> {
        let manager = self.manager()?.clone();
        let limit = limit(timeout)?;
        let wait = manager.wait_for(uid);
        let wait = limit.into_iter().fold(wait, |wait, limit| wait.deadline(limit)).into_future();
        Ok(self.operation(wait, failure::wait_error))
    }

    /// Where somebody can be reached, once it has said so.
    fn wait_for_place(&self, uid: String) -> PyResult<Operation> {
        let wait = self.manager()?.wait_for_place(uid).into_future();
        Ok(Operation::new(&self.executor, Box::pin(wait), |py, outcome| {
            let place = outcome.map_err(|error| failure::wait_error(py, &error))?;
            Ok((place.address, place.port).into_pyobject(py)?.into_any().unbind())
        }))
    }

    fn wait_for_count(&self, pattern: String, count: usize) -> PyResult<Operation> {
        let manager = self.manager()?.clone();
        let wait = async move { manager.wait_for_count(pattern, count).await };
        Ok(Operation::new(&self.executor, Box::pin(wait), |py, outcome| {
            let uids = outcome.map_err(|error| failure::wait_error(py, &error))?;
            let uids: Vec<String> = uids.iter().map(|uid| uid.to_string()).collect();
            Ok(uids.into_pyobject(py)?.unbind())
        }))
    }

    fn ping(&self, uid: String) -> PyResult<Operation> {
        let manager = self.manager()?.clone();
        let ping = async move { manager.ping(uid).await };
        Ok(Operation::new(&self.executor, Box::pin(ping), |py, outcome| {
            let beat = outcome.map_err(|error| failure::call_error(py, &error))?;
            let beat = (beat.round_trip.as_secs_f64(), beat.lag.as_secs_f64());
            Ok(beat.into_pyobject(py)?.into_any().unbind())
        }))
    }

    // ---- messages ----

    /// A call, which is a part of the handling of another if that is `serving`. Its arrays are the caller's again when it has
    /// ended. One that the end of this manager has cut short gives None.
    #[expect(clippy::too_many_arguments, reason = "positional ones cost a call of the interpreter least")]
    fn call(
        &self,
        peer: &str,
        method: &str,
        kwargs: &Bound<'_, PyDict>,
        target: Option<Target<'_>>,
        express: bool,
        serving: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> PyResult<Operation> {
        let args = self.encode(kwargs, target.as_ref(), Ownership::Lent(None))?;
        let manager = self.manager()?;
        let mut call = match target {
            Some((kind, object, _)) => {
                manager.cmd_recv::<()>(peer, ObjectRef::new(kind, object), method, args)
            }
            None => manager.send_recv::<()>(peer, method, args),
        };
        if let Some(limit) = limit(timeout)? {
            call = call.deadline(limit);
        }
        if express {
            call = call.express();
        }
        let (sender, over) = (self.inbox.sender(), self.over.clone());
        let operation = Operation::new(&self.executor, call.undecoded(), move |py, outcome| match outcome {
            Ok(received) => decode::value(py, received, sender),
            Err(CallError::Stopped { .. }) if over.load(Ordering::Relaxed) => Ok(py.None()),
            Err(error) => Err(failure::call_error(py, &error)),
        });
        Ok(operation.within(served(serving)?))
    }

    /// The same, begun for whoever awaits it on the loop that runs now, which is mostly `event_loop`, the driver's.
    #[expect(clippy::too_many_arguments, reason = "as above")]
    fn begin<'py>(
        &self,
        driver: &Bound<'py, Driver>,
        event_loop: &Bound<'py, PyAny>,
        peer: &str,
        method: &str,
        kwargs: &Bound<'py, PyDict>,
        target: Option<Target<'py>>,
        express: bool,
        serving: Option<&Bound<'py, PyAny>>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, Operation>> {
        let call = self.call(peer, method, kwargs, target, express, serving, timeout)?;
        let call = Bound::new(driver.py(), call)?;
        driver.get().start_here(&call, event_loop)?;
        Ok(call)
    }

    /// Sends a message one way, and gives what is left to wait for. With `copied`, its arrays are the sender's again at once,
    /// else when that has ended. After the stop it does nothing.
    #[expect(clippy::too_many_arguments, reason = "as above")]
    fn send(
        &self,
        py: Python<'_>,
        peer: &str,
        method: &str,
        kwargs: &Bound<'_, PyDict>,
        target: Option<Target<'_>>,
        express: bool,
        serving: Option<&Bound<'_, PyAny>>,
        copied: bool,
    ) -> PyResult<Option<Operation>> {
        let (hold, mut let_go) = mpsc::channel(1);
        let ownership = if copied { Ownership::Copied } else { Ownership::Lent(Some(hold)) };
        let args = self.encode(kwargs, target.as_ref(), ownership)?;
        let manager = self.manager()?;
        let mut send = match target {
            Some((kind, object, _)) => manager.cmd(peer, ObjectRef::new(kind, object), method, args),
            None => manager.send(peer, method, args),
        };
        if express {
            send = send.express();
        }
        let send = async move {
            match send.await {
                Ok(()) => {
                    // Nobody sends anything by it: it ends when no memory is held any more.
                    let_go.recv().await;
                    Ok(())
                }
                Err(CallError::Stopped { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        };
        let operation = self.operation(send, |py, error: &CallError| failure::call_error(py, error));
        operation.within(served(serving)?).begin(py)
    }

    /// Tells a peer that something it has caused went wrong.
    fn send_failure(
        &self,
        peer: &str,
        kind: &str,
        message: String,
        causes: Vec<String>,
        traceback: Option<String>,
    ) -> PyResult<Operation> {
        let peer = uid(peer)?;
        let protocol = self.manager()?.protocol();
        let mut error = RemoteError::new(kind, message);
        error.causes = causes;
        error.backtrace = traceback;
        Ok(self.without_errors(async move {
            let failed = async { Err::<(), _>(HandlerError::exactly(error)) };
            protocol.send_exception(&peer, failed).await;
        }))
    }

    // ---- the protocol's own ----

    fn hand(&self, sender: &str, address: String, port: u16) -> PyResult<Operation> {
        let (protocol, sender) = (self.manager()?.protocol(), uid(sender)?);
        Ok(self.without_errors(async move { protocol.hand(&sender, &address, port).await }))
    }

    fn shake(&self, sender: &str, network: Vec<(String, String, u16, String)>) -> PyResult<Operation> {
        let (protocol, sender) = (self.manager()?.protocol(), uid(sender)?);
        let entries = network
            .into_iter()
            .map(|(name, address, port, instance)| Ok((uid(&name)?, place(address, port, &instance)?)));
        let topology = entries.collect::<PyResult<Topology>>()?;
        Ok(self.without_errors(async move { protocol.shake(&sender, &topology).await }))
    }

    #[pyo3(signature = (sender, peer, address, port, instance, *, notify))]
    fn connect(
        &self,
        sender: &str,
        peer: &str,
        address: String,
        port: u16,
        instance: &str,
        notify: bool,
    ) -> PyResult<Operation> {
        let (protocol, sender, peer) = (self.manager()?.protocol(), uid(sender)?, uid(peer)?);
        let (place, notify) = (place(address, port, instance)?, whom(notify));
        let connect = async move { protocol.connect(&sender, &peer, place, notify).await };
        Ok(self.operation(connect, failure::connect_error))
    }

    #[pyo3(signature = (sender, peer, *, notify))]
    fn disconnect_peer(&self, sender: &str, peer: &str, notify: bool) -> PyResult<Operation> {
        let (protocol, sender, peer) = (self.manager()?.protocol(), uid(sender)?, uid(peer)?);
        Ok(self.without_errors(async move { protocol.disconnect(&sender, &peer, whom(notify)).await }))
    }

    fn heart(&self, sender: &str) -> PyResult<()> {
        self.manager()?.protocol().heart(&uid(sender)?);
        Ok(())
    }

    fn beat(&self, sender: &str) -> PyResult<()> {
        self.manager()?.protocol().beat(&uid(sender)?);
        Ok(())
    }
}

fn whom(notify: bool) -> Notify {
    if notify { Notify::Others } else { Notify::Nobody }
}

fn limit(seconds: Option<f64>) -> PyResult<Option<Duration>> {
    let limit = seconds.map(Duration::try_from_secs_f64).transpose();
    limit.map_err(|error| failure::setting_error(&error))
}

fn place(address: String, port: u16, instance: &str) -> PyResult<Place> {
    let instance = instance.parse().map_err(|_| {
        PyValueError::new_err(format!("an instance is 16 hexadecimal digits, not `{instance}`"))
    })?;
    Ok(Place { address, port, instance })
}
