//! What must hold after every step of a course, as functions by name: first the eight invariants of the protocol, then
//! what users are promised. Each gives what is wrong in words.

use std::time::Duration;

use mosaic_comms::{Execution, Reason};

use crate::record::{End, Ending, Life, LifeId, Message, Moment, Record};

type Verdict = Result<(), String>;
pub(crate) type Invariant = fn(&Record) -> Verdict;

/// Every invariant and its name.
pub(crate) const INVARIANTS: &[(&str, Invariant)] = &[
    ("acknowledged_is_received_is_sent", acknowledged_is_received_is_sent),
    ("each_message_starts_at_most_once", each_message_starts_at_most_once),
    ("messages_start_in_order", messages_start_in_order),
    ("nothing_is_lost", nothing_is_lost),
    ("what_is_under_way_is_within_the_window", what_is_under_way_is_within_the_window),
    ("no_call_hangs", no_call_hangs),
    ("no_call_outlives_its_peer", no_call_outlives_its_peer),
    ("there_is_one_connection_a_lane", there_is_one_connection_a_lane),
    ("an_ended_session_never_comes_back", an_ended_session_never_comes_back),
    ("what_is_lent_is_within_the_budget", what_is_lent_is_within_the_budget),
    ("nobody_is_dead_by_mistake", nobody_is_dead_by_mistake),
    ("nobody_is_unreachable_without_cause", nobody_is_unreachable_without_cause),
    ("every_end_is_heard_in_time", every_end_is_heard_in_time),
    ("a_call_tells_the_truth", a_call_tells_the_truth),
    ("deadlines_are_kept", deadlines_are_kept),
    ("everything_is_told_once", everything_is_told_once),
    ("hooks_hear_what_events_say", hooks_hear_what_events_say),
];

/// Silence of less than this is no reason to give somebody up. A heart may be half a second away, and as long again.
const FORGIVEN: Duration = Duration::from_millis(2900);

/// The time in which silence is judged.
const JUDGED_WITHIN: Duration = Duration::from_millis(6500);

/// A call ends this long after its handler should have, at the latest, if nothing is wrong any more.
const CALL_BOUND: Duration = Duration::from_secs(12);

/// Everybody has heard of an end by then, if nothing else is wrong.
const END_BOUND: Duration = Duration::from_secs(6);

/// Connections that were replaced are closed by then.
const CONNECTION_BOUND: Duration = Duration::from_secs(3);

/// What it takes until what is due has been done, after all clocks have jumped.
const SLACK: Duration = Duration::from_millis(100);

fn wrong(what: String) -> Verdict {
    Err(what)
}

fn touched(record: &Record) -> impl Iterator<Item = (usize, &Message)> {
    record.touched.iter().map(|&id| (id, &record.messages[id]))
}

/// 1: acknowledged <= received <= sent, for every session that both ends know.
fn acknowledged_is_received_is_sent(record: &Record) -> Verdict {
    for (one, life) in record.alive() {
        for view in &life.views {
            let Some(other) = view.instance.and_then(|instance| record.by_instance(instance)) else {
                continue;
            };
            let back = record.life(other).views.iter().find(|back| back.instance == Some(life.instance));
            let Some(back) = back.filter(|back| record.is_alive(other) && back.session == view.session)
            else {
                continue;
            };
            for (ours, theirs) in view.progress.iter().zip(&back.progress) {
                let holds = ours.acknowledged <= theirs.received && theirs.received <= ours.accepted;
                if view.session.is_some() && !holds {
                    return wrong(format!("{one:?} to {other:?}: {ours:?}, and there {theirs:?}"));
                }
            }
        }
    }
    Ok(())
}

/// 2: each message is executed at most once, also across the death of whom it was sent to.
fn each_message_starts_at_most_once(record: &Record) -> Verdict {
    match touched(record).find(|(_, message)| message.starts > 1) {
        Some((id, message)) => wrong(format!("message {id} has started {} times", message.starts)),
        None => Ok(()),
    }
}

/// 2: what was sent first starts first.
fn messages_start_in_order(record: &Record) -> Verdict {
    for (id, message) in touched(record) {
        if let (Some((_, Some(before))), Some(order)) = (message.started, message.order)
            && before >= order
        {
            return wrong(format!("message {id} is the {order}th and has started after the {before}th"));
        }
    }
    Ok(())
}

