//! The files of a log, in a server's state directory, for whoever reads them.
//!
//! | file | what it is |
//! |---|---|
//! | `audit.log` | the records of now |
//! | `audit.log.813` | those from 813 on, rotated |
//! | `audit.head` | numbers of the last record and the oldest, MAC of the last, under a seal |
//! | `audit.key` | the key, 32 random bytes |
//! | `audit.torn` | a last line that was never finished, as a server found it at its start |
//!
//! All are for the server's user alone.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use medusa_files::regular::open_no_link;

use super::chain::{ChainKey, HEAD_LENGTH, Head, KEY_LENGTH};
use super::check::{Check, Findings, LogLine};

pub(super) const LOG: &str = "audit.log";
pub(super) const HEAD: &str = "audit.head";
pub(super) const KEY: &str = "audit.key";
pub(super) const TORN: &str = "audit.torn";

/// The reason why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is none.
    #[error(
        "there is no audit log in {0:?}: name the state directory of the server that wrote it with `--state`"
    )]
    Missing(PathBuf),
    /// Something cannot be read.
    #[error("cannot read {path:?}")]
    Unreadable {
        /// What.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The key is none.
    #[error("{0:?} is no key of an audit log: it should have {KEY_LENGTH} bytes")]
    NotAKey(PathBuf),
}

/// The files of a log.
#[derive(Debug, Clone)]
pub struct AuditFiles {
    directory: PathBuf,
}

impl AuditFiles {
    /// Those in the state directory `directory`.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The log's own key, which `path` may have another copy of.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn key(&self, path: Option<&Path>) -> Result<ChainKey, ReadError> {
        let path = path.map_or_else(|| self.directory.join(KEY), Path::to_owned);
        match read_key(&path) {
            Ok(Some(key)) => Ok(ChainKey::new(&key)),
            Ok(None) => Err(ReadError::NotAKey(path)),
            Err(source) => Err(ReadError::Unreadable { path, source }),
        }
    }

    /// Reads all of the log, and says whether it is whole. Its lines go to `each`, those that are no records, too.
    ///
    /// A server may be writing it meanwhile: what it has begun is not missed, but a file that is rotated away is.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn check(
        &self,
        key: &ChainKey,
        anchors: &[Head],
        mut each: impl FnMut(LogLine<'_>),
    ) -> Result<Findings, ReadError> {
        let unreadable = |path: PathBuf| move |source| ReadError::Unreadable { path, source };
        // Before the log: what is written meanwhile is behind it.
        let head = self.head().map_err(unreadable(self.directory.join(HEAD)))?;
        let names = self.names().map_err(unreadable(self.directory.clone()))?;
        if names.is_empty() && head.is_none() {
            return Err(ReadError::Missing(self.directory.clone()));
        }
        let mut check = Check::new(key, head.as_deref(), anchors);
        for (_, name) in names {
            let path = self.directory.join(&name);
            let (file, _) = open_no_link(&path).map_err(unreadable(path.clone()))?;
            check.file(&name, BufReader::new(file), &mut each).map_err(unreadable(path))?;
        }
        Ok(check.finish())
    }

    /// The names of the files with records, the oldest first, with the number that is in them; the current has none.
    pub(super) fn names(&self) -> io::Result<Vec<(Option<u64>, String)>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            match name.strip_prefix(LOG).map(|rest| rest.strip_prefix('.').map(str::parse)) {
                Some(None) if name == LOG => names.push((None, name)),
                Some(Some(Ok(number))) => names.push((Some(number), name)),
                _ => {}
            }
        }
        names.sort_by_key(|(number, _)| number.unwrap_or(u64::MAX));
        Ok(names)
    }

    /// What is in the head's file, if there is one.
    pub(super) fn head(&self) -> io::Result<Option<Vec<u8>>> {
        present(open_no_link(&self.directory.join(HEAD)))?
            .map(|(file, _)| read_start(file, HEAD_LENGTH))
            .transpose()
    }
}

/// `None` where there is nothing.
pub(super) fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// `None` if it is no key.
pub(super) fn read_key(path: &Path) -> io::Result<Option<[u8; KEY_LENGTH]>> {
    Ok(read_start(open_no_link(path)?.0, KEY_LENGTH)?.try_into().ok())
}

/// All of a file that should have `length` bytes, and one more if it has more.
fn read_start(file: File, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length + 1);
    file.take(length as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
