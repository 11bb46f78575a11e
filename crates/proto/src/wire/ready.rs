//! The properties of READY: who the peer is. Without `X-Mosaic-Version` the peer is foreign.
//!
//! ```text
//!  each property:   | name length | name | value length, 4 bytes, big endian | value |
//!
//!  Socket-Type               ROUTER (sent); DEALER and REQ are accepted too
//!  Identity                  uid, or empty
//!  X-Mosaic-Version          1.0
//!  X-Mosaic-Instance         16 hexadecimal digits
//!  X-Mosaic-Wanted-Uid       uid                       left out: anyone
//!  X-Mosaic-Wanted-Instance  16 hexadecimal digits     left out: any
//!  X-Mosaic-Lane             control | data
//!  X-Mosaic-Session          16 hexadecimal digits, all 0 for none
//!  X-Mosaic-Received         decimal
//!  X-Mosaic-Host             32 hexadecimal digits
//!  X-Mosaic-Pid-Namespace    decimal
//!  X-Mosaic-Pid              decimal
//!  X-Mosaic-Elsewhere        memory                    left out: no frame's content is looked for elsewhere
//! ```
//! Names are compared without regard to case, as ZMTP says. Other properties are ignored.

use std::str::FromStr;

use crate::wire::error::shown;
use crate::wire::{Lane, WireError};
use crate::{HostId, Instance, Session, Uid};

/// The version of the Mosaic protocol that is spoken here: major and minor. Majors must be equal.
pub const VERSION: (u16, u16) = (1, 0);

const SOCKET_TYPE: &str = "Socket-Type";
const IDENTITY: &str = "Identity";
const MOSAIC_VERSION: &str = "X-Mosaic-Version";
const INSTANCE: &str = "X-Mosaic-Instance";
const WANTED_UID: &str = "X-Mosaic-Wanted-Uid";
const WANTED_INSTANCE: &str = "X-Mosaic-Wanted-Instance";
const LANE: &str = "X-Mosaic-Lane";
const SESSION: &str = "X-Mosaic-Session";
const RECEIVED: &str = "X-Mosaic-Received";
const HOST: &str = "X-Mosaic-Host";
const PID_NAMESPACE: &str = "X-Mosaic-Pid-Namespace";
const PID: &str = "X-Mosaic-Pid";
const LEAVES: &str = "X-Mosaic-Leaves";
const ELSEWHERE: &str = "X-Mosaic-Elsewhere";

const YES: &str = "yes";

/// Where the content of frames is looked for: in regions of memory that the sender shows.
const MEMORY: &str = "memory";

const NAMES: [&str; 14] = [
    SOCKET_TYPE,
    IDENTITY,
    MOSAIC_VERSION,
    INSTANCE,
    WANTED_UID,
    WANTED_INSTANCE,
    LANE,
    SESSION,
    RECEIVED,
    HOST,
    PID_NAMESPACE,
    PID,
    LEAVES,
    ELSEWHERE,
];

/// Who a peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Its uid; `None` for a foreign peer that gave itself no name.
    pub uid: Option<Uid>,
    /// Its ZeroMQ socket type: `ROUTER`, `DEALER` or `REQ`.
    pub socket_type: String,
    /// What only Mosaic says; `None` for a foreign peer.
    pub mosaic: Option<MosaicReady>,
}

/// What a Mosaic runtime says of itself beyond ZMTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MosaicReady {
    /// The version of the protocol it speaks: major and minor.
    pub version: (u16, u16),
    /// Which life of its uid it is.
    pub instance: Instance,
    /// Whom it means to reach; `None` for anyone.
    pub wanted_uid: Option<Uid>,
    /// Which instance it means to reach; `None` for any.
    pub wanted_instance: Option<Instance>,
    /// What the connection is to be used for.
    pub lane: Lane,
    /// The session it would go on with, or [`Session::NONE`].
    pub session: Session,
    /// How many messages it has received on this lane in that session.
    pub received: u64,
    /// The machine it runs on.
    pub host: HostId,
    /// The namespace that its process id belongs to: the inode of `/proc/self/ns/pid`, or 0 where there is none.
    pub pid_namespace: u64,
    /// Its process id.
    pub pid: u32,
    /// Whether it comes to say goodbye: then there is nothing to begin where that session is over.
    pub leaves: bool,
    /// Whether it looks for the content of frames in memory that is shown to it by this connection.
    pub looks_elsewhere: bool,
}

