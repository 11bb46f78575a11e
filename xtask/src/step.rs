//! Runs other programs, each announced by the line that one would type to run it alone. Their output is theirs: it
//! passes through unaltered.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use crate::workspace;

/// A cargo command, run by the same cargo that runs us.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(workspace());
    command
}

/// Runs `command` to its end; a failure names it.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let line = as_typed(command);
    eprintln!("\n$ {line}");
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

fn as_typed(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        Some(format!("{}={:?} ", name.to_string_lossy(), value?.to_string_lossy()))
    });
    let program = std::path::Path::new(command.get_program());
    let words = std::iter::once(program.file_name().unwrap_or(OsStr::new("?"))).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    variables.collect::<String>() + &words.join(" ")
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
    fn variables_are_part_of_the_line() {
        assert_eq!(
            as_typed(Command::new("/usr/bin/cargo").arg("doc").env("A", "-D b")),
            "A=\"-D b\" cargo doc"
        );
    }
}
