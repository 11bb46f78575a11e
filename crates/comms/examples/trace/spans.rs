//! Keeps the spans of requests and calls in memory, and lays those of one trace out as a tree.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// A span that is over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Whose process it was in.
    runtime: String,
    /// `request` or `call`.
    name: String,
    /// `method`, `peer`, and the ids.
    fields: BTreeMap<String, String>,
    /// Microseconds since the first span of its process, and how long it took.
    start: u64,
    took: u64,
}

static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

/// The spans of a trace that this process has kept.
pub(crate) fn kept(trace: &str) -> Vec<Kept> {
    let kept = KEPT.lock().expect("nothing panics while it is held");
    kept.iter().filter(|span| span.field("trace_id") == trace).cloned().collect()
}

impl Kept {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// The layer that keeps them.
pub(crate) struct Keeper {
    runtime: String,
    since: Instant,
}

impl Keeper {
    pub(crate) fn new(uid: &str) -> Keeper {
        Keeper { runtime: uid.to_owned(), since: Instant::now() }
    }
}

/// What is known of a span that goes on.
struct Open {
    fields: Fields,
    start: Duration,
}

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Keeper {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(Open { fields, start: self.since.elapsed() });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            values.record(&mut open.fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(Open { fields, start }) = span.extensions_mut().remove::<Open>() else { return };
        let kept = Kept {
            runtime: self.runtime.clone(),
            name: span.name().to_owned(),
            fields: fields.0,
            start: start.as_micros() as u64,
            took: (self.since.elapsed() - start).as_micros() as u64,
        };
        KEPT.lock().expect("nothing panics while it is held").push(kept);
    }
}

/// All spans, each below its parent. Clocks of different processes are not compared: the children of one span are of one
/// process.
pub(crate) fn tree(spans: &[Kept]) -> String {
    let is_known = |id: &str| spans.iter().any(|span| span.field("span_id") == id);
    let roots = spans.iter().filter(|span| !is_known(span.field("parent_id")));
    let mut text = String::new();
    roots.for_each(|root| branch(spans, root, 0, &mut text));
    text
}

fn branch(spans: &[Kept], span: &Kept, depth: usize, text: &mut String) {
    let method = span.field("method");
    let line = match span.name.as_str() {
        "request" => format!("{} asks {} to {method}", span.runtime, span.field("peer")),
        _ => format!("{} serves {method}", span.runtime),
    };
    let indented = format!("{}{line}", "  ".repeat(depth));
    text.push_str(&format!("{indented:48} {:>8} us\n", span.took));
    let mut children: Vec<_> =
        spans.iter().filter(|child| child.field("parent_id") == span.field("span_id")).collect();
    children.sort_by_key(|child| child.start);
    children.iter().for_each(|child| branch(spans, child, depth + 1, text));
}
