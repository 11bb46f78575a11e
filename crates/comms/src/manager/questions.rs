//! What runtimes may ask each other about themselves: [`CommsManager::methods_of`], [`CommsManager::status_of`],
//! [`CommsManager::records_of`]. The questions belong to the protocol: they never reach the program, and have no order with
//! its messages.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use mosaic_proto::wire::{Kind, Target};
use serde::{Deserialize, Serialize};

use super::{CommsManager, SendRecv, Shared};
use crate::dispatch::panicked;
use crate::encode::{Encoded, encode_value};
use crate::error::{HandlerError, RemoteError};
use crate::link::Write;
use crate::message::Message;
use crate::method::Method;
use crate::objects::ObjectRef;
use crate::status::{LinkRecord, Status};

/// What the names of all questions begin with. No method of Rust or Python can be called so.
const PREFIX: &str = "mosaic.";

/// Asks for the methods of a runtime, or of an object in it.
const METHODS: &str = "mosaic.methods";

/// Asks how a runtime stands.
const STATUS: &str = "mosaic.status";

/// Asks for the last events of a runtime's links.
const RECORDS: &str = "mosaic.records";

/// Whose methods are asked for.
#[derive(Serialize, Deserialize)]
struct OfObject {
    /// Type and uid of an object; `None` for the runtime itself.
    object: Option<(String, String)>,
}

/// Whether a method is a question that the library itself answers.
pub(super) fn is_question(method: &[u8]) -> bool {
    method.starts_with(PREFIX.as_bytes())
}

impl CommsManager {
    /// Asks a runtime what methods it has, with their documentation and arguments. However many handlers run there, it
    /// answers; on a peer whose program pulls its messages itself, too.
    ///
    /// # Errors
    /// As [`send_recv`](CommsManager::send_recv). Foreign peers do not know the question: give it a deadline.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    ///
    /// # Example
    /// ```
    /// use mosaic_comms::{CommsManager, Config, Methods};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let methods = Methods::new().method("steps", |_, _| async { Ok(100) });
    /// let comms = CommsManager::start("monitor", methods, Config::default().address("127.0.0.1")).await?;
    /// let methods = comms.methods_of("monitor").await?;
    /// assert_eq!(methods[0].to_string(), "steps(..)");
    /// # comms.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn methods_of(&self, uid: impl AsRef<str>) -> SendRecv<Vec<Method>> {
        self.send_recv(uid, METHODS, &OfObject { object: None }).express()
    }

    /// As [`methods_of`](CommsManager::methods_of), of an object that lives in the runtime.
    ///
    /// # Errors
    /// As [`methods_of`](CommsManager::methods_of); an unknown object is a remote error of the kind
    /// [`UNKNOWN_OBJECT`](crate::RemoteError::UNKNOWN_OBJECT) that says what there is.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub fn methods_of_object(&self, uid: impl AsRef<str>, object: &ObjectRef) -> SendRecv<Vec<Method>> {
        let object = Some((object.kind().to_owned(), object.uid().to_owned()));
        self.send_recv(uid, METHODS, &OfObject { object }).express()
    }

    /// Asks a runtime how it stands, as it would say itself by [`status`](CommsManager::status). Its I/O thread answers,
    /// whatever its handlers do.
    ///
    /// # Errors
    /// As [`methods_of`](CommsManager::methods_of).
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub fn status_of(&self, uid: impl AsRef<str>) -> SendRecv<Status> {
        self.send_recv(uid, STATUS, ()).express()
    }

    /// Asks a runtime for the last events of its links, as it would say itself by [`records`](CommsManager::records). Its
    /// I/O thread answers, whatever its handlers do.
    ///
    /// # Errors
    /// As [`methods_of`](CommsManager::methods_of).
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub fn records_of(&self, uid: impl AsRef<str>) -> SendRecv<Vec<LinkRecord>> {
        self.send_recv(uid, RECORDS, ()).express()
    }
}

impl Shared {
    /// Answers a question; where that takes the user's code, on the executor.
    pub(super) fn answer(self: &Arc<Self>, message: Message) {
        message.origin.consumed(message.cost());
        let shared = self.clone();
        if message.method_name() == METHODS {
            self.handlers.spawn_on(async move { shared.answer_here(message) }, &self.executor);
        } else {
            self.tasks.spawn_on(async move { shared.answer_here(message) }, &self.io);
        }
    }

    fn answer_here(&self, message: Message) {
        let (method, id, delimited) = (message.method(), message.facts().id, message.delimited());
        let (origin, wants_reply) = (message.origin.clone(), message.wants_reply());
        let answer = catch_unwind(AssertUnwindSafe(|| self.answer_to(&method, message)));
        if !wants_reply {
            return;
        }
        let (kind, encoded) = match answer.unwrap_or_else(|panic| Err(Box::new(panicked(&*panic)))) {
            Ok(encoded) => (Kind::Reply, encoded),
            Err(mut error) => {
                error.uid = self.uid.to_string();
                error.method = method;
                (Kind::Error, encode_value(&error).unwrap_or_default())
            }
        };
        origin.reply(kind, id, encoded, delimited, Write::Now);
    }

    fn answer_to(&self, question: &str, message: Message) -> Result<Encoded, Box<RemoteError>> {
        let answer = match question {
            METHODS => encode_value(&self.methods_asked_for(message)?),
            STATUS => encode_value(&self.status()),
            RECORDS => encode_value(&self.records()),
            _ => {
                let text =
                    format!("there is no question `{question}` here; perhaps the asking library is newer");
                return Err(Box::new(RemoteError::new(RemoteError::UNKNOWN_METHOD, text)));
            }
        };
        answer.map_err(|error| HandlerError::from(error).0)
    }

    fn methods_asked_for(&self, message: Message) -> Result<Vec<Method>, Box<RemoteError>> {
        let asked = message.into_args().and_then(|args| args.deserialize()).map_err(|error| {
            let mut error = HandlerError::from(error).0;
            RemoteError::ARGUMENT.clone_into(&mut error.kind);
            error
        })?;
        match asked {
            OfObject { object: None } => Ok(self.runtime.methods()),
            OfObject { object: Some((kind, uid)) } => {
                Ok(self.objects.find(Target { kind: &kind, uid: &uid })?.methods())
            }
        }
    }
}
