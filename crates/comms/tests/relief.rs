//! Who carries what goes by a data lane: the executor or, where its threads compute, the I/O thread.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use mosaic_comms::{Array, CommsManager, Config, Context, Credential, Methods, kwargs};
use mosaic_testkit::{Transport, config};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// How long anything may take before a test fails instead of waiting: long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

const TRANSPORTS: [Transport; 3] = [Transport::Unix, Transport::TcpV4, Transport::TlsV4];

/// A head on an executor of the test's, and a worker on another.
struct Net {
    head: CommsManager,
    worker: CommsManager,
    executor: Runtime,
    _others: Runtime,
    _keys: TempDir,
}

impl Net {
    fn new(transport: Transport, executor: Runtime, head: Methods, worker: Methods) -> Net {
        let others = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let keys = tempfile::tempdir().unwrap();
        let key = keys.path().join("job.key");
        Credential::create(&key).unwrap();
        let here = |on: &Runtime| -> Config {
            let context = Context::builder().build().unwrap();
            config(transport, &context).key_file(&key).executor(on.handle().clone())
        };
        let worker = CommsManager::blocking_start("worker", worker, here(&others)).unwrap();
        let head = CommsManager::blocking_start("head", head, here(&executor)).unwrap();
        head.blocking_connect_send("worker", "127.0.0.1", worker.port()).unwrap();
        Net { head, worker, executor, _others: others, _keys: keys }
    }

    /// Both lanes are there from now on.
    fn add(&self) {
        let sum: u64 = self.head.blocking_send_recv("worker", "add", kwargs! { a: 1, b: 2 }).unwrap();
        assert_eq!(sum, 3);
    }

    fn stop(self) {
        self.executor.block_on(self.head.stop());
        self.worker.blocking_stop();
    }
}

/// Computations that hold threads of an executor until this is dropped.
struct Computing {
    _release: mpsc::Sender<()>,
}

impl Computing {
    /// So many threads of the executor compute from now on.
    fn on(executor: &Runtime, threads: usize) -> Computing {
        let (release, released) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel();
        let released = Arc::new(Shared::new(released));
        for _ in 0..threads {
            let (begin, released) = (begin.clone(), released.clone());
            executor.spawn(async move {
                begin.send(()).unwrap();
                released.wait();
            });
        }
        (0..threads).for_each(|_| begun.recv_timeout(PATIENCE).unwrap());
        Computing { _release: release }
    }
}

/// An end that many threads wait for.
struct Shared {
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Shared {
    fn new(ended: mpsc::Receiver<()>) -> Shared {
        Shared { ended: Mutex::new(ended) }
    }

    fn wait(&self) {
        // It comes as an error: nothing is ever sent.
        let _ = self.ended.lock().recv();
    }
}

fn two_threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn adding() -> Methods {
    Methods::new()
        .method("add", |args, _| async move { Ok(args.get::<u64>("a")? + args.get::<u64>("b")?) })
        .method("echo", |args, _| async move { Ok(args.get::<Array<u8>>("value")?) })
}

/// A method that tells the test of every number that it is called with, and the end where they come out.
fn noting(methods: Methods) -> (Methods, mpsc::Receiver<u64>) {
    let (note, notes) = mpsc::channel();
    let noting = methods.method("note", move |args, _| {
        let note = note.clone();
        async move {
            // The test may have seen enough.
            let _ = note.send(args.get::<u64>("n")?);
            Ok(())
        }
    });
    (noting, notes)
}

fn noted(notes: &mpsc::Receiver<u64>, count: u64) -> Vec<u64> {
    (0..count).map(|_| notes.recv_timeout(PATIENCE).unwrap()).collect()
}

/// Many calls of the head's at once, from threads of their own.
fn call(net: &Net) {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..50).for_each(|_| net.add()));
        }
    });
}

