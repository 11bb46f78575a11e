//! What a flood costs its sender while the receiver is stopped: the last figure of a measuring process.

use std::time::Duration;

use rustix::process::Signal;

use crate::outcome::Outcome;
use crate::process::{Server, own_memory};
use crate::sheet::Sheet;

/// Messages in a flood at most.
pub const MESSAGES: usize = 1 << 20;

/// The size of each, in bytes.
pub const MESSAGE: usize = 1 << 10;

/// How long the receiver is flooded; a fifth of it in short runs.
const SPAN: Duration = Duration::from_secs(2);

/// Stops the serving process, and ends both when the flood that the caller begins now has lasted.
///
/// From a thread of its own: blocking senders never come back.
pub fn begin(server: Server, sheet: &Sheet) -> Outcome {
    server.signal(Signal::STOP)?;
    let before = own_memory(std::process::id())?;
    let sheet = Sheet::new(u64::try_from(sheet.span().as_millis())?);
    let span = SPAN.min(sheet.span() * 5);
    std::thread::spawn(move || {
        std::thread::sleep(span);
        let after = own_memory(std::process::id()).unwrap_or(f64::NAN);
        let written = sheet.write("flood-memory", (after - before).max(0.0));
        drop(server);
        std::process::exit(i32::from(written.is_err()));
    });
    Ok(())
}
