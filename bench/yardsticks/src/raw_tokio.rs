//! Raw tokio over TCP, a reader and a writer task on each side, without ids, replies or back-pressure: the yardstick.

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::frames::{Frames, serve};
use crate::outcome::Outcome;
use crate::part::Part;
use crate::peer::{Peer, executor, run_frames};
use crate::process::Server;
use crate::sheet::Sheet;

pub struct RawTokio;

impl Peer for RawTokio {
    fn id(&self) -> &'static str {
        "raw-tokio"
    }

    fn title(&self) -> &'static str {
        "raw tokio"
    }

    fn about(&self) -> &'static str {
        "tokio over TCP, a reader and a writer task a side, length-prefixed frames through unbounded channels; no ids, \
         no replies, no back-pressure"
    }

    fn serve(&self, _details: &[&str]) -> Outcome {
        executor()?.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            println!("{}", listener.local_addr()?);
            serve(&mut Tasks::start(listener.accept().await?.0)?).await
        })
    }

    fn measure(&self, part: Part, sheet: &Sheet) -> Outcome {
        let mut server = Server::start(self.id(), &[])?;
        executor()?.block_on(async {
            let tasks = Tasks::start(TcpStream::connect(server.line()?).await?)?;
            run_frames(tasks, server, part, sheet).await
        })
    }
}

/// From this size on, frames are written by themselves.
const LARGE: usize = 64 << 10;

struct Tasks {
    outgoing: UnboundedSender<Bytes>,
    incoming: UnboundedReceiver<Bytes>,
}

impl Tasks {
    fn start(stream: TcpStream) -> Outcome<Tasks> {
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let (outgoing, queue) = unbounded_channel();
        let (arrived, incoming) = unbounded_channel();
        tokio::spawn(read(reader, arrived));
        tokio::spawn(write(writer, queue));
        Ok(Tasks { outgoing, incoming })
    }
}

/// Ends with the stream, or with whoever receives.
async fn read(reader: OwnedReadHalf, arrived: UnboundedSender<Bytes>) -> std::io::Result<()> {
    let mut reader = BufReader::with_capacity(LARGE, reader);
    loop {
        let mut frame = vec![0; reader.read_u64_le().await? as usize];
        reader.read_exact(&mut frame).await?;
        if arrived.send(Bytes::from(frame)).is_err() {
            return Ok(());
        }
    }
}

/// Writes what is queued, together where it is small, until nobody sends any more.
async fn write(mut writer: OwnedWriteHalf, mut queue: UnboundedReceiver<Bytes>) -> std::io::Result<()> {
    let mut batch = Vec::new();
    while let Some(first) = queue.recv().await {
        let mut next = Some(first);
        while let Some(frame) = next {
            batch.extend_from_slice(&(frame.len() as u64).to_le_bytes());
            if frame.len() < LARGE {
                batch.extend_from_slice(&frame);
            } else {
                writer.write_all(&batch).await?;
                batch.clear();
                writer.write_all(&frame).await?;
            }
            next = if batch.len() < LARGE { queue.try_recv().ok() } else { None };
        }
        writer.write_all(&batch).await?;
        batch.clear();
    }
    Ok(())
}

impl Frames for Tasks {
    async fn send(&mut self, frame: Bytes) -> Outcome {
        Ok(self.outgoing.send(frame)?)
    }

    async fn receive(&mut self) -> Outcome<Bytes> {
        Ok(self.incoming.recv().await.ok_or("closed")?)
    }
}
