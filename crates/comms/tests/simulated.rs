//! The same managers on a virtual clock: connections that are cut in the middle of traffic, peers that fall silent.
//! Every seed is another course of events; a failure names its seed.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::sync::Arc;
use std::time::Duration;

use mosaic_comms::{
    CallError, CommsManager, Config, Context, Event, Execution, HandlerError, Methods, Reason, Uid, kwargs,
};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

const MINUTE: Duration = Duration::from_secs(60);

/// What happened when.
type Log = Arc<Mutex<Vec<(Duration, String)>>>;

fn simulate<F: Future>(scenario: impl FnOnce() -> F) -> F::Output {
    let executor =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    executor.block_on(scenario())
}

struct Net {
    context: Context,
    monitor: CommsManager,
    head: CommsManager,
    worker: CommsManager,
}

fn serving(log: &Log, begun: Instant) -> Methods {
    let (noted, called) = (log.clone(), log.clone());
    Methods::new()
        .method("note", move |args, _| {
            noted.lock().push((begun.elapsed(), format!("note {}", args.get::<u32>("n").unwrap())));
            async { Ok(()) }
        })
        .method("call", move |args, _| {
            let n = args.get::<u32>("n").unwrap();
            called.lock().push((begun.elapsed(), format!("call {n}")));
            async move { Ok::<_, HandlerError>(n) }
        })
        .method("never", |_, _| std::future::pending::<Result<(), HandlerError>>())
}

async fn net(seed: u64, log: &Log) -> Net {
    let context = Context::simulated(seed);
    let config = Config::default().context(context.clone());
    let monitor = CommsManager::start("monitor", Methods::new(), config.clone()).await.unwrap();
    let config = config.monitor(monitor.address(), monitor.port());
    let worker = CommsManager::start("worker", serving(log, Instant::now()), config.clone()).await.unwrap();
    let head = CommsManager::start("head", Methods::new(), config).await.unwrap();
    head.wait_for("worker").await.unwrap();
    worker.wait_for("head").await.unwrap();
    Net { context, monitor, head, worker }
}

impl Net {
    async fn stop(self) {
        self.head.stop().await;
        self.worker.stop().await;
        self.monitor.stop().await;
    }
}

const MESSAGES: u32 = 40;

