//! One file a verb.

pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod key;
pub(crate) mod ls;
pub(crate) mod monitor;
pub(crate) mod ping;
pub(crate) mod stop;