#[test]
fn calls_get_on_while_every_thread_of_the_executor_computes() {
    for transport in TRANSPORTS {
        let net = Net::new(transport, two_threads(), Methods::new(), adding());
        net.add();
        let computing = Computing::on(&net.executor, 2);
        call(&net);
        drop(computing);
        call(&net);
        net.stop();
    }
}

#[test]
fn calls_get_on_while_one_of_two_threads_computes() {
    for transport in TRANSPORTS {
        let net = Net::new(transport, two_threads(), Methods::new(), adding());
        net.add();
        let computing = Computing::on(&net.executor, 1);
        call(&net);
        drop(computing);
        net.stop();
    }
}

#[test]
fn what_is_large_gets_on_with_what_is_small_while_every_thread_of_the_executor_computes() {
    for transport in TRANSPORTS {
        let net = Net::new(transport, two_threads(), Methods::new(), adding());
        net.add();
        let computing = Computing::on(&net.executor, 2);
        std::thread::scope(|scope| {
            for size in [3 << 20, 100_001, 300_007, 1 << 20] {
                let (head, value) = (&net.head, Array::from(vec![7_u8; size]));
                scope.spawn(move || {
                    for _ in 0..5 {
                        let args = kwargs! { value: &value };
                        let echo: Array<u8> = head.blocking_send_recv("worker", "echo", args).unwrap();
                        assert!(echo.as_slice() == value.as_slice());
                    }
                });
                scope.spawn(|| (0..50).for_each(|_| net.add()));
            }
        });
        drop(computing);
        net.stop();
    }
}

#[test]
fn what_is_sent_before_a_computation_is_heard_during_it() {
    for transport in TRANSPORTS {
        let alone = Builder::new_current_thread().enable_all().build().unwrap();
        let (methods, notes) = noting(adding());
        let net = Net::new(transport, alone, Methods::new(), methods);
        net.executor.block_on(async {
            // Both lanes are there after this, and the executor carries one.
            let sum: u64 = net.head.send_recv("worker", "add", kwargs! { a: 1, b: 2 }).await.unwrap();
            assert_eq!(sum, 3);
            for n in 0..5 {
                net.head.send("worker", "note", kwargs! { n: n }).await.unwrap();
            }
            // The only thread of the executor waits here, as if it computed.
            assert_eq!(noted(&notes, 5), [0, 1, 2, 3, 4]);
        });
        net.stop();
    }
}

#[test]
fn calls_get_on_while_a_handler_holds_its_dispatcher() {
    for transport in TRANSPORTS {
        let (release, released) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel();
        let released = Arc::new(Shared::new(released));
        let stuck = Methods::new().method("compute", move |_, _| {
            let (begin, released) = (begin.clone(), released.clone());
            async move {
                begin.send(())?;
                released.wait();
                Ok(())
            }
        });
        let net = Net::new(transport, two_threads(), stuck, adding());
        net.add();
        net.worker.blocking_send("head", "compute", ()).unwrap();
        begun.recv_timeout(PATIENCE).unwrap();
        call(&net);
        drop(release);
        net.stop();
    }
}

#[test]
fn messages_keep_their_order_while_the_executor_comes_and_goes() {
    const COUNT: u64 = 3000;
    for transport in TRANSPORTS {
        let (to_head, at_head) = noting(Methods::new());
        let (to_worker, at_worker) = noting(adding());
        let net = Net::new(transport, two_threads(), to_head, to_worker);
        net.add();
        let send = |from: &CommsManager, to: &str| {
            (0..COUNT).for_each(|n| from.blocking_send(to, "note", kwargs! { n: n }).unwrap());
        };
        std::thread::scope(|scope| {
            scope.spawn(|| send(&net.head, "worker"));
            scope.spawn(|| send(&net.worker, "head"));
            for _ in 0..20 {
                drop(Computing::on(&net.executor, 2));
            }
        });
        for notes in [at_head, at_worker] {
            assert!(noted(&notes, COUNT).into_iter().eq(0..COUNT), "{transport:?}");
        }
        net.stop();
    }
}
