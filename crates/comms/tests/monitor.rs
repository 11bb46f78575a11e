//! The monitor dies without a word and comes back, on a virtual clock; and a receiver that takes nothing for long.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::time::Duration;

use mosaic_comms::{CommsManager, Config, Context, Event, Events, HandlerError, Methods, Reason, kwargs};
use tokio::time::{Instant, sleep_until, timeout};

const MINUTE: Duration = Duration::from_secs(60);

fn simulate<F: Future>(scenario: impl FnOnce() -> F) -> F::Output {
    let executor =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    executor.block_on(scenario())
}

fn adding() -> Methods {
    Methods::new().method("add", |args, _| async move { Ok(args.get::<u32>("a")? + args.get::<u32>("b")?) })
}

async fn add(from: &CommsManager, to: &str) {
    let sum = from.send_recv::<u32>(to, "add", kwargs! { a: 1, b: 2 });
    assert_eq!(timeout(MINUTE, sum).await.unwrap().unwrap(), 3);
}

async fn start(uid: &str, config: &Config) -> CommsManager {
    CommsManager::start(uid, adding(), config.clone()).await.unwrap()
}

/// What has been told of the monitor, as words.
async fn told_of_monitor(events: &mut Events, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    while told.len() < count {
        match timeout(MINUTE, events.next()).await.unwrap().unwrap() {
            Event::Connected { uid, .. } if uid.is_monitor() => told.push("connected".to_owned()),
            Event::Disconnected { uid, reason } if uid.is_monitor() => told.push(reason.code().to_owned()),
            _ => {}
        }
    }
    told
}

#[test]
fn a_monitor_that_dies_and_returns_is_announced_once_each_and_everybody_works_on() {
    simulate(|| async {
        let context = Context::simulated(11);
        let alone = Config::default().context(context.clone());
        let monitor = start("monitor", &alone).await;
        let port = monitor.port();
        let joining = alone.clone().monitor(monitor.address(), port);
        let (head, worker) = (start("head", &joining).await, start("worker", &joining).await);
        let members = [&head, &worker];
        for member in members {
            member.wait_for_count("*", 2).await.unwrap();
        }
        let mut events = members.map(CommsManager::events);
        drop(monitor);
        for events in &mut events {
            assert_eq!(told_of_monitor(events, 1).await, ["refused"]);
        }
        add(&head, "worker").await;
        sleep_until(Instant::now() + MINUTE).await;
        assert!(members.iter().all(|member| !member.connected("monitor") && member.peers("*").len() == 1));
        let returned = start("monitor", &alone.port(port)).await;
        for events in &mut events {
            assert_eq!(told_of_monitor(events, 1).await, ["connected"]);
        }
        // Nobody is forgotten, and who comes now hears of all.
        let newcomer = start("newcomer", &joining).await;
        newcomer.wait_for_count("*", 3).await.unwrap();
        sleep_until(Instant::now() + MINUTE).await;
        for (from, to) in [(&newcomer, "worker"), (&worker, "head"), (&head, "newcomer")] {
            add(from, to).await;
        }
        for comms in [newcomer, head, worker] {
            comms.stop().await;
        }
        returned.stop().await;
        for events in &mut events {
            let mut rest = Vec::new();
            while let Some(event) = events.next().await {
                rest.push(event);
            }
            let dead = rest.iter().any(|event| {
                matches!(event, Event::Disconnected { reason, .. } if !matches!(reason, Reason::Left { .. } | Reason::Stopped))
            });
            assert!(!dead, "{rest:?}");
        }
    });
}

#[test]
fn a_monitor_that_has_dialled_while_it_stopped_is_still_looked_for() {
    simulate(|| async {
        let network = Context::simulated(13);
        let beside = || Config::default().context(network.simulated_beside(1 << 30));
        let monitor = start("monitor", &beside()).await;
        let (address, port) = (monitor.address(), monitor.port());
        let near = start("near", &beside().monitor(&*address, port)).await;
        let far = start("far", &beside().monitor(&*address, port)).await;
        // It stops once both have taken leave. The one that has done so at once is dialled again meanwhile.
        far.context().set_slowness(Duration::from_millis(300));
        monitor.stop().await;
        let returned = start("monitor", &beside().port(port)).await;
        for uid in ["near", "far"] {
            timeout(MINUTE, returned.wait_for(uid)).await.unwrap().unwrap();
            add(&returned, uid).await;
        }
        for comms in [near, far, returned] {
            comms.stop().await;
        }
    });
}

#[test]
fn a_receiver_that_takes_nothing_for_thirty_seconds_is_no_death() {
    simulate(|| async {
        let context = Context::simulated(12);
        let config = Config::default().context(context);
        let slow = Methods::new().method("take", |args, _| async move {
            let n = args.get::<u32>("n")?;
            if n == 0 {
                sleep_until(Instant::now() + Duration::from_secs(30)).await;
            }
            Ok::<_, HandlerError>(n)
        });
        let worker = CommsManager::start("worker", slow, config.clone().running_handlers(1)).await.unwrap();
        let head = CommsManager::start("head", Methods::new(), config).await.unwrap();
        head.connect_send("worker", &worker.address(), worker.port()).await.unwrap();
        let mut events = head.events();
        let filling = vec![0_u8; 50_000];
        let begun = Instant::now();
        let calls = (0..60_u32).map(|n| {
            let args = kwargs! { n: n, filling: &filling };
            head.send_recv::<u32>("worker", "take", args)
        });
        let replies =
            timeout(10 * MINUTE, futures_util::future::try_join_all(calls.map(IntoFuture::into_future)));
        assert!(replies.await.unwrap().unwrap().into_iter().eq(0..60));
        assert!(begun.elapsed() >= Duration::from_secs(30));
        head.stop().await;
        while let Some(event) = events.next().await {
            assert!(matches!(event, Event::Connected { .. }), "{event:?}");
        }
        worker.stop().await;
    });
}
