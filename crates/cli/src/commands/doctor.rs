//! `mosaic doctor`: what there is to join a network from here, check by check, each with what to do.

use std::error::Error;
use std::io::Write;

use mosaic_comms::Credential;

use crate::network::Where;
use crate::{shown, told};

/// What was found, or what is wrong and what to do about it.
type Finding = Result<String, String>;

pub(crate) fn run(place: &Where) -> Result<(), Box<dyn Error>> {
    let checks: [(&str, Finding); 3] =
        [("monitor", monitor(place)), ("credential", credential(place)), ("reached", reached(place))];
    let mut out = std::io::stdout();
    for (name, finding) in &checks {
        let (mark, text) = match finding {
            Ok(text) => ("ok", text),
            Err(text) => ("no", text),
        };
        writeln!(out, "{mark}\t{name}\t{text}")?;
    }
    match checks.iter().all(|(_, finding)| finding.is_ok()) {
        true => Ok(()),
        false => Err("not everything is as it should be".into()),
    }
}

fn monitor(place: &Where) -> Finding {
    let (host, port) = place.found().map_err(|error| told(&error))?;
    Ok(format!("said to be at {host}:{port}"))
}

fn credential(place: &Where) -> Finding {
    let places = place.config().map(|config| Credential::places(&config)).map_err(|error| told(&error))?;
    match places.iter().find(|place| place.exists()) {
        Some(found) => match Credential::load(found) {
            Ok(credential) => Ok(format!("{} {}", found.display(), &credential.fingerprint()[..16])),
            Err(error) => Err(told(&error)),
        },
        None => Err(format!(
            "none in {}: copy the monitor's key file there (runtimes of the same user on this host do without)",
            shown(&places)
        )),
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
        Err(error) => {
            Err(format!("{}; is it running, and does a firewall let the port through?", told(&*error)))
        }
    }
}
