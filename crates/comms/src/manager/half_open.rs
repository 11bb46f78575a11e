//! Connections of which nobody knows yet whose they are: bounded in number and in rate, whatever strangers do. Where there
//! are too many, the oldest has to go that we wait for: those who are let in need a millisecond, those who only hold a
//! place need long. Who waits for us, because a crowd has come, keeps its place, and the next have to wait outside: each
//! that went would come again, and a crowd would never be in. Who is let in costs nothing of the rate.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::transport::door::Attention;

/// Connections of a listener that may be in their handshake at the same time.
const HALF_OPEN: usize = 256;

/// What passes from one stranger to the next beyond the first [`HALF_OPEN`]: 200 a second. The others wait in the system's
/// queue, where they cost those who are in nothing.
const BETWEEN_STRANGERS: Duration = Duration::from_millis(5);

/// The half-open connections of one listener.
#[derive(Debug)]
pub(super) struct HalfOpen {
    state: Mutex<State>,
    /// A place is free, or its holder does not wait for us any more.
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    next: u64,
    places: VecDeque<Held>,
    /// When all strangers that have come are paid for: at most `HALF_OPEN` times [`BETWEEN_STRANGERS`] ahead.
    paid: Instant,
}

#[derive(Debug)]
struct Held {
    number: u64,
    evicted: CancellationToken,
    attention: Arc<Attention>,
}

/// A place among the half-open connections, given back on drop.
pub(super) struct Place {
    owner: Arc<HalfOpen>,
    number: u64,
    evicted: CancellationToken,
    attention: Arc<Attention>,
}

/// When the next may come in.
enum Turn {
    Now,
    At(Instant),
    /// Once something has changed.
    Later,
}

impl Default for HalfOpen {
    fn default() -> HalfOpen {
        let state = State { next: 0, places: VecDeque::new(), paid: Instant::now() };
        HalfOpen { state: Mutex::new(state), changed: Arc::default() }
    }
}

impl HalfOpen {
    /// Ends when the next may come in.
    pub(super) async fn turn(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let turn = self.state.lock().turn();
            match turn {
                Turn::Now => return,
                Turn::At(next) => sleep_until(next).await,
                Turn::Later => changed.await,
            }
        }
    }

    /// Takes a place for a new connection, if need be the oldest one's.
    pub(super) fn enter(self: &Arc<Self>) -> Place {
        let mut state = self.state.lock();
        if state.places.len() >= HALF_OPEN
            && let Some(held) = state.idle().and_then(|at| state.places.remove(at))
        {
            held.evicted.cancel();
        }
        let (number, evicted) = (state.next, CancellationToken::new());
        let attention = Arc::new(Attention::new(self.changed.clone()));
        state.next += 1;
        state.paid = state.paid.max(Instant::now()) + BETWEEN_STRANGERS;
        state.places.push_back(Held { number, evicted: evicted.clone(), attention: attention.clone() });
        Place { owner: self.clone(), number, evicted, attention }
    }
}

impl State {
    fn turn(&self) -> Turn {
        let ahead = BETWEEN_STRANGERS * (HALF_OPEN as u32 - 1);
        match self.paid.checked_sub(ahead).filter(|next| *next > Instant::now()) {
            Some(next) => Turn::At(next),
            None if self.places.len() >= HALF_OPEN && self.idle().is_none() => Turn::Later,
            None => Turn::Now,
        }
    }

    /// The oldest that does not wait for us.
    fn idle(&self) -> Option<usize> {
        self.places.iter().position(|held| !held.attention.is_wanted())
    }
}

impl Place {
    /// Ends when another needs the place.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// Says when it is we who are waited for.
    pub(super) fn attention(&self) -> &Attention {
        &self.attention
    }

    /// Whoever it was is no stranger.
    pub(super) fn let_in(self) {
        self.owner.state.lock().paid -= BETWEEN_STRANGERS;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let places = &mut self.owner.state.lock().places;
        if let Ok(at) = places.binary_search_by_key(&self.number, |held| held.number) {
            places.remove(at);
        }
        self.owner.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let half_open = Arc::new(HalfOpen::default());
        let mut places: Vec<_> = (0..HALF_OPEN).map(|_| half_open.enter()).collect();
        assert!(places.iter().all(|place| !place.evicted.is_cancelled()));
        // A place that was given back makes room for another.
        places.remove(7);
        places.push(half_open.enter());
        assert!(places.iter().all(|place| !place.evicted.is_cancelled()));
        places.push(half_open.enter());
        let evicted: Vec<_> = places.iter().map(|place| place.evicted.is_cancelled()).collect();
        assert!(evicted[0] && evicted[1..].iter().all(|evicted| !evicted));
        drop(places);
        assert!(half_open.state.lock().places.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_for_us_keep_their_places_and_the_next_wait_outside() {
        let half_open = Arc::new(HalfOpen::default());
        let places: Vec<_> = (0..HALF_OPEN).map(|_| half_open.enter()).collect();
        let mut wanted: Vec<_> = places.iter().map(|place| place.attention.want()).collect();
        // They have paid for their time.
        tokio::time::advance(BETWEEN_STRANGERS * 10).await;
        assert!(half_open.turn().now_or_never().is_none());
        drop(wanted.remove(2));
        half_open.turn().await;
        let _next = half_open.enter();
        let evicted = places.iter().position(|place| place.evicted.is_cancelled());
        assert_eq!(evicted, Some(2), "it is the one that we wait for");
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_take_turns_and_those_who_are_let_in_do_not() {
        let half_open = Arc::new(HalfOpen::default());
        let start = Instant::now();
        for _ in 0..10 * HALF_OPEN {
            half_open.turn().await;
            half_open.enter().let_in();
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..HALF_OPEN {
            half_open.turn().await;
            drop(half_open.enter());
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..200 {
            half_open.turn().await;
            drop(half_open.enter());
        }
        let elapsed = start.elapsed().as_millis();
        assert!((990..=1010).contains(&elapsed), "{elapsed} ms for 200 strangers");
    }
}
