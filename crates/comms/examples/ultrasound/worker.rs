//! A worker: it gets the map once, and computes shots on it.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use mosaic_comms::{Args, Array, Call, HandlerError, Methods, kwargs};
use ndarray::Ix2;
use serde::{Deserialize, Serialize};

use crate::model::Model;
use crate::ring::{TRANSDUCERS, ring};
use crate::solver::{Config, Simulation};

/// What a worker answers to `shoot`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Shot {
    /// The pressure at each receiver and each step: (receivers, steps).
    pub(crate) traces: Array<f32>,
    /// How long it took to compute them.
    pub(crate) computing: Duration,
}

/// The methods that the head calls:
///
/// - `prepare(speed, config)` takes the map, in m/s, and how shots are computed;
/// - `shoot(source)` fires a transducer and returns a [`Shot`], after a message `started()` to whoever called;
/// - `ping()` returns at once.
pub(crate) fn methods() -> Methods {
    let prepared = Arc::new(OnceLock::new());
    let simulation = prepared.clone();
    Methods::new()
        .compute("prepare", move |args, _call| prepare(&args, &prepared))
        .compute("shoot", move |args, call| shoot(&args, &call, &simulation))
        .method("ping", |_args, _call| async { Ok(()) })
}

fn prepare(args: &Args, prepared: &OnceLock<Simulation>) -> Result<(), HandlerError> {
    let speed: Array<f32> = args.get("speed")?;
    let config: Config = args.get("config")?;
    let model = Model::new(speed.into_ndarray().into_dimensionality::<Ix2>()?)?;
    let simulation = Simulation::new(&model, &ring(&model, TRANSDUCERS), &config)?;
    prepared.set(simulation).map_err(|_| HandlerError::new("prepared", "the map is here already"))
}

fn shoot(args: &Args, call: &Call, prepared: &OnceLock<Simulation>) -> Result<Shot, HandlerError> {
    let missing = || HandlerError::new("unprepared", "`prepare` must be called before `shoot`");
    let simulation = prepared.get().ok_or_else(missing)?;
    let source: usize = args.get("source")?;
    call.comms().blocking_send(call.sender(), "started", kwargs! {})?;
    let start = Instant::now();
    let traces = simulation.shot(source)?;
    let shape = [traces.receivers, traces.steps];
    Ok(Shot { traces: Array::from_shape_vec(shape, traces.samples)?, computing: start.elapsed() })
}
