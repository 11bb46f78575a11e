//! tarpc: calls over TCP, encoded by bincode.

use std::fmt;

use bytes::Bytes;
use futures_util::StreamExt;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tarpc::serde_transport::{self, Transport};
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::tokio_util::codec::LengthDelimitedCodec;
use tarpc::{client, context};
use tokio::net::{TcpListener, TcpStream};

use crate::calls::{self, Calls, Urgency};
use crate::outcome::Outcome;
use crate::part::Part;
use crate::peer::{Peer, executor};
use crate::process::{Pinning, Server};
use crate::sheet::Sheet;

pub struct Tarpc;

#[tarpc::service]
trait Service {
    async fn echo(payload: Payload) -> Payload;
    async fn take(array: Payload) -> u64;
    async fn give(size: u64) -> Payload;
}

impl Peer for Tarpc {
    fn id(&self) -> &'static str {
        "tarpc"
    }

    fn title(&self) -> &'static str {
        "tarpc"
    }

    fn about(&self) -> &'static str {
        "calls by the crate `tarpc` 0.38 over TCP, encoded by bincode; a task for each request"
    }

    fn parts(&self, _pinning: Pinning) -> &'static [Part] {
        &[Part::Messages]
    }

    fn serve(&self, _details: &[&str]) -> Outcome {
        executor()?.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            println!("{}", listener.local_addr()?);
            let channel = BaseChannel::with_defaults(transport(listener.accept().await?.0)?);
            let requests = channel.execute(Worker.serve());
            requests.for_each(|response| async move { drop(tokio::spawn(response)) }).await;
            Ok(())
        })
    }

    fn measure(&self, _part: Part, sheet: &Sheet) -> Outcome {
        let mut server = Server::start(self.id(), &[])?;
        executor()?.block_on(async {
            let transport = transport(TcpStream::connect(server.line()?).await?)?;
            let client = ServiceClient::new(client::Config::default(), transport).spawn();
            calls::measure(&client, sheet).await
        })
    }
}

/// Frames of any length, since arrays are long, and without delay.
fn transport<Item, SinkItem>(
    stream: TcpStream,
) -> Outcome<Transport<TcpStream, Item, SinkItem, Bincode<Item, SinkItem>>>
where
    Item: for<'de> Deserialize<'de>,
    SinkItem: Serialize,
{
    stream.set_nodelay(true)?;
    let frames = LengthDelimitedCodec::builder().max_frame_length(u32::MAX as usize).new_framed(stream);
    Ok(serde_transport::new(frames, Bincode::default()))
}

/// Bytes that are encoded as such, and not one by one.
#[derive(Debug)]
struct Payload(Bytes);

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Payload, D::Error> {
        deserializer.deserialize_byte_buf(PayloadVisitor)
    }
}

struct PayloadVisitor;

impl Visitor<'_> for PayloadVisitor {
    type Value = Payload;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("bytes")
    }

    fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Payload, E> {
        Ok(Payload(Bytes::from(bytes)))
    }
}

#[derive(Clone)]
struct Worker;

impl Service for Worker {
    async fn echo(self, _: context::Context, payload: Payload) -> Payload {
        payload
    }

    async fn take(self, _: context::Context, array: Payload) -> u64 {
        array.0.len() as u64
    }

    async fn give(self, _: context::Context, size: u64) -> Payload {
        Payload(Bytes::from(vec![7; size as usize]))
    }
}

impl Calls for ServiceClient {
    type Array = Bytes;

    fn array(&self, size: usize) -> Bytes {
        Bytes::from(vec![7; size])
    }

    async fn echo(&self, payload: &Bytes, _urgency: Urgency) -> Outcome {
        ServiceClient::echo(self, context::current(), Payload(payload.clone())).await?;
        Ok(())
    }

    async fn take(&self, array: &Bytes) -> Outcome {
        ServiceClient::take(self, context::current(), Payload(array.clone())).await?;
        Ok(())
    }

    async fn give(&self, size: usize) -> Outcome {
        ServiceClient::give(self, context::current(), size as u64).await?;
        Ok(())
    }
}
