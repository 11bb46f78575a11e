//! A generic type.

struct Solver<T>(T);

#[mosaic_macros::runtime]
impl<T> Solver<T> {
    pub fn solve(&self) {}
}

struct Other<T>(T);

#[mosaic_macros::runtime]
impl Other<u8> {
    pub fn solve(&self) {}
}

fn main() {}
