//! `mosaic events`: what happens in the network, a line each.

use std::error::Error;
use std::io::Write;

use clap::Args;
use mosaic_comms::Event;
use serde_json::{Value, json};

use crate::network::{Where, interruption};

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// A line of JSON for each event
    #[arg(long)]
    json: bool,
}

impl Events {
    pub(crate) fn run(self, place: &Where) -> Result<(), Box<dyn Error>> {
        place.join(|comms| async move {
            let interruption = interruption()?;
            tokio::pin!(interruption);
            let mut events = comms.events();
            let mut out = std::io::stdout();
            for (uid, _) in comms.topology().iter().filter(|(uid, _)| *uid != comms.uid()) {
                self.print(&mut out, &there(uid))?;
            }
            loop {
                let event = tokio::select! {
                    () = &mut interruption => return Ok(()),
                    event = events.next() => event,
                };
                let Some(event) = event else { return Err("the network is gone".into()) };
                let over = matches!(&event, Event::Disconnected { uid, .. } if uid.is_monitor())
                    || matches!(&event, Event::Condemned { .. });
                self.print(&mut out, &described(&event))?;
                if over {
                    return Err("the monitor is gone".into());
                }
            }
        })
    }

    fn print(&self, out: &mut std::io::Stdout, [what, who, why]: &[String; 3]) -> std::io::Result<()> {
        if self.json {
            let line: Value = json!({ "event": what, "uid": who, "detail": why });
            writeln!(out, "{line}")?;
        } else {
            let line = [what.as_str(), who, why].join("\t");
            writeln!(out, "{}", line.trim_end())?;
        }
        out.flush()
    }
}

fn there(uid: &str) -> [String; 3] {
    ["there".to_owned(), uid.to_owned(), String::new()]
}

/// What happened, to whom, and the rest.
fn described(event: &Event) -> [String; 3] {
    let (what, uid, detail) = match event {
        Event::Connected { uid, place } => {
            ("joined", uid.to_string(), format!("{}:{}", place.address, place.port))
        }
        Event::Disconnected { uid, reason } => ("gone", uid.to_string(), reason.to_string()),
        Event::Suspected { uid } => ("suspected", uid.to_string(), String::new()),
        Event::Unreachable { uid, reason } => ("unreachable", uid.to_string(), reason.to_string()),
        Event::Failed { uid, error } => ("failed", uid.to_string(), error.to_string()),
        other => ("other", String::new(), format!("{other:?}")),
    };
    [what.to_owned(), uid, detail]
}
