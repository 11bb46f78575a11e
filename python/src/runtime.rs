//! A Python runtime as the core sees it: it passes everything on to the loop on which the runtime lives.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Wake;

use mosaic_comms::{
    Args, Assignment, Call, DataLane, EventLoop, Handling, Method, ObjectRef, Reason, Runtime, Uid,
    Undecoded, Unwritten,
};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::answer::{self, Answer};
use crate::bell::{Bell, Turn};
use crate::decode::{self, Sender};
use crate::task::Task;

/// Something that has come for a runtime.
pub(crate) enum Arrival {
    Request(Box<Request>),
    /// The caller of a request has given up.
    Cancelled(u64),
    Connected(Uid),
    Disconnected(Uid, Reason),
}

/// A method that is to be called.
pub(crate) struct Request {
    number: u64,
    method: String,
    object: Option<ObjectRef>,
    received: Undecoded,
    call: Call,
    assignment: Assignment,
    /// Whether its caller has given up: it may have been said before the request was left.
    given_up: Arc<AtomicBool>,
}

/// What has come, until a loop takes it.
pub(crate) struct Inbox {
    state: Mutex<State>,
    /// How many requests have come: each has its number.
    requests: AtomicU64,
    methods: Mutex<Vec<Method>>,
    /// Called on the loop's thread with the method of a request: gives its handler, if that can be called at once.
    plain_handler: Py<PyAny>,
    /// Called there with every other request.
    receiver: Py<PyAny>,
    /// Called there with what else happens.
    observer: Py<PyAny>,
    sender: Sender,
}

#[derive(Default)]
struct State {
    /// Bounded by the windows of the links.
    waiting: VecDeque<Turn>,
    bell: Option<Arc<Bell>>,
    /// All that may not be over.
    tasks: Vec<Weak<Task>>,
    /// Nobody takes anything any more.
    closed: bool,
}

impl Inbox {
    pub(crate) fn new(
        plain_handler: Py<PyAny>,
        receiver: Py<PyAny>,
        observer: Py<PyAny>,
        sender: Sender,
    ) -> Inbox {
        let requests = AtomicU64::new(0);
        Inbox {
            state: Mutex::default(),
            requests,
            methods: Mutex::default(),
            plain_handler,
            receiver,
            observer,
            sender,
        }
    }

    pub(crate) fn describe(&self, methods: Vec<Method>) {
        *self.methods.lock() = methods;
    }

    /// Whether a pickle of theirs may be read.
    pub(crate) fn sender(&self) -> Sender {
        self.sender
    }

    pub(crate) fn bell(&self) -> Option<Arc<Bell>> {
        self.state.lock().bell.clone()
    }

    /// From now on what comes goes to this loop, first what came before.
    pub(crate) fn attach(self: &Arc<Self>, bell: &Arc<Bell>) {
        let mut state = self.state.lock();
        state.waiting.drain(..).for_each(|turn| bell.leave(turn));
        state.bell = Some(bell.clone());
    }

    /// Leaves something to the loop; it is dropped if nobody takes it any more.
    pub(crate) fn leave(&self, turn: Turn) {
        let mut state = self.state.lock();
        match &state.bell {
            Some(bell) => bell.leave(turn),
            None if state.closed => {
                drop(state);
                drop(turn);
            }
            None => state.waiting.push_back(turn),
        }
    }

    fn take(self: &Arc<Self>, arrival: Arrival) {
        self.leave(Turn::Arrive(self.clone(), arrival));
    }

