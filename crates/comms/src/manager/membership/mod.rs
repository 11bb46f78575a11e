//! Who is there: one task keeps `mosaic_proto::membership`, another tells the program what has changed, in order.
//!
//! Data never passes through here. What others may read of it is a snapshot that follows every change.

mod directory;
mod program;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use mosaic_proto::link::Verdict as LinkVerdict;
use mosaic_proto::membership::{Effect, Membership, News, Notice, Notify as Pass, Part, Verdict};
use mosaic_proto::wire::Kind;
use mosaic_proto::{Instance, Place, Reason, Uid};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info};

pub(crate) use self::directory::Directory;
use self::program::tell_program;
use self::wire::{
    WireConnect, WireDisconnect, WireHand, WireNetwork, WirePlace, WireRaised, WireShake, WireWho,
    read_endpoint, read_news, read_place, wire_place, write_news,
};
use super::Shared;
use super::draft::send_unasked;
use crate::decode::DecodeError;
use crate::encode::{Encoded, encode_value};
use crate::error::{HandlerError, RemoteError};
use crate::events::Event;
use crate::link::{Link, Write};
use crate::message::Message;

/// Why a message of the protocol was not heeded.
#[derive(Debug, Error)]
enum Unheeded {
    #[error(transparent)]
    Unreadable(#[from] DecodeError),
    #[error(
        "whoever is not authenticated may speak for itself only, not of the comings and goings of others"
    )]
    Refused,
}

/// Somebody for whom nobody vouches tells of himself at most.
fn may_speak_of(sender: &Uid, uid: &str, trusted: bool) -> Result<(), Unheeded> {
    if trusted || *sender == *uid { Ok(()) } else { Err(Unheeded::Refused) }
}

/// The method by which the failure of a one-way message is told.
pub(super) const RAISE_EXCEPTION: &str = "raise_exception";

/// How long the monitor is asked for somebody of whom we have not heard.
const WHO_WITHIN: Duration = Duration::from_secs(1);

/// Whether a method is the protocol's own: it goes to membership, not to the runtime.
pub(super) fn is_protocol(method: &[u8]) -> bool {
    matches!(method, b"hand" | b"shake" | b"news" | b"connect" | b"disconnect" | b"who")
        || method == RAISE_EXCEPTION.as_bytes()
}

/// What membership is told.
pub(crate) enum Input {
    LinkUp {
        link: Arc<Link>,
        instance: Instance,
    },
    LinkLost {
        link: Arc<Link>,
        reason: Reason,
    },
    LinkEnded {
        link: Arc<Link>,
        verdict: LinkVerdict,
        reason: Reason,
    },
    Protocol {
        link: Arc<Link>,
        message: Message,
    },
    /// The program itself says what `sender` has said.
    Told {
        sender: Uid,
        told: Told,
        done: oneshot::Sender<()>,
    },
    Introduce {
        to: Uid,
    },
    Learned {
        uid: Uid,
        place: Place,
    },
    Leave,
}

/// What a peer may say, read already.
pub(crate) enum Told {
    Connect { uid: Uid, place: Place, notify: Pass },
    Disconnect { uid: Uid, instance: Instance, reason: Reason, notify: Pass },
    Hand { place: Place },
    Shake { network: Vec<(Uid, Place)> },
}

/// What the program is told, in order, on the executor.
enum Announcement {
    Connected {
        uid: Uid,
        place: Place,
    },
    Disconnected {
        uid: Uid,
        instance: Instance,
        reason: Reason,
    },
    /// A session with someone who is announced already.
    Session {
        link: Arc<Link>,
        instance: Instance,
    },
    Refused {
        link: Arc<Link>,
        instance: Instance,
    },
}

impl Shared {
    /// Starts the task that keeps the membership, and the one that tells the program of it.
    pub(super) fn start_membership(self: &Arc<Self>, place: Place) {
        let Some(inputs) = self.unstarted_membership.lock().take() else { return };
        let membership = Membership::new(self.uid.clone(), place);
        // Bounded by the changes of the network, which the program has to hear of anyway.
        let (announce, announcements) = mpsc::unbounded_channel();
        let mut registrar =
            Registrar { shared: self.clone(), membership, announce, waiting: Vec::new(), told_last: None };
        registrar.publish();
        self.tasks.spawn_on(registrar.run(inputs), &self.io);
        self.program.spawn_on(tell_program(self.clone(), announcements), &self.executor);
    }

