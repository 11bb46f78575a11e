//! The guide is whole: each of its pages is in its summary, and the programs on it are among those that are run.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const SUMMARY: &str = include_str!("../../../docs/guide/src/SUMMARY.md");
const RUN: &str = include_str!("../src/pages.rs");

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/src")
}

fn pages() -> BTreeSet<String> {
    let files = std::fs::read_dir(folder()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".md") && name != "SUMMARY.md").collect()
}

#[test]
fn the_summary_lists_every_page_once() {
    let listed: Vec<&str> = SUMMARY
        .lines()
        .filter_map(|line| line.strip_prefix("- [")?.split_once("](")?.1.strip_suffix(')'))
        .collect();
    let unique: BTreeSet<String> = listed.iter().map(|&page| page.to_owned()).collect();
    assert_eq!(unique, pages());
    assert_eq!(unique.len(), listed.len());
}

#[test]
fn the_programs_of_every_page_are_run() {
    for page in pages() {
        assert!(
            RUN.contains(&format!("\"docs/guide/src/{page}\"")),
            "crates/comms/src/pages.rs misses {page}"
        );
    }
}

#[test]
fn every_listing_says_its_language() {
    for page in pages() {
        let text = std::fs::read_to_string(folder().join(&page)).unwrap();
        let openings = text.lines().filter(|line| line.starts_with("```")).step_by(2);
        let languages = [
            "```rust",
            "```rust,standalone_crate",
            "```rust,no_run",
            "```console",
            "```bash",
            "```python",
            "```yaml",
        ];
        openings.for_each(|opening| assert!(languages.contains(&opening), "{page}: `{opening}`"));
    }
}
