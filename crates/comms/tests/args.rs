//! Arguments: given by name, read by name, and errors that say which one and why.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::collections::{BTreeMap, HashMap};
use std::error::Error;

use mosaic_comms::{
    Args, ArgumentError, Array, Blob, DecodeError, EncodeError, IntoArgs, Kwargs, Malformed, Pool, Received,
    encode_value, kwargs,
};
use proptest::prelude::*;
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};

/// Sends arguments over a connection.
fn carry(args: impl IntoArgs) -> Args {
    let encoded = args.into_args().unwrap();
    let pool = Pool::default();
    let read = |bytes: &bytes::Bytes| {
        let mut buffer = pool.take(bytes.len());
        buffer.as_mut().copy_from_slice(bytes);
        Received::Pooled(buffer)
    };
    Args::new(encoded.body, encoded.buffers.iter().map(read).collect()).unwrap()
}

/// A value whose encoding fails.
struct Fails;

impl Serialize for Fails {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("out of coffee"))
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Scale {
    field: Array<f32>,
    factor: f64,
    #[serde(default)]
    steps: u32,
}

#[test]
fn arguments_arrive_by_name() {
    let field = Array::from(vec![1f32, 2.0, 3.0]);
    let name = "pressure".to_owned();
    let args = carry(kwargs! { field, factor: 2.0, name: &name, other: &field, });
    assert_eq!(args.names().collect::<Vec<_>>(), ["field", "factor", "name", "other"]);
    assert_eq!(args.get::<Array<f32>>("field").unwrap(), field);
    assert_eq!(args.get::<f64>("factor").unwrap(), 2.0);
    assert_eq!(args.get::<String>("name").unwrap(), name);
    assert_eq!(args.get::<Array<f32>>("other").unwrap(), field);
    assert!(!args.is_empty());
}

