//! `mosaic methods`: what a runtime, or an object in it, can be called for.

use std::error::Error;
use std::io::Write;
use std::time::Duration;

use clap::Args;
use mosaic_comms::Method;
use serde_json::json;

use super::call::Callee;
use crate::network::Where;

/// How long an answer is waited for: a foreign peer gives none.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct Methods {
    #[command(flatten)]
    callee: Callee,
    /// A line of JSON for each method
    #[arg(long)]
    json: bool,
}

impl Methods {
    pub(crate) fn run(self, place: &Where) -> Result<(), Box<dyn Error>> {
        place.join(|comms| async move {
            let asked = match &self.callee.object {
                Some(object) => comms.methods_of_object(&self.callee.uid, object),
                None => comms.methods_of(&self.callee.uid),
            };
            let methods = asked.deadline(ANSWERED_WITHIN).await?;
            let mut out = std::io::stdout();
            if self.json {
                return Ok(methods.iter().try_for_each(|method| writeln!(out, "{}", line(method)))?);
            }
            if methods.is_empty() {
                eprintln!("{} has no methods", self.callee.uid);
            }
            let texts: Vec<_> = methods.iter().map(text).collect();
            Ok(write!(out, "{}", texts.join("\n"))?)
        })
    }
}

fn line(method: &Method) -> serde_json::Value {
    let arguments = method.arguments().map(|arguments| {
        let each = arguments
            .iter()
            .map(|argument| json!({ "name": argument.name(), "default": argument.default() }));
        each.collect::<Vec<_>>()
    });
    json!({ "name": method.name(), "docs": method.docs(), "arguments": arguments })
}

/// A method as it would be written, its documentation below it.
fn text(method: &Method) -> String {
    let mut text = format!("{method}\n");
    for line in method.docs().lines() {
        text.push_str(format!("    {line}").trim_end());
        text.push('\n');
    }
    text
}
