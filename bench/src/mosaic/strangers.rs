//! What strangers at the door cost those who are in: calls to a worker while 200 connections without the credential come
//! to its port, again and again, or come and stay.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mosaic_comms::{Blob, CommsManager, Config, Context, Methods, UnixSockets, kwargs};
use mosaic_yardsticks::outcome::Outcome;
use mosaic_yardsticks::sheet::{Sheet, quantile};

use super::WORKER;

/// Connections of strangers at a time.
const STRANGERS: usize = 200;

/// What a stranger does.
enum Stranger {
    /// Connects, sends a part of a handshake, and stays.
    Stays,
    /// Connects, sends this, and goes, as fast as 20 rounds a second of all of them.
    Sends(Vec<u8>),
}

/// Writes by how much the 99th percentile of a call grows.
pub async fn measure(head: &CommsManager, sheet: &Sheet) -> Outcome {
    let hello = client_hello().await?;
    let idle = slow_call(head, sheet).await?;
    // Known by now: it has introduced itself with its first message.
    let port = head.uid_port(WORKER)?;
    for (id, stranger) in [
        ("strangers-stay", Stranger::Stays),
        ("strangers-go", Stranger::Sends(Vec::new())),
        ("strangers-garbage", Stranger::Sends(vec![0x47; 600])),
        ("strangers-hello", Stranger::Sends(hello)),
    ] {
        let over = Arc::new(AtomicBool::new(false));
        let besieging = std::thread::spawn({
            let over = over.clone();
            move || besiege(port, &stranger, &over)
        });
        let besieged = slow_call(head, sheet).await;
        over.store(true, Ordering::Relaxed);
        besieging.join().map_err(|_| "the siege failed")?;
        sheet.write(id, besieged? / idle)?;
    }
    Ok(())
}

/// The 99th percentile of calls of 64 B.
async fn slow_call(head: &CommsManager, sheet: &Sheet) -> Outcome<f64> {
    let value = Blob::from(vec![7_u8; 64]);
    let times = sheet.times(async || {
        let _: Blob = head.send_recv(WORKER, "echo", kwargs! { value: &value }).await?;
        Ok(())
    });
    quantile(times.await?, 0.99)
}

fn besiege(port: u16, stranger: &Stranger, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let (bytes, pause): (&[u8], _) = match stranger {
            Stranger::Stays => (&[0x16, 3, 1, 2, 0, 1], Duration::from_secs(2)),
            Stranger::Sends(bytes) => (bytes, Duration::from_millis(50)),
        };
        let connect = || TcpStream::connect(("127.0.0.1", port));
        let streams: Vec<_> = (0..STRANGERS).filter_map(|_| connect().ok()).collect();
        for mut stream in &streams {
            // Whoever is thrown out has what he deserves.
            let _ = stream.write_all(bytes);
        }
        let until = Instant::now() + pause;
        while Instant::now() < until && !over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The first bytes of somebody who holds another job's credential.
async fn client_hello() -> Outcome<Vec<u8>> {
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
    let _ = other.connect_send(WORKER, "127.0.0.1", port).await;
    other.stop().await;
    Ok(listening.join().map_err(|_| "the listener failed")??)
}
