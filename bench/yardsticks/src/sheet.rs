//! What a measuring process writes its figures on: its standard output, a line each.

use std::time::{Duration, Instant};

use crate::figures::{Figure, find};
use crate::outcome::Outcome;

/// How often something is done at most, however quick it is.
const MOST: usize = 200_000;

/// The sheet, and how long each figure is measured.
pub struct Sheet {
    span: Duration,
}

impl Sheet {
    /// Each figure is measured for about `milliseconds`.
    pub fn new(milliseconds: u64) -> Sheet {
        Sheet { span: Duration::from_millis(milliseconds) }
    }

    pub fn span(&self) -> Duration {
        self.span
    }

    /// Writes a figure in the base unit: seconds, bytes, or so many a second.
    pub fn write(&self, id: &str, value: f64) -> Outcome {
        let figure: &Figure = find(id)?;
        let mut output = std::io::stdout().lock();
        Ok(std::io::Write::write_all(&mut output, format!("{} {value:e}\n", figure.id).as_bytes())?)
    }

    /// Writes the median, and the 99th percentile, of times as the figures `<id>-p50` and `<id>-p99`.
    pub fn write_times(&self, id: &str, times: Vec<Duration>) -> Outcome {
        self.write(&format!("{id}-p50"), quantile(times.clone(), 0.5)?)?;
        self.write(&format!("{id}-p99"), quantile(times, 0.99)?)
    }

    /// The times that `action` takes, for as long as a figure is measured and at least three times. What it does in a
    /// fifth of that time before does not count: caches, buffers and windows are warm then.
    pub async fn times(&self, mut action: impl AsyncFnMut() -> Outcome) -> Outcome<Vec<Duration>> {
        let mut times = Vec::new();
        let begun = Instant::now();
        while begun.elapsed() < self.span / 5 {
            action().await?;
        }
        let begun = Instant::now();
        while times.len() < 3 || (begun.elapsed() < self.span && times.len() < MOST) {
            let start = Instant::now();
            action().await?;
            times.push(start.elapsed());
        }
        Ok(times)
    }
}

/// The value, in seconds, that this part of the times does not exceed.
pub fn quantile(mut times: Vec<Duration>, part: f64) -> Outcome<f64> {
    times.sort_unstable();
    let last = times.len().checked_sub(1).ok_or("nothing was measured")?;
    let place = (times.len() as f64 * part) as usize;
    Ok(times[place.min(last)].as_secs_f64())
}
