//! Calls that are given up, at each of their awaits and at each moment, while they wait to be sent, while their handlers
//! run, while their replies come, and while connections are cut: nothing of them is left on either side. On a virtual clock.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use mosaic_comms::{
    CallError, CommsManager, Config, Context, Execution, HandlerError, Methods, SendRecv, kwargs,
};
use mosaic_testkit::drop_after;
use parking_lot::Mutex;
use serde_bytes::ByteBuf;
use tokio::time::{Instant, sleep_until, timeout};

/// A message may take three eighths of it. What is more than the initial window has to wait for room, and is granted it.
const BUDGET: u64 = 3 << 20;

/// Until what was given up is known to both sides, connections have been made again, and all has been acknowledged.
const SETTLED: Duration = Duration::from_secs(2);

fn simulate<F: Future>(scenario: impl FnOnce() -> F) -> F::Output {
    let executor =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    executor.block_on(scenario())
}

async fn pause(time: Duration) {
    sleep_until(Instant::now() + time).await;
}

/// What a call is like.
#[derive(Debug, Clone, Copy)]
struct Kind {
    request: usize,
    reply: usize,
    express: bool,
    work: Duration,
}

const SMALL: Kind = Kind { request: 10, reply: 10, express: false, work: Duration::from_millis(2) };

const KINDS: [Kind; 4] = [
    SMALL,
    Kind { express: true, ..SMALL },
    Kind { request: 900_000, ..SMALL },
    Kind { reply: 900_000, ..SMALL },
];

/// One that ends only by being given up.
const ENDLESS: Kind = Kind { work: Duration::from_secs(3600), ..SMALL };

/// The numbers of the calls whose handlers have started, and how many of these run.
#[derive(Default)]
struct Served {
    started: Vec<u32>,
    running: usize,
}

/// A handler while it runs.
struct Running(Arc<Mutex<Served>>);

