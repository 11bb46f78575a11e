//! ZeroMQ in Rust by the crate `omq-tokio`, a ROUTER on each side over TCP.

use std::time::Duration;

use bytes::Bytes;
use omq_tokio::{Context, IdentitySocket, Message, Options, SocketType};

use crate::frames::{Frames, serve};
use crate::outcome::Outcome;
use crate::part::Part;
use crate::peer::{Peer, executor, run_frames};
use crate::process::Server;
use crate::sheet::Sheet;

pub struct Omq;

const SERVER: &str = "server";
const CLIENT: &str = "client";

impl Peer for Omq {
    fn id(&self) -> &'static str {
        "omq-tokio"
    }

    fn title(&self) -> &'static str {
        "omq-tokio"
    }

    fn about(&self) -> &'static str {
        "the crate `omq-tokio` 0.33, ROUTER to ROUTER over TCP, with I/O threads of its own"
    }

    fn serve(&self, _details: &[&str]) -> Outcome {
        let context = Context::new();
        executor()?.block_on(async {
            let mut router = Router::new(&context, SERVER, CLIENT)?;
            println!("{}", router.socket.bind("tcp://127.0.0.1:0").await?);
            serve(&mut router).await
        })
    }

    fn measure(&self, part: Part, sheet: &Sheet) -> Outcome {
        let mut server = Server::start(self.id(), &[])?;
        let context = Context::new();
        executor()?.block_on(async {
            let router = Router::new(&context, CLIENT, SERVER)?;
            router.socket.connect(server.line()?.as_str()).await?;
            router.socket.wait_connected(1, Duration::from_secs(5)).await?;
            run_frames(router, server, part, sheet).await
        })
    }
}

struct Router {
    socket: IdentitySocket,
    to: &'static str,
}

impl Router {
    fn new(context: &Context, own: &'static str, to: &'static str) -> Outcome<Router> {
        let options = Options::default().identity(own).router_mandatory(true);
        let socket = context.socket(SocketType::Router, options).identity_routing()?;
        Ok(Router { socket, to })
    }
}

impl Frames for Router {
    async fn send(&mut self, frame: Bytes) -> Outcome {
        Ok(self.socket.send_to(self.to, Message::single(frame)).await?)
    }

    async fn receive(&mut self) -> Outcome<Bytes> {
        let (_, message) = self.socket.recv_from().await?;
        Ok(message.into_bytes().map_err(|_| "a message of several parts")?)
    }
}
