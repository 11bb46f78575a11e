//! The rules of source files, one function a rule.

use super::Finding;
use super::source::{Source, is_test_file};

/// Lines of a file at most, its tests not counted.
const MAX_FILE: usize = 500;

/// Lines of a function at most, from `fn` to its closing brace.
const MAX_FUNCTION: usize = 70;

/// The files that may contain `unsafe`; each block in them states its proof.
const UNSAFE_ALLOWED: &[&str] =
    &["crates/shared-memory/src/mapping.rs", "python/src/descriptors.rs", "python/src/memory.rs"];

/// Names that say nothing about what a module owns.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "core", "helpers", "helper"];

/// Marks of unfinished work. They are put together here so that this file does not contain them.
const UNFINISHED: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("to", "do!"), concat!("unimpl", "emented!")];

/// All findings in a Rust file.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let source = Source::new(path, text);
    let rules = [header, file_length, function_length, sleeps, unwraps, unsafe_code, inline_modules];
    let mut findings: Vec<Finding> = rules.iter().flat_map(|rule| rule(&source)).collect();
    findings.extend(module_name(path));
    findings.extend(unfinished(path, text));
    findings
}

/// All findings in a Python file, of the rules that do not depend on the language.
pub(super) fn check_python(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = unfinished(path, text);
    findings.extend(module_name(path));
    for (index, line) in text.lines().enumerate() {
        let code = line.split('#').next().unwrap_or_default();
        let is_sleep =
            |(start, _)| !code[..start].ends_with(|letter: char| letter == '_' || letter.is_alphanumeric());
        if is_test_file(path) && code.match_indices("sleep(").any(is_sleep) {
            findings.push(Finding::new(path, index + 1, SLEEP));
        }
    }
    findings
}

fn header(source: &Source) -> Vec<Finding> {
    if source.text.starts_with("//!") {
        return Vec::new();
    }
    vec![Finding::new(source.path, 1, "no `//!` header: say what the file owns and what it does not")]
}

fn file_length(source: &Source) -> Vec<Finding> {
    let lines = source.lines_of_code();
    if lines <= MAX_FILE || source.path.contains("/examples/") {
        return Vec::new();
    }
    let message = format!("{lines} lines without tests, {MAX_FILE} at most: split it by theme");
    vec![Finding::new(source.path, 1, message)]
}

fn function_length(source: &Source) -> Vec<Finding> {
    let functions = source.find_word("fn").filter(|start| !source.name_after(start + 2).is_empty());
    let long = functions.filter_map(|start| {
        let name = source.name_after(start + 2);
        let line = source.line_of(start);
        let lines = source.line_of(source.item_end(start)) - line + 1;
        let message = format!("function `{name}` has {lines} lines, {MAX_FUNCTION} at most");
        (lines > MAX_FUNCTION).then(|| Finding::new(source.path, line, message))
    });
    long.collect()
}

const SLEEP: &str = "a sleep in a test: wait for the event itself, or use the virtual clock";

fn sleeps(source: &Source) -> Vec<Finding> {
    let lines = source.find("sleep(").map(|start| source.line_of(start));
    lines.filter(|line| source.is_test(*line)).map(|line| Finding::new(source.path, line, SLEEP)).collect()
}

fn unwraps(source: &Source) -> Vec<Finding> {
    if source.path.contains("/examples/") {
        return Vec::new();
    }
    let message = "`unwrap()` outside tests: return an error, or `expect` a local invariant";
    let calls = source.find("unwrap()").filter(|start| source.code[..*start].ends_with('.'));
    let lines = calls.map(|start| source.line_of(start));
    lines.filter(|line| !source.is_test(*line)).map(|line| Finding::new(source.path, line, message)).collect()
}

fn unsafe_code(source: &Source) -> Vec<Finding> {
    if UNSAFE_ALLOWED.contains(&source.path) {
        return Vec::new();
    }
    let message = "`unsafe` outside the files that may have it (UNSAFE_ALLOWED in xtask/src/tidy/rust.rs)";
    source
        .find_word("unsafe")
        .map(|start| Finding::new(source.path, source.line_of(start), message))
        .collect()
}

fn inline_modules(source: &Source) -> Vec<Finding> {
    let modules = source.find_word("mod").map(|start| (start, source.name_after(start + 3)));
    let empty = modules.filter(|(start, name)| {
        let is_inline =
            source.code[..source.item_end(*start)].get(*start..).is_some_and(|item| item.contains('{'));
        is_inline && EMPTY_NAMES.contains(name)
    });
    empty.map(|(start, name)| Finding::new(source.path, source.line_of(start), empty_name(name))).collect()
}

/// A file, or a folder on the way to it, whose name says nothing.
fn module_name(path: &str) -> Option<Finding> {
    let mut parts = path.split(['/', '.']);
    let empty = parts.find(|part| EMPTY_NAMES.contains(part))?;
    Some(Finding::new(path, 1, empty_name(empty)))
}

fn empty_name(name: &str) -> String {
    format!("a module named `{name}`: name it after what it owns")
}

