//! Runs other programs, each announced by the line that one would type to run it alone. Their output is theirs: it
//! passes through unaltered.

use std::ffi::OsStr;
use std::iter;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::workspace;

/// A cargo command, run by the same cargo that runs us.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // `cargo run` describes this package to us. A build script that reads such a variable would take the change for
    // a reason to build again, each time one goes from here to plain cargo and back.
    let ours = std::env::vars_os().map(|(name, _)| name);
    let ours = ours.filter(|name| name.to_string_lossy().starts_with("CARGO_PKG_"));
    for name in ours.chain(["CARGO_MANIFEST_DIR".into(), "CARGO_MANIFEST_PATH".into()]) {
        command.env_remove(name);
    }
    command.args(arguments).current_dir(workspace());
    command
}

/// Runs `command` to its end; a failure names it.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let line = words(command);
    eprintln!("\n$ {}{line}", variables(command));
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{line}` failed ({status})")),
        Err(error) => Err(format!("`{line}` could not be started: {error}")),
    }
}

/// Whether `command` can be run and succeeds; what it prints is nobody's business.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The variables that are set for the command alone, as typed before it.
fn variables(command: &Command) -> String {
    let set = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_string_lossy(), value?.to_string_lossy())));
    set.map(|(name, value)| format!("{name}={value:?} ")).collect()
}

fn words(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words: Vec<_> = iter::once(program).chain(command.get_args()).map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

/// Has cargo build the two crates that compute with optimisation. Together with `--workspace`, which asks for the features that
/// the tests have, everything else is shared with those.
pub(crate) fn optimise(cargo: &mut Command) {
    for package in ["mosaic-proto", "mosaic-comms"] {
        cargo.args(["--config", &format!("profile.dev.package.{package}.opt-level=1")]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_names_the_command_and_its_status() {
        let failure = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(failure, "`sh -c exit 3` failed (exit status: 3)");
    }

    #[test]
    fn missing_program_is_named() {
        let failure = run(&mut Command::new("no-such-program-at-all")).unwrap_err();
        assert!(failure.starts_with("`no-such-program-at-all` could not be started"), "{failure}");
        assert!(!succeeds(&mut Command::new("no-such-program-at-all")));
    }

    #[test]
    fn line_is_what_one_would_type() {
        let mut command = Command::new("/usr/bin/cargo");
        command.arg("doc").env("A", "-D b").env_remove("B");
        assert_eq!(variables(&command) + &words(&command), "A=\"-D b\" cargo doc");
    }
}
