//! What `cargo xtask counts` counts: `instructions CASE COUNT` does one thing so many times, on one thread and on a
//! virtual clock, so that it takes the same instructions each time.
//!
//! The command runs it twice under valgrind, with two counts, and takes the difference: what starting takes is left out.

use std::error::Error;
use std::hint::black_box;

use mosaic_comms::{Args, Blob, CommsManager, Config, Context, HandlerError, IntoArgs, Methods, kwargs};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (case, count) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    let count: u32 = count.parse().map_err(|_| "usage: instructions CASE COUNT")?;
    let executor = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    match case.as_str() {
        "encode" => encode(count),
        "decode" => decode(count),
        "dispatch" => executor.block_on(dispatch(count)),
        "round-trip" => executor.block_on(round_trips(count)),
        other => Err(format!("there is no case `{other}`").into()),
    }
}

fn value() -> Blob {
    Blob::from(vec![7; 64])
}

fn encode(count: u32) -> Result<(), Box<dyn Error>> {
    let value = value();
    for n in 0..count {
        black_box(kwargs! { n, factor: 0.5, value: &value }.into_args()?);
    }
    Ok(())
}

fn decode(count: u32) -> Result<(), Box<dyn Error>> {
    let encoded = kwargs! { n: 7, factor: 0.5, value: value() }.into_args()?;
    for _ in 0..count {
        let args = Args::new(black_box(&encoded.body).clone(), Vec::new())?;
        black_box((args.get::<u32>("n")?, args.get::<f64>("factor")?, args.get::<Blob>("value")?));
    }
    Ok(())
}

fn methods() -> Methods {
    Methods::new().method("echo", |args, _| async move { Ok::<_, HandlerError>(args.get::<Blob>("value")?) })
}

async fn call(caller: &CommsManager, uid: &str, count: u32) -> Result<(), Box<dyn Error>> {
    let value = value();
    for _ in 0..count {
        black_box(caller.send_recv::<Blob>(uid, "echo", kwargs! { value: &value }).await?);
    }
    Ok(())
}

/// Calls to oneself: dispatch, without a link.
async fn dispatch(count: u32) -> Result<(), Box<dyn Error>> {
    let config = Config::default().context(Context::simulated(1));
    let comms = CommsManager::start("monitor", methods(), config).await?;
    call(&comms, "monitor", count).await?;
    comms.stop().await;
    Ok(())
}

/// Calls over a link in memory: both sides together, with everything on.
async fn round_trips(count: u32) -> Result<(), Box<dyn Error>> {
    let config = Config::default().context(Context::simulated(1));
    let monitor = CommsManager::start("monitor", Methods::new(), config.clone()).await?;
    let config = config.monitor(monitor.address(), monitor.port());
    let worker = CommsManager::start("worker", methods(), config).await?;
    monitor.wait_for("worker").await?;
    call(&monitor, "worker", count).await?;
    worker.stop().await;
    monitor.stop().await;
    Ok(())
}
