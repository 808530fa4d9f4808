//! `medusa init`: writes the sample site, which is part of this program.
//!
//! **Invariant:** no file that exists is ever written to. All are looked at before the first is made, and each is made
//! in a way that fails if somebody was faster.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The files of the sample site by their paths below it. The build script makes the list.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/site.rs"));

/// The reason why there is no sample site now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    /// There is something already. Nothing was written.
    #[error("{} exists already, so nothing was written: name another directory, or move it away", .0.display())]
    Exists(PathBuf),
    /// The system refused.
    #[error("cannot write {}", .path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Whether a script is the sample site's own.
pub(crate) fn is_sample(script: &Path) -> bool {
    let sample = FILES.iter().find(|(name, _)| *name == "site.luau");
    sample.is_some_and(|(_, text)| fs::read(script).is_ok_and(|found| found == *text))
}

/// Writes the sample site into `directory`, which is made if it does not exist. Returns the paths of its files.
pub(crate) fn init(directory: &Path) -> Result<Vec<PathBuf>, InitError> {
    let files: Vec<_> = FILES.iter().map(|(name, text)| (directory.join(name), *text)).collect();
    if let Some((taken, _)) = files.iter().find(|(path, _)| path.symlink_metadata().is_ok()) {
        return Err(InitError::Exists(taken.clone()));
    }
    for (path, text) in &files {
        write(path, text).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => InitError::Exists(path.clone()),
            _ => InitError::Write { path: path.clone(), source },
        })?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    File::create_new(path)?.write_all(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn files_below(directory: &Path, found: &mut BTreeSet<PathBuf>) {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if name.starts_with('.') || name == "logs" {
                continue;
            }
            if path.is_dir() {
                files_below(&path, found);
            } else {
                found.insert(path);
            }
        }
    }

    #[test]
    fn every_file_of_the_sample_site_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = folder.path().join("new/site");
        let written = init(&directory).expect("written");

        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../site");
        let mut expected = BTreeSet::new();
        files_below(&sample, &mut expected);
        assert_eq!(written.len(), expected.len());
        for file in expected {
            let copy = directory.join(file.strip_prefix(&sample).expect("below"));
            assert!(
                fs::read(&file).expect("read") == fs::read(&copy).expect("written"),
                "{}",
                copy.display()
            );
        }
        assert!(is_sample(&directory.join("site.luau")));
    }

    #[test]
    fn nothing_is_written_when_one_file_exists() {
        let folder = tempfile::tempdir().expect("a folder");
        let (last, _) = FILES.last().expect("there are files");
        let taken = folder.path().join(last);
        write(&taken, b"mine").expect("written");
        let error = init(folder.path()).expect_err("taken").to_string();
        assert!(error.contains(last), "{error}");
        assert_eq!(fs::read(&taken).expect("read"), b"mine");
        let mut found = BTreeSet::new();
        files_below(folder.path(), &mut found);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(!is_sample(&taken));
    }

    #[test]
    fn a_dangling_link_counts_as_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink("nowhere", folder.path().join("site.luau")).expect("linked");
        assert!(matches!(init(folder.path()), Err(InitError::Exists(_))));
    }
}
