//! Mosaic comms with everything on: envelope, ids, order, lanes, credit, acknowledgement, decoded replies.

mod during;
mod memory;
pub mod network;
mod strangers;

use std::future::pending;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mosaic_comms::{Array, Blob, CommsManager, Config, Context, Methods, Security, UnixSockets, kwargs};
use mosaic_yardsticks::calls::{self, Calls, Urgency};
use mosaic_yardsticks::flood;
use mosaic_yardsticks::outcome::Outcome;
use mosaic_yardsticks::part::Part;
use mosaic_yardsticks::peer::{Peer, executor};
use mosaic_yardsticks::process::{Pinning, Server};
use mosaic_yardsticks::sheet::{Sheet, quantile};

/// How the two processes are joined; by memory, they are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mosaic {
    Unix,
    Tcp,
    Tls,
    Memory,
}

impl Peer for Mosaic {
    fn id(&self) -> &'static str {
        match self {
            Mosaic::Unix => "mosaic-unix",
            Mosaic::Tcp => "mosaic-tcp",
            Mosaic::Tls => "mosaic-tls",
            Mosaic::Memory => "mosaic-memory",
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Mosaic::Unix => "Mosaic, Unix",
            Mosaic::Tcp => "Mosaic, TCP",
            Mosaic::Tls => "Mosaic, TLS",
            Mosaic::Memory => "Mosaic, memory",
        }
    }

    fn about(&self) -> &'static str {
        match self {
            Mosaic::Unix => "this library, by Unix sockets: the default of one user on one host",
            Mosaic::Tcp => "this library, by TCP in clear text (`Security::Insecure`)",
            Mosaic::Tls => "this library, by TLS 1.3: the default between hosts",
            Mosaic::Memory => "this library, between two runtimes of one process",
        }
    }

    fn serve(&self, details: &[&str]) -> Outcome {
        let [port, uid] = details else { return Err("serving takes a port and a uid".into()) };
        let config = self.config().monitor("127.0.0.1", port.parse()?);
        executor()?.block_on(async {
            let _worker = CommsManager::start(uid, methods(), config).await?;
            pending().await
        })
    }

    fn parts(&self, pinning: Pinning) -> &'static [Part] {
        match (self, pinning) {
            (Mosaic::Memory, _) | (_, Pinning::Pinned) => &[Part::Messages],
            (_, Pinning::Default) => &[Part::Messages, Part::Flood],
        }
    }

    fn measure(&self, part: Part, sheet: &Sheet) -> Outcome {
        executor()?.block_on(async {
            let context = Context::builder().build()?;
            let config = self.config().context(context.clone());
            let head = CommsManager::start("monitor", Methods::new(), config).await?;
            if *self == Mosaic::Memory {
                return self.within(&head, context, sheet).await;
            }
            let server = Server::start(self.id(), &[&head.port().to_string(), WORKER])?;
            head.wait_for(WORKER).deadline(Duration::from_secs(10)).await?;
            match part {
                Part::Messages => self.everything(&head, sheet).await?,
                Part::Flood => self.flood(&head, server, sheet).await?,
            }
            head.stop().await;
            Ok(())
        })
    }
}

/// Who serves.
const WORKER: &str = "worker";

impl Mosaic {
    const ALL: [Mosaic; 4] = [Mosaic::Unix, Mosaic::Tcp, Mosaic::Tls, Mosaic::Memory];

    fn parse(id: &str) -> Outcome<Mosaic> {
        let found = Mosaic::ALL.into_iter().find(|mosaic| mosaic.id() == id);
        found.ok_or_else(|| format!("`{id}` is no transport").into())
    }

    fn config(self) -> Config {
        let config = Config::default().address("127.0.0.1");
        match self {
            Mosaic::Unix | Mosaic::Memory => config,
            Mosaic::Tcp => config.unix_sockets(UnixSockets::Avoid).security(Security::Insecure),
            Mosaic::Tls => config.unix_sockets(UnixSockets::Avoid),
        }
    }

    /// Both runtimes in this process.
    async fn within(self, head: &CommsManager, context: Context, sheet: &Sheet) -> Outcome {
        let config = self.config().context(context).monitor("127.0.0.1", head.port());
        let worker = CommsManager::start(WORKER, methods(), config).await?;
        self.messages(head, sheet).await?;
        worker.stop().await;
        head.stop().await;
        Ok(())
    }

