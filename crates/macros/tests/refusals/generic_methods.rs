//! Methods with type parameters, lifetimes and conventions that nobody elsewhere could choose.

struct Solver;

#[mosaic_macros::runtime]
impl Solver {
    pub fn solve<T>(&self, _start: T) {}

    pub fn read<'a>(&'a self) {}

    pub extern "C" fn foreign(&self) {}
}

fn main() {}
