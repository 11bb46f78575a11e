//! Handlers that panic, of every kind: each costs its own call, and nothing that was lent or counted for it stays.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::future::IntoFuture;
use std::time::Duration;

use mosaic_comms::{
    Array, CallError, CommsManager, Config, Context, Event, Execution, HandlerError, IntoRuntime, Methods,
    RemoteError, kwargs,
};
use tokio::time::timeout;

/// How long anything may take before a test fails instead of waiting: long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many handlers may run. More of them panic, so that one that was still counted would be missed.
const HANDLERS: usize = 4;

/// As many as would use up what handlers may run, and what may be lent, if they were not given back.
const PANICS: usize = 20;

/// A message may take three eighths of it.
const BUDGET: u64 = 4 << 20;

/// Beyond the initial window, so that it has to be lent room.
const LARGE: usize = 400_000;

struct State {
    added: f64,
}

#[mosaic_comms::runtime]
impl State {
    pub async fn panic_exclusive(&mut self, _large: Array<u8>) {
        tokio::task::yield_now().await;
        panic!("on purpose");
    }

    pub fn panic_computing_exclusive(&mut self, _large: Array<u8>) {
        panic!("on purpose");
    }

    pub async fn panic_shared(&self, _large: Array<u8>) {
        tokio::task::yield_now().await;
        panic!("on purpose");
    }

    pub async fn add(&mut self, a: f64, b: f64) -> f64 {
        self.added = a + b;
        self.added
    }
}

fn closures() -> Methods {
    type Nothing = Result<(), HandlerError>;
    Methods::new()
        .method("panic_at_once", |_, _| -> std::future::Ready<Nothing> { panic!("on purpose") })
        .method("panic_later", |_, _| async {
            tokio::task::yield_now().await;
            panic!("on purpose") as Nothing
        })
        .method("panic_with_a_number", |_, _| async { std::panic::panic_any(7) as Nothing })
        .compute("panic_computing", |_, _| panic!("on purpose") as Nothing)
        .method("add", |args, _| async move { Ok(args.get::<f64>("a")? + args.get::<f64>("b")?) })
        .method("never", |_, _| std::future::pending::<Nothing>())
}

struct Pair {
    worker: CommsManager,
    head: CommsManager,
}

impl Pair {
    async fn serving<R: IntoRuntime>(runtime: R) -> Pair {
        let here = || {
            Config::default().address("127.0.0.1").context(Context::builder().budget(BUDGET).build().unwrap())
        };
        let serving = here().running_handlers(HANDLERS);
        let worker = CommsManager::start("monitor", runtime, serving).await.unwrap();
        let joining = here().monitor(worker.address(), worker.port());
        let head = CommsManager::start("head", Methods::new(), joining).await.unwrap();
        Pair { worker, head }
    }

    /// Calls the method, and sends to it one way, many times; others work on after that.
    async fn each_costs_its_own_call_alone(&self, method: &str) {
        let mut events = self.head.events();
        let large = Array::from(vec![1_u8; LARGE]);
        for _ in 0..PANICS {
            let call = self.head.send_recv::<()>("monitor", method, kwargs! { _large: &large });
            let error = timeout(PATIENCE, call.into_future()).await.unwrap().unwrap_err();
            let CallError::Remote(remote) = &error else { panic!("{method}: {error:?}") };
            assert_eq!((&*remote.kind, error.execution()), (RemoteError::PANIC, Execution::Ran), "{method}");
            let sending = self.head.send("monitor", method, kwargs! { _large: &large });
            timeout(PATIENCE, sending.into_future()).await.unwrap().unwrap();
            while !matches!(timeout(PATIENCE, events.next()).await.unwrap(), Some(Event::Failed { .. })) {}
        }
        let sum = self.head.send_recv::<f64>("monitor", "add", kwargs! { a: 1, b: 2 });
        assert_eq!(timeout(PATIENCE, sum.into_future()).await.unwrap().unwrap(), 3.0, "after {method}");
    }

    /// Nothing is counted of the handlers that have panicked.
    async fn stop(self, running: usize) {
        let status = self.worker.status();
        assert_eq!((status.handlers, status.refused), (running, 0), "{status:?}");
        assert_eq!(status.links[0].unstarted_bytes, 0, "{status:?}");
        self.head.stop().await;
        self.worker.stop().await;
    }
}

#[tokio::test]
async fn a_closure_that_panics_costs_its_own_call_alone() {
    let pair = Pair::serving(closures()).await;
    let waiting = pair.head.send("monitor", "never", ()).reply::<()>().await.unwrap();
    for method in ["panic_at_once", "panic_later", "panic_with_a_number", "panic_computing"] {
        pair.each_costs_its_own_call_alone(method).await;
    }
    pair.stop(1).await;
    assert!(matches!(waiting.await, Err(CallError::Stopped { .. } | CallError::Disconnected { .. })));
}

#[tokio::test]
async fn a_method_that_panics_costs_its_own_call_alone() {
    let pair = Pair::serving(State { added: 0.0 }).await;
    for method in ["panic_exclusive", "panic_computing_exclusive", "panic_shared"] {
        pair.each_costs_its_own_call_alone(method).await;
    }
    pair.stop(0).await;
}
