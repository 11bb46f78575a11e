//! A loop of another language, here a thread with `poll`: it carries data lanes and starts handlers, and is relieved.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::future::Future;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context as Polling, Poll, Wake, Waker};
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

use mosaic_comms::{
    Array, Carried, CommsManager, Config, Context, DataLane, EventLoop, Methods, Unwritten, kwargs,
};
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

/// How long anything may take before a test fails instead of waiting: long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

type Rest = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is left to the loop's thread.
enum Left {
    Task(Arc<Task>),
    Lane(DataLane),
    Write(Unwritten),
    /// Holds the thread until the other end is dropped.
    Compute(mpsc::Sender<()>, mpsc::Receiver<()>),
    /// Reads all lanes, unasked, and tells what each says.
    Read(mpsc::Sender<Vec<Carried>>),
    End,
}

#[derive(Debug)]
struct Loop {
    left: Mutex<Vec<Left>>,
    event: OwnedFd,
}

impl std::fmt::Debug for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Left")
    }
}

struct Task {
    rest: Mutex<Option<Rest>>,
    of: Arc<Loop>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.of.clone().leave(Left::Task(self));
    }
}

/// What a manager has of the loop.
#[derive(Debug)]
struct Handle(Arc<Loop>);

impl EventLoop for Handle {
    fn spawn(&self, task: Rest) {
        Arc::new(Task { rest: Mutex::new(Some(task)), of: self.0.clone() }).wake();
    }

    fn carry(&self, lane: DataLane) {
        self.0.leave(Left::Lane(lane));
    }

    fn write(&self, queued: Unwritten) {
        self.0.leave(Left::Write(queued));
    }
}

impl Loop {
    fn start() -> (Arc<Loop>, JoinHandle<()>) {
        let event = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let own = Arc::new(Loop { left: Mutex::default(), event });
        let running = own.clone();
        (own, std::thread::spawn(move || running.run()))
    }

    fn leave(&self, left: Left) {
        self.left.lock().push(left);
        rustix::io::write(&self.event, &1u64.to_ne_bytes()).unwrap();
    }

    /// The thread computes until what this returns is dropped.
    fn compute(&self) -> mpsc::Sender<()> {
        let ((begin, begun), (release, released)) = (mpsc::channel(), mpsc::channel());
        self.leave(Left::Compute(begin, released));
        begun.recv_timeout(PATIENCE).unwrap();
        release
    }

    fn run(&self) {
        let (mut lanes, mut away) = (Vec::<DataLane>::new(), Vec::<DataLane>::new());
        loop {
            let ready = self.wait(&lanes);
            let (back, still) = away.into_iter().partition(DataLane::take_back);
            away = still;
            for (mut lane, ready) in std::mem::take(&mut lanes).into_iter().zip(ready) {
                match if ready { lane.read() } else { Carried::Here } {
                    Carried::Here | Carried::Idle => lanes.push(lane),
                    Carried::Left => away.push(lane),
                    Carried::Over => drop(lane),
                }
            }
            lanes.extend::<Vec<_>>(back);
            let left = std::mem::take(&mut *self.left.lock());
            for left in left {
                match left {
                    Left::Task(task) => run_task(&task),
                    Left::Lane(lane) => lanes.push(lane),
                    Left::Write(queued) => queued.write(),
                    Left::Compute(begin, release) => {
                        begin.send(()).unwrap();
                        // It comes as an error: nothing is ever sent.
                        let _ = release.recv();
                    }
                    Left::Read(tell) => tell.send(lanes.iter_mut().map(DataLane::read).collect()).unwrap(),
                    Left::End => return,
                }
            }
        }
    }

    /// Waits until something is to be done; which lanes have something to read.
    fn wait(&self, lanes: &[DataLane]) -> Vec<bool> {
        let descriptors = lanes.iter().map(|lane| lane.descriptor().unwrap());
        let mut watched: Vec<_> = std::iter::once(self.event.as_fd())
            .chain(descriptors)
            .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN))
            .collect();
        poll(&mut watched, None).unwrap();
        let ready: Vec<_> = watched.iter().map(|each| !each.revents().is_empty()).collect();
        if ready[0] {
            rustix::io::read(&self.event, &mut [0; 8]).unwrap();
        }
        ready[1..].to_vec()
    }
}

