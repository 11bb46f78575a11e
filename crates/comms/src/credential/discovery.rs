//! Where a runtime finds the credential of its job: what it was configured with, `MOSAIC_KEY_FILE`, or
//! `~/.mosaic/<monitor's host>-<port>.key`, which everybody with the same home folder derives from where the monitor is.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Credential, CredentialError, KEY_FILE};
use crate::transport::address;

/// The folder of a user's credentials, in the home folder.
const FOLDER: &str = ".mosaic";

/// The credential of one manager, once it is found.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    found: Mutex<Option<Arc<Credential>>>,
    /// The file that was made for a port that was drawn, which nobody can come back to: it goes with its monitor.
    temporary: Mutex<Option<PathBuf>>,
}

impl Drop for Keyring {
    fn drop(&mut self) {
        self.retire();
    }
}

impl Keyring {
    /// The manager has stopped: removes the file that nobody will need any more. The program may end before the keyring
    /// is dropped.
    pub(crate) fn retire(&self) {
        if let Some(path) = self.temporary.lock().take() {
            // Somebody else may have removed it, which is as well.
            let _ = std::fs::remove_file(path);
        }
    }

    /// The credential, if it has been found.
    pub(crate) fn found(&self) -> Option<Arc<Credential>> {
        self.found.lock().clone()
    }

    /// Looks for the credential of the job whose monitor is at one of these names. Reads files.
    pub(crate) fn find(
        &self,
        configured: Option<&Path>,
        names: &[String],
    ) -> Result<Arc<Credential>, CredentialError> {
        let places = places(configured, names);
        for place in &places {
            match Credential::load(place) {
                Ok(credential) => return Ok(self.keep(credential)),
                Err(CredentialError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        match places.is_empty() {
            true => Err(CredentialError::Nowhere),
            false => Err(CredentialError::NotFound { looked_for: places }),
        }
    }

    /// Finds or makes the credential of the monitor that listens here. One that is made for a port that was `drawn` goes
    /// with it.
    pub(crate) fn found_job(
        &self,
        configured: Option<&Path>,
        host: &str,
        port: u16,
        drawn: bool,
    ) -> Result<Arc<Credential>, CredentialError> {
        let place =
            places(configured, &[name(host, port)]).into_iter().next().ok_or(CredentialError::Nowhere)?;
        let named = configured.is_some() || from_environment().is_some();
        let temporary = drawn && !named && !place.exists();
        let credential = Credential::load_or_create(&place)?;
        if temporary {
            *self.temporary.lock() = Some(place);
        }
        Ok(self.keep(credential))
    }

    fn keep(&self, credential: Credential) -> Arc<Credential> {
        let credential = Arc::new(credential);
        *self.found.lock() = Some(credential.clone());
        credential
    }
}

/// Where to look: at the file that was named, else in the home folder under each of these names.
pub(super) fn places(configured: Option<&Path>, names: &[String]) -> Vec<PathBuf> {
    if let Some(path) = configured.map(Path::to_owned).or_else(from_environment) {
        return vec![path];
    }
    let Some(home) = std::env::home_dir().filter(|home| !home.as_os_str().is_empty()) else {
        return Vec::new();
    };
    names.iter().map(|name| home.join(FOLDER).join(name)).collect()
}

fn from_environment() -> Option<PathBuf> {
    std::env::var_os(KEY_FILE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The file names of a monitor's credential: by its host as it is written, and by the addresses that the name stands for.
/// Looking up a name asks the system.
pub(crate) fn names(monitor: Option<&(String, u16)>) -> Vec<String> {
    let Some((host, port)) = monitor else { return Vec::new() };
    let mut names = vec![name(host, *port)];
    if address::number(host).is_none() {
        let resolved = std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), *port));
        let numbers = resolved.into_iter().flatten().map(|address| name(&address.ip().to_string(), *port));
        names.extend(numbers);
    }
    names.retain(|name| !name.contains('/'));
    names.dedup();
    names
}

/// The file name of the credential of the monitor at this host and port.
fn name(host: &str, port: u16) -> String {
    let host = match address::number(host) {
        Some(IpAddr::V4(number)) => number.to_string(),
        Some(IpAddr::V6(number)) => number.to_string(),
        None => host.to_ascii_lowercase(),
    };
    format!("{host}-{port}.key")
}
