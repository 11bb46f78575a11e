//! A handler that has been started: polled where its dispatcher is, a task once it is pending, or on the compute pool.
//! Whether it may start at all is the dispatcher's affair.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{Instrument, Span};

use super::caller::Caller;
use super::panicked;
use crate::error::HandlerError;
use crate::link::Write;
use crate::runtime::{Computation, HandlerResult};
use crate::trace::Surroundings;

/// What goes along with a handler.
pub(super) struct Running {
    pub(super) caller: Caller,
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) span: Span,
    pub(super) here: Surroundings,
}

/// A handler that may wait.
type Handler = Pin<Box<dyn Future<Output = HandlerResult> + Send>>;

/// What a handler comes to, or its panic.
type Unwinding = Result<HandlerResult, Box<dyn std::any::Any + Send>>;

impl Running {
    /// Polls a handler once. Most are done with that, never become a task, and leave their permission to run to the next.
    pub(super) async fn poll_once(self, mut handler: Handler) -> Option<OwnedSemaphorePermit> {
        let first = poll_fn(|context| Poll::Ready(self.poll(&mut handler, context))).await;
        let Poll::Ready(result) = first else {
            self.spawn(handler);
            return None;
        };
        let Running { mut caller, permit, span, .. } = self;
        // The call's span ends before its caller can know of it.
        drop((handler, span));
        caller.finish(unwound(result));
        Some(permit)
    }

    fn poll(&self, handler: &mut Handler, context: &mut Context<'_>) -> Poll<Unwinding> {
        let poll = AssertUnwindSafe(|| self.span.in_scope(|| handler.as_mut().poll(context)));
        match self.here.in_scope(|| catch_unwind(poll)) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }

    /// Makes a pending handler a task.
    fn spawn(self, handler: Handler) {
        let Running { mut caller, permit, span, here } = self;
        caller.write = Write::Now;
        let cancelled = caller.register();
        let shared = caller.shared.clone();
        let mut handler = Box::pin(here.scope(AssertUnwindSafe(handler.instrument(span)).catch_unwind()));
        let task = async move {
            let result = tokio::select! {
                biased;
                result = &mut handler => Some(result),
                () = cancelled.cancelled() => None,
            };
            drop(handler);
            match result {
                Some(result) => caller.finish(unwound(result)),
                None => caller.forget(),
            }
            drop(permit);
        };
        shared.handlers.spawn_on(task, &shared.executor);
    }

    /// Computes once it is its turn.
    pub(super) async fn take_turn(mut self, mut turn: Pin<Box<dyn Future<Output = Computation> + Send>>) {
        if let Poll::Ready(compute) = futures_util::poll!(turn.as_mut()) {
            return self.compute(compute);
        }
        let cancelled = self.caller.register();
        let shared = self.caller.shared.clone();
        let task = async move {
            tokio::select! {
                biased;
                () = cancelled.cancelled() => self.caller.forget(),
                compute = turn => self.compute(compute),
            }
        };
        shared.handlers.spawn_on(task, &shared.executor);
    }

    /// Starts it on the compute pool.
    pub(super) fn compute(self, compute: Computation) {
        let Running { mut caller, permit, span, here } = self;
        let shared = caller.shared.clone();
        caller.register();
        let compute = move || {
            let result = span.in_scope(|| here.in_scope(|| catch_unwind(AssertUnwindSafe(compute))));
            drop(span);
            caller.write = Write::Now;
            caller.finish(unwound(result));
            drop(permit);
        };
        drop(shared.handlers.spawn_blocking_on(compute, &shared.executor));
    }
}

fn unwound(result: Unwinding) -> HandlerResult {
    result.unwrap_or_else(|panic| Err(HandlerError(Box::new(panicked(&*panic)))))
}