fn unfinished(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(mark) = UNFINISHED.iter().find(|mark| has_word(line, mark)) {
            let message = format!("`{mark}`: finish it, or say what is missing where users read it");
            findings.push(Finding::new(path, index + 1, message));
        }
    }
    findings
}

/// Whether `word` stands in `line` and is no part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let is_letter = |letter: char| letter == '_' || letter.is_alphanumeric();
    line.match_indices(word).any(|(start, _)| {
        !line[..start].ends_with(is_letter) && !line[start + word.len()..].starts_with(is_letter)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "crates/a/src/b.rs";
    const TEST_PATH: &str = "crates/a/tests/b.rs";

    /// The lines and the messages of what is found in a file with a header and then `text`, which begins on line 2.
    fn found(path: &str, text: &str) -> Vec<(usize, String)> {
        let findings = check(path, &format!("//! Header.\n{text}"));
        findings.into_iter().map(|finding| (finding.line, finding.message)).collect()
    }

    fn assert_found(path: &str, text: &str, line: usize, message: &str) {
        let found = found(path, text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].0 == line && found[0].1.contains(message), "{found:?}");
    }

    #[test]
    fn file_opens_with_its_header() {
        assert_eq!(found(PATH, "fn a() {}"), []);
        let findings = check(PATH, "use a;\n//! Late.\n");
        assert!(findings.len() == 1 && findings[0].message.contains("header"), "{findings:?}");
    }

    #[test]
    fn file_of_more_than_500_lines_is_found() {
        let tests = "#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(found(PATH, &("const A: u8 = 0;\n".repeat(499) + tests)), []);
        let long = "const A: u8 = 0;\n".repeat(500) + tests;
        assert_found(PATH, &long, 1, "501 lines");
        assert_eq!(found(TEST_PATH, &long), []);
        assert_eq!(found("crates/a/examples/b.rs", &long), []);
    }

    #[test]
    fn function_of_more_than_70_lines_is_found() {
        let function = |lines: usize| format!("fn a(x: [u8; 2]) {{\n{}}}\n", "    // }\n".repeat(lines - 2));
        assert_eq!(found(PATH, &function(70)), []);
        assert_found(PATH, &function(71), 2, "`a` has 71 lines");
        assert_found(TEST_PATH, &function(71), 2, "`a` has 71 lines");
        assert_eq!(found(PATH, &format!("type A = fn(u8);\n{}", "const A: u8 = 0;\n".repeat(80))), []);
    }

    #[test]
    fn sleep_in_a_test_is_found() {
        assert_eq!(found(PATH, "fn a() { std::thread::sleep(b); }"), []);
        assert_found(TEST_PATH, "fn a() { std::thread::sleep(b); }", 2, "sleep");
        assert_found(PATH, "#[cfg(test)]\nmod tests {\n    fn a() { sleep(b); }\n}", 4, "sleep");
        assert_eq!(found(TEST_PATH, "fn a() { do_not_sleep(b); } // sleep(b)"), []);
    }

    #[test]
    fn unfinished_mark_is_found() {
        for mark in UNFINISHED {
            assert_found(PATH, &format!("// {mark}: this"), 2, mark);
            assert_eq!(check_python("python/a.py", &format!("# {mark}\n")).len(), 1);
        }
        assert_eq!(found(PATH, concat!("// AUTO", "TO", "DOS")), []);
    }

    #[test]
    fn unwrap_outside_tests_is_found() {
        assert_found(PATH, "fn a() { b().unwrap(); }", 2, "unwrap");
        assert_eq!(found(TEST_PATH, "fn a() { b().unwrap(); }"), []);
        assert_eq!(
            found(PATH, "/// `b().unwrap()`\n#[cfg(test)]\nmod tests { fn a() { b().unwrap(); } }"),
            []
        );
        assert_eq!(found("crates/a/examples/b.rs", "fn a() { b().unwrap(); }"), []);
    }

    #[test]
    fn unsafe_outside_the_list_is_found() {
        assert_found(PATH, "fn a() { unsafe { b() } }", 2, "UNSAFE_ALLOWED");
        assert_found(TEST_PATH, "unsafe impl Send for A {}", 2, "UNSAFE_ALLOWED");
        assert_eq!(found(PATH, "#![forbid(unsafe_code)]"), []);
    }

    #[test]
    fn module_with_an_empty_name_is_found() {
        assert_found("crates/a/src/utils.rs", "", 1, "`utils`");
        assert_found("crates/a/tests/common/mod.rs", "", 1, "`common`");
        assert_found(PATH, "pub mod helpers {\n}", 2, "`helpers`");
        assert_eq!(found(PATH, "use core::mem;\nuse common_names;"), []);
        assert_eq!(check_python("python/mosaic_comms/core.py", "").len(), 1);
    }

    #[test]
    fn sleep_in_a_python_test_is_found() {
        assert_eq!(check_python("python/tests/test_a.py", "import time\ntime.sleep(1)\n")[0].line, 2);
        assert_eq!(check_python("python/tests/test_a.py", "# time.sleep(1)\n"), []);
        assert_eq!(check_python("python/mosaic_comms/a.py", "time.sleep(1)\n"), []);
    }
}
