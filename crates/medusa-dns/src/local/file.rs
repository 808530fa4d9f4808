//! A file that is read again when it has changed.

use std::io;
use std::path::{Path, PathBuf};

use medusa_files::FileStamp;
use medusa_files::regular::{self, Contents};

use crate::DnsError;

/// A file that is read again when it has changed. It need not exist.
#[derive(Debug)]
pub(crate) struct WatchedFile {
    path: PathBuf,
    /// The most bytes it may have.
    limit: u64,
    /// What was read.
    seen: Option<FileStamp>,
    /// What was there when it was looked at last.
    noticed: Option<FileStamp>,
}

impl WatchedFile {
    pub(crate) fn new(path: PathBuf, limit: u64) -> Self {
        Self { path, limit, seen: None, noticed: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads its content. Nothing, if there is no such file.
    pub(crate) fn read(&mut self) -> Result<String, DnsError> {
        let (text, identity) = self.load()?;
        self.seen = identity;
        Ok(text)
    }

    /// Reads its content, if that may be something else than before. An error is told once: the same file is not read
    /// again.
    ///
    /// That it is gone changes nothing: it may be about to be written anew. So may one that has just changed: it is read
    /// when it is the same at the next look. Else a `resolv.conf` that is written in place would have no servers for a
    /// moment, and take with it what the old ones said.
    pub(crate) fn read_again(&mut self) -> Option<Result<String, DnsError>> {
        let now = FileStamp::from(&std::fs::metadata(&self.path).ok()?);
        let is_settled = self.noticed.replace(now) == Some(now);
        if self.seen == Some(now) || !is_settled {
            return None;
        }
        self.seen = Some(now);
        Some(self.load().map(|(text, _)| text))
    }

    fn load(&self) -> Result<(String, Option<FileStamp>), DnsError> {
        let (path, limit) = (self.path.clone(), self.limit);
        let Contents { bytes, metadata, .. } = match regular::read(&self.path, self.limit) {
            Ok(contents) => contents,
            Err(source) => {
                return match source.kind() {
                    io::ErrorKind::NotFound => Ok((String::new(), None)),
                    io::ErrorKind::FileTooLarge => Err(DnsError::TooLarge { path, limit }),
                    _ => Err(DnsError::Read { path, source }),
                };
            }
        };
        Ok((String::from_utf8_lossy(&bytes).into_owned(), Some(FileStamp::from(&metadata))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_when_it_has_changed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("hosts");
        let mut file = WatchedFile::new(path.clone(), 10);
        assert_eq!(file.read().expect("it need not exist"), "");
        assert!(file.read_again().is_none());

        std::fs::write(&path, "one").expect("a file");
        assert!(file.read_again().is_none(), "it may not be whole");
        assert_eq!(file.read_again().expect("it is new").expect("text"), "one");
        assert!(file.read_again().is_none());

        // Replaced by another of the same size, as an editor or an installer does.
        let other = directory.path().join("new");
        std::fs::write(&other, "two").expect("a file");
        std::fs::rename(&other, &path).expect("replaced");
        assert!(file.read_again().is_none());
        assert_eq!(file.read_again().expect("it is another").expect("text"), "two");

        std::fs::write(&path, "0123456789+").expect("a file");
        assert!(file.read_again().is_none());
        assert!(matches!(file.read_again(), Some(Err(DnsError::TooLarge { limit: 10, .. }))));
        assert!(file.read_again().is_none(), "told once");

        std::fs::remove_file(&path).expect("removed");
        assert!(file.read_again().is_none(), "it is gone");
        std::fs::write(&path, "three").expect("a file");
        assert!(file.read_again().is_none());
        assert_eq!(file.read_again().expect("it is back").expect("text"), "three");
    }

    #[test]
    fn a_directory_is_no_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let error = WatchedFile::new(directory.path().to_owned(), 10).read().expect_err("a directory");
        assert!(matches!(error, DnsError::Read { .. }), "{error:?}");
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo");
        assert!(made.success());
        let error = WatchedFile::new(path, 10).read().expect_err("a pipe");
        assert!(matches!(error, DnsError::Read { .. }), "{error:?}");
    }
}
