//! `mosaic stop`: ends a runtime in good order.

use std::error::Error;

use clap::Args;

use crate::network::Where;

#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Whom, as in `worker:0`
    uid: String,
}

impl Stop {
    pub(crate) fn run(self, place: &Where) -> Result<(), Box<dyn Error>> {
        place.join(|comms| async move { Ok(comms.send_recv::<()>(&self.uid, "stop", ()).await?) })
    }
}
