//! The figures: what is measured, in which unit, and which way is better.

use crate::outcome::Outcome;

/// What a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    PerSecond,
    BytesPerSecond,
    Bytes,
    /// So many times something else.
    Times,
}

impl Unit {
    /// Whether less of it is better.
    pub fn less_is_better(self) -> bool {
        matches!(self, Unit::Seconds | Unit::Bytes | Unit::Times)
    }

    /// The value with three digits and its unit.
    pub fn show(self, value: f64) -> String {
        let (scales, base): (&[(f64, &str)], f64) = match self {
            Unit::Seconds => (&[(1e-6, "us"), (1e-3, "ms"), (1.0, "s")], 1e3),
            Unit::PerSecond => (&[(1.0, "/s"), (1e3, "k/s"), (1e6, "M/s")], 1e3),
            Unit::BytesPerSecond => (&[(1e6, "MB/s"), (1e9, "GB/s")], 1e3),
            Unit::Bytes => {
                (&[(1.0, "B"), (1024.0, "KiB"), (1048576.0, "MiB"), (1073741824.0, "GiB")], 1024.0)
            }
            Unit::Times => (&[(1.0, "x")], 1e3),
        };
        let scale = scales.iter().find(|(scale, _)| value < scale * base).or(scales.last());
        let (scale, name) = *scale.unwrap_or(&(1.0, ""));
        format!("{} {name}", digits(value / scale))
    }
}

/// Three digits of a number.
pub fn digits(number: f64) -> String {
    let decimals = if number < 9.995 {
        2
    } else if number < 99.95 {
        1
    } else {
        0
    };
    format!("{number:.decimals$}")
}

/// One of the figures.
#[derive(Debug)]
pub struct Figure {
    /// What it is called in files, and by those who measure it.
    pub id: &'static str,
    /// What it is called in tables.
    pub title: &'static str,
    pub unit: Unit,
}

const fn figure(id: &'static str, title: &'static str, unit: Unit) -> Figure {
    Figure { id, title, unit }
}

/// All of them, in the order of the tables.
pub const ALL: &[Figure] = &[
    figure("round-trip-64-p50", "round trip of 64 B, median", Unit::Seconds),
    figure("round-trip-64-p99", "round trip of 64 B, p99", Unit::Seconds),
    figure("round-trip-1k-p50", "round trip of 1 KiB, median", Unit::Seconds),
    figure("round-trip-1k-p99", "round trip of 1 KiB, p99", Unit::Seconds),
    figure("round-trip-64k-p50", "round trip of 64 KiB, median", Unit::Seconds),
    figure("round-trip-64k-p99", "round trip of 64 KiB, p99", Unit::Seconds),
    figure("outstanding-64", "calls a second, 64 outstanding", Unit::PerSecond),
    figure("one-way-64", "one-way messages of 64 B", Unit::PerSecond),
    figure("array-1m", "arrays of 1 MiB", Unit::BytesPerSecond),
    figure("array-64m", "arrays of 64 MiB", Unit::BytesPerSecond),
    figure("express-during-bulk-p50", "64 B during 256 MiB to the same peer, median", Unit::Seconds),
    figure("express-during-bulk-p99", "64 B during 256 MiB to the same peer, p99", Unit::Seconds),
    figure("reply-during-bulk-p50", "small reply during a reply of 256 MiB, median", Unit::Seconds),
    figure("reply-during-bulk-p99", "small reply during a reply of 256 MiB, p99", Unit::Seconds),
    figure("heart-p50", "heart during 256 MiB, all threads computing, median", Unit::Seconds),
    figure("heart-p999", "heart during 256 MiB, all threads computing, p99.9", Unit::Seconds),
    figure("handshake", "handshake, from nothing to the topology", Unit::Seconds),
    figure("start-1", "1 worker process up", Unit::Seconds),
    figure("start-16", "16 worker processes up", Unit::Seconds),
    figure("join-1000", "1000 runtimes joined, in 8 processes", Unit::Seconds),
    figure("join-bytes", "bytes from the monitor for each of them", Unit::Bytes),
    figure("idle-memory", "memory of each of them, idle", Unit::Bytes),
    figure("idle-time", "processor time of each of them, idle, a second", Unit::Seconds),
    figure("link-memory", "memory of an idle link", Unit::Bytes),
    figure("manager-memory", "memory of a manager", Unit::Bytes),
    figure("flood-memory", "memory of a flood to a stopped receiver", Unit::Bytes),
    figure("strangers-stay", "p99 of calls while 200 strangers stay, to idle", Unit::Times),
    figure("strangers-go", "p99 of calls while 200 strangers come and go, to idle", Unit::Times),
    figure("strangers-garbage", "p99 of calls while 200 strangers send garbage, to idle", Unit::Times),
    figure("strangers-hello", "p99 of calls while 200 strangers begin as TLS does, to idle", Unit::Times),
];

/// The figure of this id.
pub fn find(id: &str) -> Outcome<&'static Figure> {
    Ok(ALL.iter().find(|figure| figure.id == id).ok_or_else(|| format!("there is no figure `{id}`"))?)
}
