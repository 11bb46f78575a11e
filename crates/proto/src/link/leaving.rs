//! Goodbyes. Who hears one answers it, once all that was sent before it has come, and ends the link. Who says one says it
//! again on each control connection until it is answered.
//!
//! ```text
//! leave() ---LEAVE--->   waits for what is under way
//!         <--LEAVE----   closes the link
//! ended
//! ```
//!
//! Where both say one, each takes the other's for its answer, and still waits for what was sent before it.

use super::{Link, Verdict};
use crate::wire::{Command, Lane};
use crate::{Reason, Time};

/// What we say, be it of our own accord or as an answer.
#[derive(Debug)]
pub(super) struct Goodbye {
    reason: String,
    /// Where it ends in what the control connection there is was given.
    end: Option<u64>,
}

impl Goodbye {
    fn new(reason: &str) -> Goodbye {
        Goodbye { reason: reason.to_owned(), end: None }
    }
}

impl<T, B: AsRef<[u8]>> Link<T, B> {
    /// Says goodbye, on each control connection from now on until it is answered, which ends the link. A session that has no
    /// connection at the moment is given one for it. Once it is written, nothing more need be.
    pub fn leave(&mut self, now: Time, reason: &str) {
        if self.foreign || self.session().is_none() || self.goodbye.is_some() {
            return;
        }
        self.goodbye = Some(Goodbye::new(reason));
        self.commands.leave = self.is_up();
        // There is no time to wait because earlier connections were short-lived.
        self.short_lives = [0; 2];
        if !self.is_up() {
            self.dials[Lane::Control.index()].retry();
            self.dial_where_needed(now);
        }
    }

    /// Whether the peer has said goodbye, and [`Link::leave_if_complete`] waits for something.
    pub fn is_being_left(&self) -> bool {
        self.leaving.is_some()
    }

    /// Appends LEAVE behind the other commands of `out`; the connection was given `before` bytes before those.
    pub(super) fn encode_goodbye(&mut self, before: u64, out: &mut Vec<u8>) {
        let Some(goodbye) = &mut self.goodbye else { return };
        let last = self.lanes.each_ref().map(|lane| lane.queued());
        Command::Leave { reason: goodbye.reason.clone(), last }.encode(out);
        goodbye.end = Some(before + out.len() as u64);
    }

    /// A new control connection: what was said on the one before may not have been heard.
    pub(super) fn repeat_goodbye(&mut self) {
        if let Some(goodbye) = &mut self.goodbye {
            goodbye.end = None;
            self.commands.leave = true;
        }
    }

    /// The peer says goodbye, or answers ours, which takes no reason.
    pub(super) fn handle_leave(&mut self, reason: String, last: [u64; 2]) {
        let own = self.goodbye.as_ref().map(|goodbye| goodbye.reason.clone());
        let why = if reason.is_empty() { own.unwrap_or_default() } else { reason };
        self.leaving = Some((Reason::Left { why }, last));
        self.leave_if_complete();
    }

    /// The peer has left once everything that it sent before its goodbye has come, or cannot come any more: it closes
    /// the control lane last. It is answered before that, if it can be: the driver looks here when it has written.
    pub fn leave_if_complete(&mut self) {
        let Some((_, last)) = &self.leaving else { return };
        let control = &self.lanes[Lane::Control.index()];
        let is_complete = Lane::ALL.iter().all(|lane| {
            let state = &self.lanes[lane.index()];
            let closed = state.connection.is_none() && control.connection.is_none();
            state.received >= last[lane.index()] || closed
        });
        if !is_complete {
            return;
        }
        if control.connection.is_some() && self.goodbye.is_none() {
            self.goodbye = Some(Goodbye::new(""));
            self.commands.leave = true;
        }
        if self.is_answer_written()
            && let Some((reason, _)) = self.leaving.take()
        {
            self.end(Verdict::Left, reason);
        }
    }

    /// Whether the system has taken our answer, or has nothing any more to take it by.
    fn is_answer_written(&self) -> bool {
        let control = &self.lanes[Lane::Control.index()];
        let end = self.goodbye.as_ref().and_then(|goodbye| goodbye.end);
        control.connection.is_none() || end.is_some_and(|end| end <= control.bytes_written())
    }

    /// Ends a link that has said goodbye, to a peer that knows of no session or is out of reach. False if we are not leaving.
    pub(super) fn end_after_goodbye(&mut self) -> bool {
        let Some(goodbye) = self.goodbye.take() else { return false };
        self.end(Verdict::Left, Reason::Left { why: goodbye.reason });
        true
    }
}
