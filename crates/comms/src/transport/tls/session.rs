//! One TLS session, for either end: what rustls' unbuffered interface makes of records, without a socket.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{ClientConfig, ServerConfig};

/// Bytes that one record carries at most, by RFC 8446, section 5.1.
pub(super) const RECORD: usize = 16 * 1024;

/// What a record adds at most: its header, the type of its content and the tag. A renewal of keys comes on top.
pub(super) const RECORD_OVERHEAD: usize = 256;

const HEADER: usize = 5;

/// The keys of both directions.
pub(super) struct Session {
    end: End,
    /// What is to be written before anything else is sealed.
    outbox: Vec<u8>,
}

enum End {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

/// The state of a session of either end: the two are different types with the same methods.
macro_rules! process {
    ($end:expr, $incoming:expr, $status:ident => $then:expr) => {
        match $end {
            End::Client(connection) => {
                let $status = connection.process_tls_records($incoming);
                $then
            }
            End::Server(connection) => {
                let $status = connection.process_tls_records($incoming);
                $then
            }
        }
    };
}

/// What came of looking at the records that have come.
enum Step {
    /// There may be more to do.
    Again,
    /// Bytes are wanted, or the session is ready to write.
    Idle,
    /// The other end has said that it writes no more.
    Over,
}

/// The name that all runtimes of a job go by: whose certificate it is matters, not where it is found.
pub(crate) fn job_name() -> &'static str {
    "runtime.mosaic"
}

/// Whether a complete record is there.
pub(super) fn has_record(bytes: &[u8]) -> bool {
    match bytes {
        [_, _, _, high, low, ..] => bytes.len() >= HEADER + usize::from(u16::from_be_bytes([*high, *low])),
        _ => false,
    }
}

impl Session {
    pub(super) fn client(config: Arc<ClientConfig>) -> io::Result<Session> {
        let name = ServerName::try_from(job_name()).map_err(io::Error::other)?;
        let connection = UnbufferedClientConnection::new(config, name).map_err(invalid)?;
        Ok(Session { end: End::Client(Box::new(connection)), outbox: Vec::new() })
    }

    pub(super) fn server(config: Arc<ServerConfig>) -> io::Result<Session> {
        let connection = UnbufferedServerConnection::new(config).map_err(invalid)?;
        Ok(Session { end: End::Server(Box::new(connection)), outbox: Vec::new() })
    }

    /// Goes on with the handshake as far as `incoming` takes it; true once it is done. The peer's first data may have
    /// come with it.
    pub(super) fn advance(&mut self, incoming: &mut Vec<u8>, plain: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let mut take = |opened: &[u8]| plain.extend_from_slice(opened);
            let (discard, step) = self.step(incoming, &mut take)?;
            incoming.drain(..discard);
            match step {
                Step::Again => {}
                Step::Idle => return Ok(!self.is_handshaking()),
                Step::Over => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// Opens the record at the head of `incoming`, in place. Returns how many bytes are done with, and whether the other
    /// end writes no more.
    pub(super) fn open(
        &mut self,
        incoming: &mut [u8],
        take: &mut dyn FnMut(&[u8]),
    ) -> io::Result<(usize, bool)> {
        let mut used = 0;
        loop {
            let (discard, step) = self.step(&mut incoming[used..], take)?;
            used += discard;
            match step {
                Step::Again if used == 0 => {}
                Step::Again | Step::Idle => return Ok((used, false)),
                Step::Over => return Ok((used, true)),
            }
        }
    }

    /// Seals at most one record's worth into `sealed` from `filled` on, and returns where it ends. What `sealed` held
    /// there is overwritten: it is longer than what counts, so that memory is not cleared for every record.
    pub(super) fn seal(&mut self, plain: &[u8], sealed: &mut Vec<u8>, filled: usize) -> io::Result<usize> {
        let before = filled + self.outbox.len();
        let mut room = plain.len() + RECORD_OVERHEAD;
        loop {
            if sealed.len() < before + room {
                sealed.resize(before + room, 0);
            }
            sealed[filled..before].copy_from_slice(&self.outbox);
            let outcome = process!(&mut self.end, &mut [], status => match status.state.map_err(invalid)? {
                ConnectionState::WriteTraffic(mut traffic) => traffic.encrypt(plain, &mut sealed[before..]),
                _ => return Err(ErrorKind::BrokenPipe.into()),
            });
            match outcome {
                Ok(written) => {
                    self.outbox.clear();
                    return Ok(before + written);
                }
                Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
                    room = required_size;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    /// What is to be written now.
    pub(super) fn take_outbox(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outbox)
    }

    fn is_handshaking(&self) -> bool {
        match &self.end {
            End::Client(connection) => connection.is_handshaking(),
            End::Server(connection) => connection.is_handshaking(),
        }
    }

    fn step(&mut self, incoming: &mut [u8], take: &mut dyn FnMut(&[u8])) -> io::Result<(usize, Step)> {
        let outbox = &mut self.outbox;
        process!(&mut self.end, incoming, status => act(status, outbox, take))
    }
}

fn act<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    outbox: &mut Vec<u8>,
    take: &mut dyn FnMut(&[u8]),
) -> io::Result<(usize, Step)> {
    let UnbufferedStatus { mut discard, state } = status;
    let step = match state.map_err(invalid)? {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record.map_err(invalid)?;
                discard += record.discard;
                take(record.payload);
            }
            Step::Again
        }
        ConnectionState::EncodeTlsData(mut data) => {
            let before = outbox.len();
            if let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) =
                data.encode(&mut [])
            {
                outbox.resize(before + required_size, 0);
                data.encode(&mut outbox[before..]).map_err(io::Error::other)?;
            }
            Step::Again
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Step::Again
        }
        ConnectionState::PeerClosed | ConnectionState::Closed => Step::Over,
        _ => Step::Idle,
    };
    Ok((discard, step))
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use rustls::crypto::{CipherSuiteCommon, CryptoProvider};
    use rustls::{SupportedCipherSuite, Tls13CipherSuite};

