//! Where the elements of an [`Array`](crate::Array) lie: in a `Vec` or in the buffer that they were received in.

use std::sync::Arc;

use bytes::Bytes;

use super::element::{Element, InvalidElement};
use crate::context::Context;
use crate::pool::{Buffer, Received};

/// The elements, shared.
pub(super) enum Storage<T: Element> {
    Owned(Arc<Vec<T>>),
    /// Only buffers that `T::view` takes, so it is asked again without looking at the answer.
    Received(Arc<Received>),
}

impl<T: Element> Clone for Storage<T> {
    fn clone(&self) -> Storage<T> {
        match self {
            Storage::Owned(values) => Storage::Owned(values.clone()),
            Storage::Received(buffer) => Storage::Received(buffer.clone()),
        }
    }
}

impl<T: Element> From<Vec<T>> for Storage<T> {
    fn from(values: Vec<T>) -> Storage<T> {
        Storage::Owned(Arc::new(values))
    }
}

const CHECKED: &str = "the buffer was checked when the array was made";

impl<T: Element> Storage<T> {
    /// Keeps a received buffer if its elements can be used where they lie, and copies them if not.
    pub(super) fn receive(buffer: Arc<Received>) -> Result<Storage<T>, InvalidElement> {
        let bytes = Received::as_ref(&buffer);
        match T::view(bytes).is_some() {
            true => Ok(Storage::Received(buffer)),
            false => Ok(Storage::from(T::copy(bytes)?)),
        }
    }

    pub(super) fn elements(&self) -> &[T] {
        match self {
            Storage::Owned(values) => values,
            Storage::Received(buffer) => T::view(Received::as_ref(buffer)).expect(CHECKED),
        }
    }

    pub(super) fn elements_mut(&mut self) -> Option<&mut [T]> {
        match self {
            Storage::Owned(values) => Arc::get_mut(values).map(Vec::as_mut_slice),
            Storage::Received(buffer) => match Arc::get_mut(buffer)? {
                Received::Pooled(buffer) => T::view_mut(buffer.as_mut()),
                // The sender, in this process, still reads it.
                Received::Shared(_) => None,
            },
        }
    }

    /// Moves the elements to memory that other processes can see, if there is some and they can be used there.
    pub(super) fn lendable(self, context: &Context) -> Storage<T> {
        let bytes = T::bytes(self.elements());
        let Some(mut own) = context.workspace(bytes.len()) else { return self };
        if let Some(to) = own.bytes_mut() {
            to.copy_from_slice(bytes);
        }
        let buffer = Buffer::from(own);
        match T::view(buffer.as_ref()).is_some() {
            true => Storage::Received(Arc::new(Received::Pooled(buffer))),
            false => self,
        }
    }

    pub(super) fn into_vec(self) -> Vec<T> {
        match self {
            Storage::Owned(values) => Arc::try_unwrap(values).unwrap_or_else(|shared| shared.to_vec()),
            Storage::Received(_) => self.elements().to_vec(),
        }
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        match self {
            Storage::Owned(values) => Bytes::from_owner(Sent(values.clone())),
            Storage::Received(buffer) => share(buffer),
        }
    }
}

/// Elements that a message refers to.
struct Sent<T>(Arc<Vec<T>>);

impl<T: Element> AsRef<[u8]> for Sent<T> {
    fn as_ref(&self) -> &[u8] {
        T::bytes(&self.0)
    }
}

/// Makes bytes of a received buffer that keep it alive.
pub(crate) fn share(buffer: &Arc<Received>) -> Bytes {
    match &**buffer {
        Received::Shared(bytes) => bytes.clone(),
        Received::Pooled(pooled) => {
            pooled.settle();
            Bytes::from_owner(Forwarded(buffer.clone()))
        }
    }
}

/// A received buffer that is sent on.
struct Forwarded(Arc<Received>);

impl AsRef<[u8]> for Forwarded {
    fn as_ref(&self) -> &[u8] {
        Received::as_ref(&self.0)
    }
}
