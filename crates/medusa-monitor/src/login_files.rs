//! The files of servers that people log in to: read within bounds, only where nobody but the server's user and root may have
//! written them, and secrets only where nobody else may read them.
//!
//! **Invariant:** [`read`] alone opens such a file, and refuses it unless it [is trusted](trust).

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use medusa_files::regular;
use medusa_proto::with_causes;
use parking_lot::Mutex;
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
    /// Somebody else may write what says who may log in.
    #[error("others than its owner may write {path:?}: `chmod go-w {}`", path.display())]
    Writable {
        /// The file, or its directory.
        path: PathBuf,
    },
    /// It was written by somebody else.
    #[error(
        "{path:?} belongs to uid {owner}, neither to this server's user (uid {us}) nor to root: `chown {us} {}`",
        path.display()
    )]
    OfAnother {
        /// The file, or its directory.
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

impl LoginFileError {
    /// Whether others may have written what is there.
    const fn is_distrust(&self) -> bool {
        matches!(self, Self::Writable { .. } | Self::OfAnother { .. })
    }
}

/// The text of a file that holds a secret: nobody else may read it.
pub(crate) fn secret(path: &Path) -> Result<String, LoginFileError> {
    read(path, |metadata| match metadata.mode() & 0o077 {
        0 => Ok(()),
        _ => Err(LoginFileError::Exposed { path: path.to_owned() }),
    })
}

/// Refuses what somebody else than the server's user and root owns or may write.
fn trust(path: &Path, metadata: &Metadata) -> Result<(), LoginFileError> {
    let (us, owner) = (rustix::process::geteuid().as_raw(), metadata.uid());
    if owner != us && owner != 0 {
        Err(LoginFileError::OfAnother { path: path.to_owned(), owner, us })
    } else if metadata.mode() & 0o022 != 0 {
        Err(LoginFileError::Writable { path: path.to_owned() })
    } else {
        Ok(())
    }
}

/// Refuses a directory in which somebody else could put another file in the place of this one, whether by its name or, where that
/// is a link, by the one it leads to.
pub(crate) fn trust_directory(path: &Path) -> Result<(), LoginFileError> {
    let error = |source| LoginFileError::Read { path: path.to_owned(), source };
    let named = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let real = fs::canonicalize(path).ok();
    for directory in [Some(named), real.as_deref().and_then(Path::parent)].into_iter().flatten() {
        trust(directory, &fs::metadata(directory).map_err(error)?)?;
    }
    Ok(())
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
    let error = |source: io::Error| match source.kind() {
        io::ErrorKind::FileTooLarge => LoginFileError::TooLarge(path.to_owned()),
        _ => LoginFileError::Read { path: path.to_owned(), source },
    };
    let (file, metadata) = regular::open(path).map_err(error)?;
    fit(&metadata)?;
    trust(path, &metadata)?;
    trust_directory(path)?;
    let text = String::from_utf8(regular::read_within(&file, MAX_FILE).map_err(error)?);
    text.map_err(|no_text| error(io::Error::new(io::ErrorKind::InvalidData, no_text.utf8_error())))
}

/// The lines, parsed, without comments and empty ones; each by itself, so that one that is wrong costs no others, but for those
/// with the same `subject`: what it was to take from that, the others do not give.
pub(crate) fn lines<T>(
    path: &Path,
    subject: impl Fn(&str) -> Option<&str>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<Result<T, LoginFileError>>, LoginFileError> {
    let text = read(path, |_| Ok(()))?;
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

/// What reads the lines of a file: [`lines`], parsed as is fit.
type ReadLines<T> = fn(&Path) -> Result<Vec<Result<T, LoginFileError>>, LoginFileError>;

/// The file of a running server, read at each login: what is wrong with it is told once. While others may have written it, what
/// was read before holds, so that they let nobody in and lock nobody out.
#[derive(Debug)]
pub(crate) struct LoginFile<T> {
    path: PathBuf,
    read: ReadLines<T>,
    known: Mutex<KnownLines<T>>,
}

#[derive(Debug)]
struct KnownLines<T> {
    good: Arc<[T]>,
    /// What was told of it last.
    told: Vec<String>,
}

impl<T> LoginFile<T> {
    /// The file as it is now.
    pub(crate) fn open(path: &Path, read: ReadLines<T>) -> Self {
        let known = Mutex::new(KnownLines { good: Arc::new([]), told: Vec::new() });
        let file = Self { path: path.to_owned(), read, known };
        file.good_lines();
        file
    }

    /// The lines that can be understood.
    pub(crate) fn good_lines(&self) -> Arc<[T]> {
        let mut known = self.known.lock();
        let told: Vec<_> = match (self.read)(&self.path) {
            Ok(lines) => {
                let (good, wrong): (Vec<_>, Vec<_>) = lines.into_iter().partition(Result::is_ok);
                known.good = good.into_iter().filter_map(Result::ok).collect();
                let wrong = wrong.into_iter().filter_map(Result::err);
                wrong.map(|error| format!("nobody can log in by this line: {error}")).collect()
            }
            Err(error) if error.is_distrust() => {
                vec![format!("until that is mended, those log in who could before: {error}")]
            }
            Err(error) => {
                known.good = Arc::new([]);
                vec![format!("nobody can log in by this file: {}", with_causes(&error))]
            }
        };
        if told != known.told {
            for told in &told {
                tracing::error!("{told}");
            }
            known.told = told;
        }
        Arc::clone(&known.good)
    }
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

    /// Changes the owner, which only root can.
    fn give_away(path: &Path) -> bool {
        let is_root = rustix::process::geteuid().is_root();
        is_root && std::os::unix::fs::chown(path, Some(65534), None).is_ok()
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("changed");
    }

    #[test]
    fn what_others_may_have_written_is_refused_with_its_directory_and_behind_a_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let [real, linked] = ["real", "linked"].map(|name| folder.path().join(name));
        for directory in [&real, &linked] {
            fs::create_dir(directory).expect("made");
            set_mode(directory, 0o755);
        }
        let (path, link) = (real.join("file"), linked.join("file"));
        fs::write(&path, "me\n").expect("written");
        std::os::unix::fs::symlink(&path, &link).expect("made");
        let told = |path: &Path| {
            let read = lines(path, |_| None, |line| Ok(line.to_owned()));
            read.map(|lines| lines.len()).map_err(|error| error.to_string())
        };
        set_mode(&path, 0o644);
        assert_eq!((told(&path), told(&link)), (Ok(1), Ok(1)), "others may read it");
        for (place, usual) in [(&path, 0o644), (&real, 0o755), (&linked, 0o755)] {
            for mode in [0o020, 0o002, 0o1022] {
                set_mode(place, usual | mode);
                let refused = told(&link).expect_err("others may write");
                let named = if *place == path { &link } else { place };
                assert!(refused.ends_with(&format!("`chmod go-w {}`", named.display())), "{refused}");
                assert_eq!(told(&path).is_ok(), *place == linked, "it is another directory");
            }
            set_mode(place, usual);
        }
        set_mode(&path, 0o600);
        assert!(secret(&link).is_ok());
        set_mode(&linked, 0o777);
        assert!(secret(&link).expect_err("others may write").to_string().contains("chmod go-w"));
        set_mode(&linked, 0o755);
        for place in [&path, &real, &linked] {
            if !give_away(place) {
                return eprintln!("skipped: only root can give a file away");
            }
            for refused in [told(&link), secret(&link).map(|_| 0).map_err(|error| error.to_string())] {
                let refused = refused.expect_err("another's");
                assert!(refused.contains("belongs to uid 65534, neither to this server's user"), "{refused}");
            }
            std::os::unix::fs::chown(place, Some(0), None).expect("changed");
        }
    }

    #[test]
    fn what_was_read_before_holds_while_others_may_write() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let write = |text: &str| fs::write(&path, text).expect("written");
        write("me");
        set_mode(&path, 0o644);
        let file = LoginFile::open(&path, |path| {
            lines(path, |_| None, |line| if line == "bad" { Err("no".into()) } else { Ok(line.to_owned()) })
        });
        let good = || file.good_lines().join(" ");
        let told = || file.known.lock().told.join("; ");
        assert_eq!((good(), told()), ("me".into(), String::new()));
        set_mode(&path, 0o666);
        write("me\nevil");
        assert_eq!(good(), "me");
        assert!(told().starts_with("until that is mended, those log in who could before: "), "{}", told());
        set_mode(&path, 0o644);
        write("you\nbad");
        assert_eq!(good(), "you");
        assert!(told().contains("nobody can log in by this line: ") && told().ends_with("file:2: no"));
        fs::remove_file(&path).expect("removed");
        assert_eq!(good(), "", "nobody's any more");
        write("me");
        set_mode(&path, 0o666);
        assert_eq!(good(), "", "not those of before it was removed");
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