/// Notes and calls while connections are cut at random moments.
async fn traffic_under_cuts(seed: u64) -> Vec<(Duration, String)> {
    let log = Log::default();
    let net = net(seed, &log).await;
    let mut random = fastrand::Rng::with_seed(seed);
    let begun = Instant::now();
    let cuts: Vec<_> = (0..random.u64(1..6)).map(|_| Duration::from_micros(random.u64(0..20_000))).collect();
    let cutting = {
        let context = net.context.clone();
        let mut cuts = cuts.clone();
        cuts.sort_unstable();
        tokio::spawn(async move {
            for after in cuts {
                sleep_until(begun + after).await;
                context.cut_connections();
            }
        })
    };
    let mut replies = Vec::new();
    for n in 0..MESSAGES {
        if random.bool() {
            net.head.send("worker", "note", kwargs! { n: n }).await.unwrap();
        } else {
            replies
                .push((n, net.head.send("worker", "call", kwargs! { n: n }).reply::<u32>().await.unwrap()));
        }
        sleep_until(Instant::now() + Duration::from_micros(random.u64(0..800))).await;
    }
    for (n, reply) in replies {
        assert_eq!(reply.await.unwrap(), n, "seed {seed}");
    }
    net.head.send_recv::<u32>("worker", "call", kwargs! { n: MESSAGES }).await.unwrap();
    cutting.await.unwrap();
    net.stop().await;
    let events = log.lock().clone();
    let numbers: Vec<u32> =
        events.iter().map(|(_, event)| event.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    assert!(numbers.iter().copied().eq(0..=MESSAGES), "seed {seed}: {numbers:?}");
    events
}

#[test]
fn nothing_is_lost_doubled_or_reordered_when_connections_are_cut() {
    for seed in 0..200 {
        let run = std::panic::AssertUnwindSafe(|| simulate(|| traffic_under_cuts(seed)));
        assert!(std::panic::catch_unwind(run).is_ok(), "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_course() {
    for seed in 0..10 {
        let (one, other) = (simulate(|| traffic_under_cuts(seed)), simulate(|| traffic_under_cuts(seed)));
        assert_eq!(one, other, "seed {seed}");
    }
}

#[test]
fn who_falls_silent_is_unreachable_and_comes_back() {
    simulate(|| async {
        let log = Log::default();
        let net = net(1, &log).await;
        net.head.send_recv::<u32>("worker", "call", kwargs! { n: 1 }).await.unwrap();
        let pending = net.head.send("worker", "never", ()).reply::<()>().await.unwrap();
        // One heart goes both ways, so that the link has been quiet when it breaks.
        sleep_until(Instant::now() + Duration::from_secs(1)).await;
        let mut events = net.head.events();
        net.context.partition();
        let begun = Instant::now();
        let error = pending.await.unwrap_err();
        let took = begun.elapsed();
        assert!(took > Duration::from_secs(3) && took < Duration::from_secs(5), "{took:?}");
        let CallError::Disconnected { reason, execution, .. } = &error else { panic!("{error:?}") };
        assert!(matches!(reason, Reason::Unreachable { .. }), "{reason:?}");
        assert_eq!(*execution, Execution::MayHaveRun);
        let mut heard = Vec::new();
        while !heard.iter().any(|event| matches!(event, Event::Unreachable { uid, .. } if uid == "worker")) {
            heard.push(events.next().await.unwrap());
        }
        assert!(heard.iter().any(|event| matches!(event, Event::Suspected { uid } if uid == "worker")));
        net.context.heal();
        net.head.wait_for("worker").await.unwrap();
        let back = net.head.send_recv::<u32>("worker", "call", kwargs! { n: 2 }).await.unwrap();
        assert_eq!(back, 2);
        net.stop().await;
    });
}

#[test]
fn who_leaves_while_connections_are_cut_has_left() {
    let cut_after = Duration::from_millis(5);
    for stop_after in (0..10_000).step_by(100).map(Duration::from_micros) {
        simulate(|| async move {
            let net = net(7, &Log::default()).await;
            net.context.set_delay(Duration::from_millis(1), Duration::ZERO);
            let mut events = [net.head.events(), net.monitor.events()];
            let begun = Instant::now();
            tokio::join!(
                async {
                    sleep_until(begun + stop_after).await;
                    net.worker.stop().await;
                },
                async {
                    sleep_until(begun + cut_after).await;
                    net.context.cut_connections();
                }
            );
            for events in &mut events {
                let reason = loop {
                    if let Event::Disconnected { reason, .. } = events.next().await.unwrap() {
                        break reason;
                    }
                };
                assert!(reason.is_departure(), "stopped after {stop_after:?}: {reason}");
            }
            net.stop().await;
        });
    }
}

#[test]
fn a_silence_that_is_short_enough_is_forgiven() {
    simulate(|| async {
        let log = Log::default();
        let net = net(2, &log).await;
        let mut events = net.head.events();
        let reply = net.head.send("worker", "call", kwargs! { n: 1 }).reply::<u32>().await.unwrap();
        net.context.partition();
        sleep_until(Instant::now() + Duration::from_millis(3500)).await;
        net.context.heal();
        assert_eq!(reply.await.unwrap(), 1);
        sleep_until(Instant::now() + Duration::from_secs(5)).await;
        net.head.stop().await;
        while let Some(event) = events.next().await {
            assert!(!matches!(event, Event::Unreachable { .. } | Event::Disconnected { .. }), "{event:?}");
        }
        net.stop().await;
    });
}

#[test]
fn idle_links_stay_alive() {
    simulate(|| async {
        let log = Log::default();
        let net = net(3, &log).await;
        net.head.send_recv::<u32>("worker", "call", kwargs! { n: 1 }).await.unwrap();
        let mut events = net.head.events();
        let pending = net.head.send("worker", "never", ()).reply::<()>().await.unwrap();
        sleep_until(Instant::now() + Duration::from_secs(3600)).await;
        net.head.send_recv::<u32>("worker", "call", kwargs! { n: 2 }).await.unwrap();
        drop(pending);
        net.head.stop().await;
        while let Some(event) = events.next().await {
            assert!(matches!(event, Event::Connected { .. }), "{event:?}");
        }
        net.stop().await;
    });
}

#[test]
fn what_one_life_gave_up_is_not_held_against_the_next() {
    simulate(|| async {
        let network = Context::simulated(4);
        let beside = || Config::default().context(network.simulated_beside(1 << 30));
        let serving = serving(&Log::default(), Instant::now());
        let worker = CommsManager::start("worker", serving, beside()).await.unwrap();
        let start = async || {
            let head = CommsManager::start("head", Methods::new(), beside()).await.unwrap();
            head.connect_send("worker", &worker.address(), worker.port()).await.unwrap();
            head
        };
        let call = |head: &CommsManager, n: u32| {
            timeout(MINUTE, head.send_recv::<u32>("worker", "call", kwargs! { n: n }).into_future())
        };
        let first = start().await;
        assert_eq!(call(&first, 1).await.unwrap().unwrap(), 1);
        // Its next call has been served when the worker hears that it was given up, while the reply was under way.
        first.context().set_slowness(Duration::from_millis(50));
        assert!(timeout(Duration::from_millis(75), call(&first, 2)).await.is_err());
        sleep_until(Instant::now() + Duration::from_millis(100)).await;
        let mut events = worker.events();
        first.context().hold_to(worker.context());
        worker.context().hold_to(first.context());
        while !matches!(events.next().await.unwrap(), Event::Unreachable { .. }) {}
        drop(first);
        let second = start().await;
        for n in 3..10 {
            assert_eq!(call(&second, n).await.unwrap().unwrap(), n);
        }
        second.stop().await;
        worker.stop().await;
    });
}

#[test]
fn a_deadline_is_kept_while_the_monitor_is_asked_for_the_peer() {
    simulate(|| async {
        let net = net(3, &Log::default()).await;
        net.context.partition();
        let (begun, limit) = (Instant::now(), Duration::from_millis(100));
        let error = net.head.send_recv::<()>("somebody", "never", ()).deadline(limit).await.unwrap_err();
        assert!(begun.elapsed() < 2 * limit, "{:?}", begun.elapsed());
        let CallError::Timeout { peer, after, execution } = &error else { panic!("{error:?}") };
        assert!(peer == "somebody" && *after == limit && *execution == Execution::NotRun, "{error:?}");
        net.context.heal();
        net.stop().await;
    });
}

#[test]
fn a_call_that_is_made_during_a_short_partition_is_served_after_it() {
    for seed in 0..20 {
        simulate(|| async move {
            let log = Log::default();
            let net = net(seed, &log).await;
            net.context.partition();
            let reply = net.head.send("worker", "call", kwargs! { n: 1 }).reply::<u32>().await.unwrap();
            sleep_until(Instant::now() + Duration::from_millis(1000)).await;
            net.context.heal();
            assert_eq!(reply.await.unwrap(), 1, "seed {seed}");
            net.stop().await;
        });
    }
}

#[test]
fn a_slow_network_changes_nothing_but_the_time() {
    simulate(|| async {
        let log = Log::default();
        let net = net(4, &log).await;
        net.context.set_delay(Duration::from_millis(300), Duration::from_millis(300));
        for n in 0..20 {
            assert_eq!(net.head.send_recv::<u32>("worker", "call", kwargs! { n: n }).await.unwrap(), n);
        }
        net.stop().await;
    });
}

#[test]
fn a_heart_by_the_programs_word_is_answered_with_a_beat() {
    simulate(|| async {
        let log = Log::default();
        let net = net(5, &log).await;
        net.head.send_recv::<u32>("worker", "call", kwargs! { n: 1 }).await.unwrap();
        let one_way = Duration::from_millis(100);
        net.context.set_delay(one_way, Duration::ZERO);
        let there_and_back = net.worker.ping("head").await.unwrap().round_trip;
        assert!(there_and_back >= 2 * one_way, "{there_and_back:?}");
        // The beat is on its way before the ping's heart has come.
        let ping = tokio::spawn({
            let worker = net.worker.clone();
            async move { worker.ping("head").await.unwrap().round_trip }
        });
        tokio::task::yield_now().await;
        net.head.protocol().heart(net.worker.uid());
        let back = ping.await.unwrap();
        assert!(back >= one_way && back < 2 * one_way, "{back:?}");
        net.stop().await;
    });
}

#[test]
fn a_silent_peer_that_lives_by_the_programs_word_is_not_given_up() {
    type Sign = fn(&CommsManager, &Uid);
    let signs: [Sign; 2] =
        [|head, worker| head.protocol().heart(worker), |head, worker| head.protocol().beat(worker)];
    for sign in signs {
        simulate(|| async move {
            let log = Log::default();
            let net = net(6, &log).await;
            net.head.send_recv::<u32>("worker", "call", kwargs! { n: 1 }).await.unwrap();
            let mut events = net.head.events();
            net.context.partition();
            let begun = Instant::now();
            for second in 1..10 {
                sleep_until(begun + Duration::from_secs(second)).await;
                sign(&net.head, net.worker.uid());
            }
            let told = loop {
                match events.next().await.unwrap() {
                    Event::Suspected { uid } | Event::Unreachable { uid, .. } if uid == "worker" => {
                        break begun.elapsed();
                    }
                    _ => {}
                }
            };
            assert!(told > Duration::from_secs(10) && told < Duration::from_secs(14), "{told:?}");
            net.context.heal();
            net.stop().await;
        });
    }
}

#[test]
fn a_beat_by_the_programs_word_answers_a_ping() {
    simulate(|| async {
        let log = Log::default();
        let net = net(7, &log).await;
        net.head.send_recv::<u32>("worker", "call", kwargs! { n: 1 }).await.unwrap();
        net.context.partition();
        let head = net.head.clone();
        let ping = tokio::spawn(async move { head.ping("worker").await });
        tokio::task::yield_now().await;
        assert!(!ping.is_finished());
        net.head.protocol().beat(net.worker.uid());
        ping.await.unwrap().unwrap();
        net.context.heal();
        net.stop().await;
    });
}
