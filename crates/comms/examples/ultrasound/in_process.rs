//! Shots shared among threads of this process: each worker takes the next shot when it is done with its last.

use std::collections::VecDeque;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ring::transducer_of;
use crate::solver::{Simulation, SolverError, Traces};
use crate::table::WorkerReport;

/// What is to be computed, and by how many.
pub(crate) struct Work<'a> {
    pub(crate) simulation: &'a Simulation,
    pub(crate) transducers: usize,
    pub(crate) shots: usize,
    pub(crate) workers: usize,
    /// Whether worker 0 is lost after its first shot, so that the others compute what is left.
    pub(crate) kill_one: bool,
}

/// All shots in order, with the transducers that they fired, and what each worker did.
pub(crate) type Outcome = (Vec<(usize, Traces)>, Vec<WorkerReport>);

/// The result of one shot.
struct Done {
    shot: usize,
    worker: usize,
    time: Duration,
    traces: Result<Traces, SolverError>,
}

/// Computes all shots; `progress` is called after each.
///
/// # Errors
/// The first shot that is impossible.
pub(crate) fn compute(work: &Work<'_>, mut progress: impl FnMut()) -> Result<Outcome, SolverError> {
    let queue = Mutex::new(VecDeque::from_iter(0..work.shots));
    let (sender, results) = channel();
    let mut gathers: Vec<Option<Traces>> = vec![None; work.shots];
    let mut reports: Vec<WorkerReport> = (0..work.workers).map(report).collect();
    std::thread::scope(|scope| {
        for worker in 0..work.workers {
            let (sender, queue) = (sender.clone(), &queue);
            scope.spawn(move || run_worker(work, worker, queue, &sender));
        }
        drop(sender);
        for done in results {
            let traces = done.traces?;
            record(&mut reports[done.worker], done.time, &traces);
            gathers[done.shot] = Some(traces);
            progress();
        }
        Ok(())
    })?;
    let fired = |shot| transducer_of(shot, work.shots, work.transducers);
    let gathers = gathers.into_iter().flatten().enumerate().map(|(shot, traces)| (fired(shot), traces));
    Ok((gathers.collect(), reports))
}

fn run_worker(work: &Work<'_>, worker: usize, queue: &Mutex<VecDeque<usize>>, results: &Sender<Done>) {
    let take = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let mut computed = 0;
    let lost = |computed: usize| work.kill_one && worker == 0 && computed == 1;
    while !lost(computed)
        && let Some(shot) = take()
    {
        let start = Instant::now();
        let traces = work.simulation.shot(transducer_of(shot, work.shots, work.transducers));
        computed += 1;
        // Nobody listens any more once a shot has failed.
        if results.send(Done { shot, worker, time: start.elapsed(), traces }).is_err() {
            return;
        }
    }
}

fn report(worker: usize) -> WorkerReport {
    WorkerReport { worker: format!("worker:{worker}"), ..WorkerReport::default() }
}

fn record(report: &mut WorkerReport, time: Duration, traces: &Traces) {
    report.shots += 1;
    report.bytes_in += size_of::<u64>() as u64;
    report.bytes_out += size_of_val(traces.samples.as_slice()) as u64;
    report.round_trips.push(time);
    report.computing += time;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Model, SMALLEST_SIDE};
    use crate::ring::ring;
    use crate::solver::Config;

    fn outcome(workers: usize, kill_one: bool) -> Outcome {
        let speed = ndarray::Array2::from_elem((SMALLEST_SIDE, SMALLEST_SIDE), 1500.0);
        let model = Model::new(speed).unwrap();
        let config = Config { steps: 20, border: 4, ..Config::suited(&model, 1e-3) };
        let simulation = Simulation::new(&model, &ring(&model, 8), &config).unwrap();
        let work = Work { simulation: &simulation, transducers: 8, shots: 4, workers, kill_one };
        let mut progress = 0;
        let outcome = compute(&work, || progress += 1).unwrap();
        assert_eq!(progress, 4);
        outcome
    }

    #[test]
    fn shots_are_the_same_whoever_computes_them() {
        let (alone, _) = outcome(1, false);
        assert_eq!(alone.iter().map(|(fired, _)| *fired).collect::<Vec<_>>(), [0, 2, 4, 6]);
        for (workers, kill_one) in [(3, false), (2, true)] {
            let (shared, reports) = outcome(workers, kill_one);
            assert!(shared == alone);
            assert_eq!(reports.iter().map(|report| report.shots).sum::<usize>(), 4);
        }
    }
}