    /// Asks the monitor for somebody of whom we have not heard; true if it is known now. That is bounded: that nobody
    /// answers is the same as that nobody knows.
    pub(super) async fn look_for(self: Arc<Self>, uid: String) -> bool {
        tokio::time::timeout(WHO_WITHIN, self.ask_monitor(uid)).await.is_ok_and(|found| found)
    }

    async fn ask_monitor(self: Arc<Self>, uid: String) -> bool {
        if self.uid.is_monitor() || !self.directory().topology.contains(Uid::MONITOR) {
            return false;
        }
        let comms = self.handle();
        let found = comms.send_recv::<Option<WirePlace>>(Uid::MONITOR, "who", &WireWho { uid: uid.clone() });
        let Ok(Some(place)) = found.express().await else { return false };
        let (Ok(uid), Some(place)) = (Uid::new(&uid), read_place(place)) else { return false };
        let mut wait = std::pin::pin!(comms.wait_for(&uid).into_future());
        self.inform(Input::Learned { uid: uid.clone(), place });
        wait.as_mut().await.is_ok()
    }
}

struct Registrar {
    shared: Arc<Shared>,
    membership: Membership,
    announce: mpsc::UnboundedSender<Announcement>,
    /// Whom to tell that what they said has been done.
    waiting: Vec<oneshot::Sender<()>>,
    /// The news that were encoded last.
    told_last: Option<(Arc<News>, Encoded)>,
}

impl Registrar {
    async fn run(mut self, mut inputs: mpsc::UnboundedReceiver<Input>) {
        let over = self.shared.over.clone();
        loop {
            let due = self.membership.poll_timeout();
            let timer = async {
                match due {
                    Some(due) => tokio::time::sleep_until(self.shared.context.instant(due)).await,
                    None => std::future::pending().await,
                }
            };
            let input = tokio::select! {
                biased;
                () = over.cancelled() => return,
                input = inputs.recv() => input,
                () = timer => None,
            };
            let now = self.shared.context.now();
            match input {
                Some(input) => self.take(input),
                None => self.membership.handle_timeout(now),
            }
            self.perform();
            self.publish();
            // Who has said it may not wait for it.
            self.waiting.drain(..).for_each(|done| {
                let _ = done.send(());
            });
        }
    }

    fn take(&mut self, input: Input) {
        let now = self.shared.context.now();
        match input {
            Input::LinkUp { link, instance } => {
                let place = link.look(|machine| machine.is_foreign()).then(|| Place::unknown(instance));
                self.membership.link_up(now, &link.peer, instance, place);
                // Nobody fails to hear it: the program's task ends with ours.
                let _ = self.announce.send(Announcement::Session { link, instance });
            }
            Input::LinkLost { link, reason } => {
                if link.peer.is_monitor() {
                    self.shared.seek_monitor(reason.clone());
                }
                if let Some(instance) = link.peer_instance() {
                    self.membership.link_ended(now, &link.peer, instance, reason, Verdict::Unreachable);
                }
            }
            Input::LinkEnded { link, verdict, reason } => {
                let verdict = match (verdict, &reason) {
                    // We have refused it ourselves, which proves nothing of it.
                    (LinkVerdict::Dead, Reason::Replaced { by }) if link.peer_instance() == Some(*by) => {
                        Verdict::Unreachable
                    }
                    (LinkVerdict::Dead, _) => Verdict::Dead,
                    (LinkVerdict::Left, _) => Verdict::Left,
                };
                if let Some(instance) = link.peer_instance() {
                    self.membership.link_ended(now, &link.peer, instance, reason, verdict);
                }
            }
            Input::Protocol { link, message } => self.take_message(&link, message),
            Input::Told { sender, told, done } => {
                self.waiting.push(done);
                self.take_told(&sender, told);
            }
            Input::Introduce { to } => self.membership.introduce(&to),
            Input::Learned { uid, place } => {
                let monitor = Uid::new(Uid::MONITOR).expect("the monitor's uid is one");
                self.membership.connect(now, &monitor, &uid, place, Pass::Nobody);
            }
            Input::Leave => self.membership.leave(now),
        }
    }

