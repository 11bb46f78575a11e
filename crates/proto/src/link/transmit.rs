//! What is to be written to one connection: small pieces copied together, large ones referred to where they lie, and the
//! largest offered to the driver, which may know how the peer can see them without that they are written.
//!
//! ```text
//! chunks:  [ bytes | offer: header and payload | bytes ]     the driver answers the first offer, before it writes what is
//!                                                            ahead of it or after that:
//!          [ location, stands for both | bytes ]             by where the payload is,
//!          [ header | payload | bytes ]                      or that it is to be written after all
//! ```
//! Bytes are counted as if all were written, also where a location stands for them: so does the receiver count.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use crate::wire::{FrameHeader, Location};

/// Bytes ahead of an offer at most, for it to be made: the beginning of its message. What is more goes first.
const AHEAD: usize = 4096;

/// Bytes on their way to one connection. Whoever holds it is the connection's writer; what is left after a short
/// write stays here.
#[derive(Debug, Default)]
pub struct Transmit {
    chunks: VecDeque<Chunk>,
    small: BytesMut,
    len: usize,
    /// Payloads of at least so many bytes are offered.
    offered: Option<usize>,
}

#[derive(Debug)]
enum Chunk {
    Bytes(Bytes),
    Offer {
        header: Bytes,
        payload: Bytes,
    },
    /// `stands_for` bytes that were never written.
    Location {
        bytes: Bytes,
        stands_for: usize,
    },
}

impl Transmit {
    /// An empty one.
    pub fn new() -> Transmit {
        Transmit::default()
    }

    /// An empty one that offers payloads of at least so many bytes.
    pub fn offering(least: usize) -> Transmit {
        Transmit { offered: Some(least), ..Transmit::default() }
    }

    /// Bytes that are still to be written, or stood for.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is left to write.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn copy(&mut self, bytes: &[u8]) {
        self.small.extend_from_slice(bytes);
        self.len += bytes.len();
    }

    pub(super) fn refer(&mut self, header: &[u8], payload: &Bytes) {
        if self.offered.is_none_or(|least| payload.len() < least) {
            self.copy(header);
            self.seal();
            self.chunks.push_back(Chunk::Bytes(payload.clone()));
            self.len += payload.len();
        } else {
            self.seal();
            self.len += header.len() + payload.len();
            let header = Bytes::copy_from_slice(header);
            self.chunks.push_back(Chunk::Offer { header, payload: payload.clone() });
        }
    }

    pub(super) fn seal(&mut self) {
        if !self.small.is_empty() {
            self.chunks.push_back(Chunk::Bytes(self.small.split().freeze()));
        }
    }

    /// The first payload that the peer might see without that it is written, and how many bytes are ahead of it. No more
    /// than those can be written until this is answered. Where much is ahead, there is none yet.
    pub fn offer(&self) -> Option<(usize, &Bytes)> {
        self.offered?;
        let mut ahead = 0;
        for chunk in &self.chunks {
            match chunk {
                Chunk::Offer { payload, .. } => return Some((ahead, payload)),
                Chunk::Bytes(bytes) | Chunk::Location { bytes, .. } => ahead += bytes.len(),
            }
            if ahead > AHEAD {
                break;
            }
        }
        None
    }

    /// Says where the first offered payload is, or that it is to be written.
    ///
    /// # Panics
    /// If nothing is offered.
    pub fn answer(&mut self, location: Option<Location>) {
        let at = self.chunks.iter().position(|chunk| matches!(chunk, Chunk::Offer { .. }));
        let Some((at, Some(Chunk::Offer { header, payload }))) = at.map(|at| (at, self.chunks.remove(at)))
        else {
            panic!("nothing is offered")
        };
        let Some(location) = location else {
            self.chunks.insert(at, Chunk::Bytes(payload));
            return self.chunks.insert(at, Chunk::Bytes(header));
        };
        let stands_for = header.len() + payload.len();
        let bytes = location_frame(&header, location);
        self.chunks.insert(at, Chunk::Location { bytes, stands_for });
    }

    /// Fills `slices` with what comes next, `most` bytes altogether, and returns how many slices were filled.
    pub fn slices<'a>(&'a self, most: usize, slices: &mut [IoSlice<'a>]) -> usize {
        let mut room = most;
        let mut filled = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            let (Chunk::Bytes(bytes) | Chunk::Location { bytes, .. }) = chunk else { break };
            if room == 0 {
                break;
            }
            let piece = &bytes[..bytes.len().min(room)];
            room -= piece.len();
            *slice = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }

    /// `written` bytes were taken by the system. Returns how many those count for.
    pub fn advance(&mut self, mut written: usize) -> usize {
        let before = self.len;
        while written > 0 {
            let Some(Chunk::Bytes(first) | Chunk::Location { bytes: first, .. }) = self.chunks.front_mut()
            else {
                break;
            };
            let taken = written.min(first.len());
            first.advance(taken);
            written -= taken;
            let is_whole = first.is_empty();
            self.len -= match self.chunks.front() {
                Some(Chunk::Location { stands_for, .. }) if is_whole => *stands_for,
                Some(Chunk::Location { .. }) => 0,
                _ => taken,
            };
            if is_whole {
                self.chunks.pop_front();
            }
        }
        before - self.len
    }

    /// Forgets everything: the connection is gone.
    pub fn clear(&mut self) {
        self.chunks.clear();
        self.small.clear();
        self.len = 0;
    }
}