impl Ready {
    /// Appends the body of READY.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        property(out, SOCKET_TYPE, &self.socket_type);
        property(out, IDENTITY, self.uid.as_deref().unwrap_or_default());
        if let Some(mosaic) = &self.mosaic {
            mosaic.encode(out);
        }
    }

    /// Reads the body of READY.
    pub(crate) fn decode(body: &[u8]) -> Result<Ready, WireError> {
        let properties = Properties::read(body)?;
        let socket_type = properties.text(SOCKET_TYPE, "a socket type")?;
        let socket_type = socket_type.ok_or(WireError::MissingProperty { name: SOCKET_TYPE })?;
        if !["ROUTER", "DEALER", "REQ"].contains(&socket_type) {
            return Err(WireError::SocketType { found: shown(socket_type.as_bytes()) });
        }
        let mosaic = MosaicReady::decode(&properties)?;
        let uid = match properties.get(IDENTITY) {
            None | Some([]) if mosaic.is_none() => None,
            _ => Some(properties.required(IDENTITY, "a uid")?),
        };
        Ok(Ready { uid, socket_type: socket_type.to_owned(), mosaic })
    }
}

impl MosaicReady {
    fn encode(&self, out: &mut Vec<u8>) {
        property(out, MOSAIC_VERSION, &format!("{}.{}", self.version.0, self.version.1));
        property(out, INSTANCE, &self.instance.to_string());
        if let Some(uid) = &self.wanted_uid {
            property(out, WANTED_UID, uid);
        }
        if let Some(instance) = self.wanted_instance {
            property(out, WANTED_INSTANCE, &instance.to_string());
        }
        property(out, LANE, lane_name(self.lane));
        property(out, SESSION, &self.session.to_string());
        property(out, RECEIVED, &self.received.to_string());
        property(out, HOST, &self.host.to_string());
        property(out, PID_NAMESPACE, &self.pid_namespace.to_string());
        property(out, PID, &self.pid.to_string());
        if self.leaves {
            property(out, LEAVES, YES);
        }
        if self.looks_elsewhere {
            property(out, ELSEWHERE, MEMORY);
        }
    }

    /// Looks at the version first: of another major version nothing else need be readable.
    fn decode(properties: &Properties<'_>) -> Result<Option<MosaicReady>, WireError> {
        let Some(version) = properties.text(MOSAIC_VERSION, WANTED_VERSION)? else { return Ok(None) };
        let version = parse_version(version)?;
        if version.0 != VERSION.0 {
            return Err(WireError::MosaicVersion { major: version.0, minor: version.1 });
        }
        Ok(Some(MosaicReady {
            version,
            instance: properties.required(INSTANCE, "16 hexadecimal digits")?,
            wanted_uid: properties.optional(WANTED_UID, "a uid")?,
            wanted_instance: properties.optional(WANTED_INSTANCE, "16 hexadecimal digits")?,
            lane: parse_lane(properties)?,
            session: properties.required(SESSION, "16 hexadecimal digits")?,
            received: properties.required(RECEIVED, "a number of messages")?,
            host: properties.required(HOST, "32 hexadecimal digits")?,
            pid_namespace: properties.required(PID_NAMESPACE, "a number")?,
            pid: properties.required(PID, "a process id")?,
            leaves: properties.get(LEAVES) == Some(YES.as_bytes()),
            // Places that a newer minor version may know are none to us.
            looks_elsewhere: properties.get(ELSEWHERE) == Some(MEMORY.as_bytes()),
        }))
    }
}

const WANTED_VERSION: &str = "a version such as 1.0";

fn parse_version(text: &str) -> Result<(u16, u16), WireError> {
    let parsed =
        text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let found = || shown(text.as_bytes());
    parsed.ok_or_else(|| WireError::Property { name: MOSAIC_VERSION, found: found(), wanted: WANTED_VERSION })
}

fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Control => "control",
        Lane::Data => "data",
    }
}

fn parse_lane(properties: &Properties<'_>) -> Result<Lane, WireError> {
    let wanted = "`control` or `data`";
    let text = properties.text(LANE, wanted)?.ok_or(WireError::MissingProperty { name: LANE })?;
    let found = || shown(text.as_bytes());
    let lane = Lane::ALL.into_iter().find(|&lane| lane_name(lane) == text);
    lane.ok_or_else(|| WireError::Property { name: LANE, found: found(), wanted })
}

fn property(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(name.len() as u8);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(&(value.len() as u32).to_be_bytes());
    out.extend_from_slice(value.as_bytes());
}

/// The values of the properties that are known here, in the order of [`NAMES`].
struct Properties<'a>([Option<&'a [u8]>; NAMES.len()]);

