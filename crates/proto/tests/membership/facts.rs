//! Facts of one machine, each shown by what goes in and what comes out.

use std::collections::BTreeMap;
use std::time::Duration;

use mosaic_proto::limits::{CLAIM_WAIT, MAX_ADDRESS, NEWS_DELAY, NEWS_PACE, REPORT_DELAY, TOPOLOGY_GRACE};
use mosaic_proto::membership::{Effect, Membership, News, Notice, Notify, Part, Refusal, Verdict};
use mosaic_proto::{Instance, Place, Reason, Time, Uid};

const START: Time = Time::ZERO;

fn uid(text: &str) -> Uid {
    Uid::new(text).unwrap()
}

fn place(instance: u64) -> Place {
    Place { address: "10.0.0.1".into(), port: 7000, instance: Instance(instance) }
}

fn machine(name: &str, instance: u64) -> Membership {
    Membership::new(uid(name), place(instance))
}

fn effects(machine: &mut Membership) -> Vec<Effect> {
    std::iter::from_fn(|| machine.poll_effect()).collect()
}

fn silent() -> Reason {
    Reason::Unreachable { silent: Duration::from_secs(4) }
}

fn killed() -> Reason {
    Reason::Exited { detail: "signal 9".into() }
}

/// A worker that has the network of monitor instance 1: the monitor, itself and those given.
fn joined(others: &[(&str, u64)]) -> Membership {
    let mut worker = machine("worker:0", 100);
    worker.introduce(&uid("monitor"));
    worker.link_up(START, &uid("monitor"), Instance(1), Some(place(1)));
    let mut network = vec![(uid("monitor"), place(1)), (uid("worker:0"), place(100))];
    network.extend(others.iter().map(|(name, instance)| (uid(name), place(*instance))));
    worker.shake(START, &uid("monitor"), network, Part::Last);
    effects(&mut worker);
    worker
}

fn news(sent: &[Effect], receiver: &str) -> Vec<News> {
    let of = |effect: &Effect| match effect {
        Effect::Send { to, message: Notice::News(news) } if *to == receiver => Some((**news).clone()),
        _ => None,
    };
    sent.iter().filter_map(of).collect()
}

#[test]
fn a_storm_of_joins_tells_everybody_of_everybody_once() {
    const RUNTIMES: u64 = 1000;
    let mut monitor = machine("monitor", 1);
    let mut told: BTreeMap<Uid, (usize, usize)> = BTreeMap::new();
    for number in 0..RUNTIMES {
        monitor.hand(START, &uid(&format!("worker:{number}")), place(number + 2));
    }
    assert_eq!(monitor.poll_timeout(), Some(START + NEWS_DELAY));
    monitor.handle_timeout(START + NEWS_DELAY);
    for effect in effects(&mut monitor) {
        let Effect::Send { to, message } = effect else { continue };
        let (entries, messages) = told.entry(to).or_default();
        *messages += 1;
        *entries += match message {
            Notice::Hand { .. } => 0,
            Notice::Shake { network, .. } => network.len(),
            Notice::News(news) => news.joined.len() + news.gone.len(),
        };
    }
    assert_eq!(told.len() as u64, RUNTIMES);
    for (uid, (entries, messages)) in told {
        assert_eq!(entries as u64, RUNTIMES + 1, "{uid} is told of everybody once");
        assert!(messages <= 4, "{uid} gets {messages} messages");
    }
    assert_eq!(monitor.poll_timeout(), None);
}

#[test]
fn a_change_is_told_soon_and_those_of_a_storm_together() {
    const RUNTIMES: u32 = 1000;
    let mut monitor = machine("monitor", 1);
    for number in 0..RUNTIMES {
        monitor.hand(START, &uid(&format!("worker:{number}")), place(u64::from(number) + 2));
    }
    let told = START + NEWS_DELAY;
    monitor.handle_timeout(told);
    monitor.hand(told, &uid("early"), place(2000));
    let rested = told + NEWS_PACE * RUNTIMES;
    assert_eq!(monitor.poll_timeout(), Some(rested));
    effects(&mut monitor);
    monitor.handle_timeout(rested);
    let joined = vec![(uid("early"), place(2000))];
    assert_eq!(news(&effects(&mut monitor), "worker:7"), [News { gone: vec![], joined }]);
    let quiet = rested + NEWS_PACE * 2 * RUNTIMES;
    monitor.link_ended(quiet, &uid("early"), Instance(2000), killed(), Verdict::Dead);
    assert_eq!(monitor.poll_timeout(), Some(quiet + NEWS_DELAY));
}

