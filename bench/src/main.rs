//! Figures of Mosaic comms between two processes of this machine, beside raw tokio in the same run.
//!
//! `cargo run --release --manifest-path bench/Cargo.toml` prints one table, pinned to one core and default. Medians of
//! alternating runs; what "pinned" and "default" mean is in `docs/benchmarks/README.md`.

mod flood;
mod ours;
mod pair;
mod raw;

use std::error::Error;

use pair::{Pinning, Role};

fn main() -> Result<(), Box<dyn Error>> {
    match Role::of_this_process() {
        Some(Role::Mosaic { port, uid, transport }) => ours::serve(port, &uid, transport),
        Some(Role::Raw) => raw::serve(),
        None => measure(),
    }
}

fn measure() -> Result<(), Box<dyn Error>> {
    let only = std::env::args().nth(1).unwrap_or_default();
    let figure = std::env::args().nth(2);
    for pinning in [Pinning::OneCore, Pinning::Default] {
        println!("\n{pinning:?}");
        if only.is_empty() || only == "raw" {
            raw::measure(pinning)?;
        }
        for transport in ours::Transport::ALL {
            if only.is_empty() || only == "ours" || only == transport.name() {
                ours::measure(pinning, transport, figure.as_deref())?;
            }
        }
    }
    Ok(())
}
