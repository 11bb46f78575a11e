//! The rules of Markdown files: links lead somewhere, the changelog takes what is unreleased, decision records have
//! their parts, the map of the house shows what is there.

use std::path::Path;

use super::Finding;

/// Where decision records are.
pub(super) const RECORDS: &str = "docs/decisions/";

/// Lines of a decision record at most: one page.
const MAX_RECORD: usize = 60;

/// The map of the house: every path that it names exists.
const MAP: &str = "ARCHITECTURE.md";

const RECORD_PARTS: &[&str] = &["Context", "Decision", "Measured", "Consequences"];

/// All findings in a Markdown file.
pub(super) fn check(workspace: &Path, path: &str, text: &str) -> Vec<Finding> {
    let mut findings = links(workspace, path, text);
    if path == "CHANGELOG.md" && !text.lines().any(|line| line == "## [Unreleased]") {
        findings.push(Finding::new(path, 1, "no `## [Unreleased]` section"));
    }
    if path == MAP {
        findings.extend(named_paths(workspace, path, text));
    }
    match path.strip_prefix(RECORDS) {
        Some(name) if name != "README.md" => findings.extend(record(path, name, text)),
        _ => {}
    }
    findings
}

/// Records that share a number, as happens when two are written at the same time.
pub(super) fn check_numbers(names: &[String]) -> Vec<Finding> {
    let mut numbers: Vec<(&str, &String)> =
        names.iter().filter_map(|name| Some((number(name)?, name))).collect();
    numbers.sort();
    let doubled = numbers.windows(2).filter(|pair| pair[0].0 == pair[1].0);
    let message = |name: &String| format!("has the number of {name}: take the next free one");
    doubled.map(|pair| Finding::new(&format!("{RECORDS}{}", pair[1].1), 1, message(pair[0].1))).collect()
}

fn record(path: &str, name: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if number(name).is_none() {
        findings.push(Finding::new(path, 1, "a decision record is named `NNNN-title.md`"));
    }
    for part in RECORD_PARTS {
        if !text.lines().any(|line| line.strip_prefix("## ") == Some(part)) {
            findings.push(Finding::new(path, 1, format!("a decision record has a part `## {part}`")));
        }
    }
    let lines = text.lines().count();
    if lines > MAX_RECORD {
        findings.push(Finding::new(
            path,
            MAX_RECORD + 1,
            format!("{lines} lines, {MAX_RECORD} at most: one page"),
        ));
    }
    findings
}

/// The four digits of a record's name.
fn number(name: &str) -> Option<&str> {
    let (number, title) = name.strip_suffix(".md")?.split_once('-')?;
    let is_number = number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !title.is_empty()).then_some(number)
}

/// The paths that stand as code and are not there. A path has a slash or the name of a file that we write, and nothing
/// that a path of ours would not have; it begins at the root of the repository.
fn named_paths(workspace: &Path, path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for name in line.split('`').skip(1).step_by(2).filter(|name| is_path(name)) {
            if !workspace.join(name).exists() {
                findings.push(Finding::new(path, index + 1, format!("there is no `{name}`")));
            }
        }
    }
    findings
}

fn is_path(code: &str) -> bool {
    let is_file = [".rs", ".md", ".toml", ".txt"].iter().any(|ending| code.ends_with(ending));
    let plain = code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte));
    plain && (is_file || code.contains('/'))
}

fn links(workspace: &Path, path: &str, text: &str) -> Vec<Finding> {
    let folder = workspace.join(path).parent().map(Path::to_path_buf).unwrap_or_default();
    let mut findings = Vec::new();
    let mut in_fence = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        }
        let targets = if in_fence { Vec::new() } else { link_targets(&without_code(line)) };
        for target in targets {
            let file = target.split(['#', '?']).next().unwrap_or_default();
            if !file.is_empty() && !has_scheme(&target) && !folder.join(file).exists() {
                findings.push(Finding::new(path, index + 1, format!("the link to `{target}` leads nowhere")));
            }
        }
    }
    findings
}

