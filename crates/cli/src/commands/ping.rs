//! `mosaic ping`: whether a runtime answers, how fast, and how far it lags behind.

use std::error::Error;
use std::io::Write;

use clap::Args;

use crate::network::Where;

#[derive(Debug, Args)]
pub(crate) struct Ping {
    /// Whom, as in `worker:0`
    uid: String,
    /// How often
    #[arg(long, default_value_t = 4)]
    count: u32,
}

impl Ping {
    pub(crate) fn run(self, place: &Where) -> Result<(), Box<dyn Error>> {
        place.join(|comms| async move {
            for _ in 0..self.count {
                let beat = comms.ping(&self.uid).await?;
                let (round_trip, lag) = (beat.round_trip.as_secs_f64() * 1e6, beat.lag.as_secs_f64() * 1e3);
                writeln!(std::io::stdout(), "{}: {round_trip:.1} us, lag {lag:.1} ms", self.uid)?;
            }
            Ok(())
        })
    }
}
