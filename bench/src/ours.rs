//! Mosaic with everything on: envelope, ids, order, lanes, credit, acknowledgement, decoded replies.

use std::error::Error;
use std::io::Read;
use std::time::{Duration, Instant};

use mosaic_comms::{Array, Blob, CommsManager, Config, Context, Methods, Security, UnixSockets, kwargs};

use crate::pair::{Pinning, Role, median, p99, start};

/// How the two processes are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Unix,
    Tcp,
    Tls,
}

impl Transport {
    pub const ALL: [Transport; 3] = [Transport::Unix, Transport::Tcp, Transport::Tls];

    pub fn name(self) -> &'static str {
        match self {
            Transport::Unix => "unix",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        }
    }
}

fn executor() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn config(transport: Transport) -> Config {
    let config = Config::default().address("127.0.0.1");
    match transport {
        Transport::Unix => config,
        Transport::Tcp => config.unix_sockets(UnixSockets::Avoid).security(Security::Insecure),
        Transport::Tls => config.unix_sockets(UnixSockets::Avoid),
    }
}

fn methods() -> Methods {
    Methods::new()
        .method("echo", |args, _| async move { Ok(args.get::<Blob>("value")?) })
        .method("note", |_, _| async move { Ok(()) })
        .method("take", |args, _| async move { Ok(args.get::<Array<f64>>("value")?.len()) })
        .method("give", |args, _| async move { Ok(args.get::<Array<f64>>("value")?) })
        .method("burn", |args, _| async move {
            let end = Instant::now() + Duration::from_millis(args.get("ms")?);
            while Instant::now() < end {
                std::hint::spin_loop();
            }
            Ok(())
        })
}

pub fn serve(port: u16, uid: &str, transport: Transport) -> Result<(), Box<dyn Error>> {
    let executor = executor()?;
    let comms = executor.block_on(CommsManager::start(uid, methods(), config(transport).monitor("127.0.0.1", port)))?;
    // The parent's end of our input is the sign to stop.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    executor.block_on(comms.stop());
    Ok(())
}

pub fn measure(pinning: Pinning, transport: Transport, only: Option<&str>) -> Result<(), Box<dyn Error>> {
    pinning.apply()?;
    let executor = executor()?;
    executor.block_on(async {
        let context = Context::builder().build()?;
        let head = CommsManager::start("monitor", Methods::new(), config(transport).context(context)).await?;
        let peer = start(&Role::Mosaic { port: head.port(), uid: "worker".to_owned(), transport })?;
        head.wait_for("worker").deadline(Duration::from_secs(10)).await?;
        if only.is_none_or(|only| only == "handshake") {
            handshakes(&head, transport).await?;
        }
        let label = format!("mosaic, {}", transport.name());
        let wanted = |figure| only.is_none_or(|only| only == figure);
        if wanted("round-trip") {
            round_trips(&head, &label).await?;
        }
        if wanted("outstanding") {
            outstanding(&head, &label).await?;
        }
        if wanted("one-way") {
            one_way(&head, &label).await?;
        }
        for (name, bytes, rounds) in [("1 MiB", 1 << 20, 200), ("64 MiB", 64 << 20, 12)] {
            if wanted("arrays") {
                arrays(&head, &label, name, bytes, rounds).await?;
            }
        }
        if wanted("express") {
            express_during_bulk(&head, &label).await?;
        }
        if transport == Transport::Tls && wanted("flood") {
            crate::flood::measure(&head, peer.0.id(), &label).await?;
        }
        if wanted("heart") {
            heart_while_computing(&head, &label).await?;
        }
        head.stop().await;
        drop(peer);
        Ok(())
    })
}

/// From nothing to the known topology, each with a context of its own, in this process over the real transport.
async fn handshakes(head: &CommsManager, transport: Transport) -> Result<(), Box<dyn Error>> {
    let mut times = Vec::new();
    for number in 0..50 {
        let context = Context::builder().build()?;
        let config = config(transport).context(context);
        let joiner = CommsManager::new(format!("joiner:{number}"), Methods::new(), config)?;
        joiner.connect_recv().await?;
        let start = Instant::now();
        joiner.handshake("monitor", &head.address(), head.port()).await?;
        times.push(start.elapsed());
        joiner.stop().await;
    }
    println!("  mosaic, {}: handshake {:?} (p99 {:?})", transport.name(), median(times.clone()), p99(times));
    Ok(())
}

