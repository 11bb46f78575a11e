//! Attributes that say what can't be.

struct Solver;

struct Call;

#[mosaic_macros::runtime]
impl Solver {
    pub fn one(&self, #[arg] _value: u8) {}

    pub fn two(&self, #[arg(optional)] _value: u8) {}

    pub fn three(&self, #[arg(default = 1)] _call: &Call) {}

    #[error(kind = "never")]
    pub fn four(&self) {}

    #[error("thiserror's")]
    pub fn five(&self) -> Result<(), String> {
        Ok(())
    }
}

fn main() {}