    async fn everything(self, head: &CommsManager, sheet: &Sheet) -> Outcome {
        self.messages(head, sheet).await?;
        self.handshakes(head, sheet).await?;
        during::hearts(head, sheet).await?;
        if self == Mosaic::Tls {
            strangers::measure(head, sheet).await?;
        }
        memory::link(self, sheet).await
    }

    async fn messages(self, head: &CommsManager, sheet: &Sheet) -> Outcome {
        calls::measure(&Head(head.clone()), sheet).await?;
        one_way(head, sheet).await
    }

    /// From nothing to the known topology: each joiner with a context of its own, in this process, by the real
    /// transport.
    async fn handshakes(self, head: &CommsManager, sheet: &Sheet) -> Outcome {
        let mut times = Vec::new();
        for number in 0..50 {
            let config = self.config().context(Context::builder().build()?);
            let joiner = CommsManager::new(format!("joiner:{number}"), Methods::new(), config)?;
            joiner.connect_recv().await?;
            let start = Instant::now();
            joiner.handshake("monitor", &head.address(), head.port()).await?;
            times.push(start.elapsed());
            joiner.stop().await;
        }
        sheet.write("handshake", quantile(times, 0.5)?)
    }

    async fn flood(self, head: &CommsManager, server: Server, sheet: &Sheet) -> Outcome {
        flood::begin(server, sheet)?;
        let message = Bytes::from(vec![7; flood::MESSAGE]);
        for _ in 0..flood::MESSAGES {
            let value = Blob::from(Bytes::copy_from_slice(&message));
            // It fails when the server is killed; how the process ends is decided elsewhere.
            if head.send(WORKER, "note", kwargs! { value: &value }).await.is_err() {
                break;
            }
        }
        pending().await
    }
}

async fn one_way(head: &CommsManager, sheet: &Sheet) -> Outcome {
    let value = Blob::from(vec![7; 64]);
    let (mut count, begun) = (0_u32, Instant::now());
    while begun.elapsed() < sheet.span() {
        for _ in 0..10_000 {
            head.send(WORKER, "note", kwargs! { value: &value }).await?;
        }
        count += 10_000;
    }
    let _: Blob = head.send_recv(WORKER, "echo", kwargs! { value: &value }).await?;
    sheet.write("one-way-64", f64::from(count) / begun.elapsed().as_secs_f64())
}

/// What the worker does.
fn methods() -> Methods {
    let given = std::sync::Mutex::new(Array::from(Vec::<f64>::new()));
    Methods::new()
        .method("echo", |args, _| async move { Ok(args.get::<Blob>("value")?) })
        .method("note", |_, _| async move { Ok(()) })
        .method("take", |args, _| async move { Ok(args.get::<Array<f64>>("value")?.len()) })
        .method("give", move |args, _| {
            let size = args.get::<usize>("size");
            let given = size.map(|size| {
                let mut given = given.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if given.len() != size / 8 {
                    *given = Array::from(vec![1.0; size / 8]);
                }
                given.clone()
            });
            async move { Ok(given?) }
        })
        .method("burn", |args, _| async move {
            let end = Instant::now() + Duration::from_millis(args.get("ms")?);
            while Instant::now() < end {
                std::hint::spin_loop();
            }
            Ok(())
        })
}

/// The one who calls.
#[derive(Clone)]
struct Head(CommsManager);

impl Calls for Head {
    type Array = Array<f64>;

    fn array(&self, size: usize) -> Array<f64> {
        Array::from(vec![1.0; size / 8])
    }

    async fn echo(&self, payload: &Bytes, urgency: Urgency) -> Outcome {
        let value = Blob::from(payload.clone());
        let call = self.0.send_recv::<Blob>(WORKER, "echo", kwargs! { value: &value });
        let _: Blob = if urgency == Urgency::Express { call.express().await? } else { call.await? };
        Ok(())
    }

    async fn take(&self, array: &Array<f64>) -> Outcome {
        let _: usize = self.0.send_recv(WORKER, "take", kwargs! { value: array }).await?;
        Ok(())
    }

    async fn give(&self, size: usize) -> Outcome {
        let _: Array<f64> = self.0.send_recv(WORKER, "give", kwargs! { size: size }).await?;
        Ok(())
    }
}