#[test]
fn a_newcomer_is_not_told_again_what_its_shake_held_and_misses_nothing_after_it() {
    let mut monitor = machine("monitor", 1);
    monitor.hand(START, &uid("worker:0"), place(2));
    monitor.hand(START, &uid("worker:1"), place(3));
    monitor.link_ended(START, &uid("worker:0"), Instance(2), killed(), Verdict::Dead);
    monitor.hand(START, &uid("worker:2"), place(4));
    effects(&mut monitor);
    monitor.handle_timeout(START + NEWS_DELAY);
    let sent = effects(&mut monitor);
    let gone = vec![(uid("worker:0"), Instance(2), killed())];
    assert_eq!(news(&sent, "worker:1"), [News { gone, joined: vec![(uid("worker:2"), place(4))] }]);
    assert_eq!(news(&sent, "worker:2"), []);
    assert_eq!(news(&sent, "worker:0"), []);
}

#[test]
fn a_long_shake_comes_in_parts_of_which_one_is_the_last() {
    let address = "a".repeat(MAX_ADDRESS);
    let mut monitor = machine("monitor", 1);
    for number in 0..1000 {
        let place = Place { address: address.clone(), port: 7000, instance: Instance(number + 2) };
        monitor.connect(START, &uid("head"), &uid(&format!("worker:{number}")), place, Notify::Others);
    }
    effects(&mut monitor);
    monitor.hand(START, &uid("head"), place(5000));
    let mut parts = Vec::new();
    for effect in effects(&mut monitor) {
        if let Effect::Send { message: Notice::Shake { network, part }, .. } = effect {
            assert!(
                network.iter().map(|(uid, place)| uid.len() + place.address.len()).sum::<usize>() < 32 * 1024
            );
            parts.push((network.len(), part));
        }
    }
    assert_eq!(parts.iter().map(|(entries, _)| entries).sum::<usize>(), 1002);
    let (last, others) = parts.split_last().unwrap();
    assert_eq!(last.1, Part::Last);
    assert!(others.len() > 5 && others.iter().all(|(_, part)| *part == Part::More));
}

#[test]
fn a_uid_changes_hands_only_after_its_holder_is_gone() {
    let mut monitor = machine("monitor", 1);
    let worker = uid("worker:0");
    monitor.hand(START, &worker, place(2));
    effects(&mut monitor);

    monitor.hand(START, &worker, place(3));
    let why = Refusal::Taken { holder: place(2) };
    let shown = "the uid is held by instance 0000000000000002 at 10.0.0.1:7000";
    assert_eq!(why.to_string(), shown);
    assert_eq!(effects(&mut monitor), [Effect::Refuse { to: worker.clone(), instance: Instance(3), why }]);

    monitor.link_ended(START, &worker, Instance(2), killed(), Verdict::Dead);
    monitor.hand(START, &worker, place(3));
    let happened = effects(&mut monitor);
    assert!(matches!(happened[0], Effect::Disconnected { .. }));
    assert!(matches!(happened[1], Effect::Connected { .. }));
    assert!(monitor.topology().holds("worker:0", Instance(3)));
}

#[test]
fn a_ghost_learns_from_the_monitor_that_it_was_declared_dead() {
    let mut monitor = machine("monitor", 1);
    let worker = uid("worker:0");
    monitor.hand(START, &worker, place(100));
    monitor.link_ended(START, &worker, Instance(100), killed(), Verdict::Dead);
    effects(&mut monitor);
    monitor.link_up(START, &worker, Instance(100), Some(place(100)));
    let said = effects(&mut monitor);
    assert!(matches!(&said[1], Effect::Refuse { why: Refusal::Dead { .. }, .. }), "{said:?}");

    let mut ghost = joined(&[]);
    ghost.news(START, &uid("monitor"), &news(&said, "worker:0")[0]);
    assert_eq!(effects(&mut ghost), [Effect::Condemned { reason: killed() }]);
}