    use super::*;
    use crate::credential::{for_test, provider};

    /// Records after which the keys of a direction are exchanged; with true ciphers it is 24 millions.
    const LIMIT: u64 = 1024;

    fn soon_exhausted() -> CryptoProvider {
        let mut provider = provider();
        let Some(SupportedCipherSuite::Tls13(suite)) = provider.cipher_suites.first().copied() else {
            panic!("TLS 1.3 is all there is")
        };
        let common = CipherSuiteCommon {
            suite: suite.common.suite,
            hash_provider: suite.common.hash_provider,
            confidentiality_limit: LIMIT,
        };
        let Tls13CipherSuite { hkdf_provider, aead_alg, quic, .. } = *suite;
        let suite = Tls13CipherSuite { common, hkdf_provider, aead_alg, quic };
        provider.cipher_suites = vec![SupportedCipherSuite::Tls13(Box::leak(Box::new(suite)))];
        provider
    }

    fn shaken(provider: CryptoProvider) -> (Session, Session) {
        let credential = for_test(provider);
        let mut client = Session::client(credential.client()).unwrap();
        let mut server = Session::server(credential.server()).unwrap();
        let (mut to_client, mut to_server, mut plain) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let ours = client.advance(&mut to_client, &mut plain).unwrap();
            to_server.extend(client.take_outbox());
            let theirs = server.advance(&mut to_server, &mut plain).unwrap();
            to_client.extend(server.take_outbox());
            if ours && theirs {
                return (client, server);
            }
        }
    }

    fn carry(from: &mut Session, to: &mut Session, number: u64) {
        let mut sealed = Vec::new();
        let mut filled = 0;
        for part in number.to_be_bytes().chunks(4) {
            filled = from.seal(part, &mut sealed, filled).unwrap();
        }
        let (mut used, mut opened) = (0, Vec::new());
        while used < filled {
            let (discarded, over) =
                to.open(&mut sealed[used..filled], &mut |bytes| opened.extend_from_slice(bytes)).unwrap();
            assert!(discarded > 0 && !over);
            used += discarded;
        }
        assert_eq!(opened, number.to_be_bytes());
    }

    #[test]
    fn keys_that_are_worn_out_are_exchanged_on_the_way() {
        let (mut client, mut server) = shaken(soon_exhausted());
        for number in 0..5 * LIMIT {
            carry(&mut client, &mut server, number);
            if number % 3 == 0 {
                carry(&mut server, &mut client, number);
            }
        }
        // One direction alone, too: the other's answer to the exchange waits until it has something to say.
        for number in 0..3 * LIMIT {
            carry(&mut server, &mut client, number);
        }
        carry(&mut client, &mut server, 7);
    }
}
