//! TCP is TLS unless the program has asked for [`Security::Insecure`]: where the credential comes from, and what is said
//! when it does not fit.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use mosaic_proto::Uid;
use tracing::{debug, warn};

use super::Shared;
use crate::config::Security;
use crate::credential::{Credential, CredentialError, monitor_names};
use crate::error::BindError;
use crate::transport::door::Attention;
use crate::transport::{AnyStream, Trust, tls};

impl Shared {
    /// The job's credential. It is looked for as long as it is not found, since the monitor may make it after we start.
    async fn credential(self: &Arc<Self>) -> Result<Arc<Credential>, CredentialError> {
        // One at a time: each looks at files, on a thread that may wait for them.
        let _turn = self.keyring_turn.lock().await;
        if let Some(found) = self.keyring.found() {
            return Ok(found);
        }
        let monitor = self.monitor_place();
        let shared = self.clone();
        let searched = self.io.spawn_blocking(move || {
            shared.keyring.find(shared.config.key_file.as_deref(), &monitor_names(monitor.as_ref()))
        });
        searched.await.unwrap_or(Err(CredentialError::Nowhere))
    }

    /// Where the monitor is, as it was told to us: that is what its credential is named after.
    fn monitor_place(&self) -> Option<(String, u16)> {
        if self.uid.is_monitor() {
            return Some(self.bound.lock().clone());
        }
        let dialled = || self.dialled.lock().get(Uid::MONITOR).cloned();
        let known = || {
            let directory = self.directory();
            directory.topology.get(Uid::MONITOR).map(|place| (place.address.clone(), place.port))
        };
        self.config.monitor.clone().or_else(dialled).or_else(known)
    }

    /// The monitor of a job finds its credential, or makes it. It need not have one that was not asked for: runtimes of
    /// the same user on this host do without.
    pub(super) fn make_credential(&self, host: &str, port: u16) -> Result<(), BindError> {
        if !self.uid.is_monitor() || self.config.security == Security::Insecure {
            return Ok(());
        }
        let (named, drawn) = (self.config.key_file.as_deref(), self.config.port == 0);
        match self.keyring.found_job(named, host, port, drawn) {
            Ok(credential) => {
                debug!(parent: &self.span, credential = ?credential, "the job's credential");
                Ok(())
            }
            Err(cause) if named.is_some() => Err(BindError::Credential { cause }),
            Err(error) => {
                warn!(parent: &self.span, %error, "no credential: nobody is let in over TCP");
                Ok(())
            }
        }
    }

    /// Whoever connects by a way on which nobody vouches for him proves that he holds the credential.
    pub(super) async fn secure_accepted(
        self: &Arc<Self>,
        stream: AnyStream,
        attention: &Attention,
    ) -> io::Result<AnyStream> {
        if stream.trust() != Trust::Anyone || self.config.security == Security::Insecure {
            return Ok(stream);
        }
        let credential = self.credential().await.map_err(io::Error::other)?;
        tls::accept(stream, credential.server(), (self.context.door(), attention)).await
    }

    /// As [`Shared::secure_accepted`], for the one who dials: he is told what is wrong.
    pub(super) async fn secure_dialled(self: &Arc<Self>, stream: AnyStream) -> io::Result<AnyStream> {
        if self.config.security == Security::Insecure {
            return Ok(stream);
        }
        let credential = self.credential().await.map_err(io::Error::other)?;
        tls::connect(stream, credential.client()).await.map_err(|error| explain(error, &credential))
    }

    /// Whether `uid` may stop us, if it is who it says.
    pub(crate) fn accepts_stop_from(&self, uid: &Uid) -> bool {
        match &self.config.accept_stop_from {
            Some(patterns) => patterns.iter().any(|pattern| uid.matches(pattern)),
            None => true,
        }
    }
}

/// What the one who dialled can do about it.
fn explain(error: io::Error, credential: &Credential) -> io::Error {
    let why = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => "whoever answers holds another credential than",
        Some(rustls::Error::InvalidMessage(_)) => {
            "whoever answers does not speak TLS, as `Security::Insecure` would; ours is"
        }
        _ if error.kind() == ErrorKind::UnexpectedEof || error.kind() == ErrorKind::ConnectionReset => {
            "whoever answered hung up, as one does who holds no credential or another than"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{why} {}", credential.path().display()))
}
