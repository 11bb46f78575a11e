//! A worker in Rust for the tests of the Python package. It is started with its uid and the monitor's host and port, and
//! ends with the monitor.

use std::error::Error;

use mosaic_comms::{Array, Call, CallError, CommsManager, Config, Event, kwargs};

/// What a Python head may call.
struct Worker;

#[mosaic_comms::runtime]
impl Worker {
    /// Scales a field.
    pub fn scale(&self, field: Array<f32>, #[arg(default = 1.0)] factor: f32) -> Array<f32> {
        field.as_slice().iter().map(|value| value * factor).collect::<Vec<_>>().into()
    }

    /// Fails if there is nothing to compute the mean of.
    pub fn mean(&self, field: Array<f64>) -> Result<f64, String> {
        match field.len() {
            0 => Err("the field is empty".to_owned()),
            len => Ok(field.as_slice().iter().sum::<f64>() / len as f64),
        }
    }

    /// Has the caller add up a field, by its method `sum`.
    pub async fn sum_at_yours(&self, call: &Call, field: Array<f64>) -> Result<f64, CallError> {
        call.comms().send_recv(call.sender(), "sum", kwargs! { field: &field }).await
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, uid, host, port] = arguments.as_slice() else {
        return Err("usage: rust_worker UID HOST PORT".into());
    };
    let config = Config::default().address(host).monitor(host, port.parse()?);
    let comms = CommsManager::start(uid, Worker, config).await?;
    let mut events = comms.events();
    while let Some(event) = events.next().await {
        if matches!(&event, Event::Disconnected { uid, .. } if uid.is_monitor()) {
            comms.stop().await;
        }
    }
    Ok(())
}
