//! Hooks that are none.

struct Solver;

struct Uid;

#[mosaic_macros::runtime]
impl Solver {
    #[hook]
    fn conected(&self, _peer: &Uid) {}

    #[hook]
    pub fn connected(&self, _peer: &Uid) {}

    #[hook]
    fn disconnected(&mut self, _peer: &Uid) {}
}

struct Other;

#[mosaic_macros::runtime]
impl Other {
    #[hook]
    async fn connected(&self, _peer: &Uid) {}

    #[hook(late)]
    fn disconnected(&self, _peer: &Uid) {}
}

fn main() {}
