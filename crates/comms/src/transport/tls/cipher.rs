//! The ciphers of TLS 1.3 for rustls' record layer: AWS-LC's, sealing into the memory of whoever asks and opening within it.
//!
//! With the ciphers that rustls brings along, what is sealed lies in memory of rustls, as does what has been opened, and both
//! are copied once more from there. These leave no more than a stub of a record to rustls while [`sealing`] or [`opening`]
//! is under way. Which key and which number a record has, and what to do about one that is not data or not true, is for
//! rustls alone to say: it calls them as it calls any.

use std::borrow::Cow;
use std::cell::RefCell;
use std::mem;
use std::sync::LazyLock;

use aws_lc_rs::aead::{self, Aad, LessSafeKey, UnboundKey};
use rustls::crypto::CipherSuiteCommon;
use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter, Nonce,
    OutboundChunks, OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload, Tls13AeadAlgorithm,
    UnsupportedOperationError, make_tls13_aad,
};
use rustls::{
    ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion, SupportedCipherSuite, Tls13CipherSuite,
};

/// What comes before what a record carries: its type, a version and the length of the rest.
pub(super) const HEADER: usize = 5;

/// What comes behind it: the type of what it carries, and the tag, which is as long for all ciphers.
pub(super) const TRAILER: usize = 1 + 16;

/// Records that were sealed, one behind the other, in memory that nobody clears before.
#[derive(Default)]
pub(super) struct Records {
    memory: Vec<u8>,
    len: usize,
}

impl Records {
    pub(super) const fn new() -> Records {
        Records { memory: Vec::new(), len: 0 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[..self.len]
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
    }

    /// The next so many bytes, with whatever they hold.
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        let before = self.len;
        self.len += bytes;
        if self.memory.len() < self.len {
            self.memory.resize(self.len, 0);
        }
        &mut self.memory[before..self.len]
    }

