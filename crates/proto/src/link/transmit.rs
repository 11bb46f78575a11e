//! What is to be written to one connection: small pieces copied together, large ones referred to where they lie.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// Bytes on their way to one connection. Whoever holds it is the connection's writer; what is left after a short
/// write stays here.
#[derive(Debug, Default)]
pub struct Transmit {
    chunks: VecDeque<Bytes>,
    small: BytesMut,
    len: usize,
}

impl Transmit {
    /// An empty one.
    pub fn new() -> Transmit {
        Transmit::default()
    }

    /// Bytes that are still to be written.
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

    pub(super) fn refer(&mut self, bytes: &Bytes) {
        self.seal();
        self.chunks.push_back(bytes.clone());
        self.len += bytes.len();
    }

    pub(super) fn seal(&mut self) {
        if !self.small.is_empty() {
            self.chunks.push_back(self.small.split().freeze());
        }
    }

    /// Fills `slices` with what comes next, `most` bytes altogether, and returns how many slices were filled.
    pub fn slices<'a>(&'a self, most: usize, slices: &mut [IoSlice<'a>]) -> usize {
        let mut room = most;
        let mut filled = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            if room == 0 {
                break;
            }
            let piece = &chunk[..chunk.len().min(room)];
            room -= piece.len();
            *slice = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }

    /// `written` bytes were taken by the system.
    pub fn advance(&mut self, mut written: usize) {
        self.len -= written;
        while written > 0 {
            let Some(first) = self.chunks.front_mut() else { return };
            if first.len() > written {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.chunks.pop_front();
        }
    }

    /// Forgets everything: the connection is gone.
    pub fn clear(&mut self) {
        self.chunks.clear();
        self.small.clear();
        self.len = 0;
    }
}
