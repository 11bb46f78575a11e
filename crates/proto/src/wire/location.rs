//! Where the content of a frame lies that did not come over the connection: in a region of memory that both sides see.
//! How they come to see it is the drivers' business; here a region is a number.
//!
//! ```text
//! payload of a frame whose content is elsewhere:  [region, offset, length]
//! ```
//! A MessagePack array; a newer minor version may append elements, which are skipped.

use crate::wire::frame::encode_frame;
use crate::wire::messagepack::{Reader, write_array, write_uint};
use crate::wire::{FrameHeader, WireError};

/// Bytes of an encoded location at most: what is announced as longer is refused.
pub const MAX_LOCATION: usize = 64;

/// Where the content of a frame lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// Which region of those that the sender has shown to the receiver by this connection.
    pub region: u64,
    /// Where in the region it begins.
    pub offset: u64,
    /// How many bytes it has.
    pub len: u64,
}

impl Location {
    /// Appends the frame that stands for the content; `more` frames of the message follow.
    pub(crate) fn encode_frame(self, more: bool, out: &mut Vec<u8>) {
        let header = FrameHeader { more, command: false, elsewhere: true, len: 0 };
        encode_frame(out, header, |out| {
            write_array(out, 3);
            for number in [self.region, self.offset, self.len] {
                write_uint(out, number);
            }
        });
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Location, WireError> {
        let mut reader = Reader::new(payload, "a location");
        let added = reader.array(3, "an array of at least 3 elements")?;
        let region = reader.uint("a region")?;
        let offset = reader.uint("an offset")?;
        let len = reader.uint("a length")?;
        reader.finish(added)?;
        Ok(Location { region, offset, len })
    }
}
