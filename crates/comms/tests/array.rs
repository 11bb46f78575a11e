//! Arrays and blobs on their way: no copies, every type, shape and order, and nothing that a peer sends harms.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::collections::BTreeMap;

use bytes::Bytes;
use half::f16;
use mosaic_comms::{
    ALIGNMENT, Array, Blob, DecodeError, EXT_ARRAY, EXT_BYTES, Element, Encoded, Order, Pool, Received,
    decode_value, encode_value,
};
use ndarray::{ArrayD, ShapeBuilder, arr0, array, s};
use num_complex::Complex;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// What arrives over a connection: the buffers, read into memory of the pool.
fn received(pool: &Pool, buffers: &[Bytes]) -> Vec<Received> {
    let read = |bytes: &Bytes| {
        let mut buffer = pool.take(bytes.len());
        buffer.as_mut().copy_from_slice(bytes);
        Received::Pooled(buffer)
    };
    buffers.iter().map(read).collect()
}

/// Sends a value over a connection.
fn carry<T: DeserializeOwned>(value: &impl Serialize) -> Result<T, DecodeError> {
    let Encoded { body, buffers } = encode_value(value).unwrap();
    decode_value(&body, received(&Pool::default(), &buffers))
}

/// The error and what caused it, as a log shows them.
fn chain(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// The body that a peer could send for an array.
fn reference(payload: &impl Serialize) -> Vec<u8> {
    extension(EXT_ARRAY, rmp_serde::to_vec(payload).unwrap())
}

fn extension(kind: i8, payload: Vec<u8>) -> Vec<u8> {
    #[derive(Serialize)]
    struct _ExtStruct((i8, ByteBuf));
    rmp_serde::to_vec(&_ExtStruct((kind, ByteBuf::from(payload)))).unwrap()
}

#[test]
fn elements_of_a_vec_are_sent_from_where_they_lie() {
    let values: Vec<f32> = (0..50_000).map(|x| x as f32).collect();
    let address = values.as_ptr();
    let array = Array::from(values);
    let encoded = encode_value(&array).unwrap();
    assert_eq!(encoded.buffers[0].as_ptr(), address.cast());
    assert_eq!(encoded.buffers[0].len(), 200_000);
    assert!(encoded.body.len() < 32);
    drop(encoded);
    let values = array.into_vec();
    assert_eq!(values.as_ptr(), address, "and can be had back");
}

#[test]
fn a_received_array_lies_in_the_pooled_buffer() {
    let pool = Pool::default();
    let Encoded { body, buffers } = encode_value(&Array::from(vec![1.5f64; 10_000])).unwrap();
    let buffers = received(&pool, &buffers);
    let address = buffers[0].as_ref().as_ptr();
    let array: Array<f64> = decode_value(&body, buffers).unwrap();
    assert_eq!(array.as_slice().as_ptr(), address.cast());
    assert_eq!(address.addr() % ALIGNMENT, 0);
    assert_eq!(array.to_bytes().as_ptr(), address, "it is sent on without a copy too");
    assert_eq!(pool.idle_bytes(), 0);
    drop(array);
    assert!(pool.idle_bytes() >= 80_000, "the buffer went back");
}

#[test]
fn a_message_to_oneself_shares_the_senders_elements() {
    let array = Array::from(vec![7i64; 1000]);
    let Encoded { body, buffers } = encode_value(&array).unwrap();
    let buffers = buffers.into_iter().map(Received::Shared).collect();
    let mut arrived: Array<i64> = decode_value(&body, buffers).unwrap();
    assert_eq!(arrived.as_slice().as_ptr(), array.as_slice().as_ptr());
    assert!(arrived.view_mut().is_none());
}

#[test]
fn a_buffer_that_is_not_aligned_is_copied() {
    let body = encode_value(&Array::from(vec![1.0f64, 2.0])).unwrap().body;
    let bytes: Vec<u8> = [0.5f64, 1.0, 2.0].into_iter().flat_map(f64::to_le_bytes).collect();
    let odd = Bytes::from([vec![0], bytes].concat()).slice(9..25);
    let even = Bytes::from(odd.to_vec());
    for bytes in [odd, even] {
        let array: Array<f64> = decode_value(&body, vec![Received::Shared(bytes)]).unwrap();
        assert_eq!(array.as_slice(), [1.0, 2.0]);
    }
}

#[test]
fn a_received_array_can_be_changed_once_it_is_alone() {
    let field = Array::from(array![[1.0f32, 2.0], [3.0, 4.0]]);
    let mut arrived: Array<f32> = carry(&field).unwrap();
    let clone = arrived.clone();
    assert!(arrived.view_mut().is_none());
    drop(clone);
    arrived.view_mut().unwrap()[[1, 0]] = 30.0;
    assert_eq!(arrived.as_slice(), [1.0, 2.0, 30.0, 4.0]);
}

#[test]
fn ndarrays_are_moved_in_both_orders() {
    let rows = ndarray::Array2::<f64>::zeros((3, 4));
    let columns = ndarray::Array2::<f64>::zeros((3, 4).f());
    let (row, column) = (rows.as_ptr(), columns.as_ptr());
    let (rows, columns) = (Array::from(rows), Array::from(columns));
    assert_eq!((rows.as_slice().as_ptr(), rows.order()), (row, Order::C));
    assert_eq!((columns.as_slice().as_ptr(), columns.order()), (column, Order::F));
    assert_eq!(columns.shape(), [3, 4]);
    assert_eq!(rows, columns);
    let columns = columns.into_ndarray();
    assert_eq!(columns.as_ptr(), column, "and out again");
}

#[test]
fn sliced_and_reversed_ndarrays_keep_their_values() {
    let whole = array![[1, 2, 3], [4, 5, 6], [7, 8, 9]];
    let views = [
        whole.clone().slice_move(s![1.., ..]),
        whole.clone().slice_move(s![..2, ..]),
        whole.clone().slice_move(s![.., 1..]),
        whole.clone().slice_move(s![..;-1, ..]),
        whole.clone().slice_move(s![..;2, ..;2]),
        whole.clone().reversed_axes(),
        whole.clone().reversed_axes().slice_move(s![.., 1..]),
        whole.slice_move(s![1..1, ..]),
    ];
    for view in views {
        assert_eq!(Array::from(view.clone()).view(), view.view().into_dyn());
    }
}

#[test]
fn arrays_without_axes_and_without_elements_travel() {
    let scalar: Array<f64> = carry(&Array::from(arr0(5.0))).unwrap();
    assert_eq!((scalar.shape(), scalar.as_slice()), (&[][..], &[5.0][..]));
    let empty = Array::<f32>::from_shape_vec([3, 0, 2], vec![]).unwrap();
    assert_eq!(carry::<Array<f32>>(&empty).unwrap().shape(), [3, 0, 2]);
    assert!(carry::<Array<f32>>(&Array::<f32>::from(vec![])).unwrap().is_empty());
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Shot {
    fields: Vec<Array<f32>>,
    mask: Option<Array<bool>>,
    none: Option<Array<bool>>,
    named: BTreeMap<String, Array<Complex<f64>>>,
    trace: Trace,
    raw: Blob,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Trace {
    Full(Array<f16>),
    Window { start: usize, samples: Array<i16> },
}

fn shot() -> Shot {
    Shot {
        fields: vec![Array::from(vec![1.0; 3]), Array::from(array![[1.0, 2.0]].reversed_axes())],
        mask: Some(Array::from(vec![true, false])),
        none: None,
        named: BTreeMap::from([("p".to_owned(), Array::from(vec![Complex::new(1.0, -1.0)]))]),
        trace: Trace::Window { start: 3, samples: Array::from(vec![1, -2]) },
        raw: Blob::from(vec![9; 20_000]),
    }
}

#[test]
fn arrays_are_found_wherever_they_are_nested() {
    assert_eq!(carry::<Shot>(&shot()).unwrap(), shot());
    let full = Trace::Full(Array::from(vec![f16::ONE]));
    assert_eq!(carry::<Trace>(&full).unwrap(), full);
}

#[test]
fn arrays_survive_types_that_look_before_they_decode() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Field(Array<f32>),
        Raw { raw: Blob },
    }
    let values = vec![
        Either::Text("x".to_owned()),
        Either::Field(Array::from(vec![1.0, 2.0])),
        Either::Raw { raw: Blob::from(vec![1; 50_000]) },
    ];
    assert_eq!(carry::<Vec<Either>>(&values).unwrap(), values);
}

#[test]
fn arrays_survive_flattened_structs() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Outer {
        step: u32,
        #[serde(flatten)]
        inner: Inner,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Inner {
        field: Array<f32>,
        raw: Blob,
    }
    let inner = Inner { field: Array::from(vec![1.0, 2.0]), raw: Blob::from(vec![1; 50_000]) };
    let outer = Outer { step: 3, inner };
    assert_eq!(encode_value(&outer).unwrap().buffers.len(), 2);
    assert_eq!(carry::<Outer>(&outer).unwrap(), outer);
}

#[test]
fn an_unknown_field_that_is_an_array_is_passed_over() {
    #[derive(Deserialize)]
    struct Less {
        mask: Option<Array<bool>>,
    }
    assert_eq!(carry::<Less>(&shot()).unwrap().mask, shot().mask);
}

#[test]
fn elements_that_are_sent_twice_travel_once() {
    let array = Array::from(vec![1u8; 100]);
    let encoded = encode_value(&[&array, &array, &Array::from(vec![1u8; 100])]).unwrap();
    assert_eq!(encoded.buffers.len(), 2);
    let arrived: Vec<Array<u8>> =
        decode_value(&encoded.body, received(&Pool::default(), &encoded.buffers)).unwrap();
    assert_eq!(arrived, [array.clone(), array.clone(), array]);
    assert_eq!(arrived[0].as_slice().as_ptr(), arrived[1].as_slice().as_ptr());
}

#[test]
fn a_message_may_have_very_many_arrays() {
    let many: Vec<Array<u16>> = (0..5_000).map(|index| Array::from(vec![index; 3])).collect();
    assert_eq!(carry::<Vec<Array<u16>>>(&many).unwrap(), many);
}

#[test]
fn a_list_of_numbers_is_taken_for_an_array() {
    assert_eq!(carry::<Array<f64>>(&(1, 2.5, -3)).unwrap(), Array::from(vec![1.0, 2.5, -3.0]));
    assert!(carry::<Array<f64>>(&("a", "b")).is_err());
}

#[test]
fn json_shows_an_array_as_a_struct() {
    let field = Array::from(array![[1.0f32, 2.0], [3.0, 4.0]].reversed_axes());
    let text = serde_json::to_string(&field).unwrap();
    assert_eq!(text, r#"{"dtype":"<f4","shape":[2,2],"order":"F","values":[1.0,2.0,3.0,4.0]}"#);
    assert_eq!(serde_json::from_str::<Array<f32>>(&text).unwrap(), field);
    let error = serde_json::from_str::<Array<f64>>(&text).unwrap_err().to_string();
    assert!(error.contains("expected `Array<f64>`, found `<f4 [2, 2]`"), "{error}");
    let complex = serde_json::to_string(&Array::from(vec![Complex::new(1.0, 2.0)])).unwrap();
    assert!(complex.ends_with(r#""values":[[1.0,2.0]]}"#), "{complex}");
    let short = text.replace("4.0]", "4.0,5.0]");
    assert!(serde_json::from_str::<Array<f32>>(&short).unwrap_err().to_string().contains("16 bytes"));
}

#[test]
fn json_inside_a_message_stays_json() {
    #[derive(Serialize)]
    struct Note(#[serde(serialize_with = "as_json")] Array<f32>);
    fn as_json<S: serde::Serializer>(array: &Array<f32>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&serde_json::to_string(array).unwrap())
    }
    let encoded = encode_value(&Note(Array::from(vec![1.0]))).unwrap();
    assert!(encoded.buffers.is_empty());
}

#[test]
fn plain_messagepack_outside_of_a_message_needs_no_buffers() {
    let field = Array::from(vec![f16::from_f32(0.5), f16::ONE]);
    let bytes = rmp_serde::to_vec(&field).unwrap();
    assert_eq!(rmp_serde::from_slice::<Array<f16>>(&bytes).unwrap(), field);
}

#[test]
fn debug_shows_a_few_elements() {
    let text = format!("{:?}", Array::from(vec![1u8; 1_000_000]));
    assert_eq!(text, "Array |u1 [1000000] C [1, 1, 1, 1, 1, 1, 1, 1, ..]");
    assert_eq!(format!("{:?}", Array::from(arr0(true))), "Array |b1 [] C [true]");
}

#[test]
fn another_type_is_refused_by_name() {
    let sent = Array::from(ndarray::Array2::<f64>::zeros((3, 4)));
    let error = carry::<Array<f32>>(&sent).unwrap_err();
    assert_eq!(error.to_string(), "expected `Array<f32>`, found `<f8 [3, 4]`");
    let error = chain(carry::<Vec<Array<Complex<f32>>>>(&vec![sent.clone()]).unwrap_err());
    assert!(error.contains("expected `Array<Complex<f32>>`, found `<f8 [3, 4]`"), "{error}");
    let error = carry::<Array<f32>>(&"text").unwrap_err();
    assert_eq!(error.to_string(), "expected `Array<f32>`, found text of 4 bytes");
    assert_eq!(carry::<f64>(&sent).unwrap_err().to_string(), "expected `f64`, found `<f8 [3, 4]`");
    assert!(carry::<Array<f32>>(&Blob::from(vec![0; 20_000])).is_err());
    assert!(carry::<Blob>(&sent).is_err());
}

#[test]
fn a_peers_sizes_are_checked_before_use() {
    let refuse = |payload: (u64, &str, &[u64], &str), bytes: usize, expected: &str| {
        let buffers = received(&Pool::default(), &[Bytes::from(vec![0; bytes])]);
        let error = decode_value::<Array<f32>>(&reference(&payload), buffers).unwrap_err();
        assert!(chain(&error).contains(expected), "{}", chain(&error));
    };
    refuse((0, "<f4", &[3], "C"), 8, "an array <f4 [3] takes 12 bytes, but there are 8");
    refuse((0, "<f4", &[1], "C"), 8, "an array <f4 [1] takes 4 bytes, but there are 8");
    refuse((0, "<f4", &[u64::MAX, u64::MAX], "C"), 8, "larger than the address space");
    refuse((0, "<f4", &[0, u64::MAX, 2], "C"), 0, "larger than the address space");
    refuse((0, "<f4", &[1 << 62, 4], "C"), 8, "larger than the address space");
    refuse((1, "<f4", &[2], "C"), 8, "refers to buffer 1 of a message that has 1");
    refuse((u64::MAX, "<f4", &[2], "C"), 8, "refers to buffer 18446744073709551615");
    refuse((0, ">f4", &[2], "C"), 8, "found `>f4 [2]`");
    refuse((0, "<f4", &[2], "X"), 8, "malformed");
    refuse((0, "<f4", &[1; 33], "C"), 4, "malformed");
}

#[test]
fn a_byte_that_is_no_bool_is_refused() {
    let buffers = received(&Pool::default(), &[Bytes::from_static(&[0, 1, 2])]);
    let error = decode_value::<Array<bool>>(&reference(&(0, "|b1", [3], "C")), buffers).unwrap_err();
    assert!(chain(&error).contains("byte 2 is 2"), "{}", chain(&error));
}

#[test]
fn small_blobs_are_in_the_body_and_large_ones_beside_it() {
    let large = Blob::from(vec![5; 100_000]);
    let address = large.as_ptr();
    let encoded = encode_value(&large).unwrap();
    assert_eq!(encoded.buffers[0].as_ptr(), address);
    let buffers = received(&Pool::default(), &encoded.buffers);
    let address = buffers[0].as_ref().as_ptr();
    let arrived: Blob = decode_value(&encoded.body, buffers).unwrap();
    assert_eq!((arrived.as_ptr(), &arrived), (address, &large));
    let small = Blob::from(vec![5; 64]);
    assert!(encode_value(&small).unwrap().buffers.is_empty());
    assert_eq!(carry::<Blob>(&small).unwrap(), small);
}

#[test]
fn a_blobs_reference_is_checked() {
    for payload in [vec![], vec![0x90], vec![0x91], vec![0x91, 1], vec![0x91, 0xff], vec![0x91, 0, 0]] {
        let buffers = received(&Pool::default(), &[Bytes::from_static(b"one")]);
        assert!(decode_value::<Blob>(&extension(EXT_BYTES, payload), buffers).is_err());
    }
}

#[test]
fn buffers_of_a_failed_encoder_are_not_left_behind() {
    #[derive(Serialize)]
    struct Fails(Array<f32>, #[serde(serialize_with = "fail")] ());
    fn fail<S: serde::Serializer>(_: &(), _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("out of coffee"))
    }
    let error = encode_value(&Fails(Array::from(vec![1.0]), ())).unwrap_err();
    assert!(chain(&error).contains("out of coffee"));
    assert!(encode_value(&1).unwrap().buffers.is_empty());
}

/// Sends elements in a shape and order, and compares every one.
fn round_trip<T: Element>(elements: &[T], shape: &[usize], fortran: bool) {
    let shape_of = ndarray::IxDyn(shape).set_f(fortran);
    let sent = ArrayD::from_shape_vec(shape_of, elements.to_vec()).unwrap();
    let arrived: Array<T> = carry(&Array::from(sent.clone())).unwrap();
    assert_eq!(arrived.shape(), shape);
    assert_eq!(arrived.view(), sent.view());
    assert_eq!(arrived.to_owned(), sent);
}

proptest! {
    #[test]
    fn every_type_shape_and_order_arrives(
        shape in prop::collection::vec(0usize..5, 0..5),
        seed in any::<u32>(),
        fortran in any::<bool>(),
    ) {
        let len: usize = shape.iter().product();
        let bits: Vec<u32> = (0..len as u32).map(|x| (x ^ seed).wrapping_mul(2_654_435_761)).collect();
        macro_rules! check {
            ($($from:expr;)*) => {$(
                let elements: Vec<_> = bits.iter().map(|&x| $from(x)).collect();
                round_trip(&elements, &shape, fortran);
            )*};
        }
        check! {
            |x| x % 2 == 0;
            |x| x as i8;
            |x| x as i16;
            |x| x as i32;
            |x| -i64::from(x);
            |x| x as u8;
            |x| x as u16;
            |x| x;
            |x| u64::from(x) << 31;
            |x| f16::from_f32((x % 1000) as f32);
            |x| x as f32;
            |x| f64::from(x) / 3.0;
            |x| Complex::new(x as f32, 1.0);
            |x| Complex::new(0.5, f64::from(x));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let buffers = || received(&Pool::default(), &[Bytes::from_static(&[1; 64])]);
        let _ = decode_value::<Shot>(&body, buffers());
        let _ = decode_value::<Array<f32>>(&extension(EXT_ARRAY, body.clone()), buffers());
        let _ = decode_value::<Vec<Blob>>(&body, buffers());
        let _ = decode_value::<serde_json::Value>(&body, buffers());
    }

    #[test]
    fn a_changed_byte_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let Encoded { mut body, buffers } = encode_value(&shot()).unwrap();
        let at = at.index(body.len());
        body[at] = byte;
        let _ = decode_value::<Shot>(&body, received(&Pool::default(), &buffers));
        let _ = decode_value::<Shot>(&body[..at], received(&Pool::default(), &buffers));
    }
}
