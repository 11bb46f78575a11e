//! What a map may be, and what each bad one is told.

use super::*;
use ndarray::ShapeBuilder;

const SIDE: usize = SMALLEST_SIDE;

fn gradient() -> Array2<f32> {
    Array2::from_shape_fn((SIDE, SIDE + 3), |(row, column)| 1400.0 + row as f32 + 2.0 * column as f32)
}

fn npy(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    let length = header.len() as u32 + 1;
    bytes.extend(&length.to_le_bytes()[..if version == 1 { 2 } else { 4 }]);
    bytes.extend(header.as_bytes());
    bytes.push(b'\n');
    bytes.extend(data);
    bytes
}

fn header(descr: &str, shape: &str) -> String {
    format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}")
}

fn refusal(bytes: &[u8]) -> String {
    Model::from_npy(bytes).unwrap_err().to_string()
}

#[test]
fn written_map_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("map.npy");
    let model = Model::new(gradient()).unwrap();
    model.write(&path).unwrap();
    assert_eq!(Model::read(&path).unwrap(), model);
}

#[test]
fn every_format_version_and_both_widths_are_read() {
    let model = Model::new(gradient()).unwrap();
    let shape = format!("({}, {})", model.rows(), model.columns());
    let single: Vec<u8> = model.speed().iter().flat_map(|speed| speed.to_le_bytes()).collect();
    let double: Vec<u8> = model.speed().iter().flat_map(|&speed| f64::from(speed).to_le_bytes()).collect();
    for version in 1..=3 {
        assert_eq!(Model::from_npy(&npy(version, &header("<f4", &shape), &single)).unwrap(), model);
        assert_eq!(Model::from_npy(&npy(version, &header("<f8", &shape), &double)).unwrap(), model);
    }
}

#[test]
fn fortran_order_is_read_and_turned() {
    let mut fortran = Array2::zeros((SIDE, SIDE + 3).f());
    fortran.assign(&gradient());
    let mut bytes = Vec::new();
    fortran.write_npy(&mut bytes).unwrap();
    let model = Model::from_npy(&bytes).unwrap();
    assert_eq!(model.speed(), &gradient());
    assert!(model.speed().is_standard_layout());
}

#[test]
fn other_files_are_refused() {
    assert!(refusal(b"").contains("not a NumPy .npy file"));
    assert!(refusal(b"PK\x03\x04 not an array at all").contains("not a NumPy .npy file"));
    assert!(refusal(&npy(1, "[1, 2]", &[])).contains("not a NumPy .npy file"));
    assert!(refusal(&npy(9, &header("<f4", "(2, 2)"), &[])).contains("not a NumPy .npy file"));
}

#[test]
fn other_types_are_named_with_the_right_ones() {
    let told = refusal(&npy(1, &header("<i4", "(40, 40)"), &[0; 6400]));
    assert!(told.contains("'<i4'") && told.contains("'<f4' or '<f8'") && told.contains("astype"), "{told}");
}

#[test]
fn other_dimensions_are_named() {
    assert!(refusal(&npy(1, &header("<f4", "(40,)"), &[0; 160])).contains("[40]"));
    assert!(refusal(&npy(1, &header("<f4", "(2, 40, 40)"), &[0; 12800])).contains("[2, 40, 40]"));
}

#[test]
fn sizes_are_checked_before_memory_is_reserved() {
    assert!(refusal(&npy(1, &header("<f4", "(31, 40)"), &[])).contains("31 x 40"));
    let huge = format!("({}, 40)", usize::MAX);
    assert!(refusal(&npy(1, &header("<f4", &huge), &[])).contains("at most 4096 x 4096"));
    let mut long_header = npy(2, &header("<f4", "(40, 40)"), &[]);
    long_header[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(refusal(&long_header).contains("4294967295 bytes"));
}

#[test]
fn truncated_at_any_offset_or_too_long_is_refused() {
    let mut bytes = Model::new(gradient()).unwrap().to_npy().unwrap();
    for end in 0..bytes.len() {
        assert!(Model::from_npy(&bytes[..end]).is_err(), "{end} bytes were taken for a map");
    }
    bytes.push(0);
    assert!(refusal(&bytes).contains("4480 bytes of data and 4481 follow"));
}

#[test]
fn implausible_speeds_are_named_by_cell_and_value() {
    for speed in [f32::NAN, f32::INFINITY, -1500.0, 0.0, 1.5, 9000.0] {
        let mut map = gradient();
        map[[3, 5]] = speed;
        let told = Model::new(map).unwrap_err().to_string();
        assert!(
            told.contains(&format!("cell [3, 5] holds {speed}")) && told.contains("300 to 8000 m/s"),
            "{told}"
        );
    }
}

#[test]
fn unreadable_path_is_named_with_its_cause() {
    let error = Model::read(Path::new("nowhere/map.npy")).unwrap_err();
    assert!(error.to_string().contains("`nowhere/map.npy`"));
    assert!(std::error::Error::source(&error).is_some());
}
