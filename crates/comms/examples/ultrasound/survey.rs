//! The head's part: every worker gets the map, and then one shot after the other until all are there. A shot whose
//! worker is lost goes to another one.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use mosaic_comms::local::{self, Network};
use mosaic_comms::{Array, Call, CallError, CommsManager, Uid};
use tokio::sync::mpsc;

use crate::model::Model;
use crate::ring::{TRANSDUCERS, transducer_of};
use crate::solver::{Config, Traces};
use crate::table::WorkerReport;
use crate::worker::{Shot, WorkerProxy};

/// Calls to each worker by which the round trip is measured.
const PINGS: usize = 31;

/// What is to be computed, and by how many.
pub(crate) struct Survey<'a> {
    pub(crate) model: &'a Model,
    pub(crate) config: &'a Config,
    pub(crate) shots: usize,
    pub(crate) workers: usize,
    /// Whether the worker that starts first is killed in the middle of its shot.
    pub(crate) kill_one: bool,
}

/// All shots in order, with the transducers that they fired, and what each worker did.
pub(crate) type Outcome = (Vec<(usize, Traces)>, Vec<WorkerReport>);

/// Why a survey came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SurveyError {
    #[error("the workers could not be started")]
    Start(#[from] local::StartError),
    #[error("all workers are lost, and {missing} of {of} shots are not computed; the last one was lost")]
    NobodyLeft { missing: usize, of: usize, source: CallError },
    #[error("a worker cannot do what it is asked to")]
    Call(#[from] CallError),
    #[error("{worker} returned traces of shape {found:?}, and {wanted:?} is wanted")]
    Shape { worker: Uid, found: Vec<usize>, wanted: [usize; 2] },
}

impl Survey<'_> {
    /// Starts the workers, has all shots computed and stops the workers; `progress` is called after each shot.
    ///
    /// # Errors
    /// Workers that don't start, are all lost, or find a shot impossible.
    pub(crate) async fn run(&self, mut progress: impl FnMut()) -> Result<Outcome, SurveyError> {
        let (begun, mut started) = mpsc::channel(1);
        let network = Network::builder().workers(self.workers).head(Head { begun }).start().await?;
        let mut crew = Crew::new(self, &network);
        crew.prepare().await?;
        crew.ping().await;
        let mut calls = FuturesUnordered::new();
        let mut to_kill = self.kill_one;
        while !crew.is_done() {
            calls.extend(std::iter::from_fn(|| crew.next_call()));
            tokio::select! {
                Some((worker, shot, result)) = calls.next() => {
                    if crew.take(worker, shot, result)? {
                        progress();
                    }
                }
                Some(uid) = started.recv(), if to_kill => {
                    to_kill = false;
                    network.workers().iter().filter(|worker| *worker.uid() == uid).for_each(local::Worker::kill);
                }
            }
        }
        let outcome = crew.outcome();
        network.stop().await;
        Ok(outcome)
    }
}

/// What the workers call.
pub(crate) struct Head {
    begun: mpsc::Sender<Uid>,
}

#[mosaic_comms::runtime]
impl Head {
    /// The caller begins a shot.
    pub async fn started(&self, call: &Call) {
        // Only the first is of interest, and only until it has been heard.
        let _ = self.begun.try_send(call.sender().clone());
    }
}

/// The workers, and how far they have come.
struct Crew<'a> {
    survey: &'a Survey<'a>,
    head: &'a CommsManager,
    workers: Vec<Uid>,
    reports: Vec<WorkerReport>,
    /// Indices of workers that have nothing to do.
    idle: VecDeque<usize>,
    /// Shots that nobody computes.
    waiting: VecDeque<usize>,
    traces: Vec<Option<Traces>>,
    lost: usize,
}

/// A worker's answer to a shot, by their numbers.
type Answer = (usize, usize, Result<Shot, CallError>);

