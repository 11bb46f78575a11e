//! `mosaic doctor`: what there is to join a network from here, check by check, each with what to do; and of a runtime that is
//! named, what its flight recorder has kept.

use std::error::Error;
use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use clap::Args;
use mosaic_comms::{CommsManager, Credential, LinkRecord, Methods, Uid, socket_folder};
use tokio::runtime::Runtime;

use crate::network::Where;
use crate::table::{self, Cell, Look};
use crate::{shown, told};

/// How long a connection may take, and an answer.
const WITHIN: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// A runtime whose links' last events are told, as the monitor and itself have kept them; else this host is looked at
    uid: Option<String>,
}

/// What was found, or what is wrong and what to do about it.
type Finding = Result<String, String>;

impl Doctor {
    pub(crate) fn run(self, place: &Where) -> Result<(), Box<dyn Error>> {
        match self.uid {
            Some(uid) => records(place, uid),
            None => checks(place),
        }
    }
}

fn checks(place: &Where) -> Result<(), Box<dyn Error>> {
    let mut checks = vec![("monitor", monitor(place)), ("interfaces", interfaces())];
    checks.extend(own_place(place));
    checks.extend([("credential", credential(place)), ("port", port(place)), ("reached", reached(place))]);
    let rows: Vec<_> = checks.iter().map(|(name, finding)| row(name, finding)).collect();
    table::print(["", "CHECK", "FOUND"], &rows)?;
    match checks.iter().all(|(_, finding)| finding.is_ok()) {
        true => Ok(()),
        false => Err("not everything is as it should be".into()),
    }
}

fn row(name: &str, finding: &Finding) -> [Cell; 3] {
    let (mark, look, text) = match finding {
        Ok(text) => ("ok", Look::Good, text),
        Err(text) => ("no", Look::Bad, text),
    };
    [Cell { text: mark.to_owned(), look }, name.into(), text.into()]
}

fn monitor(place: &Where) -> Finding {
    let (host, port) = place.found().map_err(|error| told(&error))?;
    Ok(format!("said to be at {host}:{port}"))
}

fn interfaces() -> Finding {
    let all = if_addrs::get_if_addrs().map_err(|error| format!("the system does not tell them: {error}"))?;
    let all: Vec<_> = all.iter().map(|each| format!("{} {}", each.name, each.ip())).collect();
    match all.is_empty() {
        true => Err("there are none: nobody is reached without; bring one up, `lo` at least".to_owned()),
        false => Ok(all.join(", ")),
    }
}

/// What others would be told of a runtime here, and its sockets, as seen by binding them.
fn own_place(place: &Where) -> [(&'static str, Finding); 2] {
    let bound = bound(place);
    let (address, socket) = match bound {
        Ok((address, port)) => (address_for_others(place, &address), socket(port)),
        Err(why) => {
            (Err(why), Err("no port was bound, from which its name follows: see `address`".to_owned()))
        }
    };
    [("address", address), ("socket", socket)]
}

/// Binds as a runtime does, looks at what came of it, and lets it go.
fn bound(place: &Where) -> Result<(String, u16), String> {
    let outcome = || -> Result<_, Box<dyn Error>> {
        let uid = format!("mosaic:{}", std::process::id());
        Runtime::new()?.block_on(async {
            let comms = CommsManager::new(uid, Methods::new(), place.config()?.alone())?;
            comms.connect_recv().await?;
            let found = (comms.address(), comms.port());
            let made = socket_folder().join(format!("{}.sock", found.1)).exists();
            comms.stop().await;
            Ok((found.0, if made { found.1 } else { 0 }))
        })
    };
    outcome().map_err(|error| format!("{}; is MOSAIC_INTERFACE right?", told(&*error)))
}

fn address_for_others(place: &Where, address: &str) -> Finding {
    let is_loopback =
        |host: &str| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let elsewhere = place.found().is_ok_and(|(host, _)| !is_loopback(&host));
    match is_loopback(address) && elsewhere {
        true => Err(format!(
            "others would be told {address}, which they cannot reach: set MOSAIC_INTERFACE to one of the interfaces"
        )),
        false => Ok(format!("others are told {address}; ports can be bound")),
    }
}

/// Whether the socket was made with the port; 0 if not.
fn socket(port: u16) -> Finding {
    let folder = socket_folder();
    let shown = folder.display();
    if port > 0 {
        return Ok(format!("runtimes of the same user meet in {shown}"));
    }
    let why = match fs::metadata(&folder) {
        Ok(found) if !found.is_dir() => "it is no folder: remove it".to_owned(),
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            format!("others may enter it (mode {:o}): chmod 700 it", found.permissions().mode() & 0o777)
        }
        Ok(_) => "it is another user's, or full: set XDG_RUNTIME_DIR to a folder of your own".to_owned(),
        Err(error) => format!("{error}: set XDG_RUNTIME_DIR to a folder of your own"),
    };
    Err(format!("no Unix socket can be made in {shown}, and runtimes here meet over TCP: {why}"))
}

