//! The messages of membership as they travel: the arguments of `hand`, `shake`, `news` and their kin.

use std::collections::BTreeMap;

use mosaic_proto::membership::News;
use mosaic_proto::{Place, Reason, Uid};
use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::decode::DecodeError;
use crate::encode::{EncodeError, Encoded, encode_value};

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
struct WireNews {
    gone: Vec<(String, String, String, String)>,
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

pub(super) fn write_news(news: &News) -> Result<Encoded, EncodeError> {
    let gone = news.gone.iter().map(|(uid, instance, reason)| {
        let (code, detail) = reason.to_wire();
        (uid.to_string(), instance.to_string(), code, detail)
    });
    encode_value(&WireNews { gone: gone.collect(), joined: write_network(&news.joined) })
}

pub(super) fn read_news(args: Args) -> Result<News, DecodeError> {
    let news: WireNews = args.deserialize()?;
    let gone = news.gone.into_iter().filter_map(|(uid, instance, code, detail)| {
        Some((Uid::new(&uid).ok()?, instance.parse().ok()?, Reason::from_wire(&code, &detail)))
    });
    Ok(News { gone: gone.collect(), joined: read_network(news.joined) })
}

#[cfg(test)]
mod tests {
    use mosaic_proto::Instance;

    use super::*;

    const PAGE: &str = include_str!("../../../../../docs/wire.md");

    /// The block of docs/wire.md that is headed `arguments` and this name.
    fn arguments(name: &str) -> Vec<u8> {
        let heading = format!("```arguments {name}");
        let lines = PAGE.lines().skip_while(|line| *line != heading).skip(1);
        let text = lines.take_while(|line| *line != "```");
        let hex = text.flat_map(|line| line.split(';').next().unwrap().split_whitespace());
        hex.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    }

    fn network() -> Vec<(Uid, Place)> {
        let place = |address: &str, port, instance| Place {
            address: address.to_owned(),
            port,
            instance: Instance(instance),
        };
        vec![
            (Uid::new("monitor").unwrap(), place("10.0.0.1", 3000, 0xfedc_ba98_7654_3210)),
            (Uid::new("worker:0").unwrap(), place("10.0.0.7", 7000, 0x0123_4567_89ab_cdef)),
        ]
    }

    fn read<T: serde::de::DeserializeOwned>(name: &str) -> T {
        Args::new(arguments(name), Vec::new()).unwrap().deserialize().unwrap()
    }

    #[test]
    fn arguments_of_the_handshake_are_the_pages() {
        let hand = WireHand { uid: "worker:0".to_owned(), address: "10.0.0.7".to_owned(), port: 7000 };
        assert_eq!(encode_value(&hand).unwrap().body, arguments("hand"));
        assert_eq!(read::<WireHand>("hand").port, 7000);
        let shake = WireShake { network: write_network(&network()), last: true };
        assert_eq!(encode_value(&shake).unwrap().body, arguments("shake"));
        assert_eq!(read_network(read::<WireShake>("shake").network), network());
    }

    #[test]
    fn arguments_of_news_are_the_pages() {
        let worker = network().remove(1);
        let silent = Reason::Unreachable { silent: std::time::Duration::from_secs(4) };
        let gone = vec![(worker.0.clone(), Instance(0xfe), silent)];
        let news = read_news(Args::new(arguments("news"), Vec::new()).unwrap()).unwrap();
        assert_eq!(news, News { gone, joined: vec![worker] });
        assert_eq!(write_news(&news).unwrap().body, arguments("news"));
    }

    #[test]
    fn endpoints_are_taken_apart_where_they_can_be() {
        let read = |address: &str, port| read_endpoint(address.to_owned(), port);
        assert_eq!(read("tcp://10.0.0.7:7000", 0), ("10.0.0.7".to_owned(), 7000));
        assert_eq!(read("tcp://[::1]:7000", 0), ("::1".to_owned(), 7000));
        assert_eq!(read("10.0.0.7", 7000), ("10.0.0.7".to_owned(), 7000));
        for odd in ["ipc:///tmp/guest", "tcp://host", "tcp://host:port", ""] {
            assert_eq!(read(odd, 0), (odd.to_owned(), 0));
        }
    }
}
