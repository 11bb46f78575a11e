//! The objects that live in a runtime beside it, and that commands reach by type and uid. What an object does with a
//! call is its own affair, and how a call gets here is that of `dispatch`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use mosaic_proto::wire::Target;
use parking_lot::RwLock;

use crate::args::{Hint, List, similar};
use crate::error::RemoteError;
use crate::runtime::{IntoRuntime, Runtime};

/// Which object of a runtime is meant: its type, and its uid among the objects of that type.
///
/// # Example
/// ```
/// use mosaic_comms::ObjectRef;
/// let object = ObjectRef::new("Solver", "1");
/// assert_eq!(object.to_string(), "object `1` of type `Solver`");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    kind: String,
    uid: String,
}

impl ObjectRef {
    /// Means the object `uid` of the type `kind`.
    pub fn new(kind: impl Into<String>, uid: impl Into<String>) -> ObjectRef {
        ObjectRef { kind: kind.into(), uid: uid.into() }
    }

    /// The type of the object.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The uid of the object.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    pub(crate) fn target(&self) -> Target<'_> {
        Target { kind: &self.kind, uid: &self.uid }
    }

    pub(crate) fn of(target: Target<'_>) -> ObjectRef {
        ObjectRef::new(target.kind, target.uid)
    }

    /// Bytes of its names.
    pub(crate) fn len(&self) -> usize {
        self.kind.len() + self.uid.len()
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "object `{}` of type `{}`", self.uid, self.kind)
    }
}

type ByUid = BTreeMap<String, Arc<dyn Runtime>>;

/// The objects of one runtime. Clones are handles to the same objects.
///
/// An object is a [`Runtime`] of its own: its methods may be called by [`cmd`](crate::CommsManager::cmd) and
/// [`cmd_recv`](crate::CommsManager::cmd_recv). Its hooks are not called.
///
/// # Example
/// ```
/// use mosaic_comms::{CommsManager, Config, Methods, ObjectRef};
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let comms = CommsManager::start("monitor", Methods::new(), Config::default().address("127.0.0.1")).await?;
/// let solver = Methods::new().method("steps", |_, _| async { Ok(100) });
/// comms.objects().register("Solver", "1", solver);
/// let steps: u32 = comms.cmd_recv("monitor", ObjectRef::new("Solver", "1"), "steps", ()).await?;
/// assert_eq!(steps, 100);
/// # comms.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Objects(Arc<RwLock<BTreeMap<String, ByUid>>>);

impl Objects {
    /// Registers an object, and returns the one that was registered under these names before. Calls that run on that
    /// one finish on it; the next calls go to the new one.
    pub fn register(
        &self,
        kind: impl Into<String>,
        uid: impl Into<String>,
        object: impl IntoRuntime,
    ) -> Option<Arc<dyn Runtime>> {
        self.register_arc(kind, uid, Arc::new(object.into_runtime()))
    }

    /// As [`register`](Objects::register), for an object that others hold too.
    pub fn register_arc(
        &self,
        kind: impl Into<String>,
        uid: impl Into<String>,
        object: Arc<dyn Runtime>,
    ) -> Option<Arc<dyn Runtime>> {
        self.0.write().entry(kind.into()).or_default().insert(uid.into(), object)
    }

    /// Removes an object, and returns it. Calls that run on it finish.
    pub fn remove(&self, kind: &str, uid: &str) -> Option<Arc<dyn Runtime>> {
        let mut types = self.0.write();
        let uids = types.get_mut(kind)?;
        let removed = uids.remove(uid);
        if uids.is_empty() {
            types.remove(kind);
        }
        removed
    }

    /// The object that is registered under these names.
    pub fn get(&self, kind: &str, uid: &str) -> Option<Arc<dyn Runtime>> {
        self.0.read().get(kind)?.get(uid).cloned()
    }

    /// All objects that there are, in the order of their types and uids.
    pub fn list(&self) -> Vec<ObjectRef> {
        let types = self.0.read();
        let of_type = |(kind, uids): (&String, &ByUid)| {
            uids.keys().map(|uid| ObjectRef::new(kind, uid)).collect::<Vec<_>>()
        };
        types.iter().flat_map(of_type).collect()
    }

    /// The object of a command, or the error that says what there is instead.
    pub(crate) fn find(&self, target: Target<'_>) -> Result<Arc<dyn Runtime>, Box<RemoteError>> {
        self.get(target.kind, target.uid).ok_or_else(|| {
            Box::new(RemoteError::new(RemoteError::UNKNOWN_OBJECT, self.describe_missing(target)))
        })
    }

    fn describe_missing(&self, target: Target<'_>) -> String {
        let types = self.0.read();
        let missing = ObjectRef::of(target);
        let (what, asked, names) = match types.get(target.kind) {
            Some(uids) => ("that type has the uids", target.uid, uids.keys().cloned().collect::<Vec<_>>()),
            None => ("the types here are", target.kind, types.keys().cloned().collect()),
        };
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let hint = similar(asked, &known);
        format!("there is no {missing}{}; {what}: {}", Hint(&hint), List(&names))
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}