    fn take_told(&mut self, sender: &Uid, told: Told) {
        let now = self.shared.context.now();
        match told {
            Told::Connect { uid, place, notify } => {
                self.membership.connect(now, sender, &uid, place, notify);
            }
            Told::Disconnect { uid, instance, reason, notify } => {
                self.membership.disconnect(now, sender, &uid, instance, reason, notify);
            }
            Told::Hand { place } => self.membership.hand(now, sender, place),
            Told::Shake { network } => self.membership.shake(now, sender, network, Part::Last),
        }
    }

    fn take_message(&mut self, link: &Arc<Link>, message: Message) {
        let method = message.method();
        let (id, origin, delimited) = (message.facts().id, message.origin.clone(), message.delimited());
        let wants_reply = message.wants_reply();
        let outcome = self.take_call(link, &method, message);
        if let Err(error) = &outcome {
            debug!(peer = %link.peer, %method, %error, "a message of the protocol was not heeded");
        }
        if wants_reply {
            let (kind, encoded) = match outcome {
                Ok(result) => (Kind::Reply, result),
                Err(error) => (Kind::Error, self.unheeded(&method, error)),
            };
            origin.reply(kind, id, encoded, delimited, Write::Now);
        }
    }

    /// What the sender of a message of the protocol is told that was not heeded.
    fn unheeded(&self, method: &str, error: Unheeded) -> Encoded {
        let kind = match error {
            Unheeded::Unreadable(_) => RemoteError::ARGUMENT,
            Unheeded::Refused => RemoteError::REFUSED,
        };
        let mut error = HandlerError::from(error).0;
        kind.clone_into(&mut error.kind);
        error.uid = self.shared.uid.to_string();
        method.clone_into(&mut error.method);
        encode_value(&error).unwrap_or_default()
    }

    /// Does what a message of the protocol asks for, and gives what is replied if that is wanted.
    fn take_call(&mut self, link: &Arc<Link>, method: &str, message: Message) -> Result<Encoded, Unheeded> {
        let now = self.shared.context.now();
        let sender = link.peer.clone();
        let trusted = link.is_authenticated();
        let args = message.into_args()?;
        match method {
            "hand" => {
                let hand: WireHand = args.deserialize()?;
                let instance = link.peer_instance().unwrap_or(Instance(0));
                let (address, port) = read_endpoint(hand.address, hand.port);
                let place = Place { address, port, instance };
                self.membership.hand(now, &sender, place);
            }
            "shake" => {
                let shake: WireShake = args.deserialize()?;
                let part = if shake.last { Part::Last } else { Part::More };
                self.membership.shake(now, &sender, shake.network.0.into_owned(), part);
            }
            "news" => self.membership.news(now, &sender, &read_news(args)?),
            "connect" => {
                let connect: WireConnect = args.deserialize()?;
                may_speak_of(&sender, &connect.uid, trusted)?;
                self.take_connect(&sender, connect);
            }
            "disconnect" => {
                let disconnect: WireDisconnect = args.deserialize()?;
                may_speak_of(&sender, &disconnect.uid, trusted)?;
                self.take_disconnect(&sender, disconnect);
            }
            "who" => {
                let who: WireWho = args.deserialize()?;
                let place = self.membership.who(&who.uid).map(wire_place);
                return Ok(encode_value(&place).unwrap_or_default());
            }
            RAISE_EXCEPTION => {
                let raised: WireRaised = args.deserialize()?;
                self.shared.emit(Event::Failed { uid: sender, error: Box::new(raised.error) });
            }
            _ => {}
        }
        Ok(encode_value(&()).unwrap_or_default())
    }

    fn take_connect(&mut self, sender: &Uid, connect: WireConnect) {
        let now = self.shared.context.now();
        let place = read_place((connect.address, connect.port, connect.instance));
        if let (Ok(uid), Some(place)) = (Uid::new(&connect.uid), place) {
            let pass = if connect.notify { Pass::Others } else { Pass::Nobody };
            self.membership.connect(now, sender, &uid, place, pass);
        }
    }

    fn take_disconnect(&mut self, sender: &Uid, disconnect: WireDisconnect) {
        let now = self.shared.context.now();
        if let (Ok(uid), Ok(instance)) = (Uid::new(&disconnect.uid), disconnect.instance.parse()) {
            let pass = if disconnect.notify { Pass::Others } else { Pass::Nobody };
            let reason = Reason::from_wire(&disconnect.reason, &disconnect.detail);
            self.membership.disconnect(now, sender, &uid, instance, reason, pass);
        }
    }

