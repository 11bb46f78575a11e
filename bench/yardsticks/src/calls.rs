//! Peers that call: each answer finds its own question, and many may be under way.

use std::future::Future;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::outcome::{Failure, Outcome};
use crate::sheet::{Sheet, quantile};

/// How urgent a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    Normal,
    /// It should overtake what is under way, where the peer knows such a thing.
    Express,
}

/// Calls to the serving process.
pub trait Calls: Clone + Send + Sync + 'static {
    /// What the peer sends as an array; clones share it.
    type Array: Clone + Send + Sync + 'static;

    /// An array of so many bytes.
    fn array(&self, size: usize) -> Self::Array;

    /// Gets `payload` back.
    fn echo(&self, payload: &Bytes, urgency: Urgency) -> impl Future<Output = Outcome> + Send;

    /// Sends an array and gets its length.
    fn take(&self, array: &Self::Array) -> impl Future<Output = Outcome> + Send;

    /// Gets an array of so many bytes.
    fn give(&self, size: usize) -> impl Future<Output = Outcome> + Send;
}

/// Measures everything that calls can do.
pub async fn measure(calls: &impl Calls, sheet: &Sheet) -> Outcome {
    for (id, size) in [("round-trip-64", 64), ("round-trip-1k", 1 << 10), ("round-trip-64k", 64 << 10)] {
        let payload = Bytes::from(vec![7; size]);
        let times = sheet.times(async || calls.echo(&payload, Urgency::Normal).await).await?;
        sheet.write_times(id, times)?;
    }
    outstanding(calls, sheet).await?;
    for (id, size) in [("array-1m", 1 << 20), ("array-64m", 64 << 20)] {
        let array = calls.array(size);
        let times = sheet.times(async || calls.take(&array).await).await?;
        sheet.write(id, size as f64 / quantile(times, 0.5)?)?;
    }
    during_bulk(calls, sheet).await
}

async fn outstanding(calls: &impl Calls, sheet: &Sheet) -> Outcome {
    let (begun, span) = (Instant::now(), sheet.span());
    let callers = (0..64).map(|_| {
        let calls = calls.clone();
        tokio::spawn(async move {
            let payload = Bytes::from(vec![7; 64]);
            let mut count = 0_u64;
            while begun.elapsed() < span {
                calls.echo(&payload, Urgency::Normal).await?;
                count += 1;
            }
            Ok::<_, Failure>(count)
        })
    });
    let mut count = 0;
    for caller in callers.collect::<Vec<_>>() {
        count += caller.await??;
    }
    sheet.write("outstanding-64", count as f64 / begun.elapsed().as_secs_f64())
}

/// Small calls while 256 MiB go to the same peer, and while 256 MiB come from it as a reply.
async fn during_bulk(calls: &impl Calls, sheet: &Sheet) -> Outcome {
    const BULK: usize = 256 << 20;
    let array = calls.array(BULK);
    let mut times = Vec::new();
    for _ in 0..2 {
        let (calls_of_bulk, array) = (calls.clone(), array.clone());
        let bulk = tokio::spawn(async move { calls_of_bulk.take(&array).await });
        times.append(&mut times_until(calls, Urgency::Express, bulk).await?);
    }
    sheet.write_times("express-during-bulk", times)?;
    let mut times = Vec::new();
    for _ in 0..2 {
        let calls_of_bulk = calls.clone();
        let bulk = tokio::spawn(async move { calls_of_bulk.give(BULK).await });
        times.append(&mut times_until(calls, Urgency::Normal, bulk).await?);
    }
    sheet.write_times("reply-during-bulk", times)
}

/// The times of small calls, one after the other, until `bulk` has arrived.
async fn times_until(
    calls: &impl Calls,
    urgency: Urgency,
    bulk: JoinHandle<Outcome>,
) -> Outcome<Vec<Duration>> {
    let payload = Bytes::from(vec![7; 64]);
    let mut times = Vec::new();
    while !bulk.is_finished() {
        let start = Instant::now();
        calls.echo(&payload, urgency).await?;
        times.push(start.elapsed());
    }
    bulk.await??;
    Ok(times)
}
