//! What comes in: whom a message is for, and for the program's the listening loop, or pulling them oneself.

use std::collections::VecDeque;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mosaic_proto::wire::Incoming;
use mosaic_proto::{Session, Uid};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::membership::Input;
use super::{CommsManager, Phase, Shared, membership, questions};
use crate::dispatch::{HELD, refuse, serve, serve_apart};
use crate::error::RecvError;
use crate::link::{Link, Write};
use crate::message::{Message, Origin};
use crate::pool::Buffer;

/// Messages until somebody listens, in the order in which they came. They are bounded by the windows of their links.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    /// As in the state, for those who need not look closer.
    listening: AtomicBool,
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    listening: bool,
    kept: VecDeque<Message>,
}

impl Intake {
    /// Keeps a message for those who pull; it comes back if the listening loop runs.
    pub(crate) fn keep(&self, shared: &Arc<Shared>, message: Message) -> Option<Message> {
        if self.listening.load(Ordering::Acquire) {
            return Some(message);
        }
        let mut state = self.state.lock();
        if state.listening {
            return Some(message);
        }
        if message.facts().express && state.kept.len() >= HELD {
            drop(state);
            refuse(shared, message);
            return None;
        }
        state.kept.push_back(message);
        drop(state);
        self.arrived.notify_one();
        None
    }

    fn is_listening(&self) -> bool {
        self.state.lock().listening
    }

    fn pop(&self) -> Option<Message> {
        self.state.lock().kept.pop_front()
    }
}

/// The listening loop. Awaiting it waits for its end; dropping it doesn't stop the loop.
#[derive(Debug, Clone)]
pub struct Listening(CommsManager);

impl IntoFuture for Listening {
    type Output = ();
    type IntoFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.0.wait().await })
    }
}

impl CommsManager {
    /// Starts the listening loop: messages go to their handlers, first those that came before. Calling it again has no
    /// effect.
    pub fn listen(&self) -> Listening {
        self.shared.listen();
        Listening(self.clone())
    }

    /// Listens until the manager has stopped.
    ///
    /// Cancel safe: the loop goes on.
    pub async fn listen_async(&self) {
        self.listen().await;
    }

    /// Pulls the next message oneself, instead of listening. [`process_msg`](CommsManager::process_msg) handles it as
    /// the loop would.
    ///
    /// # Errors
    /// [`RecvError`] if the loop runs or the manager has stopped.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn recv(&self) -> Result<(Uid, Message), RecvError> {
        let intake = &self.shared.intake;
        let mut phase = self.shared.phase.subscribe();
        loop {
            if intake.is_listening() {
                return Err(RecvError::Listening);
            }
            if *phase.borrow_and_update() == Phase::Stopped {
                return Err(RecvError::Stopped);
            }
            if let Some(message) = intake.pop() {
                return Ok((message.sender.clone(), message));
            }
            if *phase.borrow_and_update() >= Phase::Stopping {
                return Err(RecvError::Stopped);
            }
            tokio::select! {
                biased;
                () = intake.arrived.notified() => {}
                // The sender lives as long as we do.
                _ = phase.changed() => {}
            }
        }
    }

    /// Handles a message as the listening loop does. Returns once its handler has been started.
    ///
    /// # Cancel safety
    /// If it is dropped, the message may not have been handled; its sender gets an error then.
    pub async fn process_msg(&self, message: Message) {
        let (origin, cost) = (message.origin.clone(), message.cost());
        serve(&self.shared, message, Write::Now).await;
        origin.consumed(cost);
    }
}

impl Shared {
    fn listen(self: &Arc<Self>) {
        let kept = {
            let mut state = self.intake.state.lock();
            // What comes from now on waits behind what was kept: the lock is held until that is queued.
            let kept = std::mem::take(&mut state.kept);
            for message in kept {
                match message.origin.clone() {
                    Origin::Link { express: true, .. } => serve_apart(self, message),
                    Origin::Link { link, .. } => link.inbox.dispatch(self, message),
                    Origin::Own { .. } => self.own.dispatch(self, message),
                }
            }
            self.intake.listening.store(true, Ordering::Release);
            std::mem::replace(&mut state.listening, true)
        };
        if !kept {
            self.intake.arrived.notify_waiters();
        }
    }

    /// A message has come over a link.
    pub(crate) fn receive(self: &Arc<Self>, link: &Arc<Link>, incoming: Incoming<Buffer>, session: Session) {
        let message = crate::message::arrival(link, incoming, session);
        match message.own_method() {
            Some(method) if membership::is_protocol(method) => {
                message.origin.consumed(message.cost());
                self.inform(Input::Protocol { link: link.clone(), message });
            }
            Some(method) if questions::is_question(method) => self.answer(message),
            _ => link.inbox.receive(self, message),
        }
    }

    pub(super) fn send_to_self(self: &Arc<Self>, message: Message) {
        match message.own_method() {
            Some(method) if questions::is_question(method) => self.answer(message),
            _ => self.own.receive(self, message),
        }
    }
}
