//! Types that only the function itself knows.

struct Solver;

#[mosaic_macros::runtime]
impl Solver {
    pub fn take(&self, _values: impl Iterator<Item = u8>) {}

    pub fn give(&self) -> Vec<impl Sized> {
        vec![0_u8]
    }
}

fn main() {}
