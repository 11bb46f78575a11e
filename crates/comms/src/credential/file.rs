//! The file that keeps a credential: a key and its certificate in PEM, which only its user can read, in a folder which
//! only he can change.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::{Credential, CredentialError, Exposure, provider};
use crate::transport::tls::job_name;

/// Bytes of a key file at most; ours have about 600.
const LARGEST: u64 = 64 * 1024;

const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// The superuser, to whom the folders above a home belong.
const ROOT: u32 = 0;

pub(super) fn load(path: &Path) -> Result<Credential, CredentialError> {
    let opened =
        OpenOptions::new().read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32).open(path);
    let file = match opened {
        Err(cause) if cause.kind() == ErrorKind::NotFound => {
            return Err(CredentialError::NotFound { looked_for: vec![path.to_owned()] });
        }
        opened => opened.map_err(|cause| failed(path, cause))?,
    };
    check(path, &file)?;
    let mut text = Zeroizing::new(Vec::new());
    file.take(LARGEST).read_to_end(&mut text).map_err(|cause| failed(path, cause))?;
    read(path, &text)
}

fn read(path: &Path, text: &[u8]) -> Result<Credential, CredentialError> {
    let malformed = |why| CredentialError::Malformed { path: path.to_owned(), why };
    let (certificate, key) = parts(text).map_err(malformed)?;
    Credential::new(path, certificate, key, provider())
        .map_err(|_| malformed("its key and its certificate do not belong together, or are of no known kind"))
}

/// The certificate and the key in a file's text, or what it lacks.
pub(super) fn parts(text: &[u8]) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), &'static str> {
    let certificate = CertificateDer::from_pem_slice(text).map_err(|_| "it holds no certificate in PEM")?;
    let key = PrivateKeyDer::from_pem_slice(text).map_err(|_| "it holds no private key in PEM")?;
    Ok((certificate, key))
}

/// Others must neither read the file nor put another in its place. The open file is looked at, so nobody can exchange it
/// in between.
fn check(path: &Path, file: &File) -> Result<(), CredentialError> {
    let metadata = file.metadata().map_err(|cause| failed(path, cause))?;
    if !metadata.is_file() {
        return Err(CredentialError::Malformed { path: path.to_owned(), why: "it is not a regular file" });
    }
    let own = rustix::process::geteuid().as_raw();
    expect(path, &metadata, &[own], 0o077, FILE_MODE)?;
    let folder = folder(path);
    let metadata = fs::metadata(&folder).map_err(|cause| failed(&folder, cause))?;
    expect(&folder, &metadata, &[own, ROOT], 0o022, FOLDER_MODE)
}

fn expect(
    path: &Path,
    metadata: &Metadata,
    owners: &[u32],
    forbidden: u32,
    wanted: u32,
) -> Result<(), CredentialError> {
    let exposed = |exposure| Err(CredentialError::Exposed { path: path.to_owned(), exposure });
    let mode = metadata.mode() & 0o7777;
    match owners.contains(&metadata.uid()) {
        false => exposed(Exposure::Owner { owner: metadata.uid() }),
        true if mode & forbidden != 0 => exposed(Exposure::Mode { mode, wanted }),
        true => Ok(()),
    }
}

/// Writes the whole file under another name first and links it to its own, so that nobody ever finds a part of it and of
/// two who do this at once one comes first.
pub(super) fn create(path: &Path) -> Result<Credential, CredentialError> {
    let folder = folder(path);
    let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&folder);
    made.map_err(|cause| failed(&folder, cause))?;
    let text = generate();
    let draft = folder.join(format!(".{}-{:016x}", std::process::id(), fastrand::u64(..)));
    let written = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&draft);
    let written = written.and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()));
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    // It may not have been made; if it was, it is a second name of the file, or of no use.
    let _ = fs::remove_file(&draft);
    match linked {
        Ok(()) => load(path),
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {
            Err(CredentialError::Exists { path: path.to_owned() })
        }
        Err(cause) => Err(failed(path, cause)),
    }
}

/// A new key and its certificate. What it says of names and dates is looked at by nobody.
pub(super) fn generate() -> Zeroizing<Vec<u8>> {
    let key = KeyPair::generate_for(&PKCS_ED25519).expect("the system has randomness");
    let mut params = CertificateParams::new(vec![job_name().to_owned()]).expect("the name is a name");
    params.distinguished_name.push(rcgen::DnType::CommonName, job_name());
    let certificate = params.self_signed(&key).expect("its own key signs it");
    let private = Zeroizing::new(key.serialize_pem());
    Zeroizing::new([private.as_bytes(), certificate.pem().as_bytes()].concat())
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn failed(path: &Path, cause: std::io::Error) -> CredentialError {
    CredentialError::Io { path: path.to_owned(), cause }
}
