//! One trace over three processes: the head calls a worker, which calls the other, and each keeps the spans it was part of.
//!
//! ```text
//! cargo run --example trace
//! ```
//!
//! `main` is the head and its workers: it starts itself again once for each worker. `spans` keeps what has been traced, in
//! every process its own, and lays all of it out as one tree. A tracing system that a program has already would take the
//! place of `spans`.

mod spans;

use std::error::Error;
use std::process::ExitCode;

use mosaic_comms::{Call, TraceContext, kwargs, local};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use spans::{Keeper, Kept, tree};

/// A worker: `survey` shares its shots out, `shoot` fires one.
struct Worker;

#[mosaic_comms::runtime]
impl Worker {
    /// Fires shots by way of another worker, one after the other.
    pub async fn survey(&self, call: &Call, by: String, shots: u32) -> Result<u32, mosaic_comms::CallError> {
        let other = WorkerProxy::new(call.comms(), by);
        let mut sum = 0;
        for shot in 0..shots {
            sum += other.shoot(shot).await?;
        }
        Ok(sum)
    }

    /// Fires a shot, which takes some computing.
    pub fn shoot(&self, shot: u32) -> u32 {
        (0..=shot).sum()
    }

    /// The spans that this process has kept of a trace.
    pub async fn spans(&self, trace: String) -> Vec<Kept> {
        spans::kept(&trace)
    }
}

fn main() -> ExitCode {
    let outcome = local::worker(|uid| {
        listen(uid);
        Worker
    });
    match outcome.map_err(Into::into).and_then(|()| head()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Keeps the spans of Mosaic comms in this process.
fn listen(uid: &str) {
    let mosaic = Targets::new().with_target("mosaic_comms", LevelFilter::DEBUG);
    tracing_subscriber::registry().with(Keeper::new(uid).with_filter(mosaic)).init();
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the tree is this program's output")]
async fn head() -> Result<(), Box<dyn Error>> {
    listen("head");
    let network = local::Network::builder().workers(2).start().await?;
    let comms = network.head();
    // All that belongs together is in the scope of one context.
    let context = TraceContext::new();
    let arguments = kwargs! { by: "worker:1", shots: 2 };
    let survey = async { comms.send_recv::<u32>("worker:0", "survey", arguments).await };
    context.scope(survey).await?;

    let trace = format!("{:032x}", context.trace_id());
    let mut all = spans::kept(&trace);
    for worker in ["worker:0", "worker:1"] {
        all.extend(WorkerProxy::new(comms, worker).spans(trace.clone()).await?);
    }
    println!("trace {trace}\n{}", tree(&all));
    network.stop().await;
    Ok(())
}
