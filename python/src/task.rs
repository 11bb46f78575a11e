//! A task of the core that the loop's thread runs, such as the one that starts the handlers of a peer's messages.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

use crate::bell::Turn;
use crate::generation::Native;
use crate::runtime::Inbox;

type Rest = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task that goes on when it is woken.
pub(crate) struct Task {
    /// Nothing once it is over.
    rest: Mutex<Option<Native<Rest>>>,
    woken: AtomicBool,
    inbox: Arc<Inbox>,
}

impl Task {
    pub(crate) fn new(rest: Rest, inbox: &Arc<Inbox>) -> Arc<Task> {
        let rest = Mutex::new(Some(Native::new(rest)));
        Arc::new(Task { rest, woken: AtomicBool::new(false), inbox: inbox.clone() })
    }

    /// Goes on with it, on the loop's thread.
    pub(crate) fn run(self: Arc<Self>) {
        // Whoever wakes it from now on has it run again.
        self.woken.store(false, Ordering::Release);
        let waker = Waker::from(self.clone());
        let mut rest = self.rest.lock();
        let Some(running) = rest.as_mut().and_then(Native::get_mut) else { return };
        if let Poll::Ready(()) = running.as_mut().poll(&mut Context::from_waker(&waker)) {
            let over = rest.take();
            drop(rest);
            drop(over);
        }
    }

    /// It never goes on.
    pub(crate) fn drop_rest(&self) {
        let rest = self.rest.lock().take();
        drop(rest);
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            let inbox = self.inbox.clone();
            inbox.leave(Turn::Run(self));
        }
    }
}
