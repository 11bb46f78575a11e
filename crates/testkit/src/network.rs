//! A small network for tests: a monitor, a head and workers, each with a context of its own where the transport asks
//! for it.

use std::sync::Arc;

use mosaic_comms::{Array, CommsManager, Config, Context, HandlerError, Methods, Security, UnixSockets};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// How the runtimes of a network reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In one process, sharing a context.
    Memory,
    /// Over Unix sockets.
    Unix,
    /// Over TLS with the job's credential, by TCP version 4.
    TlsV4,
    /// Over TLS with the job's credential, by TCP version 6.
    TlsV6,
    /// Over TCP in clear text, version 4.
    TcpV4,
}

impl Transport {
    /// Every transport.
    pub const ALL: [Transport; 5] =
        [Transport::Memory, Transport::Unix, Transport::TlsV4, Transport::TlsV6, Transport::TcpV4];
}

/// What the handlers of a worker have told.
#[derive(Default)]
pub struct Witness {
    noted: Mutex<Vec<u32>>,
    started: Notify,
    dropped: Notify,
}

impl Witness {
    /// Waits until a handler of `never` has started.
    pub async fn started(&self) {
        self.started.notified().await;
    }

    /// Waits until a handler of `never` has been dropped.
    pub async fn dropped(&self) {
        self.dropped.notified().await;
    }
}

struct TellsDrop(Arc<Witness>);

impl Drop for TellsDrop {
    fn drop(&mut self) {
        self.0.dropped.notify_one();
    }
}

/// A running network.
pub struct Network {
    /// Where everyone meets.
    pub monitor: CommsManager,
    /// Who makes the calls.
    pub head: CommsManager,
    /// Who serves them, and what their handlers have told.
    pub workers: Vec<(CommsManager, Arc<Witness>)>,
}

impl Network {
    /// Waits until a handler of `never` has started.
    pub async fn worker_started(&self, number: usize) {
        self.workers[number].1.started().await;
    }

    /// Waits until a handler of `never` has been dropped.
    pub async fn worker_dropped(&self, number: usize) {
        self.workers[number].1.dropped().await;
    }

    /// Stops everybody.
    pub async fn stop(self) {
        self.head.stop().await;
        for (worker, _) in &self.workers {
            worker.stop().await;
        }
        self.monitor.stop().await;
    }
}

/// The settings of one runtime of a network with this transport.
pub fn config(transport: Transport, shared: &Context) -> Config {
    let own = || Context::builder().build().expect("the runtime starts");
    match transport {
        Transport::Memory => Config::default().address("127.0.0.1").context(shared.clone()),
        Transport::Unix => Config::default().address("127.0.0.1").context(own()),
        Transport::TlsV4 => {
            Config::default().address("127.0.0.1").context(own()).unix_sockets(UnixSockets::Avoid)
        }
        Transport::TlsV6 => Config::default().address("::1").context(own()).unix_sockets(UnixSockets::Avoid),
        Transport::TcpV4 => Config::default()
            .address("127.0.0.1")
            .context(own())
            .unix_sockets(UnixSockets::Avoid)
            .security(Security::Insecure),
    }
}

/// Starts a network and waits until all have joined.
pub async fn network(transport: Transport, workers: usize) -> Network {
    let shared = Context::builder().build().expect("the runtime starts");
    let monitor = CommsManager::start("monitor", Methods::new(), config(transport, &shared))
        .await
        .expect("the runtime starts");
    let joining = || config(transport, &shared).monitor(monitor.address(), monitor.port());
    let mut started = Vec::new();
    for number in 0..workers {
        let witness = Arc::new(Witness::default());
        let uid = format!("worker:{number}");
        let worker =
            CommsManager::start(uid, methods(&witness), joining()).await.expect("the runtime starts");
        started.push((worker, witness));
    }
    let head = CommsManager::start("head", Methods::new(), joining()).await.expect("the runtime starts");
    Network { monitor, head, workers: started }
}

/// The methods of a worker.
pub fn methods(witness: &Arc<Witness>) -> Methods {
    let (notes, noted, waiting) = (witness.clone(), witness.clone(), witness.clone());
    Methods::new()
        .method("add", |args, _| async move { Ok(args.get::<f64>("a")? + args.get::<f64>("b")?) })
        .method("echo", |args, _| async move { Ok(args.get::<Array<f64>>("value")?) })
        .compute("sum", |args, _| Ok(args.get::<Array<f64>>("value")?.as_slice().iter().sum::<f64>()))
        .method("panic", |_, _| async move { panic!("on purpose") as Result<(), HandlerError> })
        .method("note", move |args, _| {
            let n = args.get::<u32>("n");
            let notes = notes.clone();
            async move {
                notes.noted.lock().push(n?);
                Ok(())
            }
        })
        .method("noted", move |_, _| {
            let noted = noted.noted.lock().clone();
            async move { Ok(noted) }
        })
        .method("never", move |_, _| {
            let witness = waiting.clone();
            async move {
                let _told = TellsDrop(witness.clone());
                witness.started.notify_one();
                std::future::pending::<Result<(), HandlerError>>().await
            }
        })
}
