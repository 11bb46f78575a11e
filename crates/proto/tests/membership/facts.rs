//! Facts of one machine.
