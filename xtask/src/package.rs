//! The Python package: installed as users install it, into a folder of its own, and then tested and type checked.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::step::run as step;

/// pytest says by this that no test has a name that fits.
const NO_TESTS: i32 = 5;

/// How the package's Rust is built.
#[derive(Clone, Copy)]
pub(crate) enum Profile {
    /// As the Rust tests are, so that what both need is built once.
    Test,
    /// As users have it.
    Release,
}

impl Profile {
    /// What cargo calls it, and where the package goes.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Profile::Test => ("dev", "python-package"),
            Profile::Release => ("wheel", "python-package-release"),
        }
    }
}

/// The installed package, and the interpreter that has what its tests need.
pub(crate) struct Package {
    workspace: PathBuf,
    folder: PathBuf,
    interpreter: PathBuf,
}

impl Package {
    /// Builds the package and installs it. The interpreter's own packages are left alone.
    pub(crate) fn install(
        workspace: &Path,
        target: &Path,
        interpreter: &Path,
        profile: Profile,
    ) -> Result<Package, String> {
        let (profile, folder) = profile.names();
        let folder = target.join(folder);
        let package = Package {
            workspace: workspace.to_path_buf(),
            interpreter: interpreter.to_path_buf(),
            folder: folder.clone(),
        };
        let mut install = package.python(&["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        install.args(["--no-build-isolation", "--no-deps", "--upgrade", "--target"]).arg(folder);
        install.arg("./python").env("MATURIN_PEP517_ARGS", format!("--profile {profile} --locked"));
        step(&mut install)?;
        Ok(package)
    }

    /// The folder in which an interpreter finds it.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs pytest for the tests whose names contain one of `filters` (all of them if there is none).
    pub(crate) fn test(&self, filters: &[String]) -> Command {
        let mut command = self.python(&["-m", "pytest", "python/tests", "-p", "no:cacheprovider"]);
        command.args(["--config-file", "python/pyproject.toml", "--rootdir", "python"]);
        // What pytest keeps of the last run to look at; the tests' own files are looked for elsewhere.
        command.arg("--basetemp").arg(self.folder.with_file_name("python-temporary"));
        if !filters.is_empty() {
            command.arg("-k").arg(filters.join(" or "));
        }
        command
    }

    /// Checks the types, and that the stubs say what there is.
    pub(crate) fn check_types(&self) -> [Command; 2] {
        let config = ["--config-file", "python/pyproject.toml"];
        let mut sources = self.python(&["-m", "mypy", "python/mosaic_comms"]);
        sources.args(config);
        let mut stubs = self.python(&["-m", "mypy.stubtest", "mosaic_comms", "--mypy-config-file"]);
        stubs.arg(config[1]).env("MYPYPATH", &self.folder);
        [sources, stubs]
    }

    /// The interpreter, which finds the package, and programs that belong to it (maturin) before others.
    fn python(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.interpreter);
        command.args(arguments).current_dir(&self.workspace).env("PYTHONPATH", &self.folder);
        let programs = self.interpreter.parent().map(Path::to_path_buf).into_iter();
        let others = env::var_os("PATH").unwrap_or_default();
        let path: OsString = env::join_paths(programs.chain(env::split_paths(&others))).unwrap_or(others);
        command.env("PATH", path).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

/// Runs pytest. That no test fits the filters is no failure, since they may mean Rust's.
pub(crate) fn pytest(command: &mut Command) -> Result<(), String> {
    let filtered = command.get_args().any(|argument| argument == "-k");
    step(command).or_else(|failure| {
        let none = filtered && failure.contains(&format!("exit status: {NO_TESTS}"));
        if none { Ok(()) } else { Err(failure) }
    })
}
