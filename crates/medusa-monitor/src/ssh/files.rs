//! The files that say who may log in: read line by line, within bounds.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The largest file, in bytes: thousands of keys.
const MAX_FILE: u64 = 1024 * 1024;

/// The reason why a file of a server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SshFileError {
    /// It cannot be read.
    #[error("cannot read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// It is too large.
    #[error("{0:?} has more than {MAX_FILE} bytes")]
    TooLarge(PathBuf),
    /// A line of it cannot be understood.
    #[error("{path}:{line}: {why}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The mistake.
        why: String,
    },
    /// The server's key is no such key.
    #[error("{path:?} is not a private key that can be used as the server's: {why}")]
    HostKey {
        /// The file.
        path: PathBuf,
        /// The mistake.
        why: String,
    },
    /// The server's key cannot be written.
    #[error("cannot make the server's key {path:?} (name another file with `host_key`)")]
    MakeHostKey {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// Reading it panicked.
    #[error("reading the server's files failed")]
    Panicked,
}

/// The text of a file.
pub(super) fn text(path: &Path) -> Result<String, SshFileError> {
    let error = |source| SshFileError::Read { path: path.to_owned(), source };
    // Without NONBLOCK, opening a pipe would wait for its writer.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(error)?;
    if !file.metadata().map_err(error)?.is_file() {
        return Err(error(io::Error::other("it is no file")));
    }
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(error)?;
    if text.len() as u64 > MAX_FILE { Err(SshFileError::TooLarge(path.to_owned())) } else { Ok(text) }
}

/// The lines, parsed, without comments and empty ones; each by itself, so that one that is wrong costs no others, but for those
/// with the same `subject`: what it was to take from that, the others do not give.
pub(super) fn lines<T>(
    path: &Path,
    subject: impl Fn(&str) -> Option<&str>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<Result<T, SshFileError>>, SshFileError> {
    let text = text(path)?;
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let mut parsed: Vec<_> = lines.map(|(at, line)| (at, subject(line), parse(line))).collect();
    let wrong = parsed.iter().filter(|(.., parsed)| parsed.is_err());
    let wrong: HashMap<_, _> = wrong.filter_map(|(at, subject, _)| Some(((*subject)?, *at))).collect();
    for (_, subject, parsed) in &mut parsed {
        if let (Some(at), Ok(_)) = (subject.and_then(|subject| wrong.get(subject)), &*parsed) {
            *parsed =
                Err(format!("line {at} is of the same and cannot be understood, so this one does not count"));
        }
    }
    let parsed = parsed.into_iter().map(|(line, _, parsed)| {
        parsed.map_err(|why| SshFileError::Line { path: path.to_owned(), line, why })
    });
    Ok(parsed.collect())
}

/// The good lines; of the others, the log tells.
pub(super) fn good<T>(lines: Vec<Result<T, SshFileError>>) -> impl Iterator<Item = T> {
    lines.into_iter().filter_map(|line| match line {
        Ok(line) => Some(line),
        Err(error) => {
            tracing::error!("nobody can log in by this line: {error}");
            None
        }
    })
}
