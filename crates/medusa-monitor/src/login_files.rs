//! The files of servers that people log in to: read within bounds, and secrets only where nobody else may read them.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

/// The largest file, in bytes: thousands of keys.
const MAX_FILE: u64 = 1024 * 1024;

/// The longest password, in bytes.
pub(crate) const MAX_PASSWORD: usize = 1024;

/// The reason why a file of a server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoginFileError {
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
    /// Others may read a secret.
    #[error("others may read {path:?}: `chmod 600 {}`", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// A secret was written by somebody else.
    #[error("{path:?} belongs to uid {owner}, neither to this server's user (uid {us}) nor to root")]
    OfAnother {
        /// The file.
        path: PathBuf,
        /// The one it belongs to.
        owner: u32,
        /// The user of this server.
        us: u32,
    },
    /// It is to hold a password, and does not.
    #[error(
        "{path:?} must hold one password, in one line of 1 to {MAX_PASSWORD} bytes, not all of them white space"
    )]
    NoPassword {
        /// The file.
        path: PathBuf,
    },
    /// It begins with what an editor puts there and nobody types.
    #[error("{path:?} {BEGINS_WITH_MARK}")]
    Marked {
        /// The file.
        path: PathBuf,
    },
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
    /// There is no place for the server's key.
    #[error("there is no state directory for the server's key: name a file, `host_key`")]
    NoHostKey,
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

/// What some editors put before the text of a file, to say that it is UTF-8.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// What is said of a file with one.
const BEGINS_WITH_MARK: &str = "begins with a byte order mark (EF BB BF): save it as UTF-8 without one";

/// The text of a file.
fn text(path: &Path) -> Result<String, LoginFileError> {
    read(path, |_| Ok(()))
}

/// The text of a file that holds a secret: it must be the server's user's or root's, and nobody else may read it.
pub(crate) fn secret(path: &Path) -> Result<String, LoginFileError> {
    let us = rustix::process::geteuid().as_raw();
    read(path, |metadata| match metadata.uid() {
        _ if metadata.mode() & 0o077 != 0 => Err(LoginFileError::Exposed { path: path.to_owned() }),
        owner if owner != us && owner != 0 => {
            Err(LoginFileError::OfAnother { path: path.to_owned(), owner, us })
        }
        _ => Ok(()),
    })
}

/// The one line of a file that holds a password.
pub(crate) fn password(path: &Path) -> Result<String, LoginFileError> {
    let text = secret(path)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.starts_with(BYTE_ORDER_MARK) {
        return Err(LoginFileError::Marked { path: path.to_owned() });
    }
    if line.trim().is_empty() || line.len() > MAX_PASSWORD || line.contains(['\n', '\r']) {
        return Err(LoginFileError::NoPassword { path: path.to_owned() });
    }
    Ok(line.to_owned())
}

/// Does what reads files on a thread that may wait for them.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LoginFileError> + Send + 'static,
) -> Result<T, LoginFileError> {
    spawn_blocking(work).await.unwrap_or(Err(LoginFileError::Panicked))
}

/// The text of a file that is `fit`, as it is found once it is open.
fn read(
    path: &Path,
    fit: impl FnOnce(&Metadata) -> Result<(), LoginFileError>,
) -> Result<String, LoginFileError> {
    let error = |source| LoginFileError::Read { path: path.to_owned(), source };
    // Without NONBLOCK, opening a pipe would wait for its writer.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(error)?;
    let metadata = file.metadata().map_err(error)?;
    if !metadata.is_file() {
        return Err(error(io::Error::other("it is no file")));
    }
    fit(&metadata)?;
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(error)?;
    if text.len() as u64 > MAX_FILE { Err(LoginFileError::TooLarge(path.to_owned())) } else { Ok(text) }
}

/// The lines, parsed, without comments and empty ones; each by itself, so that one that is wrong costs no others, but for those
/// with the same `subject`: what it was to take from that, the others do not give.
pub(crate) fn lines<T>(
    path: &Path,
    subject: impl Fn(&str) -> Option<&str>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<Result<T, LoginFileError>>, LoginFileError> {
    let text = text(path)?;
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let parse = |line: &str| match line.strip_prefix(BYTE_ORDER_MARK) {
        None => parse(line),
        Some(_) => Err(format!("the file {BEGINS_WITH_MARK}")),
    };
    let subject = |line| subject(str::trim_start_matches(line, BYTE_ORDER_MARK));
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
        parsed.map_err(|why| LoginFileError::Line { path: path.to_owned(), line, why })
    });
    Ok(parsed.collect())
}

/// The good lines; of the others, the log tells.
pub(crate) fn good<T>(lines: Vec<Result<T, LoginFileError>>) -> impl Iterator<Item = T> {
    lines.into_iter().filter_map(|line| match line {
        Ok(line) => Some(line),
        Err(error) => {
            tracing::error!("nobody can log in by this line: {error}");
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_password_is_one_line_that_nobody_else_may_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        let write = |text: &[u8]| {
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("changed");
            password(&path).map_err(|error| error.to_string())
        };
        for text in ["secret", "secret\n", "secret\r\n"] {
            assert_eq!(write(text.as_bytes()).as_deref(), Ok("secret"));
        }
        for text in ["", "\n", " ", " \t\u{a0}\r\n", "two\nlines\n", &"x".repeat(MAX_PASSWORD + 1)] {
            let told = write(text.as_bytes()).expect_err("no password");
            assert!(told.contains("one password") && !told.contains("lines\n"), "{told}");
        }
        for text in ["\u{feff}secret", "\u{feff}", "\u{feff}\n"] {
            let told = write(text.as_bytes()).expect_err("no password");
            assert!(told.contains("begins with a byte order mark") && !told.contains("secret"), "{told}");
        }
        assert!(write(b"\xff").is_err());
        for mode in [0o640, 0o604, 0o660] {
            assert!(write(b"secret").is_ok());
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("changed");
            let told = password(&path).expect_err("others may read it").to_string();
            assert!(told.contains("chmod 600 /"), "{told}");
        }
        assert!(password(folder.path()).is_err());
    }

    #[test]
    fn what_stands_behind_a_byte_order_mark_is_not_taken_for_another_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lines");
        fs::write(&path, "\u{feff}me:1\nyou:2\nme:3\n").expect("written");
        let read = lines(&path, |line| line.split(':').next(), |line| Ok(line.to_owned())).expect("there");
        let told: Vec<_> = read.into_iter().map(|line| line.map_err(|error| error.to_string())).collect();
        let [Err(marked), Ok(you), Err(same)] = &told[..] else { panic!("{told:?}") };
        assert!(marked.contains("lines:1: the file begins with a byte order mark"), "{marked}");
        assert!(same.contains("lines:3: line 1 is of the same"), "{same}");
        assert_eq!(you, "you:2");
    }
}
