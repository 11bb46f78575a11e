//! One TLS session, for either end: what rustls' unbuffered interface makes of records, without a socket.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, InsufficientSizeError, UnbufferedStatus};
use rustls::{ClientConfig, ServerConfig};

use super::cipher::{self, HEADER, Records, TRAILER, Target};

/// Bytes that one record carries at most, by RFC 8446, section 5.1.
pub(super) const RECORD: usize = 16 * 1024;

/// What a record adds: its header, the type of its content and the tag.
pub(super) const RECORD_OVERHEAD: usize = HEADER + TRAILER;

/// What rustls itself writes along with a record: an exchange of keys, ours and the answer to the other end's, and the
/// header of a record that the cipher has sealed.
const BESIDE_A_RECORD: usize = 256;

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

/// What a record was.
pub(super) struct Opened<'a> {
    /// How many bytes are done with.
    pub(super) used: usize,
    /// What it carried, if that did not go where it was to.
    pub(super) data: &'a [u8],
    /// The other end writes no more.
    pub(super) over: bool,
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

/// How long the record at the head of `bytes` is, if it is complete.
pub(super) fn first_record(bytes: &[u8]) -> Option<usize> {
    let [_, _, _, high, low, ..] = bytes else { return None };
    let len = HEADER + usize::from(u16::from_be_bytes([*high, *low]));
    (bytes.len() >= len).then_some(len)
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

    /// Opens a record into `target`, or in place if it might not fit there.
    pub(super) fn open<'a>(&mut self, record: &'a mut [u8], target: &mut Target) -> io::Result<Opened<'a>> {
        loop {
            // Of data, rustls has but the first byte to hand on.
            let (stepped, left) = cipher::opening(target, || self.step(record, &mut |_| {}));
            match stepped? {
                (0, Step::Again) => {}
                (used, step) => {
                    let data = &record[HEADER..HEADER + left];
                    return Ok(Opened { used, data, over: matches!(step, Step::Over) });
                }
            }
        }
    }

    /// Seals at most one record's worth, behind what `sealed` holds.
    pub(super) fn seal(&mut self, plain: &[u8], sealed: &mut Records) -> io::Result<()> {
        sealed.append(&self.outbox);
        self.outbox = Vec::new();
        let before = sealed.len();
        let mut beside = [0; BESIDE_A_RECORD];
        let end = &mut self.end;
        let written = cipher::sealing(sealed, || {
            process!(end, &mut [], status => match status.state.map_err(invalid)? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    traffic.encrypt(plain, &mut beside).map_err(io::Error::other)
                }
                _ => Err(ErrorKind::BrokenPipe.into()),
            })
        })?;
        // An exchange of keys comes before what is sealed with the new ones.
        if written > HEADER {
            sealed.insert(before, &beside[..written - HEADER]);
        }
        Ok(())
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
    use rustls::crypto::aws_lc_rs::ALL_KX_GROUPS;
    use rustls::crypto::{CipherSuiteCommon, CryptoProvider};
    use rustls::{NamedGroup, SupportedCipherSuite, Tls13CipherSuite};

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
        let [credential] = for_test([provider]);
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
        let mut sealed = Records::default();
        for part in number.to_be_bytes().chunks(4) {
            from.seal(part, &mut sealed).unwrap();
        }
        let mut sealed = sealed.bytes().to_vec();
        let (mut rest, mut opened) = (&mut sealed[..], Vec::new());
        while let Some(len) = first_record(rest) {
            let record;
            (record, rest) = rest.split_at_mut(len);
            let Opened { used, data, over } = to.open(record, &mut Target::default()).unwrap();
            assert!(used == len && !over);
            opened.extend_from_slice(data);
        }
        assert!(rest.is_empty());
        assert_eq!(opened, number.to_be_bytes());
    }

    #[test]
    fn a_stranger_cannot_ask_for_another_exchange_of_keys() {
        let others = ALL_KX_GROUPS.iter().filter(|group| group.name() != NamedGroup::X25519);
        for group in others {
            let wanting = CryptoProvider { kx_groups: vec![*group], ..provider() };
            let [stranger, credential] = for_test([wanting, provider()]);
            let mut client = Session::client(stranger.client()).unwrap();
            let mut server = Session::server(credential.server()).unwrap();
            client.advance(&mut Vec::new(), &mut Vec::new()).unwrap();
            let refusal = server.advance(&mut client.take_outbox(), &mut Vec::new()).unwrap_err();
            assert!(refusal.to_string().contains("NoKxGroupsInCommon"), "{group:?}: {refusal}");
        }
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
