//! libzmq by the crate `zmq`, a ROUTER on each side over TCP.

use std::time::{Duration, Instant};

use bytes::Bytes;
use zmq::{Context, Message, ROUTER, SNDMORE, Socket};

use crate::frames::{Frames, serve};
use crate::outcome::Outcome;
use crate::part::Part;
use crate::peer::{Peer, executor, run_frames};
use crate::process::Server;
use crate::sheet::Sheet;

pub struct Libzmq;

const SERVER: &str = "server";
const CLIENT: &str = "client";

impl Peer for Libzmq {
    fn id(&self) -> &'static str {
        "libzmq"
    }

    fn title(&self) -> &'static str {
        "libzmq"
    }

    fn about(&self) -> &'static str {
        "libzmq 4.3 by the crate `zmq` 0.10, ROUTER to ROUTER over TCP, with its own limits (1000 messages)"
    }

    fn serve(&self, _details: &[&str]) -> Outcome {
        let router = Router::new(SERVER, CLIENT)?;
        router.socket.bind("tcp://127.0.0.1:*")?;
        println!("{}", router.socket.get_last_endpoint()?.map_err(|_| "no endpoint")?);
        executor()?.block_on(serve(&mut { router }))
    }

    fn measure(&self, part: Part, sheet: &Sheet) -> Outcome {
        let mut server = Server::start(self.id(), &[])?;
        let router = Router::new(CLIENT, SERVER)?;
        router.socket.connect(&server.line()?)?;
        router.wait_for_peer()?;
        executor()?.block_on(run_frames(router, server, part, sheet))
    }
}

struct Router {
    socket: Socket,
    to: &'static str,
}

impl Router {
    fn new(own: &str, to: &'static str) -> Outcome<Router> {
        let socket = Context::new().socket(ROUTER)?;
        socket.set_identity(own.as_bytes())?;
        // Back-pressure in place of loss.
        socket.set_router_mandatory(true)?;
        socket.set_linger(0)?;
        Ok(Router { socket, to })
    }

    /// A ROUTER can't send before it knows its peer, and nothing tells it when it does. An empty frame is ignored.
    fn wait_for_peer(&self) -> Outcome {
        let deadline = Instant::now() + Duration::from_secs(5);
        while let Err(error) = self.socket.send_multipart([self.to, ""], 0) {
            if error != zmq::Error::EHOSTUNREACH || Instant::now() > deadline {
                return Err(error.into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// A message as the bytes that it holds.
struct Body(Message);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Frames for Router {
    async fn send(&mut self, frame: Bytes) -> Outcome {
        self.socket.send(self.to, SNDMORE)?;
        Ok(self.socket.send(&frame[..], 0)?)
    }

    async fn receive(&mut self) -> Outcome<Bytes> {
        let mut body = Message::new();
        self.socket.recv(&mut body, 0)?;
        self.socket.recv(&mut body, 0)?;
        Ok(Bytes::from_owner(Body(body)))
    }
}