/// What the links of a line point at: `[text](target "title")`, `<target>` in place of target, and `[name]: target`.
fn link_targets(line: &str) -> Vec<String> {
    let mut rests: Vec<&str> =
        line.match_indices("](").map(|(start, mark)| &line[start + mark.len()..]).collect();
    if let Some((name, rest)) = line.trim_start().split_once("]: ") {
        rests.extend(name.starts_with('[').then_some(rest));
    }
    let target = |rest: &str| {
        let rest = rest.trim_start();
        let end = if rest.starts_with('<') { rest.find('>') } else { rest.find([')', ' ']) };
        rest[..end.unwrap_or(rest.len())].trim_start_matches('<').to_owned()
    };
    rests.into_iter().map(target).collect()
}

/// The line without its `code`: every other piece between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

fn has_scheme(target: &str) -> bool {
    ["http://", "https://", "mailto:"].iter().any(|scheme| target.starts_with(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(usize, String)> {
        let findings = check(&crate::workspace(), path, text);
        findings.into_iter().map(|finding| (finding.line, finding.message)).collect()
    }

    #[test]
    fn link_that_leads_nowhere_is_found() {
        let nowhere = |line, target: &str| vec![(line, format!("the link to `{target}` leads nowhere"))];
        assert_eq!(found("docs/a.md", "see\n[x](../no.md#part)"), nowhere(2, "../no.md#part"));
        assert_eq!(found("a.md", "[x](<no such.md>)"), nowhere(1, "no such.md"));
        assert_eq!(found("a.md", "![x](no.png \"title\")"), nowhere(1, "no.png"));
        assert_eq!(found("a.md", "[x]: no.md"), nowhere(1, "no.md"));
    }

    #[test]
    fn link_that_leads_somewhere_is_not() {
        let text = "[a](../Cargo.toml) [b](https://example.org/x) [c](#part) [d](../xtask/src/main.rs#L1)";
        assert_eq!(found("docs/a.md", text), []);
        assert_eq!(found("a.md", "`[x](no.md)`\n```\n[x](no.md)\n```\n"), []);
    }

    #[test]
    fn path_on_the_map_that_is_not_there_is_found() {
        let text =
            "`xtask/src/main.rs` and `xtask/src/`\n`xtask/no/` `no.md` `Arc<no/type>` `a call` `send_recv`";
        let none = |name: &str| (2, format!("there is no `{name}`"));
        assert_eq!(found("ARCHITECTURE.md", text), [none("xtask/no/"), none("no.md")]);
        assert_eq!(found("docs/a.md", text), []);
    }

    #[test]
    fn changelog_without_unreleased_is_found() {
        assert_eq!(found("CHANGELOG.md", "# Changelog\n")[0].1, "no `## [Unreleased]` section");
        assert_eq!(found("CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n"), []);
    }

    #[test]
    fn record_without_a_part_is_found() {
        let whole = "# 1. A\n\n## Context\n\n## Decision\n\n## Measured\n\n## Consequences\n";
        assert_eq!(found("docs/decisions/0001-a.md", whole), []);
        let found = found("docs/decisions/0001-a.md", &whole.replace("## Measured", "## Guessed"));
        assert_eq!(found, [(1, "a decision record has a part `## Measured`".to_owned())]);
    }

    #[test]
    fn record_longer_than_a_page_is_found() {
        let whole = "## Context\n## Decision\n## Measured\n## Consequences\n";
        assert_eq!(found("docs/decisions/0001-a.md", &(whole.to_owned() + &"\n".repeat(56))), []);
        let found = found("docs/decisions/0001-a.md", &(whole.to_owned() + &"\n".repeat(57)));
        assert_eq!(found, [(61, "61 lines, 60 at most: one page".to_owned())]);
    }

    #[test]
    fn record_with_a_wrong_name_or_a_taken_number_is_found() {
        let whole = "## Context\n## Decision\n## Measured\n## Consequences\n";
        assert!(found("docs/decisions/1-a.md", whole)[0].1.contains("NNNN-title.md"));
        let names = ["0002-b.md", "0001-a.md", "0001-c.md", "README.md"].map(str::to_owned);
        let doubled = check_numbers(&names);
        assert_eq!(doubled.len(), 1);
        assert_eq!(
            doubled[0].to_string(),
            "docs/decisions/0001-c.md:1: has the number of 0001-a.md: take the next free one"
        );
    }
}
