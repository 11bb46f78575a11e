//! `mosaic ls`: who is in the network.

use std::error::Error;
use std::io::{IsTerminal, Write};

use clap::Args;
use mosaic_comms::{Place, Uid};
use serde_json::json;

use crate::network::Where;

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// A line of JSON for each runtime
    #[arg(long)]
    json: bool,
    /// The runtimes to list, as in `worker:*`
    #[arg(default_value = "*")]
    pattern: String,
}

const HEADINGS: [&str; 4] = ["UID", "ADDRESS", "PORT", "INSTANCE"];

impl Ls {
    pub(crate) fn run(self, place: &Where) -> Result<(), Box<dyn Error>> {
        place.join(|comms| async move {
            let topology = comms.topology();
            let others = topology.matching(&self.pattern).filter(|(uid, _)| *uid != comms.uid());
            let mut out = std::io::stdout();
            if self.json {
                for (uid, place) in others {
                    let Place { address, port, instance } = place;
                    let line = json!({
                        "uid": uid.to_string(), "address": address, "port": port, "instance": instance.to_string(),
                    });
                    writeln!(out, "{line}")?;
                }
                return Ok(());
            }
            let rows: Vec<_> = others.map(row).collect();
            Ok(print(&mut out, &rows)?)
        })
    }
}

fn row((uid, place): (&Uid, &Place)) -> [String; 4] {
    [uid.to_string(), place.address.clone(), place.port.to_string(), place.instance.to_string()]
}

/// A table on a terminal, else a line a runtime with tabs in between.
fn print(out: &mut std::io::Stdout, rows: &[[String; 4]]) -> std::io::Result<()> {
    if !out.is_terminal() {
        return rows.iter().try_for_each(|row| writeln!(out, "{}", row.join("\t")));
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].len());
        cells.chain([HEADINGS[column].len()]).max().unwrap_or(0)
    };
    let widths = [0, 1, 2, 3].map(width);
    let mut line = |cells: [&str; 4]| {
        let padded: Vec<_> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", padded.join("  ").trim_end())
    };
    line(HEADINGS)?;
    rows.iter().try_for_each(|row| line([&row[0], &row[1], &row[2], &row[3]]))
}
