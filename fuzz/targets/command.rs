//! Fuzzes `targets::command`.
#![no_main]
#![allow(dead_code, unreachable_pub, reason = "each target uses a part of what the tests share")]

#[path = "../../crates/proto/tests/pair/mod.rs"]
mod pair;
#[path = "../../crates/proto/tests/fuzz/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::command(bytes));
