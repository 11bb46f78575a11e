//! Names that are taken.

struct Solver;

#[mosaic_macros::runtime]
impl Solver {
    pub fn stop(&self) {}

    pub fn hand(&self) {}

    pub fn shake(&self) {}

    pub fn connect(&self) {}

    pub fn disconnect(&self) {}

    pub fn news(&self) {}

    pub fn who(&self) {}

    pub fn raise_exception(&self) {}

    pub fn new(&self) {}

    pub fn of_object(&self) {}

    pub fn solve(&self, #[arg(default = 1)] deadline: u8) {
        let _ = deadline;
    }
}

fn main() {}
