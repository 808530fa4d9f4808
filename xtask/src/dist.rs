//! `cargo xtask dist`: the program as it is installed, with what only a debugger reads in a file of its own.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::term;
use crate::workspace::Workspace;

/// Builds what is installed: target/dist/medusa, and its debug file
///
/// Builds the release and divides it by `objcopy` (binutils): target/dist/medusa, stripped, is all
/// that runs; target/dist/medusa.debug has functions and lines for backtraces. A backtrace finds the
/// debug file beside the program, in .debug beside it, or below /usr/lib/debug; without it, it has
/// addresses alone.
///
/// Example:
///   cargo xtask dist && sudo install target/dist/medusa /usr/local/bin/
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Dist;

pub(crate) fn run() -> Result {
    Cmd::cargo("build --release --package medusa").run()?;
    let workspace = Workspace::read()?;
    let (binary, directory) = (workspace.binary("release", "medusa"), workspace.binary("dist", ""));
    for file in divide(&binary, &directory)? {
        let length = fs::metadata(&file).map_err(Error::io("read", &file))?.len();
        term::note(&format!("{} ({:.1} MB)", file.display(), length as f64 / 1e6));
    }
    Ok(())
}

/// Puts `binary` into `directory`, stripped, and its debug file beside it, which it names.
fn divide(binary: &Path, directory: &Path) -> Result<[PathBuf; 2]> {
    fs::create_dir_all(directory).map_err(Error::io("make", directory))?;
    let name = binary.file_name().unwrap_or_default();
    let program = directory.join(name);
    let debug = program.with_added_extension("debug");
    // What runs may be the one of before: a file that is written over would be in use.
    for old in [&program, &debug] {
        if old.exists() {
            fs::remove_file(old).map_err(Error::io("remove", old))?;
        }
    }
    let objcopy = || Cmd::new("objcopy");
    objcopy().args(["--only-keep-debug"]).args([binary, &debug]).run()?;
    let link = format!("--add-gnu-debuglink={}", debug.display());
    objcopy().args(["--strip-all", &link]).args([binary, &program]).run()?;
    Ok([program, debug])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_runs_and_names_its_debug_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let own = std::env::current_exe().expect("this test");
        for _ in 0..2 {
            let [program, debug] = divide(&own, directory.path()).expect("divided");
            let length = |path: &Path| fs::metadata(path).expect("a file").len();
            assert!(length(&program) < length(&own) / 2 && length(&debug) > length(&program));
            let bytes = fs::read(&program).expect("a program");
            let name = debug.file_name().expect("a name").as_encoded_bytes();
            assert!(bytes.windows(name.len()).any(|window| window == name), "a backtrace would not find it");
            let listed = Cmd::new(&program).args(["--list"]).output().expect("it runs");
            assert!(!listed.is_empty());
        }
    }
}
