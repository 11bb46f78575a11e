//! What the listening loop calls for the messages of the protocol, for programs that carry them by other ways. It only
//! forwards: membership decides, the dispatcher dispatches, the link knows who lives. Replies are in `registered`.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use mosaic_proto::membership::Notify;
use mosaic_proto::{Instance, Place, Reason, Topology, Uid};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tracing::debug;

use super::draft::Draft;
use super::membership::{Input, Told};
use super::{CommsManager, Phase, SendMessage, SendRecv};
use crate::dispatch::panicked;
use crate::error::{ConnectError, HandlerError};
use crate::kwargs::IntoArgs;
use crate::link::Write;
use crate::message::Message;

/// The protocol's own handlers. Who is said to be the sender is believed as far as if it had sent the message itself.
///
/// # Example
/// ```
/// use mosaic_comms::{CommsManager, Config, Methods, Uid, kwargs};
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let methods = Methods::new().method("sender", |_, call| async move { Ok(call.sender().to_string()) });
/// let comms = CommsManager::start("monitor", methods, Config::default().address("127.0.0.1")).await?;
/// let sender = Uid::new("head")?;
/// let told: String = comms.protocol().call(&sender, "sender", kwargs! {}).await?;
/// assert_eq!(told, "head");
/// # comms.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Protocol(pub(super) CommsManager);

impl CommsManager {
    /// The protocol's own handlers.
    pub fn protocol(&self) -> Protocol {
        Protocol(self.clone())
    }
}

impl Protocol {
    /// `sender` says that `uid` is at this place; if that is believed, it is dialled now.
    ///
    /// # Errors
    /// [`ConnectError`], as [`connect_send`](CommsManager::connect_send).
    ///
    /// # Cancel safety
    /// If it is dropped, it may take effect all the same.
    pub async fn connect(
        &self,
        sender: &Uid,
        uid: &Uid,
        place: Place,
        notify: Notify,
    ) -> Result<(), ConnectError> {
        let (address, port) = (place.address.clone(), place.port);
        let instance = place.instance;
        self.tell(sender, Told::Connect { uid: uid.clone(), place, notify }).await;
        match self.0.shared.directory().topology.holds(uid, instance) {
            true => self.0.connect_send(uid, &address, port).await,
            false => Ok(()),
        }
    }

    /// `sender` says that `uid`, in the life that is known here, is gone. If that is believed, pending calls to it end.
    /// Nothing is done if nobody of that name is in the network.
    ///
    /// # Cancel safety
    /// If it is dropped, it takes effect all the same.
    pub async fn disconnect(&self, sender: &Uid, uid: &Uid, notify: Notify) {
        let place = self.0.shared.directory().topology.get(uid).cloned();
        let Some(Place { instance, .. }) = place else { return };
        let reason = Reason::Left { why: format!("disconnected by {sender}") };
        self.tell(sender, Told::Disconnect { uid: uid.clone(), instance, reason, notify }).await;
    }

    /// `sender` introduces itself, and is answered by a shake if there is a way to it.
    ///
    /// # Cancel safety
    /// If it is dropped, it takes effect all the same.
    pub async fn hand(&self, sender: &Uid, address: &str, port: u16) {
        let shared = &self.0.shared;
        let link = shared.links.read().get(sender).cloned();
        let known = shared.directory().topology.get(sender).map(|place| place.instance);
        let instance = link.and_then(|link| link.peer_instance()).or(known).unwrap_or(Instance(0));
        let place = Place { address: address.to_owned(), port, instance };
        self.tell(sender, Told::Hand { place }).await;
    }

    /// `sender` completes the handshake with all of its topology.
    ///
    /// # Cancel safety
    /// If it is dropped, it takes effect all the same.
    pub async fn shake(&self, sender: &Uid, network: &Topology) {
        let network = network.iter().map(|(uid, place)| (uid.clone(), place.clone())).collect();
        self.tell(sender, Told::Shake { network }).await;
    }

    /// A heart of `sender` has come: it lives, and is answered with a beat. Nothing is done without a session with it.
    pub fn heart(&self, sender: &Uid) {
        let link = self.0.shared.links.read().get(sender).cloned();
        if let Some(link) = link {
            link.run(Write::Now, |machine, now| machine.heart_told(now));
        }
    }

    /// A beat of `sender` has come: it lives, and [`ping`](CommsManager::ping) has its answer. Nothing is done without a
    /// session with it. A program that knows by other means that a silent peer lives can say so by this.
    pub fn beat(&self, sender: &Uid) {
        let link = self.0.shared.links.read().get(sender).cloned();
        if let Some(link) = link {
            link.run(Write::Now, |machine, now| machine.beat_told(now));
        }
    }

    /// `sender` stops this runtime, in good order. [`wait`](CommsManager::wait) tells when that is done.
    pub fn stop(&self, sender: &Uid) {
        debug!(parent: &self.0.shared.span, peer = %sender, "stopped by a peer");
        self.0.shared.begin_stop();
    }

    /// Runs a method of this runtime as if `sender` had called it, and gives the outcome here.
    ///
    /// # Errors
    /// As [`send_recv`](CommsManager::send_recv).
    ///
    /// # Cancel safety
    /// If it is dropped, the call is cancelled.
    pub fn call<R: DeserializeOwned>(
        &self,
        sender: &Uid,
        method: impl AsRef<str>,
        args: impl IntoArgs,
    ) -> SendRecv<R> {
        SendRecv::from_draft(self.draft(sender, method.as_ref(), args))
    }

    /// Runs a method of this runtime as if `sender` had called it one way: what goes wrong is sent to `sender`.
    ///
    /// # Errors
    /// As [`send`](CommsManager::send).
    ///
    /// # Cancel safety
    /// The method is run once this has been polled.
    pub fn call_safe(&self, sender: &Uid, method: impl AsRef<str>, args: impl IntoArgs) -> SendMessage {
        SendMessage::from_draft(self.draft(sender, method.as_ref(), args))
    }

    /// Handles a message that [`recv`](CommsManager::recv) gave, as the listening loop does. Its handler is told that
    /// it is from `sender`.
    ///
    /// # Cancel safety
    /// As [`CommsManager::process_msg`].
    pub async fn process_msg(&self, sender: &Uid, mut message: Message) {
        message.sender = sender.clone();
        self.0.process_msg(message).await;
    }

    /// Runs something; what goes wrong in it, a panic too, is sent to `uid`, where it is an
    /// [`Event::Failed`](crate::Event::Failed). `None` then.
    ///
    /// # Cancel safety
    /// That of `run`.
    pub async fn send_exception<T, E: Into<HandlerError>>(
        &self,
        uid: &Uid,
        run: impl Future<Output = Result<T, E>>,
    ) -> Option<T> {
        let mut error = match AssertUnwindSafe(run).catch_unwind().await {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => *error.into().0,
            Err(panic) => panicked(&*panic),
        };
        error.ran = true;
        error.uid = self.0.uid().to_string();
        self.0.shared.report_failure(uid, &error);
        None
    }

    fn draft(&self, sender: &Uid, method: &str, args: impl IntoArgs) -> Draft {
        Draft::new(&self.0, self.0.uid(), method, args).from(sender)
    }

    /// Tells membership, and waits until it has done what comes of it. Before the manager is bound, that is later.
    async fn tell(&self, sender: &Uid, told: Told) {
        let (done, is_done) = oneshot::channel();
        self.0.shared.inform(Input::Told { sender: sender.clone(), told, done });
        if self.0.shared.phase() != Phase::New {
            // An error means that membership has ended with the manager.
            let _ = is_done.await;
        }
    }
}
