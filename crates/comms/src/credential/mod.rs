//! The credential of a job: one key pair that all runtimes of the job hold, and nobody else. Whoever proves to hold it
//! is let in over TCP; there is no authority to ask, no date to watch and no name to check.
//!
//! `file.rs` reads and makes the file it is kept in, `discovery.rs` finds that file, `pinned.rs` checks the peer.

mod discovery;
mod file;
mod pinned;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig, version};
use thiserror::Error;

pub(crate) use self::discovery::{Keyring, names as monitor_names};
use self::pinned::{Pinned, Presented};
use crate::transport::tls::cipher_suites;

/// The environment variable that names the file of the credential.
pub(crate) const KEY_FILE: &str = "MOSAIC_KEY_FILE";

/// A job's credential: one key pair and its certificate. Its `Debug` shows where it is kept and its fingerprint, never
/// the key.
///
/// # Example
/// ```
/// use mosaic_comms::Credential;
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("job.key");
/// let made = Credential::create(&path)?;
/// assert_eq!(Credential::load(&path)?.fingerprint(), made.fingerprint());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Credential {
    path: PathBuf,
    fingerprint: String,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// Why there is no credential to use.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// There is none in any of the places where it is looked for.
    #[error(
        "no credential of this job: looked for {}; copy the monitor's key file there, or name it in {KEY_FILE}",
        shown(looked_for)
    )]
    NotFound {
        /// The files that were looked for.
        looked_for: Vec<PathBuf>,
    },
    /// Nothing says where it would be: there is neither a home folder nor a key file named.
    #[error(
        "no credential of this job: name its file in {KEY_FILE}, or tell where the monitor is and set HOME"
    )]
    Nowhere,
    /// A file is there already where a new one was to be made.
    #[error("{} exists already: delete it first if no runtime of its job is left", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others could read or replace it.
    #[error("{} {}", path.display(), exposure)]
    Exposed {
        /// The file, or its folder.
        path: PathBuf,
        /// How so, and what would be right.
        exposure: Exposure,
    },
    /// It is not what a key file holds.
    #[error("{} is no key file: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The system refuses.
    #[error("{} cannot be used: {cause}", path.display())]
    Io {
        /// The file, or its folder.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

/// How others could get at a key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Exposure {
    /// It belongs to another user.
    #[error("belongs to user {owner}: it must be this user's own")]
    Owner {
        /// The user id of its owner.
        owner: u32,
    },
    /// Its mode lets others read or write it.
    #[error("has mode {mode:04o}: others must not get at it (chmod {wanted:o})")]
    Mode {
        /// Its mode.
        mode: u32,
        /// The mode that is right.
        wanted: u32,
    },
}

fn shown(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(", ")
}

impl Credential {
    /// Makes a new credential and the file that keeps it, with mode 0600. The folder is made too, with mode 0700.
    ///
    /// # Errors
    /// [`CredentialError::Exists`] if there is such a file, which is left as it is; else what the system says.
    pub fn create(path: impl AsRef<Path>) -> Result<Credential, CredentialError> {
        file::create(path.as_ref())
    }

    /// Reads a credential.
    ///
    /// # Errors
    /// [`CredentialError`]: also if others could read or replace the file.
    pub fn load(path: impl AsRef<Path>) -> Result<Credential, CredentialError> {
        file::load(path.as_ref())
    }

    /// Reads the credential of a file, or makes both. Of two who do so at once, one makes it and both get the same.
    ///
    /// # Errors
    /// See [`Credential::load`].
    pub fn load_or_create(path: impl AsRef<Path>) -> Result<Credential, CredentialError> {
        match file::load(path.as_ref()) {
            Err(CredentialError::NotFound { .. }) => match file::create(path.as_ref()) {
                Err(CredentialError::Exists { path }) => file::load(&path),
                made => made,
            },
            found => found,
        }
    }

    /// The files in which a runtime with this configuration looks for its credential, in this order.
    pub fn places(config: &crate::Config) -> Vec<PathBuf> {
        discovery::places(config.key_file.as_deref(), &discovery::names(config.monitor.as_ref()))
    }

    /// What tells this credential from others, and tells nothing of its key: the SHA-256 of its certificate, in hex.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The file that it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        self.client.clone()
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }

    /// What both ends of every connection present, and accept nothing else.
    fn new(
        path: &Path,
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
        provider: CryptoProvider,
    ) -> Result<Credential, rustls::Error> {
        let provider = Arc::new(provider);
        let fingerprint = fingerprint(&certificate);
        let pinned = Arc::new(Pinned::new(certificate.clone(), provider.clone()));
        let certified = CertifiedKey::from_der(vec![certificate], key, &provider)?;
        let presented = Arc::new(Presented::new(Arc::new(certified)));
        let versions = &[&version::TLS13];
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)?
            .dangerous()
            .with_custom_certificate_verifier(pinned.clone())
            .with_client_cert_resolver(presented.clone());
        client.enable_sni = false;
        // A session is resumed by the protocol above, whose handshake proves possession of the key anew.
        client.resumption = rustls::client::Resumption::disabled();
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(pinned)
            .with_cert_resolver(presented);
        server.send_tls13_tickets = 0;
        let (client, server) = (Arc::new(client), Arc::new(server));
        Ok(Credential { path: path.to_owned(), fingerprint, client, server })
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("path", &self.path)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// Keys are exchanged in one way, whatever others want of rustls: a stranger cannot ask for one that costs four times as much.
pub(crate) fn provider() -> CryptoProvider {
    CryptoProvider { cipher_suites: cipher_suites(), kx_groups: vec![kx_group::X25519], ..default_provider() }
}

/// A credential in memory alone, for each of these.
#[cfg(test)]
pub(crate) fn for_test<const N: usize>(providers: [CryptoProvider; N]) -> [Credential; N] {
    let text = file::generate();
    providers.map(|provider| {
        let (certificate, key) = file::parts(&text).expect("it is what was written");
        Credential::new(Path::new("memory"), certificate, key, provider).expect("they belong together")
    })
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
