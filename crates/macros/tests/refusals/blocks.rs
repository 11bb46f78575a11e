//! Blocks that make no runtime.

struct Solver;

trait Solve {
    fn solve(&self);
}

#[mosaic_macros::runtime]
impl Solve for Solver {
    fn solve(&self) {}
}

#[mosaic_macros::runtime]
impl [Solver] {}

#[mosaic_macros::runtime(lock)]
impl Solver {}

#[mosaic_macros::runtime]
struct Other;

fn main() {}
