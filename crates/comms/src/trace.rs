//! Traces across runtimes: which piece of work a request belongs to, as W3C Trace Context has it, and the spans that say so
//! to whoever listens. The context travels in the envelope; nobody needs a tracing library for that, and none is chosen here.
//!
//! ```text
//! head                    worker:0                       worker:1
//! span `request` ----->   span `call`
//!   span_id a               parent_id a, span_id b
//!                           span `request` ------------> span `call`
//!                             parent_id b, span_id c       parent_id c, span_id d
//! ```

use std::fmt;
use std::future::Future;
use std::str::FromStr;

use tracing::{Span, field};

tokio::task_local! {
    /// What surrounds the code that runs now.
    static HERE: Surroundings;
}

/// What surrounds the code of a handler, or code that a user has put into a trace.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Surroundings {
    /// How deep the handler that runs now is nested; `None` outside of handlers.
    depth: Option<u8>,
    trace: Option<TraceContext>,
}

impl Surroundings {
    /// Those of the code that runs now.
    pub(crate) fn here() -> Surroundings {
        HERE.try_with(|here| *here).unwrap_or_default()
    }

    /// Those of a handler.
    pub(crate) fn of_handler(depth: u8, trace: Option<TraceContext>) -> Surroundings {
        Surroundings { depth: Some(depth), trace }
    }

    /// The depth of a request that is made here: calls are one deeper than the handler that makes them.
    pub(crate) fn depth_of_requests(&self) -> u8 {
        self.depth.map_or(0, |depth| depth.saturating_add(1))
    }

    /// Whether this is the code of a handler.
    pub(crate) fn are_a_handlers(&self) -> bool {
        self.depth.is_some()
    }

    pub(crate) async fn scope<F: Future>(self, future: F) -> F::Output {
        HERE.scope(self, future).await
    }

    pub(crate) fn in_scope<R>(self, run: impl FnOnce() -> R) -> R {
        HERE.sync_scope(self, run)
    }
}

/// A piece of work, and the trace that it belongs to: what a `traceparent` of W3C Trace Context says.
///
/// Calls that are made in its scope are its children, and so are theirs, in whatever runtime. A handler is in the scope of
/// the call that it serves; a program that starts something of its own may make a trace for it. Where nothing has made one,
/// a call begins its own trace if its span is enabled (target `mosaic_comms`, level `DEBUG`), and none if not: then nothing
/// is made, and nothing travels.
///
/// The spans are called `request` where a call is made and `call` where it is served, with the fields `trace_id`, `span_id`
/// and `parent_id`. Another tracing system is joined by its text form: what it injects as `traceparent` is parsed and made
/// the scope of calls, and what a handler finds by [`TraceContext::current`] is given to it as the remote parent.
///
/// # Example
/// ```
/// use mosaic_comms::{CommsManager, Config, Methods, TraceContext};
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let methods = Methods::new().method("trace", |_, _| async {
///     Ok(TraceContext::current().map(|context| context.to_string()))
/// });
/// let comms = CommsManager::start("monitor", methods, Config::default().address("127.0.0.1")).await?;
/// let parent: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?;
/// let call = parent.scope(async { comms.send_recv::<Option<String>>("monitor", "trace", ()).await });
/// assert_eq!(call.await?, Some(parent.to_string()));
/// # comms.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The halves of the trace id, not both 0.
    trace: [u64; 2],
    span: u64,
    flags: u8,
}

/// A text that is no `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no traceparent, as in 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
pub struct InvalidTraceContext {
    text: String,
}

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

/// Bytes of a `traceparent` of version 00; later ones may be longer.
const LENGTH: usize = 55;

impl TraceContext {
    /// Begins a trace.
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> TraceContext {
        TraceContext {
            trace: [fastrand::u64(1..), fastrand::u64(..)],
            span: fastrand::u64(1..),
            flags: SAMPLED,
        }
    }

    /// The piece of work that the code belongs to which runs now, if it is in a trace.
    pub fn current() -> Option<TraceContext> {
        Surroundings::here().trace
    }

    /// Another piece of work in the same trace.
    #[must_use]
    pub fn child(self) -> TraceContext {
        TraceContext { span: fastrand::u64(1..), ..self }
    }

    /// The id of the trace, as 128 bits.
    pub fn trace_id(&self) -> u128 {
        u128::from(self.trace[0]) << 64 | u128::from(self.trace[1])
    }

    /// The id of this piece of work.
    pub fn span_id(&self) -> u64 {
        self.span
    }

    /// Runs a future as part of this piece of work: calls that it makes are children of it. What it spawns is not in the
    /// scope.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        Surroundings { trace: Some(self), ..Surroundings::here() }.scope(future).await
    }

    /// As [`scope`](TraceContext::scope), for code that does not wait.
    pub fn in_scope<R>(self, run: impl FnOnce() -> R) -> R {
        Surroundings { trace: Some(self), ..Surroundings::here() }.in_scope(run)
    }

    /// Tells a span which piece of work it is.
    fn describe(self, span: &Span, parent: Option<TraceContext>) {
        span.record("trace_id", field::display(format_args!("{:032x}", self.trace_id())));
        span.record("span_id", field::display(format_args!("{:016x}", self.span)));
        if let Some(parent) = parent {
            span.record("parent_id", field::display(format_args!("{:016x}", parent.span)));
        }
    }
}