impl Running {
    fn begin(served: &Arc<Mutex<Served>>, number: u32) -> Running {
        let mut record = served.lock();
        record.started.push(number);
        record.running += 1;
        Running(served.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

struct Net {
    contexts: [Context; 2],
    head: CommsManager,
    worker: CommsManager,
    served: Arc<Mutex<Served>>,
    made: u32,
}

impl Net {
    async fn new(seed: u64) -> Net {
        let network = Context::simulated(seed);
        network.set_delay(Duration::from_millis(1), Duration::from_millis(1));
        let contexts = [network.simulated_beside(BUDGET), network.simulated_beside(BUDGET)];
        let [here, there] = contexts.clone().map(|context| Config::default().context(context));
        let served = Arc::default();
        let worker = CommsManager::start("worker", serving(&served), there).await.unwrap();
        let head = CommsManager::start("head", Methods::new(), here).await.unwrap();
        head.connect_send("worker", &worker.address(), worker.port()).await.unwrap();
        let mut net = Net { contexts, head, worker, served, made: 0 };
        for kind in KINDS {
            net.call(kind).await.unwrap();
        }
        net.assert_settled().await;
        net
    }

    /// The next call; its number is that of all before it.
    fn call(&mut self, kind: Kind) -> SendRecv<ByteBuf> {
        self.made += 1;
        let body = ByteBuf::from(vec![0; kind.request]);
        let work = u64::try_from(kind.work.as_micros()).unwrap();
        let args = kwargs! { number: self.made, body: body, reply: kind.reply, work: work };
        let call = self.head.send_recv("worker", "work", args);
        if kind.express { call.express() } else { call }
    }

    /// How often the handler of the last call has started.
    fn starts(&self) -> usize {
        self.served.lock().started.iter().filter(|number| **number == self.made).count()
    }

    fn cut_after(&self, time: Duration) {
        let [here, there] = self.contexts.clone();
        tokio::spawn(async move {
            pause(time).await;
            here.cut_between(&there);
        });
    }

    /// Nothing is left of any call: no handler runs, nothing waits or is under way, and everything lent is given back.
    async fn assert_settled(&self) {
        pause(SETTLED).await;
        let running = self.served.lock().running;
        assert_eq!(running, 0, "a handler runs on");
        for (side, context) in [&self.head, &self.worker].into_iter().zip(&self.contexts) {
            let status = side.status();
            assert_eq!(status.handlers, 0, "{status:?}");
            let [link] = &status.links[..] else { panic!("{status:?}") };
            let left = (link.calls, link.waiting, link.under_way, link.unstarted_bytes);
            assert_eq!(left, (0, 0, 0, 0), "{link:?}");
            assert_eq!(context.lent(), 0, "{:?}", side.inspect());
        }
    }

    async fn stop(self) {
        self.head.stop().await;
        self.worker.stop().await;
    }
}

fn serving(served: &Arc<Mutex<Served>>) -> Methods {
    let served = served.clone();
    Methods::new().method("work", move |args, _| {
        let served = served.clone();
        async move {
            let _running = Running::begin(&served, args.get("number")?);
            pause(Duration::from_micros(args.get("work")?)).await;
            Ok::<_, HandlerError>(ByteBuf::from(vec![0; args.get("reply")?]))
        }
    })
}

/// Makes calls that are dropped after 0, 1, 2, .. polls, until one ends before or is not woken any more.
async fn drop_at_each_await(net: &mut Net, kind: Kind, random: &mut fastrand::Rng) {
    for polls in 0.. {
        net.cut_after(Duration::from_micros(random.u64(0..8_000)));
        let call = drop_after(polls, net.call(kind).into_future());
        let outcome = timeout(SETTLED, call).await;
        net.assert_settled().await;
        assert!(net.starts() <= 1, "{kind:?}, {polls} polls");
        match outcome {
            Ok(None) => assert!(polls < 64, "it is woken for nothing"),
            Ok(Some(reply)) => return assert_eq!(reply.unwrap().len(), kind.reply),
            Err(_) => return assert_eq!(kind.work, ENDLESS.work),
        }
    }
}

#[test]
fn a_call_that_is_dropped_at_any_await_while_connections_are_cut_leaves_nothing() {
    for seed in 0..20 {
        simulate(|| async {
            let (mut net, mut random) = (Net::new(seed).await, fastrand::Rng::with_seed(seed));
            for kind in KINDS.into_iter().chain([ENDLESS]) {
                drop_at_each_await(&mut net, kind, &mut random).await;
            }
            net.stop().await;
        });
    }
}

/// How a call is given up.
#[derive(Debug, Clone, Copy)]
enum By {
    Deadline,
    Drop,
}

/// What became of calls that were given up.
#[derive(Debug, Default)]
struct Ends {
    made: usize,
    started: usize,
    done: usize,
    not_run: usize,
    may_have_run: usize,
}

impl Ends {
    /// Some were given up too late, some while they ran or were answered, and some before they could start.
    fn assert_all_there(&self, by: By) {
        assert!(0 < self.done && self.done < self.started && self.started < self.made, "{by:?}: {self:?}");
        let told = self.not_run > 0 && self.may_have_run > 0;
        assert!(told || matches!(by, By::Drop), "{self:?}");
    }
}

/// Makes a call that is given up after `limit`, and notes what came of it.
async fn give_up(net: &mut Net, kind: Kind, by: By, limit: Duration, ends: &mut Ends) {
    let call = net.call(kind);
    let outcome = match by {
        By::Deadline => Some(call.deadline(limit).await),
        By::Drop => timeout(limit, call.into_future()).await.ok(),
    };
    net.assert_settled().await;
    let starts = net.starts();
    let may_start = match outcome {
        Some(Ok(reply)) => {
            assert_eq!(reply.len(), kind.reply);
            ends.done += 1;
            1..=1
        }
        Some(Err(CallError::Timeout { execution: Execution::NotRun, .. })) => {
            ends.not_run += 1;
            0..=0
        }
        Some(Err(CallError::Timeout { .. })) => {
            ends.may_have_run += 1;
            0..=1
        }
        Some(Err(error)) => panic!("{kind:?}, {by:?} after {limit:?}: {error}"),
        None => 0..=1,
    };
    assert!(may_start.contains(&starts), "{kind:?}, {by:?} after {limit:?}: started {starts} times");
    ends.made += 1;
    ends.started += starts;
}

/// From the start until after the slowest kind of call has ended.
fn moments(step: Duration) -> impl Iterator<Item = Duration> {
    (0..).map(move |number| number * step).take_while(|moment| *moment < Duration::from_millis(30))
}

#[test]
fn a_call_that_is_given_up_at_any_moment_leaves_nothing() {
    for by in [By::Deadline, By::Drop] {
        simulate(|| async {
            let (mut net, mut ends) = (Net::new(1).await, Ends::default());
            for kind in KINDS.into_iter().chain([ENDLESS]) {
                for limit in moments(Duration::from_micros(250)) {
                    give_up(&mut net, kind, by, limit, &mut ends).await;
                }
            }
            ends.assert_all_there(by);
            net.stop().await;
        });
    }
}

#[test]
fn a_call_that_is_given_up_at_any_moment_around_a_cut_leaves_nothing() {
    for by in [By::Deadline, By::Drop] {
        simulate(|| async {
            let (mut net, mut ends) = (Net::new(2).await, Ends::default());
            for kind in KINDS.into_iter().chain([ENDLESS]) {
                for cut in moments(Duration::from_millis(3)) {
                    for limit in moments(Duration::from_micros(1500)) {
                        net.cut_after(cut);
                        give_up(&mut net, kind, by, limit, &mut ends).await;
                    }
                }
            }
            ends.assert_all_there(by);
            net.stop().await;
        });
    }
}