impl<'a> Crew<'a> {
    fn new(survey: &'a Survey<'a>, network: &'a Network) -> Crew<'a> {
        let workers: Vec<Uid> = network.workers().iter().map(|worker| worker.uid().clone()).collect();
        let report = |uid: &Uid| WorkerReport { worker: uid.to_string(), ..WorkerReport::default() };
        Crew {
            survey,
            head: network.head(),
            reports: workers.iter().map(report).collect(),
            workers,
            idle: VecDeque::new(),
            waiting: (0..survey.shots).collect(),
            traces: vec![None; survey.shots],
            lost: 0,
        }
    }

    fn proxy(&self, worker: usize) -> WorkerProxy {
        WorkerProxy::new(self.head, &self.workers[worker])
    }

    /// Sends the map to all workers at the same time.
    async fn prepare(&mut self) -> Result<(), SurveyError> {
        let speed = Array::from(self.survey.model.speed().clone());
        let call = self.proxy(0).prepare(speed.clone(), self.survey.config.clone());
        let mut answers = call.to_all(&self.workers).map_err(CallError::from)?;
        while let Some((uid, prepared)) = answers.next().await {
            let called = self.workers.iter().position(|one| *one == uid);
            let worker = called.expect("whoever answers was called");
            match prepared {
                Ok(()) => {
                    self.reports[worker].bytes_in += size_of_val(speed.as_slice()) as u64;
                    self.idle.push_back(worker);
                }
                Err(error) => self.lose(worker, error)?,
            }
        }
        Ok(())
    }

    /// Measures the round trip of a small call, one worker after the other, while nobody computes.
    async fn ping(&mut self) {
        for &worker in &self.idle {
            for _ in 0..PINGS {
                let start = Instant::now();
                // A worker that is lost here is found lost at its shot.
                if self.proxy(worker).ping().await.is_ok() {
                    self.reports[worker].round_trips.push(start.elapsed());
                }
            }
        }
    }

    fn is_done(&self) -> bool {
        self.traces.iter().all(Option::is_some)
    }

    /// Gives the next shot to a worker that has none, where there are both.
    fn next_call(&mut self) -> Option<impl Future<Output = Answer> + use<>> {
        let worker = self.idle.pop_front()?;
        let Some(shot) = self.waiting.pop_front() else {
            self.idle.push_front(worker);
            return None;
        };
        let source = transducer_of(shot, self.survey.shots, TRANSDUCERS);
        self.reports[worker].bytes_in += size_of_val(&source) as u64;
        let call = self.proxy(worker).shoot(source);
        Some(async move { (worker, shot, call.await) })
    }

    /// Notes what came of a shot; true if it was computed.
    fn take(
        &mut self,
        worker: usize,
        shot: usize,
        result: Result<Shot, CallError>,
    ) -> Result<bool, SurveyError> {
        match result {
            Ok(computed) => {
                let traces = self.check(worker, computed.traces)?;
                let report = &mut self.reports[worker];
                report.shots += 1;
                report.bytes_out += size_of_val(traces.samples.as_slice()) as u64;
                report.computing += computed.computing;
                self.traces[shot] = Some(traces);
                self.idle.push_back(worker);
                Ok(true)
            }
            Err(error) => {
                self.waiting.push_front(shot);
                self.lose(worker, error)?;
                Ok(false)
            }
        }
    }

    fn check(&self, worker: usize, traces: Array<f32>) -> Result<Traces, SurveyError> {
        let wanted @ [receivers, steps] = [TRANSDUCERS, self.survey.config.steps];
        if traces.shape() != wanted {
            let (worker, found) = (self.workers[worker].clone(), traces.shape().to_vec());
            return Err(SurveyError::Shape { worker, found, wanted });
        }
        Ok(Traces { receivers, steps, samples: traces.into_vec() })
    }

    /// Goes on without a worker, if it is gone and somebody is left. Computing a shot twice does no harm, so it doesn't
    /// matter how far it had come.
    fn lose(&mut self, worker: usize, error: CallError) -> Result<(), SurveyError> {
        if !matches!(error, CallError::Disconnected { .. }) {
            return Err(error.into());
        }
        self.reports[worker].worker.push_str(" (lost)");
        self.lost += 1;
        if self.lost < self.workers.len() {
            return Ok(());
        }
        let missing = self.traces.iter().filter(|traces| traces.is_none()).count();
        Err(SurveyError::NobodyLeft { missing, of: self.traces.len(), source: error })
    }

    fn outcome(self) -> Outcome {
        let shots = self.survey.shots;
        let fired = |shot| transducer_of(shot, shots, TRANSDUCERS);
        let traces = self.traces.into_iter().flatten().enumerate();
        (traces.map(|(shot, traces)| (fired(shot), traces)).collect(), self.reports)
    }
}
