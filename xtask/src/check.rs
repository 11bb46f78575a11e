//! `cargo xtask check`: everything that CI asks before it runs the tests. The quick checks come first; all are run
//! even if one fails, so that one round shows everything.

use crate::step::{cargo, run as step, succeeds};
use crate::{counts, tidy, workspace};

/// Runs every check; the error lists those that failed.
pub(crate) fn run() -> Result<(), String> {
    let outcomes = [
        step(&mut cargo(&["fmt", "--all", "--check"])),
        step(&mut cargo(&[
            "fmt",
            "--manifest-path",
            "bench/Cargo.toml",
            "-p",
            "mosaic-bench",
            "-p",
            "mosaic-yardsticks",
            "--check",
        ])),
        tidy::run(&workspace()),
        step(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
        step(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings")),
        dependencies(),
        counts::run(&[]),
    ];
    let failures: Vec<String> = outcomes.into_iter().filter_map(Result::err).collect();
    if failures.is_empty() { Ok(()) } else { Err(format!("check failed:\n  {}", failures.join("\n  "))) }
}

/// Licences, sources and known vulnerabilities of what we depend on. The vulnerabilities are kept in a public
/// database: without network that part is skipped, and says so.
fn dependencies() -> Result<(), String> {
    if !succeeds(&mut cargo(&["deny", "--version"])) {
        eprintln!("\nskipped: cargo deny is not installed (cargo install cargo-deny --locked)");
        return Ok(());
    }
    step(&mut cargo(&["deny", "--log-level", "error", "check", "licenses", "bans", "sources"]))?;
    if !succeeds(&mut cargo(&["deny", "fetch", "db"])) {
        eprintln!(
            "\nskipped: cargo deny check advisories (its database cannot be fetched; is there a network?)"
        );
        return Ok(());
    }
    step(&mut cargo(&["deny", "check", "--disable-fetch", "advisories"]))
}
