//! The parts of what is measured of a peer, each in processes of its own.

use crate::outcome::Outcome;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Everything that goes on between two processes that are well.
    Messages,
    /// A flood to a process that is stopped: the sender must not have memory from before to use again.
    Flood,
}

impl Part {
    pub fn name(self) -> &'static str {
        match self {
            Part::Messages => "messages",
            Part::Flood => "flood",
        }
    }

    pub fn parse(name: &str) -> Outcome<Part> {
        let found = [Part::Messages, Part::Flood].into_iter().find(|part| part.name() == name);
        found.ok_or_else(|| format!("`{name}` is no part of what is measured").into())
    }
}
