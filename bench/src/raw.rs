//! Raw tokio over TCP, a reader and a writer task on each side: the yardstick.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::pair::{Pinning, Role, median, start};

const FRAME: usize = 64;

fn executor() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

pub fn serve() -> Result<(), Box<dyn Error>> {
    executor()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?.port());
        let (stream, _) = listener.accept().await?;
        let (mut frames, writer) = split(stream)?;
        while let Some(frame) = frames.recv().await {
            writer.send(frame)?;
        }
        Ok(())
    })
}

type Frame = [u8; FRAME];

fn split(stream: TcpStream) -> Result<(mpsc::UnboundedReceiver<Frame>, mpsc::UnboundedSender<Frame>), Box<dyn Error>> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.into_split();
    let (incoming, frames) = mpsc::unbounded_channel();
    let (outgoing, mut queue) = mpsc::unbounded_channel::<Frame>();
    tokio::spawn(async move {
        let mut reader = tokio::io::BufReader::with_capacity(64 * 1024, &mut reader);
        let mut frame = [0; FRAME];
        while reader.read_exact(&mut frame).await.is_ok() && incoming.send(frame).is_ok() {}
    });
    tokio::spawn(async move {
        let mut batch = Vec::new();
        while let Some(frame) = queue.recv().await {
            batch.extend_from_slice(&frame);
            while let Ok(frame) = queue.try_recv() {
                batch.extend_from_slice(&frame);
            }
            if writer.write_all(&batch).await.is_err() {
                return;
            }
            batch.clear();
        }
    });
    Ok((frames, outgoing))
}

pub fn measure(pinning: Pinning) -> Result<(), Box<dyn Error>> {
    pinning.apply()?;
    let mut peer = start(&Role::Raw)?;
    let mut line = String::new();
    BufReader::new(peer.0.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let port: u16 = line.trim().parse()?;
    executor()?.block_on(async {
        let (mut frames, writer) = split(TcpStream::connect(("127.0.0.1", port)).await?)?;
        let mut round_trips = Vec::new();
        for _ in 0..20_000 {
            let start = Instant::now();
            writer.send([7; FRAME])?;
            frames.recv().await.ok_or("closed")?;
            round_trips.push(start.elapsed());
        }
        println!("  raw tokio tasks, TCP: round trip 64 B {:?}", median(round_trips));
        let start = Instant::now();
        let (mut sent, mut received) = (0_u32, 0_u32);
        while start.elapsed() < Duration::from_secs(1) {
            while sent - received < 64 {
                writer.send([7; FRAME])?;
                sent += 1;
            }
            frames.recv().await.ok_or("closed")?;
            received += 1;
        }
        println!("  raw tokio tasks, TCP: 64 outstanding {:.0} k/s", f64::from(received) / start.elapsed().as_secs_f64() / 1e3);
        Ok(())
    })
}
