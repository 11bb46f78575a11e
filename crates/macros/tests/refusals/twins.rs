//! Two of one name: raw identifiers are the same name on the wire.

struct Solver;

#[mosaic_macros::runtime]
impl Solver {
    pub fn solve(&self, value: u8, r#value: u8) {}

    pub fn solve(&self) {}
}

fn main() {}
