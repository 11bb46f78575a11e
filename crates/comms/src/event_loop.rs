//! A loop of another language, on whose thread a runtime lives: it takes the executor's part of what is done for each message.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::dispatch::Unwritten;
use crate::link::DataLane;

/// A loop of another language. Its thread reads data lanes and starts handlers, so that no message has to wake one thread for
/// the next; the I/O threads relieve it, as they do an executor that does not come for a millisecond.
///
/// None of its methods may wait, and all are called from any thread, some of them under locks of ours: they leave what they
/// are given to the loop's thread.
pub trait EventLoop: fmt::Debug + Send + Sync + 'static {
    /// Has the loop's thread go on with a task whenever that is woken.
    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>);

    /// Has the loop's thread watch a data lane and read it.
    fn carry(&self, lane: DataLane);

    /// Has the loop's thread write what was queued by the end of its turn.
    fn write(&self, queued: Unwritten);
}
