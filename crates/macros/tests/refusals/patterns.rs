//! Arguments without a name of their own.

struct Solver;

#[mosaic_macros::runtime]
impl Solver {
    pub fn at(&self, (_x, _y): (f32, f32)) {}

    pub fn ignore(&self, _: u8) {}

    pub fn by_reference(&self, ref _text: String) {}
}

fn main() {}