/// 2: what was accepted and not given up starts, unless a session has ended since.
fn nothing_is_lost(record: &Record) -> Verdict {
    for (id, message) in touched(record) {
        let (Some((at, before)), Some(order)) = (message.started, message.order) else { continue };
        let ids = &record.ordered[&(message.from, message.to)];
        let first = before.map_or(0, |before| before as usize + 1);
        for &earlier in &ids[first.min(order as usize)..order as usize] {
            let one = &record.messages[earlier];
            let elsewhere = one.started.is_some();
            let new = record.life(at).born >= one.at;
            if !elsewhere && !new && !is_excused(record, one) {
                return wrong(format!("message {earlier} has not started, and {id} behind it has"));
            }
        }
    }
    Ok(())
}

/// Whether a message may never start.
pub(crate) fn is_excused(record: &Record, message: &Message) -> bool {
    let from = record.life(message.from).uid;
    let failed = matches!(message.ended, Some((_, Ending::Failed(..))));
    failed
        || !message.accepted
        || message.dropped.is_some()
        || message.deadline.is_some_and(|deadline| deadline <= record.now)
        || record.session_lost(from, message.to, message.at)
}

/// 3: no more is under way than the peer allows.
fn what_is_under_way_is_within_the_window(record: &Record) -> Verdict {
    for (id, life) in record.alive() {
        for view in &life.views {
            if let Some(credit) = view.credit.iter().find(|credit| credit.used > credit.allowed) {
                return wrong(format!("{id:?} to {}: {credit:?}", view.peer));
            }
        }
    }
    Ok(())
}

/// 4: every call ends, soon after nothing is wrong any more.
fn no_call_hangs(record: &Record) -> Verdict {
    for &id in &record.open {
        let message = &record.messages[id];
        let caller = record.life(message.from);
        if caller.end.is_some() {
            continue;
        }
        let calm = record.calm_since(&[caller.uid, message.to]).max(message.at);
        if record.now > calm + message.work + CALL_BOUND {
            let waited = record.now - message.at;
            return wrong(format!("call {id} of {} to {} waits for {waited:?}", caller.uid, message.to));
        }
    }
    Ok(())
}

/// 4: none is open after the end of whom it was made to has been told.
fn no_call_outlives_its_peer(record: &Record) -> Verdict {
    for &id in &record.open {
        let message = &record.messages[id];
        let caller = record.life(message.from);
        let told = record.gone.iter().rev().find(|gone| {
            gone.by == message.from && record.life(gone.life).uid == message.to && gone.at >= message.at
        });
        if let Some(gone) = told
            && caller.end.is_none()
            && message.started.is_some_and(|(life, _)| life == gone.life)
            && record.now > gone.at + SLACK
        {
            return wrong(format!("call {id} is open, and its peer's end was told at {:?}", gone.at));
        }
    }
    Ok(())
}

/// 5: there is one connection a lane at most, once the last fault is over.
fn there_is_one_connection_a_lane(record: &Record) -> Verdict {
    for (between, since) in &record.crowded {
        if record.now > record.calm_since(between).max(*since) + CONNECTION_BOUND {
            return wrong(format!("too many connections between {} and {}", between[0], between[1]));
        }
    }
    Ok(())
}

/// 6: the old session has ended before the new one begins, for good.
fn an_ended_session_never_comes_back(record: &Record) -> Verdict {
    match record.sessions.iter().find(|(_, sessions)| sessions.returned) {
        Some(((one, other), _)) => wrong(format!("{one:?} is back in an old session with {other:?}")),
        None => Ok(()),
    }
}

/// 7: what is lent to peers is within the budget.
fn what_is_lent_is_within_the_budget(record: &Record) -> Verdict {
    match record.alive().find(|(_, life)| life.lent > life.budget) {
        Some((_, life)) => wrong(format!("{} lends {} of {} bytes", life.uid, life.lent, life.budget)),
        None => Ok(()),
    }
}

/// 8: nobody hears that somebody is gone who is not.
fn nobody_is_dead_by_mistake(record: &Record) -> Verdict {
    for gone in record.gone.iter().filter(|gone| gone.at == record.now) {
        let (observer, life) = (record.life(gone.by), record.life(gone.life));
        if life.end.is_none() {
            return wrong(format!("{} hears that {} is gone: {}", observer.uid, life.uid, gone.reason));
        }
    }
    Ok(())
}

