//! Futures that are dropped after a number of polls, at each of their awaits in turn.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use tokio::sync::Notify;

/// Passes a wake on to whoever drives the future.
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Polls `future` up to `polls` times, each time it is woken, and drops it then; what it came to before.
pub async fn drop_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let woken = Arc::new(Woken(Notify::new()));
    let waker = Waker::from(woken.clone());
    let mut future: Pin<Box<F>> = Box::pin(future);
    for poll in 0..polls {
        if poll > 0 {
            woken.0.notified().await;
        }
        // A future of tokio's may only be polled in its executor, which is where this runs.
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
    }
    None
}
