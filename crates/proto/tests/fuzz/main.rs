//! The fuzz targets with the inputs that are kept: the corpus of each, and what once made one fail.

#[path = "../pair/mod.rs"]
mod pair;
mod targets;

use std::path::Path;

#[test]
fn every_kept_input_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let files = std::fs::read_dir(corpus.join(name)).expect("there is a corpus");
        let mut count = 0;
        for file in files {
            let path = file.expect("the folder can be read").path();
            target(&std::fs::read(&path).expect("the file can be read"));
            count += 1;
        }
        assert!(count > 0, "{name} has no corpus");
    }
}