impl<'a> Properties<'a> {
    fn read(mut body: &'a [u8]) -> Result<Properties<'a>, WireError> {
        let mut values = [None; NAMES.len()];
        while !body.is_empty() {
            let (name, value, rest) = split_property(body).ok_or(WireError::Truncated { what: "READY" })?;
            body = rest;
            let known = NAMES.iter().position(|known| name.eq_ignore_ascii_case(known.as_bytes()));
            if let Some(at) = known
                && values[at].replace(value).is_some()
            {
                return Err(WireError::DuplicateProperty { name: NAMES[at] });
            }
        }
        Ok(Properties(values))
    }

    fn get(&self, name: &'static str) -> Option<&'a [u8]> {
        NAMES.iter().zip(self.0).find(|(known, _)| **known == name).and_then(|(_, value)| value)
    }

    fn text(&self, name: &'static str, wanted: &'static str) -> Result<Option<&'a str>, WireError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text = str::from_utf8(value);
        text.map(Some).map_err(|_| WireError::Property { name, found: shown(value), wanted })
    }

    fn optional<T: FromStr>(&self, name: &'static str, wanted: &'static str) -> Result<Option<T>, WireError> {
        let Some(text) = self.text(name, wanted)? else { return Ok(None) };
        let found = || shown(text.as_bytes());
        text.parse().map(Some).map_err(|_| WireError::Property { name, found: found(), wanted })
    }

    fn required<T: FromStr>(&self, name: &'static str, wanted: &'static str) -> Result<T, WireError> {
        self.optional(name, wanted)?.ok_or(WireError::MissingProperty { name })
    }
}

/// The name and value of the first property, and what follows it.
fn split_property(body: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (&len, rest) = body.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(len))?;
    let (len, rest) = rest.split_first_chunk()?;
    let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    Some((name, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mosaic() -> Ready {
        Ready {
            uid: Some(Uid::new("worker:0").unwrap()),
            socket_type: "ROUTER".into(),
            mosaic: Some(MosaicReady {
                version: (1, 3),
                instance: Instance(5),
                wanted_uid: Some(Uid::new("monitor").unwrap()),
                wanted_instance: Some(Instance(6)),
                lane: Lane::Data,
                session: Session(7),
                received: 8,
                host: HostId([9; 16]),
                pid_namespace: 10,
                pid: 11,
                leaves: true,
                looks_elsewhere: true,
            }),
        }
    }

    fn encoded(ready: &Ready) -> Vec<u8> {
        let mut out = Vec::new();
        ready.encode(&mut out);
        out
    }

    fn replaced(from: &str, to: &str) -> Result<Ready, WireError> {
        assert_eq!(from.len(), to.len());
        let body = encoded(&mosaic());
        let at = body.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        Ready::decode(&[&body[..at], to.as_bytes(), &body[at + from.len()..]].concat())
    }

    #[test]
    fn unknown_properties_are_ignored_and_case_is_too() {
        let mut body = encoded(&mosaic());
        property(&mut body, "X-Mosaic-Colour", "blue");
        assert_eq!(Ready::decode(&body), Ok(mosaic()));
        assert_eq!(replaced("X-Mosaic-Lane", "x-mosaic-LANE"), Ok(mosaic()));
    }

    #[test]
    fn a_property_that_stands_twice_is_named() {
        let mut body = encoded(&mosaic());
        property(&mut body, "x-mosaic-pid", "11");
        assert_eq!(Ready::decode(&body), Err(WireError::DuplicateProperty { name: PID }));
    }

    #[test]
    fn a_missing_property_is_named() {
        for name in NAMES {
            let wrong = format!("Y{}", &name[1..]);
            let result = replaced(
                &format!("{}{name}", name.len() as u8 as char),
                &format!("{}{wrong}", name.len() as u8 as char),
            );
            match name {
                MOSAIC_VERSION => assert_eq!(result.unwrap().mosaic, None),
                WANTED_UID | WANTED_INSTANCE | LEAVES | ELSEWHERE => assert!(result.is_ok(), "{name}"),
                _ => assert_eq!(result, Err(WireError::MissingProperty { name })),
            }
        }
    }

    #[test]
    fn a_malformed_property_is_named_with_its_value() {
        let wanted = "`control` or `data`";
        assert_eq!(
            replaced("data", "date"),
            Err(WireError::Property { name: LANE, found: "date".into(), wanted })
        );
        assert!(replaced("monitor", "mon tor").is_err());
        assert!(replaced("1.3", "1,3").is_err());
        assert!(replaced("0000000000000007", "000000000000000g").is_err());
    }

    #[test]
    fn another_major_version_is_seen_before_anything_else() {
        let error = replaced("1.3", "2.3").unwrap_err();
        assert_eq!(error, WireError::MosaicVersion { major: 2, minor: 3 });
    }

    #[test]
    fn foreign_peers_need_no_name() {
        for socket_type in ["ROUTER", "DEALER", "REQ"] {
            let ready = Ready { uid: None, socket_type: socket_type.into(), mosaic: None };
            assert_eq!(Ready::decode(&encoded(&ready)), Ok(ready));
        }
        let error = Ready::decode(b"\x0bSocket-Type\0\0\0\x03PUB").unwrap_err();
        assert_eq!(error, WireError::SocketType { found: "PUB".into() });
    }
}
