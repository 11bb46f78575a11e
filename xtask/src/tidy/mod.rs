//! `cargo xtask tidy`: the house rules that a program can see. `rust.rs` reads source files, `documents.rs` reads
//! Markdown; this file finds the files and reports.
//!
//! The rules are those of CONTRIBUTING.md; each finding says where and what to do instead.

mod documents;
mod rust;
mod source;

use std::path::{Path, PathBuf};
use std::{fmt, fs};

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Reads every file of the repository and lists what it finds.
pub(crate) fn run(workspace: &Path) -> Result<(), String> {
    eprintln!("\n$ cargo xtask tidy");
    let mut paths = Vec::new();
    collect(workspace, &mut paths).map_err(|error| format!("cannot read the repository: {error}"))?;
    let mut findings = Vec::new();
    let mut records = Vec::new();
    for path in &paths {
        let name = path.strip_prefix(workspace).unwrap_or(path).to_string_lossy().into_owned();
        let text = fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        findings.extend(match path.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => rust::check(&name, &text),
            Some("py") => rust::check_python(&name, &text),
            _ => documents::check(workspace, &name, &text),
        });
        records.extend(name.strip_prefix(documents::RECORDS).map(str::to_owned));
    }
    findings.extend(documents::check_numbers(&records));
    findings.sort();
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(format!("tidy found {count} {}", if count == 1 { "place" } else { "places" })),
    }
}

/// Every Rust, Python and Markdown file below `folder`. Hidden folders, build folders and virtual environments hold
/// no source of ours.
fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let kind = entry.file_type()?;
        if kind.is_file() {
            if path
                .extension()
                .is_some_and(|extension| ["rs", "py", "md"].iter().any(|known| extension == *known))
            {
                paths.push(path);
            }
            continue;
        }
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        // Cargo leaves no tag in a target folder that was there before it.
        let is_built = entry.file_name() == "target" || path.join("CACHEDIR.TAG").exists();
        if kind.is_dir() && !is_hidden && !is_built && !path.join("pyvenv.cfg").exists() {
            collect(&path, paths)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_folders_and_hidden_folders_hold_no_source() {
        let folder = std::env::temp_dir().join(format!("xtask-tidy-{}", std::process::id()));
        for path in [
            "a.rs",
            "b/c.md",
            ".d/e.rs",
            "target/f.rs",
            "target/CACHEDIR.TAG",
            "venv/g.py",
            "venv/pyvenv.cfg",
        ] {
            fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
            fs::write(folder.join(path), "").unwrap();
        }
        let mut paths = Vec::new();
        collect(&folder, &mut paths).unwrap();
        paths.sort();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(paths, [folder.join("a.rs"), folder.join("b/c.md")]);
    }

    #[test]
    fn finding_reads_like_a_compiler_message() {
        assert_eq!(Finding::new("a/b.rs", 3, "why").to_string(), "a/b.rs:3: why");
    }
}
