//! `mosaic monitor`: a monitor in a process of its own.

use std::error::Error;
use std::io::Write;

use clap::Args;
use mosaic_comms::{CommsManager, Methods};
use tokio::runtime::Runtime;

use crate::network::{Where, interruption};
use crate::scrape::Scrape;

#[derive(Debug, Args)]
pub(crate) struct Monitor {
    /// The address to bind and to tell others; else that of MOSAIC_INTERFACE or of the default route
    #[arg(long)]
    address: Option<String>,
    /// The port to bind; 0 is the first free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The port at which Prometheus gets the numbers of the whole network, by HTTP at /metrics; 0 is the first free one
    #[arg(long, value_name = "PORT")]
    metrics_port: Option<u16>,
    /// The address of that port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", requires = "metrics_port")]
    metrics_address: String,
}

impl Monitor {
    pub(crate) fn run(self, place: &Where) -> Result<(), Box<dyn Error>> {
        let mut config = place.config()?.port(self.port).alone();
        if let Some(address) = self.address {
            config = config.address(address);
        }
        Runtime::new()?.block_on(async {
            let interruption = interruption()?;
            let scrape = match self.metrics_port {
                Some(port) => Some(Scrape::bind(&self.metrics_address, port).await?),
                None => None,
            };
            let comms = CommsManager::start("monitor", Methods::new(), config).await?;
            let mut out = std::io::stdout();
            // What others need in their environment; a shell can evaluate the line.
            writeln!(out, "MOSAIC_MONITOR_HOST={} MOSAIC_MONITOR_PORT={}", comms.address(), comms.port())?;
            if let Some(scrape) = scrape {
                writeln!(out, "http://{}/metrics", scrape.address()?)?;
                tokio::spawn(scrape.serve(comms.clone()));
            }
            out.flush()?;
            tokio::select! {
                () = interruption => {}
                () = comms.wait() => {}
            }
            comms.stop().await;
            Ok(())
        })
    }
}
