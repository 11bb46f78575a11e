//! A worker in Rust, for heads in any language: `python/examples/rust_workers.py` starts some.
//!
//! ```text
//! MOSAIC_MONITOR_HOST=127.0.0.1 MOSAIC_MONITOR_PORT=4000 cargo run --example diffusion_worker -- worker:0
//! ```

use std::error::Error;

use mosaic_comms::{Array, CommsManager, Config, Event, HandlerError};

/// Computes; it holds nothing between calls.
struct Worker;

#[mosaic_comms::runtime]
impl Worker {
    /// Lets each inner point of a rod become the mean of its two neighbours, so many times.
    pub fn diffuse(&self, rod: Array<f64>, steps: usize) -> Result<Array<f64>, HandlerError> {
        if rod.shape().len() != 1 {
            return Err(HandlerError::new("shape", format!("a rod has one axis, not {}", rod.shape().len())));
        }
        let mut rod = rod.into_vec();
        let mut next = rod.clone();
        for _ in 0..steps {
            for (point, neighbours) in next.iter_mut().skip(1).zip(rod.windows(3)) {
                *point = (neighbours[0] + neighbours[2]) / 2.0;
            }
            std::mem::swap(&mut rod, &mut next);
        }
        Ok(Array::from(rod))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let uid = std::env::args().nth(1).ok_or("usage: diffusion_worker UID")?;
    let comms = CommsManager::start(uid, Worker, Config::from_env()?.address("127.0.0.1")).await?;
    // They end when somebody has stopped this runtime.
    let mut events = comms.events();
    while let Some(event) = events.next().await {
        if matches!(event, Event::Disconnected { uid, .. } if uid.as_str() == "monitor") {
            break;
        }
    }
    comms.stop().await;
    Ok(())
}
