//! Colour maps: from a number to a colour.

use crate::canvas::Colour;

/// Blue, white, red: the diverging map "RdBu" of C. Brewer (colorbrewer2.org), turned round.
const DIVERGING: [Colour; 11] = [
    [5, 48, 97],
    [33, 102, 172],
    [67, 147, 195],
    [146, 197, 222],
    [209, 229, 240],
    [255, 255, 255],
    [253, 219, 199],
    [244, 165, 130],
    [214, 96, 77],
    [178, 24, 43],
    [103, 0, 31],
];

/// Dark to bright at an even pace: nine colours of "viridis" by S. van der Walt and N. Smith (CC0).
const SEQUENTIAL: [Colour; 9] = [
    [68, 1, 84],
    [71, 44, 122],
    [59, 81, 139],
    [44, 113, 142],
    [33, 144, 141],
    [39, 173, 129],
    [92, 200, 99],
    [170, 220, 50],
    [253, 231, 37],
];

/// The colour of a value between -1 and 1; beyond, that of the nearer end. White is zero.
pub(crate) fn diverging(value: f32) -> Colour {
    between(&DIVERGING, (value + 1.0) / 2.0)
}

/// The colour of a value between 0 and 1; beyond, that of the nearer end.
pub(crate) fn sequential(value: f32) -> Colour {
    between(&SEQUENTIAL, value)
}

/// Interpolates linearly in a list of colours at equal distances from 0 to 1.
fn between(colours: &[Colour], value: f32) -> Colour {
    let last = colours.len() - 1;
    let place = value.clamp(0.0, 1.0) * last as f32;
    // The cast turns a NaN into 0, and so does that of the mixed channels.
    let lower = (place as usize).min(last - 1);
    let share = place - lower as f32;
    let mix = |channel: usize| {
        let (from, to) = (f32::from(colours[lower][channel]), f32::from(colours[lower + 1][channel]));
        (from + share * (to - from)).round() as u8
    };
    [mix(0), mix(1), mix(2)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_middle_are_those_of_the_lists() {
        assert_eq!(diverging(0.0), [255, 255, 255]);
        assert_eq!((diverging(-1.0), diverging(1.0)), (DIVERGING[0], DIVERGING[10]));
        assert_eq!((sequential(0.0), sequential(1.0)), (SEQUENTIAL[0], SEQUENTIAL[8]));
    }

    #[test]
    fn values_beyond_take_the_nearer_end() {
        assert_eq!((sequential(-3.0), sequential(f32::INFINITY)), (SEQUENTIAL[0], SEQUENTIAL[8]));
        assert_eq!(sequential(f32::NAN), [0, 0, 0]);
    }
}
