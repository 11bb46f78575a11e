//! The core of the Python package `mosaic_comms`: it converts and forwards. What a member of the reference page does
//! is Python, in `python/mosaic_comms/`; how messages travel is the crate `mosaic-comms`.
//!
//! Three threads meet here, and this is who may do what:
//!
//! - an **I/O thread** never takes the interpreter's lock. What it does for a loop that does not come, and what is left for that
//!   to do, it leaves at a [`bell`], and rings it;
//! - the **loop's thread** is woken by the bell and by what comes on its [`lanes`]: it reads those, and it alone decodes,
//!   completes futures, calls handlers and lets go of the Python objects whose memory was sent;
//! - **other threads** wait for an operation without holding the interpreter's lock.

mod answer;
mod bell;
mod comms;
mod context;
mod decode;
mod descriptors;
mod driver;
mod encode;
mod events;
mod failure;
mod generation;
mod lanes;
mod memory;
mod numpy;
mod operation;
mod runtime;
mod settings;
mod task;

use pyo3::prelude::*;

/// What `mosaic_comms/_core.pyi` describes.
#[pymodule]
mod _core {
    #[pymodule_export]
    use crate::answer::Answer;
    #[pymodule_export]
    use crate::comms::Comms;
    #[pymodule_export]
    use crate::descriptors::{Context, leave_to_the_parent};
    #[pymodule_export]
    use crate::driver::Driver;
    #[pymodule_export]
    use crate::encode::Share;
    #[pymodule_export]
    use crate::events::Events;
    #[pymodule_export]
    use crate::memory::Memory;
    #[pymodule_export]
    use crate::operation::Operation;
}
