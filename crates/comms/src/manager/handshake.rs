//! How connections come to be: binding, accepting, dialling, and the handshake with the monitor.

use std::sync::Arc;
use std::time::Duration;

use mosaic_proto::Uid;
use mosaic_proto::wire::RefusalCode;
use tokio::time::{Instant, timeout_at};

use super::accept::{BOUND_ALREADY, bind};
use super::membership::Input;
use super::{CommsManager, Phase, Shared};
use crate::error::{BindError, ConnectError};
use crate::link::Link;

/// A uid that is still taken after this long is not taken by a dead instance: a closed connection, two refusals 100 ms
/// apart and the monitor's word take less.
const HOLDER_JUDGED_WITHIN: Duration = Duration::from_secs(1);

impl CommsManager {
    /// Binds the inbound connection: TCP, and beside it a Unix socket for the same user and memory for the same process.
    /// From here on the runtime can be reached, and its membership is kept.
    ///
    /// # Errors
    /// [`BindError`] says which address, or that it has been done before.
    ///
    /// # Cancel safety
    /// If it is dropped, it may take effect all the same: wholly, or not at all.
    pub async fn connect_recv(&self) -> Result<(), BindError> {
        let shared = self.shared.clone();
        if shared.phase() != Phase::New {
            return Err(BindError::State { why: BOUND_ALREADY });
        }
        // What belongs to the reactor of the I/O thread is made there.
        let bound = shared.io.spawn(bind(shared.clone())).await;
        bound.unwrap_or(Err(BindError::State { why: "the I/O thread has ended" }))
    }

    /// Dials `uid` at an address now. A changed address replaces the connection there is; to oneself nothing is done.
    ///
    /// # Errors
    /// [`ConnectError`] lists every address that was tried and what came of it.
    ///
    /// # Cancel safety
    /// If it is dropped, the dial goes on without being waited for, until it is refused or the peer is unreachable.
    pub async fn connect_send(
        &self,
        uid: impl AsRef<str>,
        address: &str,
        port: u16,
    ) -> Result<(), ConnectError> {
        let deadline = Instant::now() + self.shared.config.handshake_within;
        let uid = Uid::new(uid.as_ref())?;
        if uid == self.shared.uid {
            return Ok(());
        }
        self.shared.connect_link(&uid, address, port, deadline).await.map(drop)
    }

    /// Introduces this runtime to `uid`, the monitor as a rule, and learns the topology from it. Messages that arrive
    /// meanwhile are kept.
    ///
    /// # Errors
    /// [`ConnectError`] within [`Config::handshake_within`](crate::Config::handshake_within), with every address that
    /// was tried.
    ///
    /// # Cancel safety
    /// If it is dropped, the handshake may still take effect.
    pub async fn handshake(
        &self,
        uid: impl AsRef<str>,
        address: &str,
        port: u16,
    ) -> Result<(), ConnectError> {
        let deadline = Instant::now() + self.shared.config.handshake_within;
        let uid = Uid::new(uid.as_ref())?;
        if uid == self.shared.uid {
            return Ok(());
        }
        let shaken = self.shared.directory().shakes_done(&uid);
        let link = self.shared.connect_link(&uid, address, port, deadline).await?;
        self.shared.inform(Input::Introduce { to: uid.clone() });
        self.shared.wait_for_shake(&link, shaken, deadline).await
    }
}

impl Shared {
    /// Brings the link to `uid` up, by dialling this address until the deadline.
    async fn connect_link(
        self: &Arc<Self>,
        uid: &Uid,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<Arc<Link>, ConnectError> {
        if self.phase() != Phase::Bound {
            return Err(ConnectError::State {
                why: "the inbound connection must be bound first, by `connect_recv`",
            });
        }
        self.redirect(uid, host, port);
        let link = self.link_from(uid, None);
        self.bring_up(&link, deadline).await?;
        Ok(link)
    }

    /// Dials if there is no connection, and waits until there is.
    pub(super) async fn bring_up(&self, link: &Arc<Link>, deadline: Instant) -> Result<(), ConnectError> {
        let _patience = link.patiently();
        self.wait_on_link(link, deadline, |link| link.look(|machine| machine.is_up())).await
    }

    /// Notes where `uid` is. A link that was made for another address gives way to a new connection.
    fn redirect(&self, uid: &Uid, host: &str, port: u16) {
        let before = self.dialled.lock().insert(uid.clone(), (host.to_owned(), port));
        let moved = before.is_some_and(|(old_host, old_port)| (old_host.as_str(), old_port) != (host, port));
        if moved && let Some(link) = self.links.read().get(uid) {
            link.close_connections();
        }
    }

    async fn wait_for_shake(
        self: &Arc<Self>,
        link: &Arc<Link>,
        before: u64,
        deadline: Instant,
    ) -> Result<(), ConnectError> {
        let peer = link.peer.clone();
        self.wait_on_link(link, deadline, |_| self.directory().shakes_done(&peer) > before).await
    }

    /// Waits until `done`, woken by the link and by membership.
    pub(super) async fn wait_on_link(
        &self,
        link: &Arc<Link>,
        deadline: Instant,
        done: impl Fn(&Link) -> bool,
    ) -> Result<(), ConnectError> {
        loop {
            let mut link_changed = std::pin::pin!(link.changed.notified());
            let mut changed = std::pin::pin!(self.changed.notified());
            link_changed.as_mut().enable();
            changed.as_mut().enable();
            if done(link) {
                return Ok(());
            }
            if let Some(reason) = link.look(|machine| machine.ended().cloned()) {
                return Err(ConnectError::Gone { uid: link.peer.clone(), reason });
            }
            if holder_lives(link) {
                return Err(unreachable(link, self.config.handshake_within));
            }
            let woken = async {
                tokio::select! {
                    biased;
                    () = link_changed => {}
                    () = changed => {}
                }
            };
            if timeout_at(deadline, woken).await.is_err() {
                return Err(unreachable(link, self.config.handshake_within));
            }
        }
    }
}

/// Whether the uid that we want is held by someone who lives: a holder that has died is found out before that.
fn holder_lives(link: &Link) -> bool {
    let (_, refusal) = link.last_attempts();
    refusal.is_some_and(|(refusal, since)| {
        refusal.code == RefusalCode::UidTaken && since.elapsed() >= HOLDER_JUDGED_WITHIN
    })
}

fn unreachable(link: &Link, within: Duration) -> ConnectError {
    let (attempts, refusal) = link.last_attempts();
    let uid = link.peer.clone();
    match refusal {
        Some((refusal, _)) => ConnectError::Refused { uid, why: refusal.detail },
        None if link.look(|machine| machine.is_up()) => ConnectError::Unanswered { uid, within },
        None => ConnectError::Unreachable { uid, within, attempts },
    }
}
