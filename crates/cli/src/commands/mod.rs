//! One file a verb.

pub(crate) mod call;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod key;
pub(crate) mod ls;
pub(crate) mod methods;
pub(crate) mod monitor;
pub(crate) mod ping;
pub(crate) mod stop;
