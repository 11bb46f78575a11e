//! What the attribute refuses, each with its hint: the files in `refusals/`, and what the compiler says of them.

#[test]
fn what_cannot_be_called_from_elsewhere_is_refused_with_a_hint() {
    trybuild::TestCases::new().compile_fail("tests/refusals/*.rs");
}
