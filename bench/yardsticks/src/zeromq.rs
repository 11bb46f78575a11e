//! ZeroMQ in Rust by the crate `zeromq`, a ROUTER on each side over TCP.

use bytes::Bytes;
use zeromq::util::PeerIdentity;
use zeromq::{RouterSocket, Socket, SocketOptions, SocketRecv, SocketSend, ZmqMessage};

use crate::frames::{Frames, serve};
use crate::outcome::Outcome;
use crate::part::Part;
use crate::peer::{Peer, executor, run_frames};
use crate::process::Server;
use crate::sheet::Sheet;

pub struct Zeromq;

const SERVER: &str = "server";
const CLIENT: &str = "client";

impl Peer for Zeromq {
    fn id(&self) -> &'static str {
        "zeromq"
    }

    fn title(&self) -> &'static str {
        "zeromq"
    }

    fn about(&self) -> &'static str {
        "the crate `zeromq` 0.7 (zmq.rs), ROUTER to ROUTER over TCP"
    }

    fn serve(&self, _details: &[&str]) -> Outcome {
        executor()?.block_on(async {
            let mut router = Router::new(SERVER, CLIENT)?;
            println!("{}", router.socket.bind("tcp://127.0.0.1:0").await?);
            serve(&mut router).await
        })
    }

    fn measure(&self, part: Part, sheet: &Sheet) -> Outcome {
        let mut server = Server::start(self.id(), &[])?;
        executor()?.block_on(async {
            let mut router = Router::new(CLIENT, SERVER)?;
            router.socket.connect(&server.line()?).await?;
            run_frames(router, server, part, sheet).await
        })
    }
}

struct Router {
    socket: RouterSocket,
    to: Bytes,
}

impl Router {
    fn new(own: &str, to: &'static str) -> Outcome<Router> {
        let mut options = SocketOptions::default();
        options.peer_identity(own.parse::<PeerIdentity>()?);
        Ok(Router { socket: RouterSocket::with_options(options), to: Bytes::from_static(to.as_bytes()) })
    }
}

impl Frames for Router {
    async fn send(&mut self, frame: Bytes) -> Outcome {
        let mut message = ZmqMessage::from(frame);
        message.push_front(self.to.clone());
        Ok(self.socket.send(message).await?)
    }

    async fn receive(&mut self) -> Outcome<Bytes> {
        let message = self.socket.recv().await?;
        Ok(message.get(1).cloned().ok_or("a message without a body")?)
    }
}
