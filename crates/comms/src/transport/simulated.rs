//! A network on a virtual clock: connections in memory whose bytes travel for a seeded while, and which can be cut.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::memory::{self, Memory};
use super::{AnyStream, Stream, read_some, write_all};

/// How long bytes travel: a base and a random part on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delay {
    pub(crate) base: Duration,
    pub(crate) spread: Duration,
}

/// The network of a simulated context.
#[derive(Debug)]
pub(crate) struct Network {
    random: Mutex<fastrand::Rng>,
    delay: Mutex<Delay>,
    next: AtomicU64,
    /// Whether bytes that are under way are held back, and connections not answered.
    parted: watch::Sender<bool>,
    /// The ends of every connection that is carried now, to cut them by.
    carried: Mutex<BTreeMap<u64, [Arc<Memory>; 2]>>,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Network {
        let delay = Delay { base: Duration::from_micros(50), spread: Duration::from_micros(200) };
        Network {
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            delay: Mutex::new(delay),
            next: AtomicU64::new(0),
            parted: watch::Sender::new(false),
            carried: Mutex::new(BTreeMap::new()),
        }
    }

    pub(crate) fn set_delay(&self, delay: Delay) {
        *self.delay.lock() = delay;
    }

    /// Connects to a listener; what either end writes arrives at the other after a while, in order.
    pub(crate) fn connect(
        self: &Arc<Self>,
        listener: &mpsc::Sender<AnyStream>,
    ) -> std::io::Result<AnyStream> {
        let (ours, near) = memory::pair();
        let (far, theirs) = memory::pair();
        listener
            .try_send(Arc::new(theirs))
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::ConnectionRefused))?;
        let (near, far) = (Arc::new(near), Arc::new(far));
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.carried.lock().insert(number, [near.clone(), far.clone()]);
        tokio::spawn(self.clone().carry(number, near.clone(), far.clone()));
        tokio::spawn(self.clone().carry(number, far, near));
        Ok(Arc::new(ours))
    }

    /// Delivers nothing any more, or again: no connection ends by that.
    pub(crate) fn set_parted(&self, parted: bool) {
        self.parted.send_replace(parted);
    }

    async fn joined(&self) {
        // The sender lives as long as we do.
        let _ = self.parted.subscribe().wait_for(|parted| !parted).await;
    }

    /// Cuts every connection there is. New ones can be made at once.
    pub(crate) fn cut(&self) {
        for (_, ends) in std::mem::take(&mut *self.carried.lock()) {
            ends.iter().for_each(|end| end.close());
        }
    }

    async fn carry(self: Arc<Self>, number: u64, from: Arc<Memory>, to: Arc<Memory>) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read) = read_some(&*from, &mut buffer).await {
            tokio::time::sleep(self.draw_delay()).await;
            self.joined().await;
            if write_all(&*to, &buffer[..read]).await.is_err() {
                break;
            }
        }
        to.finish();
        self.carried.lock().remove(&number);
    }

    fn draw_delay(&self) -> Duration {
        let delay = *self.delay.lock();
        let spread = u64::try_from(delay.spread.as_nanos()).unwrap_or(u64::MAX);
        delay.base + Duration::from_nanos(self.random.lock().u64(0..=spread))
    }
}