#[test]
fn only_the_monitor_and_only_ones_own_instance_can_condemn() {
    let mut worker = joined(&[("worker:1", 2)]);
    let me = uid("worker:0");
    worker.disconnect(START, &uid("worker:1"), &me, Instance(100), killed(), Notify::Nobody);
    worker.disconnect(START, &uid("monitor"), &me, Instance(99), killed(), Notify::Nobody);
    assert_eq!(effects(&mut worker), []);
    assert!(worker.connected("worker:0"));
}

#[test]
fn hearsay_ends_nobody() {
    let mut worker = joined(&[("worker:1", 2), ("worker:2", 3)]);
    worker.disconnect(START, &uid("worker:1"), &uid("worker:2"), Instance(3), killed(), Notify::Nobody);
    assert_eq!(effects(&mut worker), []);
    assert!(worker.connected("worker:2"));
    assert_eq!(worker.ignored().hearsay, 1);
}

#[test]
fn unreachable_is_noted_and_told_to_nobody() {
    for mut machine in [joined(&[("worker:1", 2)]), machine("monitor", 1)] {
        machine.hand(START, &uid("worker:1"), place(2));
        machine.handle_timeout(START + NEWS_DELAY);
        effects(&mut machine);
        machine.link_ended(START, &uid("worker:1"), Instance(2), silent(), Verdict::Unreachable);
        assert_eq!(effects(&mut machine), []);
        assert!(machine.connected("worker:1") && machine.unreachable("worker:1"));
        machine.link_up(START, &uid("worker:1"), Instance(2), None);
        assert!(!machine.unreachable("worker:1"));
    }
}

#[test]
fn who_has_only_called_the_monitor_is_kept_while_it_is_out_of_reach() {
    let mut machine = machine("monitor", 1);
    machine.link_up(START, &uid("worker:1"), Instance(2), None);
    effects(&mut machine);
    machine.link_ended(START, &uid("worker:1"), Instance(2), silent(), Verdict::Unreachable);
    assert_eq!(effects(&mut machine), []);
    assert!(machine.connected("worker:1") && machine.unreachable("worker:1"));
    let due = machine.poll_timeout().unwrap();
    assert_eq!(due, START + TOPOLOGY_GRACE);
    machine.handle_timeout(due);
    let reason = Reason::Forgotten;
    assert_eq!(
        effects(&mut machine),
        [Effect::Disconnected { uid: uid("worker:1"), instance: Instance(2), reason }]
    );
}

#[test]
fn a_death_that_a_member_proves_is_reported_unless_the_monitor_says_it_first() {
    let mut worker = joined(&[("worker:1", 2), ("worker:2", 3)]);
    for (name, instance) in [("worker:1", 2), ("worker:2", 3)] {
        worker.link_ended(START, &uid(name), Instance(instance), killed(), Verdict::Dead);
    }
    assert_eq!(worker.poll_timeout(), Some(START + REPORT_DELAY));
    let said = News { gone: vec![(uid("worker:2"), Instance(3), killed())], joined: Vec::new() };
    worker.news(START, &uid("monitor"), &said);
    assert_eq!(effects(&mut worker).len(), 2, "two disconnections, each once");
    worker.handle_timeout(START + REPORT_DELAY);
    let report = News { gone: vec![(uid("worker:1"), Instance(2), killed())], joined: Vec::new() };
    assert_eq!(news(&effects(&mut worker), "monitor"), [report]);
    assert_eq!(worker.poll_timeout(), None);
}

#[test]
fn a_reported_death_ends_the_link_and_condemns_its_runtime() {
    let mut monitor = machine("monitor", 1);
    monitor.hand(START, &uid("worker:0"), place(2));
    monitor.hand(START, &uid("worker:1"), place(3));
    effects(&mut monitor);
    let gone = vec![(uid("worker:1"), Instance(3), killed())];
    let report = News { gone, joined: Vec::new() };
    monitor.news(START, &uid("worker:0"), &report);
    monitor.news(START, &uid("worker:0"), &report);
    let happened = effects(&mut monitor);
    assert_eq!(news(&happened, "worker:1"), [report]);
    assert!(matches!(&happened[1..], [Effect::End { .. }, Effect::Disconnected { .. }]), "{happened:?}");
}

