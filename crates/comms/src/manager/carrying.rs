//! Who reads and writes data lanes and starts handlers: the executor, or the loop of another language in its place.

use std::future::Future;

use tokio::runtime::Handle;

use super::Shared;
use crate::link::{Carrier, DataLane};

impl Shared {
    /// The executor, if it carries data lanes.
    pub(crate) fn carrying_executor(&self) -> Option<&Handle> {
        self.executor_carries.then_some(&self.executor)
    }

    /// Has a data lane carried on the executor, or by the loop that takes its part.
    pub(crate) fn carry(&self, carrier: Carrier) {
        match &self.config.event_loop {
            Some(event_loop) => event_loop.carry(DataLane::new(carrier)),
            None => drop(self.program.spawn_on(carrier.carry(), &self.executor)),
        }
    }

    /// Starts what starts the handlers of one peer's messages there.
    pub(crate) fn start_dispatcher(&self, dispatcher: impl Future<Output = ()> + Send + 'static) {
        match &self.config.event_loop {
            Some(event_loop) => event_loop.spawn(Box::pin(self.handlers.track_future(dispatcher))),
            None => drop(self.handlers.spawn_on(dispatcher, &self.executor)),
        }
    }
}
