//! The door: what the handshakes of strangers cost in computing, one after the other, on a thread apart.
//!
//! Whoever is in is not delayed by it, and a crowd takes one processor at most. The thread goes on for as long as somebody
//! waits: were it called for each, a crowd would wait for it to wake, a thousand times one after the other.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_blocking;

/// Where strangers wait for their turn.
#[derive(Clone, Default)]
pub(crate) struct Door(Arc<Mutex<Queue>>);

/// Bounded by the connections that may be in their handshake.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Step>,
    /// A thread takes the steps, or is about to.
    attended: bool,
}

type Step = Box<dyn FnOnce() + Send>;

/// Whether a stranger waits for us at the door, or we for it.
#[derive(Debug)]
pub(crate) struct Attention {
    wanted: AtomicBool,
    given: Arc<Notify>,
}

/// A stranger waits for us as long as this lives.
pub(crate) struct Wanted<'a>(&'a Attention);

impl Attention {
    /// `given` is told whenever it has been given.
    pub(crate) fn new(given: Arc<Notify>) -> Attention {
        Attention { wanted: AtomicBool::new(false), given }
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    pub(crate) fn want(&self) -> Wanted<'_> {
        self.wanted.store(true, Ordering::Release);
        Wanted(self)
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.wanted.store(false, Ordering::Release);
        self.0.given.notify_one();
    }
}

impl Door {
    /// Computes one step of a handshake in its turn. It is left out if nobody waits for it any more.
    ///
    /// # Errors
    /// If it panics, or the context has ended.
    pub(super) async fn pass<T: Send + 'static>(
        &self,
        attention: &Attention,
        step: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let _wanted = attention.want();
        let (tell, told) = oneshot::channel();
        self.queue(Box::new(move || {
            if !tell.is_closed() {
                // Whoever waits may have gone just now.
                let _ = tell.send(step());
            }
        }));
        told.await.map_err(io::Error::other)
    }

    fn queue(&self, step: Step) {
        let mut queue = self.0.lock();
        queue.waiting.push_back(step);
        if queue.attended {
            return;
        }
        let door = self.clone();
        // It panics where the system gives no thread: that costs this one, and the next tries again.
        match catch_unwind(AssertUnwindSafe(|| spawn_blocking(move || door.attend()))) {
            Ok(_) => queue.attended = true,
            Err(_) => drop(queue.waiting.pop_back()),
        }
    }

    fn attend(&self) {
        while let Some(step) = self.next() {
            // A step that panics is told by its sender, which is dropped.
            let _ = catch_unwind(AssertUnwindSafe(step));
        }
    }

    fn next(&self) -> Option<Step> {
        let mut queue = self.0.lock();
        let next = queue.waiting.pop_front();
        queue.attended = next.is_some();
        next
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("waiting", &self.0.lock().waiting.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn steps_are_taken_one_after_the_other_in_their_order() {
        let door = Door::default();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let attention = Attention::new(Arc::default());
        let pass = |number| {
            let taken = taken.clone();
            door.pass(&attention, move || taken.try_lock().expect("nobody else computes").push(number))
        };
        let passed = join_all((0..100).map(pass)).await;
        assert!(passed.iter().all(Result::is_ok));
        assert_eq!(*taken.lock(), (0..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_step_that_panics_keeps_nobody_out() {
        let door = Door::default();
        let attention = Attention::new(Arc::default());
        assert!(door.pass(&attention, || panic!("this is the test's")).await.is_err());
        assert_eq!(door.pass(&attention, || 7).await.ok(), Some(7));
    }
}