#[test]
fn a_keyword_of_rust_can_be_a_name() {
    assert_eq!(carry(kwargs! { r#type: 1 }).get::<u8>("type").unwrap(), 1);
}

#[test]
fn no_arguments_can_be_given_in_every_way() {
    #[derive(Serialize)]
    struct Nothing;
    let nothing = BTreeMap::<String, u8>::new();
    for args in [carry(kwargs! {}), carry(()), carry(Nothing), carry(nothing), carry(Kwargs::default())] {
        assert!(args.is_empty());
        args.deserialize::<()>().unwrap();
        args.deserialize::<BTreeMap<String, u8>>().unwrap();
    }
    for body in [&[][..], &[0xc0], &[0x80]] {
        let args = Args::new(body, Vec::new()).unwrap();
        args.deserialize::<()>().unwrap();
        assert_eq!(args.deserialize::<HashMap<String, u8>>().unwrap().len(), 0);
    }
}

#[test]
fn structs_and_maps_are_arguments() {
    let scale = Scale { field: Array::from(vec![1.0]), factor: 0.5, steps: 3 };
    let args = carry(&scale);
    assert_eq!(args.get::<u32>("steps").unwrap(), 3);
    assert_eq!(args.deserialize::<Scale>().unwrap(), scale);
    let args = carry(HashMap::from([("a", 1)]));
    assert_eq!(args.get::<i64>("a").unwrap(), 1);
    let args = carry(kwargs! { field: &scale.field, factor: 1 });
    assert_eq!(args.deserialize::<Scale>().unwrap(), Scale { factor: 1.0, steps: 0, ..scale });
}

#[test]
fn values_without_names_are_refused() {
    let refused = |result: Result<_, EncodeError>| result.unwrap_err().to_string();
    assert!(refused(3.into_args()).ends_with("but this is `i32`"));
    assert!(refused(vec![1].into_args()).ends_with("but this is `Vec<i32>`"));
    assert!(refused(HashMap::from([(1u8, 2u8)]).into_args()).contains("HashMap<u8, u8"));
    assert!(refused(Array::from(vec![1.0]).into_args()).ends_with("but this is `Array<f64>`"));
}

#[test]
fn the_first_encoding_error_names_its_argument() {
    let error = kwargs! { good: 1, bad: Fails, good: 2 }.into_args().unwrap_err();
    assert_eq!(error.to_string(), "argument `bad` (Fails) cannot be encoded");
    assert_eq!(error.source().unwrap().to_string(), "out of coffee");
}

#[test]
fn a_name_can_be_given_once() {
    let error = kwargs! { step: 1, steps: 2, step: 3 }.into_args().unwrap_err();
    assert!(matches!(error, EncodeError::Duplicate { name } if name == "step"));
    let error = Args::new(&[0x82, 0xa1, b'a', 1, 0xa1, b'a', 2][..], Vec::new()).unwrap_err();
    assert!(matches!(error, DecodeError::Duplicate { name } if name == "a"));
    let many = (0..16).flat_map(|name| [0xa1, b'a' + name % 15, 1]);
    let body: Vec<u8> = [0xde, 0, 16].into_iter().chain(many).collect();
    let error = Args::new(body, Vec::new()).unwrap_err();
    assert!(matches!(error, DecodeError::Duplicate { name } if name == "a"));
}

#[test]
fn there_can_be_many_arguments() {
    for count in [14, 15, 16, 17, 300] {
        let many = (0..count).fold(Kwargs::new(), |kwargs, index| kwargs.with(&format!("a{index}"), index));
        let args = carry(many);
        assert_eq!(args.names().count(), count as usize);
        assert_eq!(args.get::<i32>(&format!("a{}", count - 1)).unwrap(), count - 1);
    }
}

#[test]
fn a_missing_argument_is_told_with_what_was_given() {
    let args = carry(kwargs! { field: 1, step: 2 });
    let error = args.get::<f32>("factor").unwrap_err();
    assert_eq!(error.to_string(), "argument `factor` is missing; given: `field`, `step`");
    let error = carry(()).get::<f32>("factor").unwrap_err();
    assert_eq!(error.to_string(), "argument `factor` is missing; given: none");
}

#[test]
fn an_unknown_argument_is_told_with_the_similar_one() {
    let args = carry(kwargs! { field: 1, facter: 2.0 });
    args.expect_only(&["facter", "field", "more"]).unwrap();
    let error = args.expect_only(&["field", "factor"]).unwrap_err();
    let text = "unknown argument `facter` (did you mean `factor`?); known: `field`, `factor`";
    assert_eq!(error.to_string(), text);
    let error = args.expect_only(&["field", "zzz"]).unwrap_err();
    assert_eq!(error.to_string(), "unknown argument `facter`; known: `field`, `zzz`");
}

#[test]
fn a_wrong_argument_is_told_with_both_types() {
    let args = carry(kwargs! { field: Array::from(vec![1.0f64; 3]), factor: "two", list: vec![1] });
    let error = args.get::<Array<f32>>("field").unwrap_err();
    assert_eq!(error.to_string(), "argument `field`: expected `Array<f32>`, found `<f8 [3]`");
    let error = args.get::<f64>("factor").unwrap_err();
    assert_eq!(error.to_string(), "argument `factor`: expected `f64`, found text of 3 bytes");
    assert_eq!(error.source().unwrap().to_string(), "text stands where another type is expected");
    let error = args.get::<Option<String>>("list").unwrap_err();
    assert_eq!(error.to_string(), "argument `list`: expected `Option<String>`, found a list of 1");
    let ArgumentError::Wrong { name, cause, .. } = error else { panic!("{error}") };
    assert_eq!((name.as_str(), cause.to_string().is_empty()), ("list", false));
}

#[test]
fn a_mismatch_inside_a_value_is_told_as_its_cause() {
    let args = carry(kwargs! { long: vec!["x".repeat(300)], field: vec![Array::from(vec![1.0f32])] });
    let error = args.get::<Vec<f64>>("long").unwrap_err();
    assert_eq!(error.to_string(), "argument `long`: expected `Vec<f64>`, found a list of 1");
    assert_eq!(error.source().unwrap().to_string(), "text stands where another type is expected");
    let error = args.get::<Vec<Array<f64>>>("field").unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "expected `Array<f64>`, found `<f4 [1]`");
}

#[test]
fn optional_arguments_may_be_absent_or_nil() {
    let args = carry(kwargs! { seed: 7, nothing: None::<u8> });
    assert_eq!(args.optional::<u64>("seed").unwrap(), Some(7));
    assert_eq!(args.optional::<u64>("nothing").unwrap(), None);
    assert_eq!(args.optional::<u64>("absent").unwrap(), None);
    assert!(args.optional::<String>("seed").is_err());
}

#[test]
fn numbers_are_taken_where_nothing_is_lost() {
    let args = carry(kwargs! { integer: 2, negative: -2i64, double: 0.5f64, large: 300, real: 2.0 });
    assert_eq!(args.get::<f64>("integer").unwrap(), 2.0);
    assert_eq!(args.get::<f32>("integer").unwrap(), 2.0);
    assert_eq!(args.get::<u8>("integer").unwrap(), 2);
    assert_eq!(args.get::<f32>("negative").unwrap(), -2.0);
    assert_eq!(args.get::<f32>("double").unwrap(), 0.5);
    assert!(args.get::<u8>("large").is_err());
    assert!(args.get::<u8>("negative").is_err());
    assert!(args.get::<i32>("real").is_err());
}

#[test]
fn an_array_outlives_its_arguments_and_is_then_alone() {
    let args = carry(kwargs! { field: Array::from(vec![1.0f32; 10_000]) });
    let mut field: Array<f32> = args.get("field").unwrap();
    assert!(field.view_mut().is_none());
    drop(args);
    field.view_mut().unwrap()[[0]] = 2.0;
    assert_eq!(field.as_slice()[..2], [2.0, 1.0]);
}

#[test]
fn debug_says_what_is_there_without_the_values() {
    let args = carry(kwargs! { field: Array::from(vec![1.0f32; 9]), raw: Blob::from(vec![0; 9]), n: 1 });
    assert_eq!(
        format!("{args:?}"),
        r#"{"field": `<f4 [9]`, "raw": a byte string of 9 bytes, "n": an integer}"#
    );
}

#[test]
fn bodies_that_are_not_arguments_are_refused() {
    let malformed = |body: Vec<u8>| match Args::new(body, Vec::new()).unwrap_err() {
        DecodeError::Malformed(malformed) => malformed,
        other => panic!("{other}"),
    };
    assert_eq!(malformed(encode_value(&[1]).unwrap().body), Malformed::NotMap);
    assert_eq!(malformed(vec![0x80, 0xc0]), Malformed::Trailing { extra: 1 });
    assert_eq!(malformed(vec![0xc1]), Malformed::Reserved { at: 0 });
    let deep = [vec![0x81, 0xa1, b'a'], vec![0x91; 100_000], vec![0xc0]].concat();
    assert!(matches!(malformed(deep), Malformed::Nested { .. }));
}

#[test]
fn every_truncation_is_refused() {
    let body = kwargs! { a: 1, b: "text", c: vec![1.5, 2.5] }.into_args().unwrap().body;
    for end in 1..body.len() {
        assert!(Args::new(body[..end].to_vec(), Vec::new()).is_err(), "cut at {end}");
    }
}

#[test]
fn a_type_that_recurses_stays_on_its_stack() {
    #[derive(Debug, Deserialize)]
    enum Chain {
        Link(#[allow(dead_code)] Box<Chain>),
        End,
    }
    let chain = |depth| [[0x81, 0xa4, b'L', b'i', b'n', b'k'].repeat(depth), b"\xa3End".to_vec()].concat();
    mosaic_comms::decode_value::<Chain>(&chain(100), Vec::new()).unwrap();
    mosaic_comms::decode_value::<Chain>(&chain(100_000), Vec::new()).unwrap_err();
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(args) = Args::new(body, Vec::new()) {
            let names: Vec<String> = args.names().map(str::to_owned).collect();
            for name in &names {
                let _ = args.get::<Array<f32>>(name);
                let _ = args.get::<Scale>(name);
                let _ = args.get::<serde_json::Value>(name);
            }
            let _ = args.deserialize::<Scale>();
            let _ = format!("{args:?}");
        }
    }

    #[test]
    fn maps_of_values_arrive(sent in prop::collection::btree_map(".{0,40}", any::<i64>(), 0..40)) {
        let args = carry(&sent);
        prop_assert_eq!(args.deserialize::<BTreeMap<String, i64>>().unwrap(), sent.clone());
        for (name, value) in &sent {
            prop_assert_eq!(args.get::<i64>(name).unwrap(), *value);
        }
    }
}
