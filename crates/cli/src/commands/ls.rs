//! `mosaic ls`: who is in the network, and how everybody stands. Each runtime is asked itself, all at once; what the monitor
//! knows of it stands in for what it doesn't say.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use mosaic_comms::{Beat, CommsManager, LinkCondition, LinkState, Place, Status, Uid};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::network::{Where, interruption};
use crate::seconds;
use crate::table::{self, Cell, Look};

/// How often the list is made anew.
const REFRESH: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// A line of JSON for each runtime, with everything that it says of itself and its links
    #[arg(long)]
    json: bool,
    /// Goes on listing, once a second, until it is interrupted
    #[arg(long)]
    watch: bool,
    /// How long answers are waited for
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "2")]
    within: Duration,
    /// The runtimes to list, as in `worker:*`
    #[arg(default_value = "*")]
    pattern: String,
}

const HEADINGS: [&str; 8] = ["UID", "ADDRESS", "INSTANCE", "STATE", "RTT", "LAST BEAT", "LAG", "QUEUES"];

/// What is known of one runtime.
struct Row {
    uid: Uid,
    place: Place,
    /// What it says, if it answers.
    answer: Option<(Beat, Status)>,
    /// The monitor's link to it.
    link: Option<LinkState>,
}

impl Ls {
    pub(crate) fn run(self, place: &Where) -> Result<(), Box<dyn Error>> {
        place.join(|comms| async move {
            if !self.watch {
                return Ok(self.print(&self.rows(&comms).await)?);
            }
            let interruption = interruption()?;
            tokio::pin!(interruption);
            let mut ticks = interval(REFRESH);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = &mut interruption => return Ok(()),
                    _ = ticks.tick() => {}
                }
                let rows = self.rows(&comms).await;
                self.clear(std::io::stdout())?;
                self.print(&rows)?;
            }
        })
    }

    /// Asks everybody that is meant, at once.
    async fn rows(&self, comms: &CommsManager) -> Vec<Row> {
        let deadline = Instant::now() + self.within;
        let mut asked = JoinSet::new();
        for (uid, place) in comms.topology().matching(&self.pattern).filter(|(uid, _)| *uid != comms.uid()) {
            let (comms, uid, place) = (comms.clone(), uid.clone(), place.clone());
            asked.spawn(async move {
                let answer = timeout_at(deadline, ask(&comms, &uid)).await.ok().flatten();
                Row { uid, place, answer, link: None }
            });
        }
        let monitor = timeout_at(deadline, comms.status_of(Uid::MONITOR).into_future()).await;
        let links = monitor.ok().and_then(Result::ok).map(|status| status.links).unwrap_or_default();
        let mut links: BTreeMap<Uid, LinkState> =
            links.into_iter().map(|link| (link.peer.clone(), link)).collect();
        let mut rows = asked.join_all().await;
        rows.sort_by(|one, other| one.uid.cmp(&other.uid));
        for row in &mut rows {
            // The monitor has no link to itself: we are its peer.
            row.link = if row.uid.is_monitor() { comms.link_state(&row.uid) } else { links.remove(&row.uid) };
        }
        rows
    }

    /// A list that goes on takes the place of the one before on a terminal; elsewhere an empty line is between them.
    fn clear(&self, mut out: std::io::Stdout) -> std::io::Result<()> {
        match (out.is_terminal(), self.json) {
            (true, false) => write!(out, "\x1b[H\x1b[J"),
            (false, false) => writeln!(out),
            (_, true) => Ok(()),
        }
    }

    fn print(&self, rows: &[Row]) -> std::io::Result<()> {
        match self.json {
            true => rows.iter().try_for_each(|row| writeln!(std::io::stdout(), "{}", row.json())),
            false => table::print(HEADINGS, &rows.iter().map(Row::cells).collect::<Vec<_>>()),
        }
    }
}

async fn ask(comms: &CommsManager, uid: &Uid) -> Option<(Beat, Status)> {
    let beat = comms.ping(uid).await.ok()?;
    let mut status = comms.status_of(uid).await.ok()?;
    // The link to this command is not worth telling: what waits there is the answer.
    status.links.retain(|link| link.peer != *comms.uid());
    Some((beat, status))
}

impl Row {
    /// `up` if it answers; else what the monitor's link says, and `silent` if that is up.
    fn state(&self) -> Cell {
        let (text, look) = match (&self.answer, self.link.as_ref().map(|link| link.condition)) {
            (Some(_), _) => ("up".to_owned(), Look::Good),
            (None, Some(LinkCondition::Up)) => ("silent".to_owned(), Look::Doubtful),
            (None, Some(condition)) => (condition.to_string(), Look::Bad),
            (None, None) => ("unknown".to_owned(), Look::Bad),
        };
        Cell { text, look }
    }

    fn address(&self) -> String {
        let Place { address, port, .. } = &self.place;
        if address.contains(':') && !address.contains('/') {
            return format!("[{address}]:{port}");
        }
        format!("{address}:{port}")
    }

    fn last_beat(&self) -> Option<Duration> {
        self.link.as_ref()?.heard
    }

    fn cells(&self) -> [Cell; 8] {
        let beat = self.answer.as_ref().map(|(beat, _)| beat);
        [
            self.uid.to_string().into(),
            self.address().into(),
            self.place.instance.to_string().into(),
            self.state(),
            time(beat.map(|beat| beat.round_trip)).into(),
            time(self.last_beat()).into(),
            time(beat.map(|beat| beat.lag)).into(),
            self.answer.as_ref().map_or_else(|| "-".to_owned(), |(_, status)| queues(status)).into(),
        ]
    }

    fn json(&self) -> serde_json::Value {
        let Place { address, port, instance } = &self.place;
        let beat = self.answer.as_ref().map(|(beat, _)| beat);
        json!({
            "uid": self.uid.to_string(),
            "address": address,
            "port": port,
            "instance": instance.to_string(),
            "state": self.state().text,
            "round_trip": beat.map(|beat| beat.round_trip.as_secs_f64()),
            "last_beat": self.last_beat().map(|heard| heard.as_secs_f64()),
            "lag": beat.map(|beat| beat.lag.as_secs_f64()),
            "status": self.answer.as_ref().map(|(_, status)| status),
        })
    }
}

/// A duration in the unit that suits it.
fn time(duration: Option<Duration>) -> String {
    let Some(duration) = duration else { return "-".to_owned() };
    match duration.as_secs_f64() {
        seconds if seconds < 1e-3 => format!("{:.0} us", seconds * 1e6),
        seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{seconds:.1} s"),
    }
}

/// What waits in a runtime: to be sent, to be started, to be done.
fn queues(status: &Status) -> String {
    let sum = |of: fn(&LinkState) -> u64| status.links.iter().map(of).sum::<u64>();
    let out = sum(|link| (link.waiting + link.under_way) as u64);
    let parts = [
        (out > 0)
            .then(|| format!("{out} out ({})", size(sum(|link| link.waiting_bytes + link.under_way_bytes)))),
        Some(sum(|link| link.unstarted_bytes))
            .filter(|bytes| *bytes > 0)
            .map(|bytes| format!("{} in", size(bytes))),
        (status.handlers > 0).then(|| format!("{} running", status.handlers)),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "empty".to_owned() } else { parts.join(", ") }
}

fn size(bytes: u64) -> String {
    match bytes {
        ..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}