fn credential(place: &Where) -> Finding {
    let places = place.config().map(|config| Credential::places(&config)).map_err(|error| told(&error))?;
    match places.iter().find(|place| place.exists()) {
        Some(found) => match Credential::load(found) {
            Ok(credential) => Ok(format!("{} {}", found.display(), &credential.fingerprint()[..16])),
            Err(error) => Err(told(&error)),
        },
        None if places.is_empty() => Err("where it would be follows from where the monitor is".to_owned()),
        None => Err(format!(
            "none in {}: copy the monitor's key file there (runtimes of the same user on this host do without)",
            shown(&places)
        )),
    }
}

/// Whether the monitor's TCP port can be connected to, whoever answers.
fn port(place: &Where) -> Finding {
    let (host, port) = place.found().map_err(|_| "which one is not known: see `monitor`".to_owned())?;
    let addresses = (host.as_str(), port).to_socket_addrs().map_err(|error| {
        format!("{host} has no address ({error}): is the name right? an address needs no name service")
    })?;
    let mut failures = Vec::new();
    for address in addresses {
        match TcpStream::connect_timeout(&address, WITHIN) {
            Ok(_) => return Ok(format!("{address} takes connections")),
            Err(error) => failures.push(format!("{address} {}", why(error.kind(), &error.to_string()))),
        }
    }
    Err(failures.join("; "))
}

fn why(kind: ErrorKind, error: &str) -> String {
    match kind {
        ErrorKind::ConnectionRefused => "refuses: nobody listens there; does the monitor run?".to_owned(),
        ErrorKind::TimedOut => "does not answer: does a firewall let the port through?".to_owned(),
        _ => format!("is not reached ({error}): is there a route to it?"),
    }
}

fn reached(place: &Where) -> Finding {
    let mut others = 0;
    let joined = place.join(|comms| {
        others = comms.topology().len();
        async { Ok(()) }
    });
    match joined {
        Ok(()) => {
            Ok(format!("the monitor answers; runtimes in the network, this command included: {others}"))
        }
        Err(error) => Err(format!("{}; the checks above say what to do", told(&*error))),
    }
}

/// What the monitor and the runtime itself have kept of its links.
fn records(place: &Where, uid: String) -> Result<(), Box<dyn Error>> {
    place.join(|comms| async move {
        let kept = comms.records_of(Uid::MONITOR).deadline(WITHIN).await?;
        let about: Vec<_> = kept.iter().filter(|record| record.peer == *uid).collect();
        let own = comms.records_of(&uid).deadline(WITHIN).await;
        print("monitor", about.iter().copied())?;
        match own {
            Ok(records) => print(&uid, records.iter()),
            Err(error) if about.is_empty() => Err(error.into()),
            Err(error) => Ok(writeln!(std::io::stdout(), "{uid} itself says nothing: {}", told(&error))?),
        }
    })
}

fn print<'a>(who: &str, records: impl Iterator<Item = &'a LinkRecord>) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    for record in records {
        writeln!(out, "{who}: {record}")?;
    }
    Ok(())
}