/// The span of a request that is made in these surroundings, and what is to travel with it.
pub(crate) fn of_request(here: &Surroundings, peer: &str, method: &str) -> (Span, Option<TraceContext>) {
    let empty = field::Empty;
    let span =
        tracing::debug_span!("request", peer, method, trace_id = empty, span_id = empty, parent_id = empty);
    continued(span, here.trace)
}

/// The span of a call that is served, and the piece of work that its handler is.
pub(crate) fn of_call(
    peer: &str,
    method: &str,
    id: u64,
    parent: Option<&str>,
) -> (Span, Option<TraceContext>) {
    let empty = field::Empty;
    let span =
        tracing::debug_span!("call", peer, method, id, trace_id = empty, span_id = empty, parent_id = empty);
    // What a peer sends as its trace is its affair: what is none counts as none.
    continued(span, parent.and_then(|text| text.parse().ok()))
}

/// A span that is enabled is a piece of work of its own; else its parent's children are its own.
fn continued(span: Span, parent: Option<TraceContext>) -> (Span, Option<TraceContext>) {
    if span.is_disabled() {
        return (span, parent);
    }
    let own = parent.map_or_else(TraceContext::new, TraceContext::child);
    own.describe(&span, parent);
    (span, Some(own))
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id(), self.span, self.flags)
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceContext({self})")
    }
}

impl FromStr for TraceContext {
    type Err = InvalidTraceContext;

    fn from_str(text: &str) -> Result<TraceContext, InvalidTraceContext> {
        parse(text).ok_or_else(|| InvalidTraceContext { text: text.chars().take(2 * LENGTH).collect() })
    }
}

fn parse(text: &str) -> Option<TraceContext> {
    let (text, rest) = text.split_at_checked(LENGTH)?;
    let mut parts = text.split('-');
    let [version, trace, span, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let lengths = [version, trace, span, flags].map(str::len) == [2, 32, 16, 2];
    let digits = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'));
    let longer = rest.is_empty() || (version != "00" && rest.starts_with('-'));
    if !lengths || !digits(text) || !longer || version == "ff" {
        return None;
    }
    let number = |text| u64::from_str_radix(text, 16).ok();
    let trace = [number(&trace[..16])?, number(&trace[16..])?];
    let (span, flags) = (number(span)?, number(flags)? as u8);
    (trace != [0; 2] && span != 0).then_some(TraceContext { trace, span, flags })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_read_as_it_is_written() {
        let context: TraceContext = TEXT.parse().unwrap();
        assert_eq!(context.to_string(), TEXT);
        assert_eq!(context.trace_id(), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(context.span_id(), 0x00f0_67aa_0ba9_02b7);
        let newer: TraceContext = TEXT.replacen("00", "01", 1).parse().unwrap();
        assert_eq!(newer, context);
        assert_eq!(format!("01{}-more", &TEXT[2..]).parse(), Ok(context));
    }

    #[test]
    fn what_is_no_context_is_refused() {
        let cut = (0..LENGTH).map(|end| TEXT[..end].to_owned());
        let wrong = [
            TEXT.replace("00-4", "ff-4"),
            TEXT.replace('b', "B"),
            TEXT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            TEXT.replace("00f067aa0ba902b7", &"0".repeat(16)),
            format!("{TEXT}-more"),
            format!("01{}more", &TEXT[2..]),
            "é".repeat(LENGTH),
        ];
        for text in cut.chain(wrong) {
            assert!(text.parse::<TraceContext>().is_err(), "{text}");
        }
    }
}
