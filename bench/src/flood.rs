//! What strangers at the door cost those who are in: calls to a worker while 200 connections without the credential come
//! to its port, again and again, or come and stay.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mosaic_comms::{Blob, CommsManager, Config, Context, Methods, UnixSockets, kwargs};

use crate::pair::{median, p99};

/// Connections of strangers at a time.
const STRANGERS: usize = 200;

/// Calls whose times are taken.
const CALLS: usize = 4000;

/// What a stranger does.
enum Stranger {
    /// Connects, sends a part of a handshake, and stays.
    Stays,
    /// Connects, sends this, and goes, as fast as 20 rounds a second of all of them.
    Sends(Vec<u8>),
}

pub async fn measure(head: &CommsManager, pid: u32, label: &str) -> Result<(), Box<dyn Error>> {
    let hello = client_hello().await?;
    let idle = times(head).await?;
    // Known by now: it has introduced itself with its first message.
    let port = head.uid_port("worker")?;
    println!("  {label}: call when idle {:?} (p99 {:?}), worker {} KiB", median(idle.clone()), p99(idle), memory(pid)?);
    for (name, stranger) in [
        ("200 that stay", Stranger::Stays),
        ("200 that come and go", Stranger::Sends(Vec::new())),
        ("200 with garbage", Stranger::Sends(vec![0x47; 600])),
        ("200 with a ClientHello", Stranger::Sends(hello)),
    ] {
        let (over, came) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let besieging = std::thread::spawn({
            let (over, came) = (over.clone(), came.clone());
            move || besiege(port, &stranger, &over, &came)
        });
        let begun = Instant::now();
        let besieged = times(head).await?;
        let rate = came.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
        over.store(true, Ordering::Relaxed);
        besieging.join().map_err(|_| "the siege failed")?;
        let (median, p99) = (median(besieged.clone()), p99(besieged));
        println!("  {label}: call, {name} {median:?} (p99 {p99:?}), {rate:.0} connections/s, worker {} KiB", memory(pid)?);
    }
    Ok(())
}

async fn times(head: &CommsManager) -> Result<Vec<Duration>, Box<dyn Error>> {
    let value = Blob::from(vec![7_u8; 64]);
    let mut times = Vec::new();
    for _ in 0..CALLS {
        let start = Instant::now();
        let _: Blob = head.send_recv("worker", "echo", kwargs! { value: &value }).await?;
        times.push(start.elapsed());
    }
    Ok(times)
}

fn besiege(port: u16, stranger: &Stranger, over: &AtomicBool, came: &AtomicU64) {
    let connect = || TcpStream::connect(("127.0.0.1", port));
    while !over.load(Ordering::Relaxed) {
        let bytes: &[u8] = match stranger {
            Stranger::Stays => &[0x16, 3, 1, 2, 0, 1],
            Stranger::Sends(bytes) => bytes,
        };
        let streams: Vec<_> = (0..STRANGERS).filter_map(|_| connect().ok()).collect();
        for mut stream in &streams {
            // Whoever is thrown out has what he deserves.
            let _ = stream.write_all(bytes);
        }
        came.fetch_add(streams.len() as u64, Ordering::Relaxed);
        let pause = match stranger {
            Stranger::Stays => Duration::from_secs(2),
            Stranger::Sends(_) => Duration::from_millis(50),
        };
        let until = Instant::now() + pause;
        while Instant::now() < until && !over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The first bytes of somebody who holds another job's credential.
async fn client_hello() -> Result<Vec<u8>, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let config = Config::default().address("127.0.0.1").unix_sockets(UnixSockets::Avoid);
    let config = config.context(Context::builder().build()?).handshake_within(Duration::from_secs(1));
    let other = CommsManager::start("monitor", Methods::new(), config).await?;
    let listening = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let mut bytes = vec![0; 4096];
        let read = stream.read(&mut bytes)?;
        bytes.truncate(read);
        Ok::<_, std::io::Error>(bytes)
    });
    // It fails: nobody answers.
    let _ = other.connect_send("worker", "127.0.0.1", port).await;
    other.stop().await;
    Ok(listening.join().map_err(|_| "the listener failed")??)
}

/// The memory of a process that is its own, in KiB.
fn memory(pid: u32) -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
