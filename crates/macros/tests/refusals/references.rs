//! Borrowed arguments and results.

struct Solver;

struct Grid;

#[mosaic_macros::runtime]
impl Solver {
    pub fn name(&self, _text: &str) {}

    pub fn sum(&self, _values: &[f32]) {}

    pub fn fill(&self, _grid: &mut Grid) {}

    pub fn deep(&self, _names: Vec<Option<&'static str>>) {}

    pub fn label(&self) -> Option<&str> {
        None
    }
}

fn main() {}