    pub(super) fn insert(&mut self, at: usize, bytes: &[u8]) {
        self.room(bytes.len());
        self.memory.copy_within(at..self.len - bytes.len(), at + bytes.len());
        self.memory[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// AES-GCM first: on processors of this century it is the fastest by a factor of three.
pub(crate) fn cipher_suites() -> Vec<SupportedCipherSuite> {
    static SUITES: LazyLock<Vec<Tls13CipherSuite>> = LazyLock::new(|| {
        let ciphers = [
            (cipher_suite::TLS13_AES_128_GCM_SHA256, &AES_128_GCM),
            (cipher_suite::TLS13_AES_256_GCM_SHA384, &AES_256_GCM),
            (cipher_suite::TLS13_CHACHA20_POLY1305_SHA256, &CHACHA20_POLY1305),
        ];
        ciphers.into_iter().filter_map(|(suite, cipher)| Some(with_cipher(suite.tls13()?, cipher))).collect()
    });
    SUITES.iter().map(SupportedCipherSuite::Tls13).collect()
}

fn with_cipher(suite: &Tls13CipherSuite, cipher: &'static Cipher) -> Tls13CipherSuite {
    let CipherSuiteCommon { suite: name, hash_provider, confidentiality_limit } = suite.common;
    let common = CipherSuiteCommon { suite: name, hash_provider, confidentiality_limit };
    Tls13CipherSuite { common, hkdf_provider: suite.hkdf_provider, aead_alg: cipher, quic: None }
}

static AES_128_GCM: Cipher = Cipher(&aead::AES_128_GCM);
static AES_256_GCM: Cipher = Cipher(&aead::AES_256_GCM);
static CHACHA20_POLY1305: Cipher = Cipher(&aead::CHACHA20_POLY1305);

/// What the session at hand wants of its cipher.
enum Wish {
    /// What rustls expects.
    Nothing,
    /// Records of data are to be sealed behind what is here.
    Seal(Records),
    /// The record of data is to be left where it was opened; so much does it carry.
    Open(usize),
}

thread_local! {
    /// Ciphers are made by rustls and belong to it: this is the way past.
    static WISH: RefCell<Wish> = const { RefCell::new(Wish::Nothing) };
}

/// Has what `encrypt` makes of data sealed behind what `sealed` holds. To rustls these are empty records: of each it writes
/// the header.
pub(super) fn sealing<T>(sealed: &mut Records, encrypt: impl FnOnce() -> T) -> T {
    WISH.set(Wish::Seal(mem::take(sealed)));
    let made = encrypt();
    if let Wish::Seal(memory) = WISH.replace(Wish::Nothing) {
        *sealed = memory;
    }
    made
}

/// Has the one record that `decrypt` looks at opened where it is, behind its header. Returns how much data it carries, too.
/// To rustls it is one that carries the first byte.
pub(super) fn opening<T>(decrypt: impl FnOnce() -> T) -> (T, usize) {
    WISH.set(Wish::Open(0));
    let made = decrypt();
    match WISH.replace(Wish::Nothing) {
        Wish::Open(opened) => (made, opened),
        Wish::Nothing | Wish::Seal(_) => (made, 0),
    }
}

struct Cipher(&'static aead::Algorithm);

impl Cipher {
    fn keyed(&self, key: &AeadKey, iv: Iv) -> Box<Keyed> {
        let key = UnboundKey::new(self.0, key.as_ref()).expect("rustls has asked how long keys are");
        Box::new(Keyed { key: LessSafeKey::new(key), iv })
    }
}

impl Tls13AeadAlgorithm for Cipher {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        self.keyed(&key, iv)
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        self.keyed(&key, iv)
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    /// Nobody gets them.
    fn extract_keys(&self, _: AeadKey, _: Iv) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

/// The key of one direction.
struct Keyed {
    key: LessSafeKey,
    iv: Iv,
}

impl Keyed {
    fn nonce(&self, number: u64) -> aead::Nonce {
        aead::Nonce::assume_unique_for_key(Nonce::new(&self.iv, number).0)
    }

    /// Appends a record.
    fn seal(
        &self,
        message: &OutboundPlainMessage<'_>,
        number: u64,
        records: &mut Records,
    ) -> Result<(), Error> {
        let payload = match &message.payload {
            OutboundChunks::Single(payload) => Cow::Borrowed(*payload),
            chunks => Cow::Owned(chunks.to_vec()),
        };
        // What is vouched for beside the content is the header.
        let header = make_tls13_aad(payload.len() + TRAILER);
        records.append(&header);
        let (content, trailer) = records.room(payload.len() + TRAILER).split_at_mut(payload.len());
        let (nonce, kind) = (self.nonce(number), [message.typ.into()]);
        let sealed =
            self.key.seal_out_of_place_scatter(nonce, Aad::from(header), &payload, content, &kind, trailer);
        sealed.map_err(|_| Error::EncryptError)
    }
}

impl MessageEncrypter for Keyed {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        number: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let mut record = Records::default();
        WISH.with_borrow_mut(|wish| match wish {
            Wish::Seal(records) if message.typ == ContentType::ApplicationData => {
                self.seal(&message, number, records)
            }
            _ => self.seal(&message, number, &mut record),
        })?;
        let payload = PrefixedPayload::from(record.bytes().get(HEADER..).unwrap_or_default());
        Ok(OutboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, payload))
    }

    fn encrypted_payload_len(&self, len: usize) -> usize {
        match WISH.with_borrow(|wish| matches!(wish, Wish::Seal(_))) {
            true => 0,
            false => len + TRAILER,
        }
    }
}

impl MessageDecrypter for Keyed {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        number: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let header = Aad::from(make_tls13_aad(message.payload.len()));
        let opened = self.key.open_in_place(self.nonce(number), header, &mut message.payload);
        let len = opened.map_err(|_| Error::DecryptError)?.len();
        message.payload.truncate(len);
        let mut message = message.into_tls13_unpadded_message()?;
        WISH.with_borrow_mut(|wish| {
            if let Wish::Open(opened) = wish
                && message.typ == ContentType::ApplicationData
            {
                *opened = message.payload.len();
                // Too many that are empty would be taken for an attack.
                message.payload = &message.payload[..message.payload.len().min(1)];
            }
        });
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use rustls::ServerConnection;
    use rustls::crypto::CryptoProvider;
    use rustls::crypto::aws_lc_rs::default_provider;

    use super::super::session::{RECORD, Session, first_record};
    use super::*;
    use crate::credential::for_test;

    /// One end with the ciphers of this file, and one that is rustls from end to end.
    struct Pair {
        ours: Session,
        theirs: ServerConnection,
    }

    impl Pair {
        fn shaken(suite: SupportedCipherSuite) -> Pair {
            let only = |suites: Vec<SupportedCipherSuite>| CryptoProvider {
                cipher_suites: suites.into_iter().filter(|one| one.suite() == suite.suite()).collect(),
                ..default_provider()
            };
            let [ours, theirs] = for_test([only(cipher_suites()), only(default_provider().cipher_suites)]);
            let ours = Session::client(ours.client()).unwrap();
            let mut pair = Pair { ours, theirs: ServerConnection::new(theirs.server()).unwrap() };
            let (mut incoming, mut plain) = (Vec::new(), Vec::new());
            loop {
                let shaken = pair.ours.advance(&mut incoming, &mut plain).unwrap();
                let outbox = pair.ours.take_outbox();
                pair.hear(&outbox);
                if shaken && !pair.theirs.is_handshaking() {
                    return pair;
                }
                incoming.extend(pair.say());
            }
        }

        /// Their end reads this.
        fn hear(&mut self, mut records: &[u8]) {
            while !records.is_empty() {
                self.theirs.read_tls(&mut records).unwrap();
                self.theirs.process_new_packets().unwrap();
            }
        }

        /// What their end writes.
        fn say(&mut self) -> Vec<u8> {
            let mut records = Vec::new();
            while self.theirs.wants_write() {
                self.theirs.write_tls(&mut records).unwrap();
            }
            records
        }

        fn carry_there(&mut self, data: &[u8]) {
            for chunk in data.chunks(RECORD) {
                let mut records = Records::default();
                self.ours.seal(chunk, &mut records).unwrap();
                self.hear(records.bytes());
                let mut opened = vec![0; chunk.len()];
                self.theirs.reader().read_exact(&mut opened).unwrap();
                assert!(opened == chunk, "what they opened is not what was sealed");
            }
        }

        fn carry_back(&mut self, data: &[u8]) {
            self.theirs.set_buffer_limit(None);
            self.theirs.writer().write_all(data).unwrap();
            let mut records = self.say();
            let (mut rest, mut opened) = (&mut records[..], Vec::new());
            while let Some(len) = first_record(rest) {
                let record;
                (record, rest) = rest.split_at_mut(len);
                let known = self.ours.open(record).unwrap();
                assert!(known.used == len && !known.over);
                opened.extend_from_slice(known.data);
            }
            assert!(opened == data, "what was opened is not what they sealed");
        }
    }

    #[test]
    fn each_cipher_and_that_of_rustls_understand_one_another_also_after_keys_were_exchanged() {
        let data: Vec<u8> = (0..10_000_u32).flat_map(u32::to_be_bytes).collect();
        for suite in cipher_suites() {
            let mut pair = Pair::shaken(suite);
            for round in 0..5 {
                let data = &data[..data.len() >> (4 * round)];
                pair.carry_there(data);
                pair.carry_back(data);
                // We are asked for new keys too, and answer with the next that we write.
                pair.theirs.refresh_traffic_keys().unwrap();
            }
        }
    }

    #[test]
    fn a_record_that_was_tampered_with_is_an_error_and_carries_nothing() {
        for suite in cipher_suites() {
            let mut pair = Pair::shaken(suite);
            pair.theirs.writer().write_all(b"what they say").unwrap();
            let mut record = pair.say();
            *record.last_mut().unwrap() ^= 1;
            assert!(pair.ours.open(&mut record).is_err());
        }
    }
}