    /// Nobody takes anything any more, and no task goes on.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.bell = None;
        let (waiting, tasks) = (std::mem::take(&mut state.waiting), std::mem::take(&mut state.tasks));
        drop(state);
        drop(waiting);
        tasks.iter().filter_map(Weak::upgrade).for_each(|task| task.drop_rest());
    }

    /// Gives it to Python, on the loop's thread.
    pub(crate) fn hand_over(self: &Arc<Self>, py: Python<'_>, arrival: Arrival) -> PyResult<()> {
        let observer = self.observer.bind(py);
        match arrival {
            Arrival::Cancelled(number) => observer.call1(("cancelled", "", number))?,
            Arrival::Connected(uid) => observer.call1(("connected", uid.as_str(), py.None()))?,
            Arrival::Disconnected(uid, reason) => {
                observer.call1(("disconnected", uid.as_str(), reason.to_string()))?
            }
            Arrival::Request(request) => return self.hand_over_request(py, *request),
        };
        Ok(())
    }

    fn hand_over_request(self: &Arc<Self>, py: Python<'_>, request: Request) -> PyResult<()> {
        if request.given_up.load(Ordering::Acquire) {
            return Ok(());
        }
        let Request { number, method, object, received, call, assignment, .. } = request;
        let (peer, method) = (decode::name(py, call.sender().as_str()), decode::name(py, &method));
        let request = answer::Served::new(number, assignment, call, self.bell(), self.sender);
        let (kwargs, args) = match decode::arguments(py, received, self.sender) {
            Ok(arguments) => arguments,
            Err(error) => {
                request.refuse(py, &error);
                return Ok(());
            }
        };
        if object.is_none() {
            match self.plain_handler.bind(py).call1((&method,)) {
                Ok(handler) if handler.is_none() => {}
                Ok(handler) => return request.serve(&handler, [peer.into_any()], &kwargs),
                Err(raised) => return request.fail_with(py, raised),
            }
        }
        let args = args.unwrap_or_else(|| PyTuple::empty(py));
        let target = object.map(|object| (object.kind().to_owned(), object.uid().to_owned(), args));
        self.receiver.bind(py).call1((peer, method, kwargs, target, Answer(request))).map(drop)
    }
}

/// What a manager has of the loop on which its runtime lives.
pub(crate) struct OfInbox(pub(crate) Arc<Inbox>);

impl EventLoop for OfInbox {
    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let task = Task::new(task, &self.0);
        {
            let mut state = self.0.state.lock();
            if state.closed {
                return;
            }
            state.tasks.retain(|task| task.strong_count() > 0);
            state.tasks.push(Arc::downgrade(&task));
        }
        task.wake();
    }

    fn carry(&self, lane: DataLane) {
        self.0.leave(Turn::Carry(lane));
    }

    fn write(&self, queued: Unwritten) {
        match self.0.bell() {
            Some(bell) => bell.write_later(queued),
            None => queued.write(),
        }
    }
}

impl fmt::Debug for OfInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OfInbox")
    }
}

/// The runtime of a manager in Python.
pub(crate) struct PythonRuntime(pub(crate) Arc<Inbox>);

impl PythonRuntime {
    fn request(&self, method: &str, object: Option<ObjectRef>, received: Undecoded, call: Call) -> Handling {
        let (inbox, method) = (self.0.clone(), method.to_owned());
        Handling::Elsewhere(Box::new(move |assignment| {
            let number = inbox.requests.fetch_add(1, Ordering::Relaxed);
            // What nobody waits for is done to its end, whoever has left meanwhile.
            let given_up = Arc::new(AtomicBool::new(false));
            if call.wants_reply() {
                let (inbox, given_up) = (inbox.clone(), given_up.clone());
                assignment.when_given_up(move || {
                    given_up.store(true, Ordering::Release);
                    inbox.take(Arrival::Cancelled(number));
                });
            }
            let request = Request { number, method, object, received, call, assignment, given_up };
            inbox.take(Arrival::Request(Box::new(request)));
        }))
    }
}

impl Runtime for PythonRuntime {
    fn dispatch(self: Arc<Self>, method: &str, args: Args, call: Call) -> Option<Handling> {
        Some(self.request(method, None, args.into_undecoded(), call))
    }

    /// As they were when the runtime began to listen: Python itself can't be asked here.
    fn methods(&self) -> Vec<Method> {
        self.0.methods.lock().clone()
    }

    fn command(
        self: Arc<Self>,
        object: &ObjectRef,
        method: &str,
        args: Args,
        call: Call,
    ) -> Option<Handling> {
        Some(self.request(method, Some(object.clone()), args.into_undecoded(), call))
    }

    fn stop(self: Arc<Self>, call: Call) -> Handling {
        self.request("stop", None, Undecoded::default(), call)
    }

    fn connected(&self, peer: &Uid) {
        self.0.take(Arrival::Connected(peer.clone()));
    }

    fn disconnected(&self, peer: &Uid, reason: &Reason) {
        self.0.take(Arrival::Disconnected(peer.clone(), reason.clone()));
    }
}
