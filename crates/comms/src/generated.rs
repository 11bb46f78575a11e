//! What the code that the attribute [`runtime`](macro@crate::runtime) writes calls, and nobody else.

use std::error::Error;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::args::{Args, ArgumentError};
use crate::error::HandlerError;
use crate::kwargs::Kwargs;
use crate::manager::{CommsManager, SendRecv};
use crate::objects::ObjectRef;
use crate::runtime::{HandlerResult, encoded};

/// Whom a proxy calls.
#[derive(Clone, Debug)]
pub struct Callee {
    comms: CommsManager,
    uid: String,
    object: Option<ObjectRef>,
}

impl Callee {
    /// The runtime `uid` itself, or an object in it.
    pub fn new(comms: &CommsManager, uid: &str, object: Option<ObjectRef>) -> Callee {
        Callee { comms: comms.clone(), uid: uid.to_owned(), object }
    }

    /// A call of a method.
    pub fn call<R: DeserializeOwned>(&self, method: &str, args: Kwargs) -> SendRecv<R> {
        match &self.object {
            None => self.comms.send_recv(&self.uid, method, args),
            Some(object) => self.comms.cmd_recv(&self.uid, object.clone(), method, args),
        }
    }
}

/// The result of a method that has succeeded.
pub fn finished<R: Serialize>(value: R) -> HandlerResult {
    encoded(Ok(value))
}

/// The argument `name`, or its default if it was not given.
pub fn argument_or<T: DeserializeOwned>(
    args: &Args,
    name: &str,
    default: impl FnOnce() -> T,
) -> Result<T, ArgumentError> {
    if args.names().any(|given| given == name) { args.get(name) } else { Ok(default()) }
}

/// What a method has failed with. By `handler_error()` it becomes the error that is sent, by way of
/// [`ByItself`] where it can, [`ByText`] otherwise.
#[derive(Debug)]
pub struct Failure<E>(Option<E>);

impl<E> Failure<E> {
    /// Of this error.
    pub fn new(error: E) -> Failure<E> {
        Failure(Some(error))
    }

    /// The error, which is there until it was sent.
    pub fn error(&self) -> &E {
        self.0.as_ref().expect("an error is sent once")
    }

    fn take(&mut self) -> E {
        self.0.take().expect("an error is sent once")
    }
}

/// Errors with a type of their own, and [`HandlerError`].
pub trait ByItself {
    /// The error that is sent.
    fn handler_error(&mut self) -> HandlerError;
}

impl<E: Into<HandlerError>> ByItself for Failure<E> {
    fn handler_error(&mut self) -> HandlerError {
        self.take().into()
    }
}

/// Texts and boxed errors, which are no errors themselves.
pub trait ByText {
    /// The error that is sent.
    fn handler_error(&mut self) -> HandlerError;
}

impl<E: Into<Box<dyn Error + Send + Sync>>> ByText for &mut Failure<E> {
    fn handler_error(&mut self) -> HandlerError {
        HandlerError::of(&*self.take().into())
    }
}

/// What is none of these: found last of the three, it is never run, and says what would be right.
pub trait ByNothing<E> {
    /// Never called.
    fn handler_error(&self) -> HandlerError
    where
        E: ErrorOfMethod;
}

impl<E> ByNothing<E> for Failure<E> {
    fn handler_error(&self) -> HandlerError
    where
        E: ErrorOfMethod,
    {
        unreachable!("no type is an error of a method by this trait")
    }
}

/// Implemented by nothing: it is what the compiler asks for where a method's error can't be sent.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no error that can be sent to the caller",
    note = "a method fails with a type that implements `std::error::Error`, with a text, or with a boxed error"
)]
pub trait ErrorOfMethod {}

/// Names the kind of an error.
pub fn of_kind(mut error: HandlerError, kind: impl Into<String>) -> HandlerError {
    error.0.kind = kind.into();
    error
}