#[test]
fn a_caller_that_nobody_heard_of_is_connected_and_shaken_once_the_monitor_vouches() {
    let mut worker = joined(&[]);
    worker.link_up(START, &uid("worker:1"), Instance(2), None);
    let unknown = Place::unknown(Instance(2));
    assert_eq!(effects(&mut worker), [Effect::Connected { uid: uid("worker:1"), place: unknown }]);
    assert!(worker.connected("worker:1") && !worker.shaken("worker:1"));
    assert_eq!(worker.who("worker:1"), None);

    worker.take_changed();
    worker.connect(START, &uid("monitor"), &uid("worker:1"), place(2), Notify::Nobody);
    assert_eq!(effects(&mut worker), []);
    assert!(worker.shaken("worker:1") && worker.take_changed().contains(&uid("worker:1")));
    worker.connect(START, &uid("monitor"), &uid("worker:1"), place(2), Notify::Nobody);
    assert!(worker.take_changed().is_empty(), "nothing is new");
    assert_eq!(worker.who("worker:1"), Some(&place(2)));
}

#[test]
fn a_caller_whose_uid_is_held_waits_for_the_news() {
    let mut worker = joined(&[("worker:1", 2)]);
    let caller = uid("worker:1");
    worker.link_up(START, &caller, Instance(3), Some(place(3)));
    worker.hand(START, &caller, place(3));
    assert_eq!(effects(&mut worker), []);

    let gone = vec![(caller.clone(), Instance(2), killed())];
    worker.news(START, &uid("monitor"), &News { gone, joined: vec![(caller.clone(), place(3))] });
    let happened = effects(&mut worker);
    assert!(matches!(&happened[0], Effect::End { instance, .. } if *instance == Instance(2)));
    assert!(matches!(&happened[1], Effect::Disconnected { .. }));
    assert!(matches!(&happened[2], Effect::Connected { place, .. } if place.instance == Instance(3)));
    assert!(matches!(&happened[3], Effect::Send { message: Notice::Shake { .. }, .. }), "{happened:?}");
    assert_eq!(happened.len(), 4);
}

#[test]
fn a_caller_whose_uid_stays_held_is_turned_away_in_time() {
    let mut worker = joined(&[("worker:1", 2)]);
    worker.link_up(START, &uid("worker:1"), Instance(3), Some(place(3)));
    assert_eq!(worker.poll_timeout(), Some(START + CLAIM_WAIT));
    worker.handle_timeout(START + CLAIM_WAIT);
    let why = Refusal::Taken { holder: place(2) };
    let refused = Effect::Refuse { to: uid("worker:1"), instance: Instance(3), why };
    assert_eq!(effects(&mut worker), [refused]);
    assert_eq!(worker.poll_timeout(), None);
}

#[test]
fn nobody_can_claim_ones_own_uid() {
    let mut worker = machine("worker:0", 100);
    worker.link_up(START, &uid("worker:0"), Instance(3), Some(place(3)));
    worker.hand(START, &uid("worker:0"), place(3));
    let why = Refusal::Taken { holder: place(100) };
    let refused = Effect::Refuse { to: uid("worker:0"), instance: Instance(3), why };
    assert_eq!(effects(&mut worker), [refused.clone(), refused]);
    worker.news(
        START,
        &uid("monitor"),
        &News { gone: Vec::new(), joined: vec![(uid("worker:0"), place(3))] },
    );
    assert_eq!(effects(&mut worker), []);
    assert!(worker.topology().holds("worker:0", Instance(100)));
}

