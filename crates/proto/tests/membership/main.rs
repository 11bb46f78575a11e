//! Membership seen from outside: facts of one machine, and a cluster of them under any interleaving.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cluster;
mod facts;
