//! Connections of which nobody knows yet whose they are: bounded in number and in rate, whatever strangers do. Where there
//! are too many, the oldest has to go: those who are let in need a millisecond, those who only hold a place need long.
//! Who is let in costs nothing of the rate, so that a thousand who belong here may come at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Connections of a listener that may be in their handshake at the same time.
const HALF_OPEN: usize = 256;

/// What passes from one stranger to the next beyond the first [`HALF_OPEN`]: 200 a second. The others wait in the system's
/// queue, where they cost those who are in nothing.
const BETWEEN_STRANGERS: Duration = Duration::from_millis(5);

/// The half-open connections of one listener.
#[derive(Debug)]
pub(super) struct HalfOpen(Mutex<State>);

#[derive(Debug)]
struct State {
    next: u64,
    places: VecDeque<(u64, CancellationToken)>,
    /// When all strangers that have come are paid for: at most `HALF_OPEN` times [`BETWEEN_STRANGERS`] ahead.
    paid: Instant,
}

/// A place among the half-open connections, given back on drop.
pub(super) struct Place {
    owner: Arc<HalfOpen>,
    number: u64,
    evicted: CancellationToken,
}

impl Default for HalfOpen {
    fn default() -> HalfOpen {
        HalfOpen(Mutex::new(State { next: 0, places: VecDeque::new(), paid: Instant::now() }))
    }
}

impl HalfOpen {
    /// Ends when the next may come in.
    pub(super) async fn turn(&self) {
        loop {
            let ahead = BETWEEN_STRANGERS * (HALF_OPEN as u32 - 1);
            let next = self.0.lock().paid.checked_sub(ahead);
            match next.filter(|next| *next > Instant::now()) {
                Some(next) => sleep_until(next).await,
                None => return,
            }
        }
    }

    /// Takes a place for a new connection, if need be the oldest one's.
    pub(super) fn enter(self: &Arc<Self>) -> Place {
        let mut state = self.0.lock();
        if state.places.len() >= HALF_OPEN
            && let Some((_, oldest)) = state.places.pop_front()
        {
            oldest.cancel();
        }
        let (number, evicted) = (state.next, CancellationToken::new());
        state.next += 1;
        state.paid = state.paid.max(Instant::now()) + BETWEEN_STRANGERS;
        state.places.push_back((number, evicted.clone()));
        Place { owner: self.clone(), number, evicted }
    }
}

impl Place {
    /// Ends when another needs the place.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// Whoever it was is no stranger.
    pub(super) fn let_in(self) {
        self.owner.0.lock().paid -= BETWEEN_STRANGERS;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let places = &mut self.owner.0.lock().places;
        if let Ok(at) = places.binary_search_by_key(&self.number, |(number, _)| *number) {
            places.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
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
        assert!(half_open.0.lock().places.is_empty());
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
