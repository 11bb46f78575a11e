//! A worker: it gets the map once, and computes shots on it.

use std::time::{Duration, Instant};

use mosaic_comms::{Array, Call, HandlerError};
use ndarray::Ix2;
use serde::{Deserialize, Serialize};

use crate::model::Model;
use crate::ring::{TRANSDUCERS, ring};
use crate::solver::{Config, Simulation};
use crate::survey::HeadProxy;

/// What a worker answers to `shoot`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Shot {
    /// The pressure at each receiver and each step: (receivers, steps).
    pub(crate) traces: Array<f32>,
    /// How long it took to compute them.
    pub(crate) computing: Duration,
}

/// Computes shots on the map that it was given.
#[derive(Default)]
pub(crate) struct Worker {
    simulation: Option<Simulation>,
}

#[mosaic_comms::runtime]
impl Worker {
    /// Takes the map, in m/s, (rows, columns), and how shots are computed.
    pub fn prepare(&mut self, speed: Array<f32>, config: Config) -> Result<(), HandlerError> {
        let model = Model::new(speed.into_ndarray().into_dimensionality::<Ix2>()?)?;
        self.simulation = Some(Simulation::new(&model, &ring(&model, TRANSDUCERS), &config)?);
        Ok(())
    }

    /// Fires a transducer, and tells whoever called when it begins.
    pub fn shoot(&self, call: &Call, source: usize) -> Result<Shot, HandlerError> {
        let missing = || HandlerError::new("unprepared", "`prepare` must be called before `shoot`");
        let simulation = self.simulation.as_ref().ok_or_else(missing)?;
        HeadProxy::new(call.comms(), call.sender()).started().send().blocking_wait()?;
        let start = Instant::now();
        let traces = simulation.shot(source)?;
        let shape = [traces.receivers, traces.steps];
        Ok(Shot { traces: Array::from_shape_vec(shape, traces.samples)?, computing: start.elapsed() })
    }

    /// Returns at once.
    pub async fn ping(&self) {}
}
