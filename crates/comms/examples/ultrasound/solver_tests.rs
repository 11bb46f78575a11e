//! The solver against what is known without it: the analytic solution, a larger grid, symmetries.

use super::*;
use ndarray::Array2;

const SPEED: f64 = 1500.0;
const SPACING: f64 = 1e-3;

fn uniform(side: usize) -> Model {
    Model::new(Array2::from_elem((side, side), SPEED as f32)).unwrap()
}

/// Two layers and an inclusion.
fn layered(side: usize) -> Model {
    let speed = |(row, column): (usize, usize)| match (row, column) {
        (12..20, 8..16) => 1700.0,
        (16.., _) => 1600.0,
        _ => 1450.0,
    };
    Model::new(Array2::from_shape_fn((side, side), speed)).unwrap()
}

fn config(courant: f64, cells_per_wavelength: f64, steps: usize) -> Config {
    Config {
        spacing: SPACING,
        time_step: courant * SPACING / SPEED,
        steps,
        frequency: SPEED / (cells_per_wavelength * SPACING),
        border: 16,
    }
}

fn cell(row: usize, column: usize) -> Cell {
    Cell { row, column }
}

/// The pressure at a distance in m and a time in s in a uniform medium: the wavelet convolved with the Green's
/// function `H(t - r/c) / (2 pi sqrt(t^2 - r^2/c^2))` of the equation in the header of `solver.rs` (P. Morse and
/// H. Feshbach, Methods of Theoretical Physics, 1953, section 7.3). The substitution `t' = (r/c) cosh(u)` takes
/// its singularity away: `p = 1/(2 pi) * integral of s(t - (r/c) cosh u) du`.
fn analytic(frequency: f64, distance: f64, time: f64) -> f64 {
    let arrival = distance / SPEED;
    if time <= arrival {
        return 0.0;
    }
    let (intervals, end) = (400, (time / arrival).acosh());
    let width = end / f64::from(intervals);
    let wave = |u: f64| ricker(frequency, time - arrival * u.cosh());
    let inner: f64 = (1..intervals).map(|i| wave(f64::from(i) * width)).sum();
    (inner + (wave(0.0) + wave(end)) / 2.0) * width / std::f64::consts::TAU
}

/// |found - expected| / |expected| in the L2 norm.
fn relative_error(found: &[f32], expected: impl Iterator<Item = f64>) -> f64 {
    let (mut difference, mut norm) = (0.0, 0.0);
    for (&found, expected) in found.iter().zip(expected) {
        difference += (f64::from(found) - expected).powi(2);
        norm += expected.powi(2);
    }
    (difference / norm).sqrt()
}

/// The largest relative error against the analytic solution at receivers in several directions, in wavelengths
/// of ten cells at `refinement` 1 and twenty at 2.
fn analytic_error(refinement: usize, courant: f64) -> f64 {
    let places = [(0, 10), (7, 7), (16, 0), (12, 16)];
    let source = cell(4 * refinement, 4 * refinement);
    let mut cells = vec![source];
    cells.extend(
        places.map(|(down, right)| cell(source.row + down * refinement, source.column + right * refinement)),
    );
    let steps = (50.0 / courant) as usize * refinement;
    let config = config(courant, 10.0 * refinement as f64, steps);
    let model = uniform((24 * refinement).max(32));
    let traces = Simulation::new(&model, &cells, &config).unwrap().shot(0).unwrap();
    let errors = places.iter().enumerate().map(|(index, &(down, right))| {
        let distance = (down as f64).hypot(right as f64) * refinement as f64 * SPACING;
        let times = (0..steps).map(|step| step as f64 * config.time_step);
        relative_error(traces.of(index + 1), times.map(|time| analytic(config.frequency, distance, time)))
    });
    errors.fold(0.0, f64::max)
}

#[test]
fn pressure_is_that_of_the_analytic_solution() {
    let error = analytic_error(1, 0.2);
    assert!(error < 0.02, "relative error {error}");
}

#[test]
fn error_falls_with_the_square_of_the_time_step() {
    let (coarse, fine) = (analytic_error(1, 0.5), analytic_error(1, 0.25));
    let order = (coarse / fine).log2();
    assert!((1.7..2.3).contains(&order), "order {order}, errors {coarse} and {fine}");
}

