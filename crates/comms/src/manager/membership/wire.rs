//! The messages of membership as they travel: the arguments of `hand`, `shake`, `news` and their kin.

use std::collections::BTreeMap;

use mosaic_proto::membership::News;
use mosaic_proto::{Place, Reason, Uid};
use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::decode::DecodeError;

/// Address, port and instance of a runtime.
pub(super) type WirePlace = (String, u16, String);

#[derive(Serialize, Deserialize)]
pub(super) struct WireHand {
    pub(super) uid: String,
    pub(super) address: String,
    pub(super) port: u16,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireShake {
    pub(super) network: BTreeMap<String, WirePlace>,
    #[serde(default = "yes")]
    pub(super) last: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireNews {
    pub(super) gone: Vec<(String, String, String, String)>,
    pub(super) joined: BTreeMap<String, WirePlace>,
}

#[derive(Deserialize)]
pub(super) struct WireConnect {
    pub(super) uid: String,
    pub(super) address: String,
    pub(super) port: u16,
    pub(super) instance: String,
    #[serde(default)]
    pub(super) notify: bool,
}

#[derive(Deserialize)]
pub(super) struct WireDisconnect {
    pub(super) uid: String,
    pub(super) instance: String,
    #[serde(default)]
    pub(super) reason: String,
    #[serde(default)]
    pub(super) detail: String,
    #[serde(default)]
    pub(super) notify: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireWho {
    pub(super) uid: String,
}

#[derive(Deserialize)]
pub(super) struct WireRaised {
    pub(super) error: crate::error::RemoteError,
}

fn yes() -> bool {
    true
}

pub(super) fn wire_place(place: &Place) -> WirePlace {
    (place.address.clone(), place.port, place.instance.to_string())
}

/// Where a runtime says that it listens. One that is foreign may name the endpoint that it has bound instead of a host
/// and a port: `tcp://host:port`, or `ipc://path`, which has no port.
pub(super) fn read_endpoint(address: String, port: u16) -> (String, u16) {
    let parts = address.strip_prefix("tcp://").and_then(|endpoint| endpoint.rsplit_once(':'));
    match parts.and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) => (host.trim_matches(['[', ']']).to_owned(), port),
        None => (address, port),
    }
}

/// A place as it came; `None` if its parts make no sense.
pub(super) fn read_place((address, port, instance): WirePlace) -> Option<Place> {
    Some(Place { address, port, instance: instance.parse().ok()? })
}

pub(super) fn read_network(network: BTreeMap<String, WirePlace>) -> Vec<(Uid, Place)> {
    network.into_iter().filter_map(|(uid, place)| Some((Uid::new(&uid).ok()?, read_place(place)?))).collect()
}

pub(super) fn write_network(network: &[(Uid, Place)]) -> BTreeMap<String, WirePlace> {
    network.iter().map(|(uid, place)| (uid.to_string(), wire_place(place))).collect()
}

pub(super) fn read_news(args: Args) -> Result<News, DecodeError> {
    let news: WireNews = args.deserialize()?;
    let gone = news.gone.into_iter().filter_map(|(uid, instance, code, detail)| {
        Some((Uid::new(&uid).ok()?, instance.parse().ok()?, Reason::from_wire(&code, &detail)))
    });
    Ok(News { gone: gone.collect(), joined: read_network(news.joined) })
}
