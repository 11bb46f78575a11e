//! Connections of which nobody knows yet whose they are: bounded in number, whatever strangers do. Where there are too
//! many, the oldest has to go: those who are let in need a millisecond, those who only hold a place need long.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Connections of a listener that may be in their handshake at the same time.
const HALF_OPEN: usize = 256;

/// The half-open connections of one listener.
#[derive(Debug, Default)]
pub(super) struct HalfOpen(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    places: VecDeque<(u64, CancellationToken)>,
}

/// A place among the half-open connections, given back on drop.
pub(super) struct Place {
    owner: Arc<HalfOpen>,
    number: u64,
    evicted: CancellationToken,
}

impl HalfOpen {
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
        state.places.push_back((number, evicted.clone()));
        Place { owner: self.clone(), number, evicted }
    }
}

impl Place {
    /// Ends when another needs the place.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
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
}