    /// Does what has come of the inputs.
    fn perform(&mut self) {
        while let Some(effect) = self.membership.poll_effect() {
            match effect {
                Effect::Send { to, message } => self.send(&to, message),
                Effect::Connected { uid, place } => {
                    self.note(|directory| directory.returned(&uid));
                    self.tell(Announcement::Connected { uid, place });
                }
                Effect::Disconnected { uid, instance, reason } => {
                    self.note(|directory| directory.depart(uid.clone(), reason.clone()));
                    // The next life of a uid may be elsewhere; the monitor comes back where it was.
                    if uid.is_monitor() {
                        self.shared.seek_monitor(reason.clone());
                    } else {
                        self.shared.dialled.lock().remove(&uid);
                    }
                    self.tell(Announcement::Disconnected {
                        uid: uid.clone(),
                        instance,
                        reason: reason.clone(),
                    });
                    self.shared.registered.end(&uid, &reason);
                }
                Effect::ShakeDone { from } => {
                    self.publish();
                    self.note(|directory| directory.shook_hands(from));
                    self.shared.changed.notify_waiters();
                }
                Effect::End { uid, instance, reason } => {
                    let verdict = if reason.is_departure() { LinkVerdict::Left } else { LinkVerdict::Dead };
                    self.end_link(&uid, instance, verdict, reason);
                }
                Effect::Refuse { to, instance, why } => {
                    info!(peer = %to, %why, "not let in");
                    let link = self.shared.links.read().get(&to).cloned();
                    if let Some(link) = link.filter(|link| link.peer_instance() == Some(instance)) {
                        self.tell(Announcement::Refused { link, instance });
                    }
                    self.end_link(&to, instance, LinkVerdict::Dead, Reason::Replaced { by: instance });
                }
                Effect::Condemned { reason } => self.shared.emit(Event::Condemned { reason }),
            }
        }
        self.told_last = None;
    }

    /// Sends a notice, if there is a way to its receiver.
    fn send(&mut self, to: &Uid, notice: Notice) {
        let (method, encoded) = match notice {
            Notice::Hand { uid, place } => {
                let hand = WireHand { uid: uid.to_string(), address: place.address, port: place.port };
                ("hand", encode_value(&hand))
            }
            Notice::Shake { network, part } => {
                let shake = WireShake { network: WireNetwork(network.into()), last: part == Part::Last };
                ("shake", encode_value(&shake))
            }
            Notice::News(news) => return self.send_news(to, news),
        };
        if let Ok(args) = encoded {
            send_unasked(&self.shared, to, method, &args);
        }
    }

    /// Many get the same news, one after the other.
    fn send_news(&mut self, to: &Uid, news: Arc<News>) {
        if !self.told_last.as_ref().is_some_and(|(last, _)| Arc::ptr_eq(last, &news)) {
            let Ok(encoded) = write_news(&news) else { return };
            self.told_last = Some((news, encoded));
        }
        if let Some((_, encoded)) = &self.told_last {
            send_unasked(&self.shared, to, "news", encoded);
        }
    }

    fn tell(&mut self, announcement: Announcement) {
        // Whoever hears a hook finds the topology as it says.
        self.publish();
        // The program's task ends with ours.
        let _ = self.announce.send(announcement);
    }

    fn end_link(&self, uid: &Uid, instance: Instance, verdict: LinkVerdict, reason: Reason) {
        let link = self.shared.links.read().get(uid).cloned();
        if let Some(link) = link.filter(|link| link.peer_instance() == Some(instance)) {
            link.end(verdict, reason);
        }
    }

    fn note(&self, change: impl FnOnce(&mut Directory)) {
        let mut directory = self.shared.directory.write();
        change(Arc::make_mut(&mut directory));
    }

    /// Writes into the snapshot what has changed in the membership, and no more: where a thousand join, each of them does
    /// this with every few that come.
    fn publish(&mut self) {
        let changed = self.membership.take_changed();
        if changed.is_empty() {
            return;
        }
        self.note(|directory| changed.into_iter().for_each(|uid| directory.follow(&self.membership, uid)));
        self.shared.changed.notify_waiters();
    }
}
