//! tonic: gRPC over HTTP/2, with messages of prost. What its generator writes from a `.proto` file stands here by hand,
//! so that no protobuf compiler is needed.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::net::TcpListener;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{Body, BoxFuture, Service, StdError, http};
use tonic::server::{NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::calls::{self, Calls, Urgency};
use crate::outcome::Outcome;
use crate::part::Part;
use crate::peer::{Peer, executor};
use crate::process::{Pinning, Server};
use crate::sheet::Sheet;

pub struct Tonic;

/// Windows of HTTP/2, in bytes: with the usual 64 KiB, arrays would crawl.
const WINDOW: u32 = 16 << 20;

/// No limit to the size of messages.
const ANY_SIZE: usize = usize::MAX;

const PATH: PathAndQuery = PathAndQuery::from_static("/bench.Bench/Ask");

impl Peer for Tonic {
    fn id(&self) -> &'static str {
        "tonic"
    }

    fn title(&self) -> &'static str {
        "tonic"
    }

    fn about(&self) -> &'static str {
        "gRPC by the crate `tonic` 0.14 over TCP with messages of `prost`; windows of 16 MiB"
    }

    fn parts(&self, _pinning: Pinning) -> &'static [Part] {
        &[Part::Messages]
    }

    fn serve(&self, _details: &[&str]) -> Outcome {
        executor()?.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            println!("http://{}", listener.local_addr()?);
            let server = tonic::transport::Server::builder()
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(WINDOW)
                .add_service(Bench);
            Ok(server.serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))).await?)
        })
    }

    fn measure(&self, _part: Part, sheet: &Sheet) -> Outcome {
        let mut server = Server::start(self.id(), &[])?;
        executor()?.block_on(async {
            let endpoint = Endpoint::from_shared(server.line()?)?
                .tcp_nodelay(true)
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(WINDOW);
            calls::measure(&Client(endpoint.connect().await?), sheet).await
        })
    }
}

/// Question and answer.
#[derive(Clone, PartialEq, prost::Message)]
struct Message {
    /// What is wanted: the payload itself, its length, or a payload of this length.
    #[prost(enumeration = "Wish", tag = "1")]
    wish: i32,
    #[prost(uint64, tag = "2")]
    size: u64,
    #[prost(bytes = "bytes", tag = "3")]
    payload: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
enum Wish {
    Echo = 0,
    Take = 1,
    Give = 2,
}

/// The service with its one method, which is its own handler.
#[derive(Clone)]
struct Bench;

impl NamedService for Bench {
    const NAME: &'static str = "bench.Bench";
}

impl UnaryService<Message> for Bench {
    type Response = Message;
    type Future = Ready<Result<Response<Message>, Status>>;

    fn call(&mut self, request: Request<Message>) -> Self::Future {
        let mut message = request.into_inner();
        match message.wish() {
            Wish::Echo => {}
            Wish::Take => {
                message.size = message.payload.len() as u64;
                message.payload = Bytes::new();
            }
            Wish::Give => message.payload = Bytes::from(vec![7; message.size as usize]),
        }
        ready(Ok(Response::new(message)))
    }
}

impl<B> Service<http::Request<B>> for Bench
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        Box::pin(async move {
            let codec = ProstCodec::<Message, Message>::default();
            let mut grpc = tonic::server::Grpc::new(codec)
                .max_decoding_message_size(ANY_SIZE)
                .max_encoding_message_size(ANY_SIZE);
            Ok(grpc.unary(Bench, request).await)
        })
    }
}

#[derive(Clone)]
struct Client(Channel);

impl Client {
    async fn ask(&self, wish: Wish, size: usize, payload: Bytes) -> Outcome {
        let mut grpc = tonic::client::Grpc::new(self.0.clone())
            .max_decoding_message_size(ANY_SIZE)
            .max_encoding_message_size(ANY_SIZE);
        grpc.ready().await?;
        let message = Message { wish: wish.into(), size: size as u64, payload };
        let codec = ProstCodec::<Message, Message>::default();
        grpc.unary(Request::new(message), PATH, codec).await?;
        Ok(())
    }
}

impl Calls for Client {
    type Array = Bytes;

    fn array(&self, size: usize) -> Bytes {
        Bytes::from(vec![7; size])
    }

    async fn echo(&self, payload: &Bytes, _urgency: Urgency) -> Outcome {
        self.ask(Wish::Echo, 0, payload.clone()).await
    }

    async fn take(&self, array: &Bytes) -> Outcome {
        self.ask(Wish::Take, 0, array.clone()).await
    }

    async fn give(&self, size: usize) -> Outcome {
        self.ask(Wish::Give, size, Bytes::new()).await
    }
}
