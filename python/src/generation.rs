//! What belongs to one life of the process. A forked child must not drop what it has inherited: sockets would be shut
//! down that are its parent's, files removed, threads joined that it does not have.

use std::sync::atomic::{AtomicU32, Ordering};

/// How many forks lie between the first process and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// This is a child: what was made before belongs to the parent.
pub(crate) fn begin_another() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// A value of the process that made it. In a child it is not there, and is never dropped.
pub(crate) struct Native<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Native<T> {
    pub(crate) fn new(value: T) -> Native<T> {
        Native { generation: GENERATION.load(Ordering::Relaxed), value: Some(value) }
    }

    fn is_native(&self) -> bool {
        self.generation == GENERATION.load(Ordering::Relaxed)
    }

    /// The value, in the process that made it.
    pub(crate) fn get(&self) -> Option<&T> {
        self.value.as_ref().filter(|_| self.is_native())
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        let native = self.is_native();
        self.value.as_mut().filter(|_| native)
    }

    /// The value, whose process it may be.
    pub(crate) fn inherited(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Takes the value out, in the process that made it.
    pub(crate) fn take(mut self) -> Option<T> {
        if self.is_native() { self.value.take() } else { None }
    }
}

impl<T> Drop for Native<T> {
    fn drop(&mut self) {
        if !self.is_native() {
            std::mem::forget(self.value.take());
        }
    }
}