async fn round_trips(head: &CommsManager, label: &str) -> Result<(), Box<dyn Error>> {
    let value = Blob::from(vec![7_u8; 64]);
    let mut times = Vec::new();
    for _ in 0..20_000 {
        let start = Instant::now();
        let _: Blob = head.send_recv("worker", "echo", kwargs! { value: &value }).await?;
        times.push(start.elapsed());
    }
    println!("  {label}: round trip 64 B {:?} (p99 {:?})", median(times.clone()), p99(times));
    Ok(())
}

async fn outstanding(head: &CommsManager, label: &str) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..64 {
        let head = head.clone();
        tasks.push(tokio::spawn(async move {
            let value = Blob::from(vec![7_u8; 64]);
            let mut count = 0_u32;
            while start.elapsed() < Duration::from_secs(1) {
                let reply: Result<Blob, _> = head.send_recv("worker", "echo", kwargs! { value: &value }).await;
                count += u32::from(reply.is_ok());
            }
            count
        }));
    }
    let mut count = 0;
    for task in tasks {
        count += task.await?;
    }
    println!("  {label}: 64 outstanding {:.0} k calls/s", f64::from(count) / start.elapsed().as_secs_f64() / 1e3);
    Ok(())
}

async fn one_way(head: &CommsManager, label: &str) -> Result<(), Box<dyn Error>> {
    let value = Blob::from(vec![7_u8; 64]);
    let start = Instant::now();
    let count = 500_000_u32;
    for _ in 0..count {
        head.send("worker", "note", kwargs! { value: &value }).await?;
    }
    let _: Blob = head.send_recv("worker", "echo", kwargs! { value: &value }).await?;
    println!("  {label}: one way {:.2} M/s", f64::from(count) / start.elapsed().as_secs_f64() / 1e6);
    Ok(())
}

async fn arrays(
    head: &CommsManager, label: &str, name: &str, bytes: usize, rounds: usize,
) -> Result<(), Box<dyn Error>> {
    let array = Array::from(vec![1.0_f64; bytes / 8]);
    let mut times = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        let _: usize = head.send_recv("worker", "take", kwargs! { value: &array }).await?;
        times.push(start.elapsed());
    }
    let rate = bytes as f64 / median(times).as_secs_f64() / 1e9;
    println!("  {label}: array {name} {rate:.2} GB/s");
    Ok(())
}

/// Every executor thread of the worker computes, and 1 GiB is under way to it.
async fn heart_while_computing(head: &CommsManager, label: &str) -> Result<(), Box<dyn Error>> {
    let array = Array::from(vec![1.0_f64; (1 << 30) / 8]);
    let threads = std::thread::available_parallelism()?.get();
    let mut burning = Vec::new();
    for _ in 0..threads {
        let head = head.clone();
        let burn = async move { head.send_recv::<()>("worker", "burn", kwargs! { ms: 2000 }).express().await.is_ok() };
        burning.push(tokio::spawn(burn));
    }
    let bulk = tokio::spawn({
        let head = head.clone();
        async move { head.send_recv::<usize>("worker", "take", kwargs! { value: &array }).await.is_ok() }
    });
    let mut times = Vec::new();
    while !burning.iter().all(tokio::task::JoinHandle::is_finished) {
        times.push(head.ping("worker").await?.round_trip);
    }
    let (count, slowest) = (times.len(), times.iter().max().copied().unwrap_or_default());
    println!("  {label}: heart while all compute and 1 GiB goes {:?} (p99 {:?}, max {slowest:?}, n {count})", median(times.clone()), p99(times));
    println!("  {label}: 1 GiB arrived: {}", bulk.await?);
    Ok(())
}

async fn express_during_bulk(head: &CommsManager, label: &str) -> Result<(), Box<dyn Error>> {
    let array = Array::from(vec![1.0_f64; (256 << 20) / 8]);
    let value = Blob::from(vec![7_u8; 64]);
    let mut times = Vec::new();
    for _ in 0..3 {
        let bulk = tokio::spawn({
            let (head, array) = (head.clone(), array.clone());
            async move { head.send_recv::<usize>("worker", "take", kwargs! { value: &array }).await.is_ok() }
        });
        while !bulk.is_finished() {
            let start = Instant::now();
            let _: Blob = head.send_recv("worker", "echo", kwargs! { value: &value }).express().await?;
            times.push(start.elapsed());
        }
    }
    println!("  {label}: express 64 B during 256 MiB {:?} (p99 {:?}, n {})", median(times.clone()), p99(times.clone()), times.len());
    Ok(())
}
