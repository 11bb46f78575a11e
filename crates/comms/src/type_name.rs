//! Names of types as their user writes them, for errors.

/// Returns the name of `T` without the paths: `Array<f32>` and not `mosaic_comms::array::Array<f32>`.
pub(crate) fn readable<T: ?Sized>() -> String {
    let mut name = String::new();
    let mut segment = String::new();
    for letter in std::any::type_name::<T>().chars() {
        match letter {
            ':' => segment.clear(),
            letter if letter.is_alphanumeric() || letter == '_' => segment.push(letter),
            letter => {
                name.push_str(&segment);
                name.push(letter);
                segment.clear();
            }
        }
    }
    name + &segment
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Array;

    #[test]
    fn paths_are_left_out() {
        assert_eq!(readable::<f64>(), "f64");
        assert_eq!(readable::<Array<num_complex::Complex<f32>>>(), "Array<Complex<f32>>");
        assert_eq!(readable::<Option<Vec<(String, &str)>>>(), "Option<Vec<(String, &str)>>");
        assert_eq!(readable::<[u8; 3]>(), "[u8; 3]");
    }
}
