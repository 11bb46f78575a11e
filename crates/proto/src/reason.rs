//! Why a runtime is gone: a word for people and a compact form for the wire.
//!
//! On the wire it is two strings, a stable code and a detail: `("unreachable", "4000")`. A code that is not known
//! here comes from a newer version and is kept as it is, so that it can be shown and passed on.

use std::fmt;
use std::time::Duration;

use crate::identity::Instance;
use crate::limits::MAX_REASON_DETAIL;

/// Why a runtime is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It said goodbye.
    Left {
        /// What it gave as its reason, for people; may be empty.
        why: String,
    },
    /// It was told to stop and said goodbye.
    Stopped,
    /// Its process ended without a goodbye.
    Exited {
        /// What is known of its end (a signal, an exit status), for people; may be empty.
        detail: String,
    },
    /// Every address of it refused connections: nothing listens there any more.
    Refused {
        /// The addresses that were tried, for people; may be empty.
        detail: String,
    },
    /// Nothing was heard of it.
    Unreachable {
        /// For how long, in whole milliseconds on the wire.
        silent: Duration,
    },
    /// Its uid belongs to another instance now.
    Replaced {
        /// The instance that has the uid.
        by: Instance,
    },
    /// The peer no longer knows the session: it gave us up, or has come back.
    SessionLost,
    /// It speaks another version, or demands another security, than we do.
    Incompatible {
        /// What it said.
        detail: String,
    },
    /// The monitor does not know it (any more), and nothing links us to it.
    Forgotten,
    /// Something that a newer version says.
    Other {
        /// Its code on the wire.
        code: String,
        /// Its detail on the wire.
        detail: String,
    },
}

impl Reason {
    /// The reason with this code and detail. Both are cut to [`MAX_REASON_DETAIL`] bytes.
    pub fn from_wire(code: &str, detail: &str) -> Reason {
        let detail = shortened(detail);
        match code {
            "left" => Reason::Left { why: detail },
            "stopped" => Reason::Stopped,
            "exited" => Reason::Exited { detail },
            "refused" => Reason::Refused { detail },
            "session-lost" => Reason::SessionLost,
            "incompatible" => Reason::Incompatible { detail },
            "forgotten" => Reason::Forgotten,
            "unreachable" => match detail.parse() {
                Ok(silent) => Reason::Unreachable { silent: Duration::from_millis(silent) },
                Err(_) => Reason::Other { code: code.into(), detail },
            },
            "replaced" => match u64::from_str_radix(&detail, 16) {
                Ok(bits) => Reason::Replaced { by: Instance(bits) },
                Err(_) => Reason::Other { code: code.into(), detail },
            },
            _ => Reason::Other { code: shortened(code), detail },
        }
    }

    /// Its code and its detail on the wire, each at most [`MAX_REASON_DETAIL`] bytes long.
    pub fn to_wire(&self) -> (String, String) {
        let detail = match self {
            Reason::Left { why: detail }
            | Reason::Exited { detail }
            | Reason::Refused { detail }
            | Reason::Incompatible { detail }
            | Reason::Other { detail, .. } => shortened(detail),
            Reason::Unreachable { silent } => silent.as_millis().to_string(),
            Reason::Replaced { by } => by.to_string(),
            Reason::Stopped | Reason::SessionLost | Reason::Forgotten => String::new(),
        };
        (shortened(self.code()), detail)
    }

    /// The stable name of this kind of reason.
    pub fn code(&self) -> &str {
        match self {
            Reason::Left { .. } => "left",
            Reason::Stopped => "stopped",
            Reason::Exited { .. } => "exited",
            Reason::Refused { .. } => "refused",
            Reason::Unreachable { .. } => "unreachable",
            Reason::Replaced { .. } => "replaced",
            Reason::SessionLost => "session-lost",
            Reason::Incompatible { .. } => "incompatible",
            Reason::Forgotten => "forgotten",
            Reason::Other { code, .. } => code,
        }
    }

    /// Whether it went of its own accord: a departure, not a failure.
    pub fn is_departure(&self) -> bool {
        matches!(self, Reason::Left { .. } | Reason::Stopped)
    }

    /// An upper bound of the bytes that its wire form takes.
    pub(crate) fn wire_bound(&self) -> usize {
        const HEADERS_AND_NUMBER: usize = 32;
        let texts = match self {
            Reason::Left { why: detail }
            | Reason::Exited { detail }
            | Reason::Refused { detail }
            | Reason::Incompatible { detail } => detail.len(),
            Reason::Other { code, detail } => code.len().min(MAX_REASON_DETAIL) + detail.len(),
            _ => 0,
        };
        HEADERS_AND_NUMBER + texts.min(2 * MAX_REASON_DETAIL)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, detail): (&str, &str) = match self {
            Reason::Left { why } => ("it left", why),
            Reason::Stopped => ("it was stopped", ""),
            Reason::Exited { detail } => ("its process ended", detail),
            Reason::Refused { detail } => ("every address refused", detail),
            Reason::SessionLost => ("it no longer knew the session", ""),
            Reason::Incompatible { detail } => ("it cannot be talked to", detail),
            Reason::Unreachable { silent } => return write!(f, "silent for {:.1} s", silent.as_secs_f64()),
            Reason::Replaced { by } => return write!(f, "replaced by instance {by}"),
            Reason::Forgotten => ("not known to the monitor", ""),
            Reason::Other { code, detail } => (code, detail),
        };
        f.write_str(what)?;
        if detail.is_empty() { Ok(()) } else { write!(f, ": {detail}") }
    }
}

/// As much of the start of `text` as a reason may hold, whole characters only.
fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_REASON_DETAIL)].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Reason> {
        vec![
            Reason::Left { why: "done".into() },
            Reason::Left { why: String::new() },
            Reason::Stopped,
            Reason::Exited { detail: "signal 9".into() },
            Reason::Refused { detail: "10.0.0.1:7000".into() },
            Reason::Unreachable { silent: Duration::from_millis(4_250) },
            Reason::Replaced { by: Instance(0xfe) },
            Reason::Forgotten,
            Reason::Other { code: "migrated".into(), detail: "to mars".into() },
        ]
    }

    #[test]
    fn every_reason_survives_the_wire() {
        for reason in all() {
            let (code, detail) = reason.to_wire();
            assert_eq!(Reason::from_wire(&code, &detail), reason);
            assert!(code.len() + detail.len() <= reason.wire_bound(), "{reason}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_kept_as_it_is() {
        let reason = Reason::from_wire("unreachable", "ages");
        assert_eq!(reason, Reason::Other { code: "unreachable".into(), detail: "ages".into() });
        assert_eq!(reason.to_string(), "unreachable: ages");
    }

    #[test]
    fn details_are_cut_between_characters() {
        let reason = Reason::from_wire("left", &"é".repeat(MAX_REASON_DETAIL));
        assert_eq!(reason.to_wire().1.len(), MAX_REASON_DETAIL / 2 * 2);
    }

    #[test]
    fn reasons_are_told_in_lower_case() {
        let shown: Vec<String> = all().iter().map(Reason::to_string).collect();
        assert_eq!(shown[0], "it left: done");
        assert_eq!(shown[1], "it left");
        assert_eq!(shown[5], "silent for 4.2 s");
        assert!(
            shown.iter().all(|text| text.starts_with(char::is_lowercase) && !text.ends_with('.')),
            "{shown:?}"
        );
    }
}