#[test]
fn a_monitor_that_returns_adds_to_what_is_known_for_a_grace_time() {
    let mut worker = joined(&[("worker:1", 2), ("worker:2", 3), ("worker:3", 4)]);
    let monitor = uid("monitor");
    worker.link_up(START, &uid("worker:2"), Instance(3), None);
    worker.link_ended(START, &monitor, Instance(1), killed(), Verdict::Dead);
    effects(&mut worker);
    assert_eq!(worker.poll_timeout(), None, "without a monitor everybody keeps what they know");

    worker.link_up(START, &monitor, Instance(9), Some(place(9)));
    let hands = effects(&mut worker);
    assert!(hands.iter().any(|effect| matches!(effect, Effect::Send { message: Notice::Hand { .. }, .. })));
    worker.shake(START, &monitor, vec![(monitor.clone(), place(9)), (uid("worker:1"), place(2))], Part::Last);
    effects(&mut worker);
    assert_eq!(worker.topology().len(), 5);

    worker.handle_timeout(START + TOPOLOGY_GRACE);
    let (instance, reason) = (Instance(4), Reason::Forgotten);
    assert_eq!(effects(&mut worker), [Effect::Disconnected { uid: uid("worker:3"), instance, reason }]);
    assert!(worker.connected("worker:2"), "its link is up");

    let later = START + TOPOLOGY_GRACE + Duration::from_secs(1);
    worker.link_ended(later, &uid("worker:2"), Instance(3), silent(), Verdict::Unreachable);
    assert!(!worker.connected("worker:2"));
}

#[test]
fn after_a_lost_session_the_shake_says_who_went_meanwhile() {
    let mut worker = joined(&[("worker:1", 2)]);
    let monitor = uid("monitor");
    worker.link_ended(START, &monitor, Instance(1), silent(), Verdict::Unreachable);
    worker.link_up(START, &monitor, Instance(1), None);
    worker.shake(START, &monitor, vec![(monitor.clone(), place(1))], Part::Last);
    assert!(!worker.connected("worker:1"), "this monitor had vouched for it and does so no more");
}

#[test]
fn a_monitor_that_came_back_is_told_who_died_before() {
    let mut worker = joined(&[("worker:1", 2)]);
    let monitor = uid("monitor");
    let gone = vec![(uid("worker:1"), Instance(2), killed())];
    worker.news(START, &monitor, &News { gone: gone.clone(), joined: Vec::new() });
    worker.link_ended(START, &monitor, Instance(1), killed(), Verdict::Dead);
    worker.link_up(START, &monitor, Instance(9), None);
    worker.shake(START, &monitor, vec![(monitor.clone(), place(9)), (uid("worker:1"), place(2))], Part::Last);
    effects(&mut worker);
    assert!(!worker.connected("worker:1"));
    worker.handle_timeout(START + REPORT_DELAY);
    assert_eq!(news(&effects(&mut worker), "monitor"), [News { gone, joined: Vec::new() }]);
}

#[test]
fn nothing_is_sent_after_leaving_but_what_was_known_is_said_before() {
    let mut monitor = machine("monitor", 1);
    monitor.hand(START, &uid("worker:0"), place(2));
    monitor.hand(START, &uid("worker:1"), place(3));
    effects(&mut monitor);
    monitor.leave(START);
    assert_eq!(news(&effects(&mut monitor), "worker:0").len(), 1);
    monitor.hand(START, &uid("worker:2"), place(4));
    assert!(!effects(&mut monitor).iter().any(|effect| matches!(effect, Effect::Send { .. })));
}

#[test]
fn a_life_that_the_monitor_cannot_reach_gives_way_to_the_next() {
    let mut monitor = machine("monitor", 1);
    let worker = uid("worker:0");
    monitor.link_up(START, &worker, Instance(2), Some(place(2)));
    monitor.hand(START, &worker, place(2));
    effects(&mut monitor);
    monitor.link_up(START, &worker, Instance(3), Some(place(3)));
    let refused = effects(&mut monitor);
    assert!(refused.iter().any(|effect| matches!(effect, Effect::Refuse { .. })), "{refused:?}");
    monitor.link_ended(START, &worker, Instance(2), silent(), Verdict::Unreachable);
    monitor.link_up(START, &worker, Instance(3), Some(place(3)));
    let told = effects(&mut monitor);
    let reason = Reason::Replaced { by: Instance(3) };
    assert!(
        told.contains(&Effect::Disconnected { uid: worker.clone(), instance: Instance(2), reason }),
        "{told:?}"
    );
    assert!(told.contains(&Effect::Connected { uid: worker, place: place(3) }), "{told:?}");
}
