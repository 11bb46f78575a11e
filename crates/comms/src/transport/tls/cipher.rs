//! The ciphers of TLS 1.3 for rustls' record layer: AWS-LC's, sealing and opening into the memory of whoever asks.
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

use super::session::RECORD;
use crate::pool::Buffer;

/// What comes before what a record carries: its type, a version and the length of the rest.
pub(super) const HEADER: usize = 5;

/// What comes behind it: the type of what it carries, and the tag, which is as long for all ciphers.
pub(super) const TRAILER: usize = 1 + TAG;

const TAG: usize = 16;

/// How much of the data rustls is left with: too many records that are empty would be taken for an attack.
const STUB: usize = 1;

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

/// Memory that data is opened into, as far as it is not filled yet. It is lent to a cipher by moving it there.
#[derive(Default)]
pub(super) struct Target {
    pub(super) buffer: Buffer,
    pub(super) filled: usize,
}

impl Target {
    pub(super) fn rest(&mut self) -> &mut [u8] {
        &mut self.buffer.as_mut()[self.filled..]
    }

    /// Copies what there is room for, and returns what there is not.
    pub(super) fn put<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let rest = self.rest();
        let (fits, more) = data.split_at(data.len().min(rest.len()));
        rest[..fits.len()].copy_from_slice(fits);
        self.filled += fits.len();
        more
    }

    /// Room for all that a record may turn out to carry: how much of it is data is known once it is open.
    fn room(&mut self, inner: usize) -> Option<&mut [u8]> {
        // What is longer is for rustls to refuse.
        (inner <= RECORD + 1).then(|| self.rest().get_mut(..inner)).flatten()
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
    /// The record of data is to be opened into the target, or left where it is if it might not fit; so much was.
    Open(Target, usize),
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

/// Has the data of the one record that `decrypt` looks at opened into `target`, or where it is, behind its header, if it might
/// not fit. Returns how much data is there, too. To rustls it is a record that carries the first byte.
pub(super) fn opening<T>(target: &mut Target, decrypt: impl FnOnce() -> T) -> (T, usize) {
    WISH.set(Wish::Open(mem::take(target), 0));
    let made = decrypt();
    match WISH.replace(Wish::Nothing) {
        Wish::Open(memory, left) => {
            *target = memory;
            (made, left)
        }
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

    fn open_in_place<'a>(
        &self,
        mut message: InboundOpaqueMessage<'a>,
        number: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let header = Aad::from(make_tls13_aad(message.payload.len()));
        let opened = self.key.open_in_place(self.nonce(number), header, &mut message.payload);
        let len = opened.map_err(|_| Error::DecryptError)?.len();
        message.payload.truncate(len);
        message.into_tls13_unpadded_message()
    }

    /// Opens a record into `room`, which is as long as all that it carries. Leaves a stub of data, or all of what is none,
    /// and returns how much data it was.
    fn open_into(
        &self,
        room: &mut [u8],
        message: &mut InboundOpaqueMessage<'_>,
        number: u64,
    ) -> Result<usize, Error> {
        let header = Aad::from(make_tls13_aad(message.payload.len()));
        let (sealed, tag) = message.payload.split_at(room.len());
        let opened = self.key.open_separate_gather(self.nonce(number), header, sealed, tag, room);
        opened.map_err(|_| Error::DecryptError)?;
        // The type is behind the content, before zeros. What has none is for rustls to refuse.
        let Some(len) = room.iter().rposition(|byte| *byte != 0) else {
            message.payload.truncate(0);
            return Ok(0);
        };
        let kind = room[len];
        let data = if ContentType::from(kind) == ContentType::ApplicationData { len } else { 0 };
        let left = if data > 0 { STUB } else { len };
        message.payload[..left].copy_from_slice(&room[..left]);
        message.payload[left] = kind;
        message.payload.truncate(left + 1);
        Ok(data)
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
        WISH.with_borrow_mut(|wish| {
            let Wish::Open(target, left) = wish else { return self.open_in_place(message, number) };
            let inner = message.payload.len().checked_sub(TAG);
            if let Some(room) = inner.and_then(|inner| target.room(inner)) {
                let data = self.open_into(room, &mut message, number)?;
                target.filled += data;
                return message.into_tls13_unpadded_message();
            }
            let mut message = self.open_in_place(message, number)?;
            if message.typ == ContentType::ApplicationData {
                *left = message.payload.len();
                message.payload = &message.payload[..message.payload.len().min(STUB)];
            }
            Ok(message)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use rustls::crypto::CryptoProvider;
    use rustls::crypto::aws_lc_rs::default_provider;
    use rustls::{PeerMisbehaved, ServerConnection};

    use super::super::session::{Session, first_record};
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

        /// Has so much room to open it into; what does not fit is opened in place.
        fn carry_back(&mut self, data: &[u8], room: usize) {
            self.theirs.set_buffer_limit(None);
            self.theirs.writer().write_all(data).unwrap();
            let mut records = self.say();
            let mut target = Target { buffer: Buffer::new(room), filled: 0 };
            let (mut rest, mut opened) = (&mut records[..], Vec::new());
            while let Some(len) = first_record(rest) {
                let record;
                (record, rest) = rest.split_at_mut(len);
                let before = target.filled;
                let known = self.ours.open(record, &mut target).unwrap();
                assert!(known.used == len && !known.over);
                opened.extend_from_slice(&target.buffer.as_ref()[before..target.filled]);
                opened.extend_from_slice(known.data);
            }
            assert!(opened == data, "what was opened is not what they sealed");
            let there = |filled: usize, record: &[u8]| {
                let then = filled + record.len();
                if then < room { then } else { filled }
            };
            assert_eq!(target.filled, data.chunks(RECORD).fold(0, there), "what has room goes to the target");
        }
    }

    type ForRustls = Result<(ContentType, Vec<u8>), Error>;

    /// What comes of a record that carries `inner` if there is so much room: what rustls gets, what is in the target, and how
    /// much was left in the record.
    fn opened(inner: &[u8], room: usize, harm: u8) -> (ForRustls, Vec<u8>, usize) {
        let mut keyed = AES_256_GCM.keyed(&AeadKey::from([7; 32]), Iv::from([3; 12]));
        let mut sealed = inner.to_vec();
        let header = Aad::from(make_tls13_aad(inner.len() + TAG));
        keyed.key.seal_in_place_append_tag(keyed.nonce(0), header, &mut sealed).unwrap();
        *sealed.last_mut().unwrap() ^= harm;
        let message =
            InboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, &mut sealed);
        let mut target = Target { buffer: Buffer::new(room), filled: 0 };
        let (message, left) = opening(&mut target, || keyed.decrypt(message, 0));
        assert_eq!(target.buffer.as_ref().len(), room, "what was lent has come back");
        let for_rustls = message.map(|message| (message.typ, message.payload.to_vec()));
        (for_rustls, target.buffer.as_ref()[..target.filled].to_vec(), left)
    }

    #[test]
    fn each_cipher_and_that_of_rustls_understand_one_another_also_after_keys_were_exchanged() {
        let data: Vec<u8> = (0..10_000_u32).flat_map(u32::to_be_bytes).collect();
        for suite in cipher_suites() {
            let mut pair = Pair::shaken(suite);
            for round in 0..5 {
                let data = &data[..data.len() >> (4 * round)];
                pair.carry_there(data);
                for room in [0, data.len() / 2, data.len(), data.len() + 1] {
                    pair.carry_back(data, room);
                }
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
            assert!(pair.ours.open(&mut record, &mut Target::default()).is_err());
        }
        assert_eq!(opened(b"data\x17", 5, 1), (Err(Error::DecryptError), vec![], 0));
    }

    #[test]
    fn data_goes_to_the_target_without_its_padding_where_all_of_the_record_fits() {
        let stub = |data: &[u8]| Ok((ContentType::ApplicationData, data.to_vec()));
        assert_eq!(opened(b"data\x17", 5, 0), (stub(b"d"), b"data".to_vec(), 0));
        assert_eq!(opened(b"data\x17", 4, 0), (stub(b"d"), vec![], 4));
        assert_eq!(opened(b"data\x17\0\0", 7, 0), (stub(b"d"), b"data".to_vec(), 0));
        assert_eq!(opened(b"data\x17\0\0", 6, 0), (stub(b"d"), vec![], 4));
        assert_eq!(opened(b"da\0\x17\0", 9, 0), (stub(b"d"), b"da\0".to_vec(), 0));
        assert_eq!(opened(b"\x17\0", 9, 0), (stub(b""), vec![], 0));
    }

    #[test]
    fn what_is_no_data_is_left_to_rustls_wherever_it_was_opened() {
        for room in [0, 100] {
            let key_update = [24, 0, 0, 1, 0];
            let whole = Ok((ContentType::Handshake, key_update.to_vec()));
            assert_eq!(opened(&[&key_update[..], b"\x16\0"].concat(), room, 0), (whole, vec![], 0));
            let untyped = Err(PeerMisbehaved::IllegalTlsInnerPlaintext.into());
            assert_eq!(opened(&[0; 9], room, 0), (untyped.clone(), vec![], 0));
            assert_eq!(opened(&[], room, 0), (untyped, vec![], 0));
        }
    }

    #[test]
    fn a_record_that_is_too_long_is_refused_however_much_room_there_is() {
        let longest = [&[7; RECORD][..], b"\x17"].concat();
        assert_eq!(opened(&longest, 2 * RECORD, 0).1, [7; RECORD]);
        let longer = [&[7; RECORD][..], b"\x17\0"].concat();
        for room in [0, 2 * RECORD] {
            assert_eq!(opened(&longer, room, 0), (Err(Error::PeerSentOversizedRecord), vec![], 0));
        }
    }
}