fn run_task(task: &Arc<Task>) {
    let waker = Waker::from(task.clone());
    let mut rest = task.rest.lock();
    if let Some(running) = rest.as_mut()
        && let Poll::Ready(()) = running.as_mut().poll(&mut Polling::from_waker(&waker))
    {
        *rest = None;
    }
}

/// A worker whose loop is a thread of the test's, and a head.
struct Net {
    head: CommsManager,
    worker: CommsManager,
    own: Arc<Loop>,
    thread: JoinHandle<()>,
}

impl Net {
    async fn start(head: Methods, worker: Methods) -> Net {
        let (own, thread) = Loop::start();
        let local = || {
            Config::default()
                .address("127.0.0.1")
                .context(Context::builder().share_memory(0).build().unwrap())
        };
        let head = CommsManager::start("monitor", head, local()).await.unwrap();
        let config = local().monitor("127.0.0.1", head.port()).event_loop(Arc::new(Handle(own.clone())));
        let worker = CommsManager::start("worker:0", worker, config).await.unwrap();
        head.wait_for("worker:0").await.unwrap();
        Net { head, worker, own, thread }
    }

    async fn stop(self) {
        self.worker.stop().await;
        self.head.stop().await;
        self.own.leave(Left::End);
        self.thread.join().unwrap();
    }
}

fn adding() -> Methods {
    Methods::new().method("add", |args, _| async move { Ok(args.get::<u64>("a")? + args.get::<u64>("b")?) })
}

/// A method that tells the test on which thread it was begun, and with what.
fn noting() -> (Methods, mpsc::Receiver<(ThreadId, u64)>) {
    let (note, notes) = mpsc::channel();
    let methods = adding().method("note", move |args, _| {
        let (note, n) = (note.clone(), args.get::<u64>("n"));
        let begun = std::thread::current().id();
        async move {
            note.send((begun, n?)).unwrap();
            Ok(())
        }
    });
    (methods, notes)
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_are_started_on_the_loops_thread_in_order() {
    let (methods, notes) = noting();
    let net = Net::start(Methods::new(), methods).await;
    for n in 0..1000u64 {
        net.head.send("worker:0", "note", kwargs! { n: n }).await.unwrap();
    }
    let sum: u64 = net.head.send_recv("worker:0", "add", kwargs! { a: 1, b: 2 }).await.unwrap();
    assert_eq!(sum, 3);
    for n in 0..1000 {
        assert_eq!(notes.recv_timeout(PATIENCE).unwrap(), (net.thread.thread().id(), n));
    }
    net.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_loop_that_computes_has_queued_is_sent_and_what_it_waits_for_is_read() {
    let (methods, notes) = noting();
    let net = Net::start(methods, adding()).await;
    let add = || net.worker.send_recv::<u64>("monitor", "add", kwargs! { a: 1, b: 2 });
    assert_eq!(add().await.unwrap(), 3);
    let computing = net.own.compute();
    for n in 0..100u64 {
        net.worker.send("monitor", "note", kwargs! { n: n }).await.unwrap();
    }
    for n in 0..100 {
        assert_eq!(notes.recv_timeout(PATIENCE).unwrap().1, n);
    }
    assert_eq!(add().await.unwrap(), 3);
    drop(computing);
    assert_eq!(add().await.unwrap(), 3);
    net.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_is_read_in_vain_says_so() {
    let net = Net::start(Methods::new(), adding()).await;
    let sum: u64 = net.head.send_recv("worker:0", "add", kwargs! { a: 1, b: 2 }).await.unwrap();
    assert_eq!(sum, 3);
    let (tell, told) = mpsc::channel();
    net.own.leave(Left::Read(tell));
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), [Carried::Idle]);
    net.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_content_is_left_to_the_io_thread_and_the_lane_taken_back() {
    let echo = |args: mosaic_comms::Args, _| async move { Ok(args.get::<Array<u8>>("value")?) };
    let net = Net::start(Methods::new(), adding().method("echo", echo)).await;
    for _ in 0..3 {
        let value: Array<u8> = vec![7; 8 << 20].into();
        let back: Array<u8> =
            net.head.send_recv("worker:0", "echo", kwargs! { value: value.clone() }).await.unwrap();
        assert!(back == value);
        let sum: u64 = net.head.send_recv("worker:0", "add", kwargs! { a: 1, b: 2 }).await.unwrap();
        assert_eq!(sum, 3);
    }
    net.stop().await;
}
