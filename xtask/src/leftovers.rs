//! What tests leave behind: processes, and files in their temporary folder. Both fail the run, with a list.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

/// A process that was killed as the last test ended takes a moment to go.
const GRACE: Duration = Duration::from_secs(1);

/// The processes below a target folder when the tests began: those are not theirs.
pub(crate) struct Processes {
    target: PathBuf,
    before: BTreeMap<u32, String>,
}

impl Processes {
    /// Remembers who runs now.
    pub(crate) fn below(target: &Path) -> Processes {
        Processes { target: target.to_path_buf(), before: running(target) }
    }

    /// An error that lists the processes which were started since and have not ended.
    pub(crate) fn left_over(&self) -> Result<(), String> {
        let deadline = Instant::now() + GRACE;
        let mut clean = false;
        loop {
            let mut now = running(&self.target);
            now.retain(|pid, line| self.before.get(pid) != Some(line));
            // A process that has just been started has no command line for a moment: one clean look is none.
            if now.is_empty() && std::mem::replace(&mut clean, true) {
                return Ok(());
            }
            clean &= now.is_empty();
            if !clean && Instant::now() >= deadline {
                let lines = now.iter().map(|(pid, line)| format!("\n    {pid} {line}"));
                return Err(format!("tests left processes running:{}", lines.collect::<String>()));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The command lines, by process id, of everything whose program lies below `target`, or whose first argument does
/// (a script, or Python run from its virtual environment). Cargo's own build scripts are not of interest.
fn running(target: &Path) -> BTreeMap<u32, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<String> =
            words.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let program = fs::read_link(entry.path().join("exe")).unwrap_or_default();
        let is_ours = program.starts_with(target)
            || words.iter().take(2).any(|word| Path::new(word).starts_with(target));
        let is_build_script = is_build_script(target, &program);
        // A zombie has no command line: it has ended, and waiting for it is its parent's business.
        if is_ours && !is_build_script && pid != process::id() && !words.concat().is_empty() {
            found.insert(pid, words.join(" ").trim_end().to_owned());
        }
    }
    found
}

/// Whether cargo built `program` into `<target>/<profile>/build/` to run it while building.
fn is_build_script(target: &Path, program: &Path) -> bool {
    program.strip_prefix(target).is_ok_and(|path| path.iter().nth(1).is_some_and(|part| part == "build"))
}

/// A folder for the temporary files and sockets of one run, readable by its owner alone; removed when dropped. Its
/// path is short because the path of a Unix socket may have 107 bytes.
pub(crate) struct PrivateFolder {
    path: PathBuf,
}

impl PrivateFolder {
    pub(crate) fn create() -> Result<PrivateFolder, String> {
        let path = env::temp_dir().join(format!("mosaic-test-{}", process::id()));
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        Ok(PrivateFolder { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// An error that lists the files and sockets in the folder. Folders alone hold nothing and are nobody's leak.
    pub(crate) fn left_over(&self) -> Result<(), String> {
        let mut files = Vec::new();
        collect_files(&self.path, &mut files);
        if files.is_empty() {
            return Ok(());
        }
        files.sort();
        let lines = files.iter().map(|path| format!("\n    {}", path.display()));
        Err(format!("tests left files in their temporary folder:{}", lines.collect::<String>()))
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}

fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_files(&entry.path(), files);
        } else {
            files.push(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn process_that_outlives_the_tests_is_listed() {
        // `cat` runs until its input ends; run through a folder of our own, nobody else's can be mistaken for it.
        let folder = TestFolder::new("process");
        let program = folder.0.join("cat");
        symlink("/bin/cat", &program).unwrap();
        let processes = Processes::below(&folder.0);
        assert_eq!(processes.left_over(), Ok(()));

        let mut child = Command::new(&program).stdin(Stdio::piped()).spawn().unwrap();
        let failure = processes.left_over().unwrap_err();
        assert!(failure.contains(&format!("{} {}", child.id(), program.display())), "{failure}");
        assert_eq!(Processes::below(&folder.0).left_over(), Ok(()), "one that ran before is not the tests'");

        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(processes.left_over(), Ok(()));
    }

    #[test]
    fn build_script_is_told_by_its_place_below_the_target() {
        let target = Path::new("/build/target");
        assert!(is_build_script(target, Path::new("/build/target/debug/build/a-1/build-script-build")));
        assert!(!is_build_script(target, Path::new("/build/target/debug/examples/a")));
    }

    #[test]
    fn socket_left_in_the_folder_is_listed_and_removed() {
        let parent = TestFolder::new("socket");
        let folder = PrivateFolder { path: parent.0.join("private") };
        let socket = folder.path.join("inner/mosaic-1.sock");
        fs::create_dir_all(folder.path.join("inner")).unwrap();
        assert_eq!(folder.left_over(), Ok(()));

        drop(UnixListener::bind(&socket).unwrap());
        assert!(folder.left_over().unwrap_err().contains("inner/mosaic-1.sock"));
        drop(folder);
        assert!(!socket.exists());
    }

    struct TestFolder(PathBuf);

    impl TestFolder {
        fn new(name: &str) -> TestFolder {
            let path = env::temp_dir().join(format!("xtask-{name}-{}", process::id()));
            fs::create_dir_all(&path).unwrap();
            TestFolder(path)
        }
    }

    impl Drop for TestFolder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }
}
