//! The table of what each worker did, in units that people read.

use std::fmt::Write;
use std::time::Duration;

/// What one worker did.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorkerReport {
    /// Its name.
    pub(crate) worker: String,
    /// Shots whose traces arrived.
    pub(crate) shots: usize,
    /// Bytes of payload that it was sent.
    pub(crate) bytes_in: u64,
    /// Bytes of payload that it sent.
    pub(crate) bytes_out: u64,
    /// From each small call to its reply, as the caller saw it; in any order.
    pub(crate) round_trips: Vec<Duration>,
    /// The time that it spent in the solver.
    pub(crate) computing: Duration,
}

const TITLES: [&str; 6] = ["worker", "shots", "in", "out", "call (median)", "computing"];

/// The table, one line per worker and one for all of them; the numbers are aligned to the right.
pub(crate) fn table(reports: &[WorkerReport]) -> String {
    let mut lines = vec![TITLES.map(str::to_owned)];
    lines.extend(reports.iter().map(cells));
    lines.push(cells(&total(reports)));
    let widths: [usize; TITLES.len()] = std::array::from_fn(|column| {
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)
    });
    let rule = "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1));
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        if index == 1 || index + 1 == lines.len() {
            text.extend([rule.as_str(), "\n"]);
        }
        text.extend([aligned(line, &widths).trim_end(), "\n"]);
    }
    text
}

/// The name to the left, the numbers to the right.
fn aligned(line: &[String], widths: &[usize]) -> String {
    let mut text = format!("{:<1$}", line[0], widths[0]);
    for (cell, &width) in line.iter().zip(widths).skip(1) {
        // Writing to a string cannot fail.
        let _ = write!(text, "  {cell:>width$}");
    }
    text
}

fn cells(report: &WorkerReport) -> [String; TITLES.len()] {
    [
        report.worker.clone(),
        report.shots.to_string(),
        bytes(report.bytes_in),
        bytes(report.bytes_out),
        median(&report.round_trips).map_or_else(|| "-".to_owned(), duration),
        duration(report.computing),
    ]
}

fn total(reports: &[WorkerReport]) -> WorkerReport {
    WorkerReport {
        worker: "all".to_owned(),
        shots: reports.iter().map(|report| report.shots).sum(),
        bytes_in: reports.iter().map(|report| report.bytes_in).sum(),
        bytes_out: reports.iter().map(|report| report.bytes_out).sum(),
        round_trips: reports.iter().flat_map(|report| report.round_trips.iter().copied()).collect(),
        computing: reports.iter().map(|report| report.computing).sum(),
    }
}

/// The middle value, or the mean of the two middle ones; none of nothing.
pub(crate) fn median(durations: &[Duration]) -> Option<Duration> {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        even if even % 2 == 0 => Some((sorted[middle - 1] + sorted[middle]) / 2),
        _ => Some(sorted[middle]),
    }
}

/// A number of bytes to three digits or more, in decimal units.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let (mut value, mut unit) = (count as f64 / 1e3, 0);
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1e3;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A time to three digits or more, in µs, ms, s or minutes.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        ..1e-3 => format!("{:.0} µs", seconds * 1e6),
        ..0.1 => format!("{:.1} ms", seconds * 1e3),
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        ..100.0 => format!("{seconds:.2} s"),
        _ => format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_aligned_and_summed() {
        let reports = [
            WorkerReport {
                worker: "worker:0".to_owned(),
                shots: 12,
                bytes_in: 160_000,
                bytes_out: 4_915_200,
                round_trips: vec![Duration::from_millis(110), Duration::from_millis(90)],
                computing: Duration::from_millis(1180),
            },
            WorkerReport { worker: "worker:1".to_owned(), ..WorkerReport::default() },
        ];
        let expected = "\
worker    shots        in     out  call (median)  computing
-----------------------------------------------------------
worker:0     12  160.0 kB  4.9 MB         100 ms     1.18 s
worker:1      0       0 B     0 B              -       0 µs
-----------------------------------------------------------
all          12  160.0 kB  4.9 MB         100 ms     1.18 s
";
        assert_eq!(table(&reports), expected);
    }

    #[test]
    fn units_change_where_three_digits_end() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1000), "1.0 kB");
        assert_eq!(bytes(999_949), "999.9 kB");
        assert_eq!(bytes(999_950), "1.0 MB");
        assert_eq!(bytes(2_500_000_000_000_000), "2500.0 TB");
        assert_eq!(duration(Duration::from_micros(250)), "250 µs");
        assert_eq!(duration(Duration::from_micros(12_340)), "12.3 ms");
        assert_eq!(duration(Duration::from_millis(999)), "999 ms");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 05 s");
    }

    #[test]
    fn median_is_in_the_middle() {
        let seconds = |values: &[u64]| values.iter().copied().map(Duration::from_secs).collect::<Vec<_>>();
        assert_eq!(median(&[]), None);
        assert_eq!(median(&seconds(&[9, 1, 2])), Some(Duration::from_secs(2)));
        assert_eq!(median(&seconds(&[4, 1, 2, 9])), Some(Duration::from_secs(3)));
    }
}
