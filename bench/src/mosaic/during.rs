//! Hearts while a peer does all that it can.

use mosaic_comms::{Array, CommsManager, kwargs};
use mosaic_yardsticks::outcome::Outcome;
use mosaic_yardsticks::sheet::{Sheet, quantile};
use tokio::task::JoinHandle;

use super::WORKER;

/// Every executor thread of the worker computes, and arrays of 256 MiB are under way to it, one after the other.
pub async fn hearts(head: &CommsManager, sheet: &Sheet) -> Outcome {
    let array = Array::from(vec![1.0_f64; (256 << 20) / 8]);
    let span = sheet.span() * 8;
    let threads = std::thread::available_parallelism()?.get();
    let burning: Vec<JoinHandle<Outcome>> = (0..threads)
        .map(|_| {
            let head = head.clone();
            let milliseconds = span.as_millis() as u64;
            tokio::spawn(async move {
                Ok(head.send_recv::<()>(WORKER, "burn", kwargs! { ms: milliseconds }).express().await?)
            })
        })
        .collect();
    let bulk = tokio::spawn({
        let head = head.clone();
        async move {
            loop {
                if head.send_recv::<usize>(WORKER, "take", kwargs! { value: &array }).await.is_err() {
                    return;
                }
            }
        }
    });
    let mut times = Vec::new();
    while !burning.iter().all(JoinHandle::is_finished) {
        times.push(head.ping(WORKER).await?.round_trip);
    }
    bulk.abort();
    for burnt in burning {
        burnt.await??;
    }
    sheet.write("heart-p50", quantile(times.clone(), 0.5)?)?;
    sheet.write("heart-p999", quantile(times, 0.999)?)
}
