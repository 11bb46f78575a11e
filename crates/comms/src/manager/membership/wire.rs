//! The messages of membership as they travel: the arguments of `hand`, `shake`, `news` and their kin.

use std::borrow::Cow;
use std::fmt;

use mosaic_proto::membership::News;
use mosaic_proto::{Place, Reason, Uid};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
pub(super) struct WireShake<'a> {
    pub(super) network: WireNetwork<'a>,
    #[serde(default = "yes")]
    pub(super) last: bool,
}

#[derive(Serialize, Deserialize)]
struct WireNews<'a> {
    gone: Vec<(String, String, String, String)>,
    joined: WireNetwork<'a>,
}

/// Runtimes and their places: a map of uid to [`WirePlace`]. Entries whose parts make no sense are left out.
pub(super) struct WireNetwork<'a>(pub(super) Cow<'a, [(Uid, Place)]>);

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

impl Serialize for WireNetwork<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.0.iter().map(|(uid, place)| {
                (uid.as_str(), (&*place.address, place.port, place.instance.to_string()))
            }),
        )
    }
}

impl<'de> Deserialize<'de> for WireNetwork<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NetworkVisitor)
    }
}

struct NetworkVisitor;

impl<'de> Visitor<'de> for NetworkVisitor {
    type Value = WireNetwork<'static>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of runtimes and their places")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut network = Vec::new();
        while let Some((uid, place)) = map.next_entry::<String, WirePlace>()? {
            if let (Ok(uid), Some(place)) = (Uid::new(&uid), read_place(place)) {
                network.push((uid, place));
            }
        }
        Ok(WireNetwork(network.into()))
    }
}

pub(super) fn write_news(news: &News) -> Result<Encoded, EncodeError> {
    let gone = news.gone.iter().map(|(uid, instance, reason)| {
        let (code, detail) = reason.to_wire();
        (uid.to_string(), instance.to_string(), code, detail)
    });
    encode_value(&WireNews { gone: gone.collect(), joined: WireNetwork((&*news.joined).into()) })
}

pub(super) fn read_news(args: Args) -> Result<News, DecodeError> {
    let news: WireNews = args.deserialize()?;
    let gone = news.gone.into_iter().filter_map(|(uid, instance, code, detail)| {
        Some((Uid::new(&uid).ok()?, instance.parse().ok()?, Reason::from_wire(&code, &detail)))
    });
    Ok(News { gone: gone.collect(), joined: news.joined.0.into_owned() })
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
        let shake = WireShake { network: WireNetwork(network().into()), last: true };
        assert_eq!(encode_value(&shake).unwrap().body, arguments("shake"));
        assert_eq!(*read::<WireShake<'_>>("shake").network.0, network());
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