/// The frame that says where the payload is whose header this is.
fn location_frame(header: &[u8], location: Location) -> Bytes {
    let mut frame = Vec::new();
    let more = matches!(FrameHeader::decode(header), Ok(Some((FrameHeader { more: true, .. }, _))));
    location.encode_frame(more, &mut frame);
    Bytes::from(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: usize = 1000;

    /// The header of a frame of so many bytes that is not the last.
    fn header(len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        FrameHeader { more: true, command: false, elsewhere: false, len: len as u64 }.encode(&mut out);
        out
    }

    /// A message with a large payload between small ones.
    fn message(transmit: &mut Transmit, payload: usize) -> usize {
        transmit.copy(b"before");
        transmit.refer(&header(payload), &Bytes::from(vec![7; payload]));
        transmit.copy(b"after");
        transmit.seal();
        11 + header(payload).len() + payload
    }

    /// Writes all that can be, so many bytes at a time, and returns it with what it counts for.
    fn written(transmit: &mut Transmit, most: usize) -> (Vec<u8>, usize) {
        let (mut bytes, mut counted) = (Vec::new(), 0);
        loop {
            let mut slices = [IoSlice::new(&[]); 4];
            let filled = transmit.slices(most, &mut slices);
            if filled == 0 {
                return (bytes, counted);
            }
            let piece = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>();
            counted += transmit.advance(piece.len());
            bytes.extend(piece);
        }
    }

    #[test]
    fn what_is_small_or_offered_to_nobody_is_written() {
        for (mut transmit, payload) in [(Transmit::new(), 5000), (Transmit::offering(LEAST), LEAST - 1)] {
            let len = message(&mut transmit, payload);
            assert_eq!((transmit.len(), transmit.offer()), (len, None));
            let (bytes, counted) = written(&mut transmit, 300);
            assert_eq!((bytes.len(), counted, transmit.is_empty()), (len, len, true));
        }
    }

    #[test]
    fn nothing_behind_an_offer_is_written_before_it_is_answered() {
        let mut transmit = Transmit::offering(LEAST);
        let len = message(&mut transmit, LEAST);
        assert_eq!(transmit.offer(), Some((6, &Bytes::from(vec![7; LEAST]))));
        assert_eq!(written(&mut transmit, 100), (b"before".to_vec(), 6));
        assert_eq!(transmit.offer(), Some((0, &Bytes::from(vec![7; LEAST]))));
        assert_eq!(transmit.len(), len - 6);
        transmit.answer(None);
        let rest = [&header(LEAST)[..], &[7; LEAST], b"after"].concat();
        assert_eq!(written(&mut transmit, 100), (rest, len - 6));
    }

    #[test]
    fn what_is_offered_may_be_answered_before_the_little_ahead_of_it_is_written() {
        let location = Location { region: 7, offset: 4096, len: LEAST as u64 };
        for (answer, between) in [
            (Some(location), vec![9, 8, 0x93, 7, 0xcd, 0x10, 0x00, 0xcd, 0x03, 0xe8]),
            (None, [&header(LEAST)[..], &[7; LEAST]].concat()),
        ] {
            let mut transmit = Transmit::offering(LEAST);
            let len = message(&mut transmit, LEAST);
            transmit.answer(answer);
            assert_eq!(written(&mut transmit, 100), ([b"before", &between[..], b"after"].concat(), len));
        }
        let mut transmit = Transmit::offering(LEAST);
        transmit.copy(&[1; AHEAD]);
        message(&mut transmit, LEAST);
        assert_eq!(transmit.offer(), None, "much is ahead of it");
    }

    #[test]
    fn a_location_counts_for_what_it_stands_for_once_it_is_written() {
        let location = Location { region: 7, offset: 4096, len: LEAST as u64 };
        for most in [1, 3, 1000] {
            let mut transmit = Transmit::offering(LEAST);
            let len = message(&mut transmit, LEAST);
            written(&mut transmit, most);
            transmit.answer(Some(location));
            assert_eq!(transmit.advance(1), 0, "it is not written whole");
            assert_eq!(transmit.len(), len - 6);
            let (bytes, counted) = written(&mut transmit, most);
            let frame = [9, 8, 0x93, 7, 0xcd, 0x10, 0x00, 0xcd, 0x03, 0xe8];
            assert_eq!(bytes, [&frame[1..], b"after"].concat());
            assert_eq!((counted, transmit.len()), (len - 6, 0));
        }
    }
}
