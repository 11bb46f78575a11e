//! `self` in other ways than borrowed.

use std::sync::Arc;

struct Solver;

#[mosaic_macros::runtime]
impl Solver {
    pub fn consume(self) {}

    pub fn share(self: Arc<Self>) {}
}

fn main() {}