/// 8: nobody is given up for a silence that must be borne.
fn nobody_is_unreachable_without_cause(record: &Record) -> Verdict {
    for lost in record.lost.iter().filter(|lost| lost.at == record.now) {
        let observer = record.life(lost.by).uid;
        let recently = record.now.saturating_sub(JUDGED_WITHIN);
        let silent = record.held([observer, &lost.uid], recently) >= FORGIVEN;
        let mutual = lost.reason == Reason::SessionLost;
        let recent = |(at, how): (Moment, End)| how == End::Vanished || record.now < at + CALL_BOUND;
        let over = |life: &Life| life.uid == lost.uid && life.end.is_some_and(recent);
        if !silent && !mutual && !record.lives.iter().any(over) {
            return wrong(format!("{observer} gives {} up: {}", lost.uid, lost.reason));
        }
    }
    Ok(())
}

/// 8: everybody hears of every end in time.
fn every_end_is_heard_in_time(record: &Record) -> Verdict {
    for (_, observer) in record.alive() {
        for (life, heard) in observer.present.values() {
            let Some((end, how)) = record.life(*life).end else { continue };
            let uid = record.life(*life).uid;
            let calm = record.calm_since(&[observer.uid, uid, "monitor"]);
            let since = end.max(*heard).max(calm);
            if how != End::Vanished && record.now > since + END_BOUND {
                return wrong(format!("{} has not heard of the end of {uid} at {end:?}", observer.uid));
            }
        }
    }
    Ok(())
}

/// What a call says of its execution is so: `NotRun` never runs, a result has run.
fn a_call_tells_the_truth(record: &Record) -> Verdict {
    for (id, message) in touched(record) {
        let lie = match &message.ended {
            Some((_, Ending::Result)) => message.starts == 0,
            Some((_, Ending::Failed(Execution::NotRun, _))) => message.starts > 0,
            Some((_, Ending::Failed(Execution::Ran, _))) => message.starts == 0,
            _ => false,
        };
        if lie {
            return wrong(format!(
                "call {id} started {} times and ended {:?}",
                message.starts, message.ended
            ));
        }
    }
    Ok(())
}

/// A call with a deadline has ended by then.
fn deadlines_are_kept(record: &Record) -> Verdict {
    let jumped = record.jumped.unwrap_or_default();
    for &id in &record.open {
        let message = &record.messages[id];
        let late = |deadline: Moment| record.now > deadline.max(jumped) + SLACK;
        if record.is_alive(message.from) && message.deadline.is_some_and(late) {
            return wrong(format!("call {id} should have ended at {:?}", message.deadline));
        }
    }
    Ok(())
}

/// Who comes and who goes is told once for each life.
fn everything_is_told_once(record: &Record) -> Verdict {
    record.twice.clone().map_or(Ok(()), Err)
}

/// Hooks hear the same as events, in the same order.
fn hooks_hear_what_events_say(record: &Record) -> Verdict {
    for (id, life) in record.alive() {
        let [events, hooks] = &life.told;
        let both = events.len().min(hooks.len());
        if events[..both] != hooks[..both] {
            return wrong(format!("{id:?} by events: {events:?}, by hooks: {hooks:?}"));
        }
    }
    Ok(())
}

/// Who is there at the end, by everybody's word, is who lives.
pub(crate) fn everybody_knows_everybody(record: &Record) -> Verdict {
    for (_, observer) in record.alive() {
        for (other, life) in record.alive().filter(|(_, life)| life.uid != observer.uid) {
            let known: Option<LifeId> = observer.present.get(life.uid).map(|(life, _)| *life);
            if known != Some(other) {
                return wrong(format!(
                    "{} knows {known:?} as {}, which is {other:?}",
                    observer.uid, life.uid
                ));
            }
        }
    }
    Ok(())
}

/// Everything that was accepted and not excused has started at the end.
pub(crate) fn nothing_is_left(record: &Record) -> Verdict {
    for (id, message) in record.messages.iter().enumerate() {
        let sender_lives = record.is_alive(message.from);
        if sender_lives && message.starts == 0 && !is_excused(record, message) {
            return wrong(format!("message {id} has never started"));
        }
    }
    Ok(())
}
