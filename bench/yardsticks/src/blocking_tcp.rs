//! Blocking TCP: one thread a side, frames with their length in front, buffers that are used again.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use bytes::{Bytes, BytesMut};

use crate::frames::{Frames, serve};
use crate::outcome::Outcome;
use crate::part::Part;
use crate::peer::{Peer, executor, run_frames};
use crate::process::Server;
use crate::sheet::Sheet;

pub struct BlockingTcp;

impl Peer for BlockingTcp {
    fn id(&self) -> &'static str {
        "blocking-tcp"
    }

    fn title(&self) -> &'static str {
        "blocking TCP"
    }

    fn about(&self) -> &'static str {
        "blocking sockets, one thread a side; length-prefixed frames, written together while nothing is read; the \
         receive buffer is used again"
    }

    fn serve(&self, _details: &[&str]) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("{}", listener.local_addr()?);
        let mut stream = Stream::new(listener.accept()?.0)?;
        executor()?.block_on(serve(&mut stream))
    }

    fn measure(&self, part: Part, sheet: &Sheet) -> Outcome {
        let mut server = Server::start(self.id(), &[])?;
        let stream = Stream::new(TcpStream::connect(server.line()?)?)?;
        executor()?.block_on(run_frames(stream, server, part, sheet))
    }
}

/// From this size on, frames are written by themselves.
const LARGE: usize = 64 << 10;

struct Stream {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    /// What is to be written before anything is waited for.
    pending: Vec<u8>,
    /// The frame that was received last: used again if nobody holds it any more.
    last: Bytes,
}

impl Stream {
    fn new(stream: TcpStream) -> Outcome<Stream> {
        stream.set_nodelay(true)?;
        let reader = BufReader::with_capacity(LARGE, stream.try_clone()?);
        Ok(Stream { reader, writer: stream, pending: Vec::new(), last: Bytes::new() })
    }

    fn flush(&mut self) -> Outcome {
        self.writer.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }
}

impl Frames for Stream {
    async fn send(&mut self, frame: Bytes) -> Outcome {
        self.pending.extend_from_slice(&(frame.len() as u64).to_le_bytes());
        if frame.len() < LARGE {
            self.pending.extend_from_slice(&frame);
            return if self.pending.len() < LARGE { Ok(()) } else { self.flush() };
        }
        self.flush()?;
        Ok(self.writer.write_all(&frame)?)
    }

    async fn receive(&mut self) -> Outcome<Bytes> {
        if self.reader.buffer().is_empty() {
            self.flush()?;
        }
        let mut length = [0; 8];
        self.reader.read_exact(&mut length)?;
        let last = std::mem::take(&mut self.last);
        let mut buffer = last.try_into_mut().unwrap_or_else(|_| BytesMut::new());
        buffer.resize(u64::from_le_bytes(length) as usize, 0);
        self.reader.read_exact(&mut buffer)?;
        self.last = buffer.freeze();
        Ok(self.last.clone())
    }
}