#[test]
fn border_reflects_less_than_a_thousandth() {
    let config = config(0.5, 10.0, 200);
    let record = |side: usize, corner: usize| {
        let cells = [cell(4, 16), cell(4, 28), cell(16, 4), cell(30, 30)];
        let cells = cells.map(|place| cell(place.row + corner, place.column + corner));
        Simulation::new(&uniform(side), &cells, &config).unwrap().shot(0).unwrap()
    };
    let small = record(32, 0);
    // Waves reach the border of the larger map and come back after the last step.
    let large = record(32 + 2 * 36, 36);
    for receiver in 1..4 {
        let peak = large.of(receiver).iter().fold(0f32, |peak, sample| peak.max(sample.abs()));
        let pairs = small.of(receiver).iter().zip(large.of(receiver));
        let reflection = pairs.fold(0f32, |most, (small, large)| most.max((small - large).abs())) / peak;
        assert!(reflection < 1e-3, "receiver {receiver}: {reflection}");
    }
}

#[test]
fn source_and_receiver_may_be_exchanged() {
    let cells = [cell(5, 6), cell(25, 22)];
    let simulation = Simulation::new(&layered(32), &cells, &config(0.4, 10.0, 220)).unwrap();
    let there = simulation.shot(0).unwrap();
    let back = simulation.shot(1).unwrap();
    let error = relative_error(there.of(1), back.of(0).iter().copied().map(f64::from));
    assert!(error < 1e-4, "relative difference {error}");
}

#[test]
fn same_shot_gives_the_same_bits() {
    let cells = [cell(5, 6), cell(25, 22)];
    let simulate = move || Simulation::new(&layered(32), &cells, &config(0.4, 10.0, 60)).unwrap();
    let first = simulate().shot(0).unwrap();
    let on_another_thread = std::thread::spawn(move || simulate().shot(0).unwrap()).join().unwrap();
    let bits = |traces: Traces| traces.samples.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(first), bits(on_another_thread));
}

#[test]
fn step_above_the_stability_limit_is_refused() {
    let error = Simulation::new(&uniform(32), &[], &config(0.56, 10.0, 10)).unwrap_err();
    assert!(matches!(error, SolverError::Unstable { speed: 1500.0, .. }));
    assert!(error.to_string().contains("at most 3.698e-7 s"), "{error}");
}

#[test]
fn step_below_the_stability_limit_stays_bounded() {
    let simulation = Simulation::new(&uniform(32), &[cell(16, 16)], &config(0.55, 10.0, 400)).unwrap();
    let traces = simulation.shot(0).unwrap();
    assert!(traces.of(0)[300..].iter().all(|sample| sample.abs() < 0.1));
}

#[test]
fn impossible_settings_are_named() {
    let refusal = |change: fn(&mut Config)| {
        let mut config = config(0.4, 10.0, 10);
        change(&mut config);
        Simulation::new(&uniform(32), &[], &config).unwrap_err().to_string()
    };
    assert!(refusal(|config| config.spacing = f64::NAN).contains("the grid spacing is NaN"));
    assert!(refusal(|config| config.time_step = -1.0).contains("the time step is -1"));
    assert!(refusal(|config| config.frequency = 0.0).contains("the frequency is 0"));
    assert!(refusal(|config| config.steps = 0).contains("0 steps"));
    assert!(refusal(|config| config.border = 0).contains("0 cells thick"));
}

#[test]
fn missing_transducers_are_named() {
    let error = Simulation::new(&uniform(32), &[cell(3, 32)], &config(0.4, 10.0, 10)).unwrap_err();
    assert!(error.to_string().contains("transducer 0 is at cell [3, 32]"), "{error}");
    let simulation = Simulation::new(&uniform(32), &[cell(3, 3)], &config(0.4, 10.0, 10)).unwrap();
    assert_eq!(simulation.shot(1), Err(SolverError::NoSuchTransducer { index: 1, count: 1 }));
}

#[test]
fn phantom_takes_the_steps_that_are_promised() {
    let phantom = crate::phantom::phantom().unwrap();
    assert_eq!(Config::suited(&phantom, crate::phantom::SPACING).steps, 800);
}
