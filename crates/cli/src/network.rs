//! How the command joins a network: as a runtime of its own, for as long as it takes.

use std::error::Error;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use mosaic_comms::{CommsManager, Config, ConfigError, Methods, StartError};
use thiserror::Error;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// How long the monitor is tried.
const REACHED_WITHIN: Duration = Duration::from_secs(3);

/// Where the network is.
#[derive(Debug, Clone, Args)]
pub(crate) struct Where {
    /// Where the monitor is; else MOSAIC_MONITOR_HOST and MOSAIC_MONITOR_PORT say so
    #[arg(long, global = true, value_name = "HOST:PORT", value_parser = host_and_port)]
    pub(crate) monitor: Option<(String, u16)>,
    /// The file of the job's credential; else HOST-PORT.key of the monitor in ~/.mosaic
    #[arg(long, global = true, value_name = "FILE", env = "MOSAIC_KEY_FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

/// Why there is no network to look at.
#[derive(Debug, Error)]
pub(crate) enum NetworkError {
    #[error(
        "nothing says where the monitor is: give --monitor HOST:PORT, or set MOSAIC_MONITOR_HOST and MOSAIC_MONITOR_PORT"
    )]
    Unknown,
    #[error(transparent)]
    Environment(#[from] ConfigError),
    #[error("the monitor at {host}:{port} was not reached")]
    Start {
        host: String,
        port: u16,
        #[source]
        cause: StartError,
    },
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let wanted = || format!("`{text}` is not HOST:PORT, as in 10.0.0.1:3000 or [::1]:3000");
    let (host, port) = text.rsplit_once(':').ok_or_else(wanted)?;
    let host = host.trim_matches(['[', ']']);
    match port.parse() {
        Ok(port) if port > 0 && !host.is_empty() => Ok((host.to_owned(), port)),
        _ => Err(wanted()),
    }
}

impl Where {
    /// What the command line and the environment say.
    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        let mut config = Config::from_env()?;
        if let Some((host, port)) = &self.monitor {
            config = config.monitor(host, *port);
        }
        if let Some(path) = &self.key_file {
            config = config.key_file(path);
        }
        Ok(config)
    }

    /// Where the monitor is said to be.
    pub(crate) fn found(&self) -> Result<(String, u16), NetworkError> {
        let config = self.config()?;
        config.monitor_place().ok_or(NetworkError::Unknown)
    }

    /// Joins the network, does something there, and leaves it.
    pub(crate) fn join<F>(&self, act: impl FnOnce(CommsManager) -> F) -> Result<(), Box<dyn Error>>
    where
        F: Future<Output = Result<(), Box<dyn Error>>>,
    {
        let (host, port) = self.found()?;
        Runtime::new()?.block_on(async {
            let config = self.config()?.handshake_within(REACHED_WITHIN);
            let uid = format!("mosaic:{}", std::process::id());
            let started = CommsManager::start(uid, Methods::new(), config).await;
            let comms = started.map_err(|cause| NetworkError::Start { host, port, cause })?;
            let outcome = act(comms.clone()).await;
            comms.stop().await;
            outcome
        })
    }
}

/// Catches from here on what asks the command to end; the future ends when it comes.
pub(crate) fn interruption() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    })
}
