//! Peers that carry frames and nothing else: what an answer belongs to, the program knows by their order.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::flood::{self, MESSAGE};
use crate::outcome::Outcome;
use crate::sheet::{Sheet, quantile};

/// Frames in both directions, in order.
pub trait Frames {
    fn send(&mut self, frame: Bytes) -> impl Future<Output = Outcome>;
    fn receive(&mut self) -> impl Future<Output = Outcome<Bytes>>;
}

/// The first byte of a frame says what is to be done with it.
const ECHO: u8 = 0;
const NOTE: u8 = 1;
const TAKE: u8 = 2;
/// Eight bytes follow: the size of the frame that is wanted.
const GIVE: u8 = 3;

fn frame(tag: u8, size: usize) -> Bytes {
    let mut bytes = vec![7; size];
    bytes[0] = tag;
    Bytes::from(bytes)
}

/// Does what the frames ask for, until there are no more.
pub async fn serve(frames: &mut impl Frames) -> Outcome {
    let mut given = Bytes::new();
    while let Ok(frame) = frames.receive().await {
        match frame.first() {
            Some(&ECHO) => frames.send(frame).await?,
            Some(&TAKE) => frames.send(Bytes::copy_from_slice(&frame.len().to_le_bytes())).await?,
            Some(&GIVE) => {
                let size = u64::from_le_bytes(frame[1..9].try_into()?) as usize;
                if given.len() != size {
                    given = self::frame(ECHO, size);
                }
                frames.send(given.clone()).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Measures everything that frames can do but floods.
pub async fn measure(frames: &mut impl Frames, sheet: &Sheet) -> Outcome {
    for (id, size) in [("round-trip-64", 64), ("round-trip-1k", 1 << 10), ("round-trip-64k", 64 << 10)] {
        let echo = frame(ECHO, size);
        sheet.write_times(id, sheet.times(async || exchange(frames, &echo).await).await?)?;
    }
    outstanding(frames, sheet).await?;
    one_way(frames, sheet).await?;
    for (id, size) in [("array-1m", 1 << 20), ("array-64m", 64 << 20)] {
        let take = frame(TAKE, size);
        let times = sheet.times(async || exchange(frames, &take).await).await?;
        sheet.write(id, size as f64 / quantile(times, 0.5)?)?;
    }
    behind_bulk(frames, sheet).await
}

async fn exchange(frames: &mut impl Frames, frame: &Bytes) -> Outcome {
    frames.send(frame.clone()).await?;
    frames.receive().await?;
    Ok(())
}

async fn outstanding(frames: &mut impl Frames, sheet: &Sheet) -> Outcome {
    let echo = frame(ECHO, 64);
    let (mut sent, mut received) = (0_u64, 0_u64);
    let begun = Instant::now();
    while begun.elapsed() < sheet.span() {
        while sent - received < 64 {
            frames.send(echo.clone()).await?;
            sent += 1;
        }
        frames.receive().await?;
        received += 1;
    }
    sheet.write("outstanding-64", received as f64 / begun.elapsed().as_secs_f64())?;
    while received < sent {
        frames.receive().await?;
        received += 1;
    }
    Ok(())
}

async fn one_way(frames: &mut impl Frames, sheet: &Sheet) -> Outcome {
    let (note, echo) = (frame(NOTE, 64), frame(ECHO, 64));
    let (mut count, mut rounds) = (0_u32, Duration::ZERO);
    // In rounds: a peer without back-pressure would otherwise pile up what it can't send.
    while rounds < sheet.span() {
        let begun = Instant::now();
        for _ in 0..50_000 {
            frames.send(note.clone()).await?;
        }
        exchange(frames, &echo).await?;
        count += 50_000;
        rounds += begun.elapsed();
    }
    sheet.write("one-way-64", f64::from(count) / rounds.as_secs_f64())
}

/// A small frame that is handed over right behind a large one, in both directions.
async fn behind_bulk(frames: &mut impl Frames, sheet: &Sheet) -> Outcome {
    const BULK: usize = 256 << 20;
    let mut give = frame(GIVE, 64).to_vec();
    give[1..9].copy_from_slice(&BULK.to_le_bytes());
    for (id, bulk) in
        [("express-during-bulk-p50", frame(TAKE, BULK)), ("reply-during-bulk-p50", Bytes::from(give))]
    {
        let echo = frame(ECHO, 64);
        let mut times = Vec::new();
        for _ in 0..3 {
            let begun = Instant::now();
            frames.send(bulk.clone()).await?;
            exchange(frames, &echo).await?;
            frames.receive().await?;
            times.push(begun.elapsed());
        }
        sheet.write(id, quantile(times, 0.5)?)?;
    }
    Ok(())
}

/// Sends to a receiver that does not read, until stopped from elsewhere or a GiB is sent.
pub async fn flood(frames: &mut impl Frames) -> Outcome {
    let note = frame(NOTE, MESSAGE);
    for _ in 0..flood::MESSAGES {
        // A program that keeps sending makes each message anew.
        frames.send(Bytes::copy_from_slice(&note)).await?;
    }
    Ok(())
}
