//! What `medusa passwd` does: one line of a file of users is written, replaced or removed.
//!
//! **Invariants:** the other lines stay as they are, whatever is in them, and so does what is behind the hash. The file is there whole, old or new, at any time; of
//! two that change it at a time, none undoes what the other did.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use medusa_proto::hex;
use rustix::fs::{FlockOperation, flock};
use rustix::rand::{GetRandomFlags, getrandom};
use zeroize::Zeroizing;

use crate::MAX_PASSWORD;
use crate::file::{self, FileError, MAX_FILE};
use crate::hash::{new_argon2id, token_text};
use crate::htpasswd::{WrongLines, check_name, lines, parse};

/// What a token begins with, so that those who look for secrets in the wrong places find it.
const TOKEN_BEGINS: &str = "medusa_";

/// The permissions of a new file.
const MODE: u32 = 0o600;

/// The reason why a file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum PasswdError {
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Nobody can have that name.
    #[error("{0}")]
    Name(String),
    /// Nobody can log in with that password.
    #[error("a password has 1 to {MAX_PASSWORD} bytes, none of them a control character")]
    Password,
    /// There is no such user to be removed.
    #[error("{path} has no user {user}", path = path.display())]
    NoUser {
        /// The file.
        path: PathBuf,
        /// The name.
        user: String,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes to make a hash with")]
    NoRandom,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// There was no such user.
    Added,
    /// The user has a new password.
    Replaced,
    /// The user is gone.
    Removed,
}

/// A file that was changed.
#[derive(Debug)]
pub struct Changed {
    /// How.
    pub done: Done,
    /// The lines that a server will not understand, and so take no version of the file; none if it will take this.
    pub wrong: Option<String>,
}

/// A hash for a new password, by Argon2id; none if the system gives no random bytes.
pub fn new_hash(password: &str) -> Option<String> {
    new_argon2id(password.as_bytes())
}

/// Gives a user of a file a password. The file is made if there is none, for its owner alone.
///
/// # Errors
///
/// See [`PasswdError`].
pub fn set(path: &Path, user: &str, password: &str) -> Result<Changed, PasswdError> {
    check_name(user).map_err(PasswdError::Name)?;
    if password.is_empty() || password.len() > MAX_PASSWORD || password.chars().any(char::is_control) {
        return Err(PasswdError::Password);
    }
    let hash = new_hash(password).ok_or(PasswdError::NoRandom)?;
    change(path, |before| Ok(replaced(before, user, Some(&format!("{user}:{hash}")))))
}

/// Gives a user of a file a new token, which is in no file and is returned.
///
/// # Errors
///
/// See [`PasswdError`].
pub fn set_token(path: &Path, user: &str) -> Result<(Changed, Zeroizing<String>), PasswdError> {
    check_name(user).map_err(PasswdError::Name)?;
    let mut random = Zeroizing::new([0; 32]);
    let filled = getrandom(&mut *random, GetRandomFlags::empty()).map_err(|_error| PasswdError::NoRandom)?;
    if filled != random.len() {
        return Err(PasswdError::NoRandom);
    }
    let token = Zeroizing::new(format!("{TOKEN_BEGINS}{}", URL_SAFE_NO_PAD.encode(*random)));
    let hash = token_text(token.as_bytes());
    let changed = change(path, |before| Ok(replaced(before, user, Some(&format!("{user}:{hash}")))))?;
    Ok((changed, token))
}

/// Removes a user from a file.
///
/// # Errors
///
/// See [`PasswdError`].
pub fn remove(path: &Path, user: &str) -> Result<Changed, PasswdError> {
    change(path, |before| match replaced(before, user, None) {
        (_, Done::Added) => Err(PasswdError::NoUser { path: path.to_owned(), user: user.to_owned() }),
        (after, _) => Ok((after, Done::Removed)),
    })
}

/// The text with another line for a user, or with none; [`Done::Added`] says that there was none before.
fn replaced(before: &[u8], user: &str, line: Option<&str>) -> (Vec<u8>, Done) {
    let mark = if before.starts_with("\u{feff}".as_bytes()) { 3 } else { 0 };
    let (mark, rest) = before.split_at_checked(mark).unwrap_or_default();
    let is_theirs = |line: &[u8]| {
        let line = line.trim_ascii();
        line.strip_prefix(user.as_bytes()).is_some_and(|rest| rest.first() == Some(&b':'))
    };
    let mut after = mark.to_vec();
    let (mut line, mut done) = (line, Done::Added);
    for old in rest.split_inclusive(|byte| *byte == b'\n') {
        if !is_theirs(old) {
            after.extend(old);
            continue;
        }
        done = Done::Replaced;
        let end: &[u8] = if old.ends_with(b"\r\n") { b"\r\n" } else { b"\n" };
        // Where there were two, the second goes.
        if let Some(line) = line.take() {
            after.extend(line.as_bytes());
            // A comment, or what else a reader finds behind the hash.
            let old = old.trim_ascii_end();
            after.extend(
                old.splitn(3, |byte| *byte == b':')
                    .nth(2)
                    .map(|rest| [b":", rest].concat())
                    .unwrap_or_default(),
            );
            after.extend(end);
        }
    }
    if let Some(line) = line {
        let windows = rest.ends_with(b"\r\n");
        if !after.is_empty() && after.len() > mark.len() && !after.ends_with(b"\n") {
            after.push(b'\n');
        }
        after.extend(line.as_bytes());
        after.extend(if windows { "\r\n" } else { "\n" }.as_bytes());
    }
    (after, done)
}

fn change(
    path: &Path,
    edit: impl FnOnce(&[u8]) -> Result<(Vec<u8>, Done), PasswdError>,
) -> Result<Changed, PasswdError> {
    let failed = |what, source| FileError::Write { what, path: path.to_owned(), source };
    // What a link leads to is changed, and the link stays.
    let real = fs::canonicalize(path).unwrap_or_else(|_new| path.to_owned());
    let name = real.file_name().ok_or_else(|| failed("write", io::ErrorKind::InvalidFilename.into()))?;
    let folder = real.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder_file = File::open(folder).map_err(|source| failed("open the folder of", source))?;
    // Until this returns, nobody else changes a file there.
    flock(&folder_file, FlockOperation::LockExclusive).map_err(|error| failed("lock", error.into()))?;
    let old = match file::read(&real) {
        Ok(old) => Some(old),
        Err(FileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let (after, done) = edit(old.as_ref().map_or(&[], |old| &old.bytes))?;
    if after.len() as u64 > MAX_FILE {
        return Err(FileError::TooLarge(path.to_owned()).into());
    }
    let mut random = [0; 8];
    getrandom(&mut random, GetRandomFlags::empty()).map_err(|_error| PasswdError::NoRandom)?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}", hex::lower(&random)));
    let temporary = Unfinished(folder.join(temporary));
    let mut new = File::options()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&temporary.0)
        .map_err(|source| failed("write", source))?;
    new.write_all(&after).map_err(|source| failed("write", source))?;
    if let Some(old) = &old {
        let us = file::owner(&new).map_err(|source| failed("write", source))?;
        if us != old.owner {
            let (user, group) = old.owner;
            fchown(&new, Some(user), Some(group)).map_err(|source| failed("keep the owner of", source))?;
        }
        let kept = fs::Permissions::from_mode(old.mode);
        new.set_permissions(kept).map_err(|source| failed("keep the permissions of", source))?;
    }
    new.sync_all().map_err(|source| failed("write", source))?;
    fs::rename(&temporary.0, &real).map_err(|source| failed("replace", source))?;
    folder_file.sync_all().map_err(|source| failed("write", source))?;
    let name = path.display().to_string();
    let wrong: Option<WrongLines> = parse(&after, &name).err();
    Ok(Changed { done, wrong: wrong.map(|wrong| wrong.told(&name)) })
}

/// A file that is removed unless it was renamed.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It is not there any more, if all went well.
        let _gone = fs::remove_file(&self.0);
    }
}

/// Whether a file has that user.
///
/// # Errors
///
/// It cannot be read.
pub fn has(path: &Path, user: &str) -> Result<bool, FileError> {
    let read = file::read(path)?;
    let has =
        |line: &[u8]| line.strip_prefix(user.as_bytes()).is_some_and(|rest| rest.first() == Some(&b':'));
    Ok(lines(&read.bytes).any(|(_, line)| has(line)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::PasswordHash;
    use crate::examples::SECRET;

    fn after(before: &str, line: Option<&str>) -> (String, Done) {
        let (after, done) = replaced(before.as_bytes(), "ada", line);
        (String::from_utf8(after).expect("text"), done)
    }

    #[test]
    fn one_line_changes_and_the_others_stay() {
        let new = Some("ada:2");
        let table = [
            ("", new, "ada:2\n", Done::Added),
            ("\u{feff}", new, "\u{feff}ada:2\n", Done::Added),
            ("bob:1", new, "bob:1\nada:2\n", Done::Added),
            ("bob:1\r\n", new, "bob:1\r\nada:2\r\n", Done::Added),
            ("# x\nada:1\nbob:1\n", new, "# x\nada:2\nbob:1\n", Done::Replaced),
            ("\u{feff}ada:1\r\nbob:1", new, "\u{feff}ada:2\r\nbob:1", Done::Replaced),
            ("adam:1\nad:1\nada:1:x:y \nada:3", new, "adam:1\nad:1\nada:2:x:y\n", Done::Replaced),
            ("#ada:1\n", new, "#ada:1\nada:2\n", Done::Added),
            ("bob:1\n ada:1 \nnonsense", None, "bob:1\nnonsense", Done::Replaced),
            ("bob:1", None, "bob:1", Done::Added),
        ];
        for (before, line, expected, done) in table {
            assert_eq!(after(before, line), (expected.to_owned(), done), "{before:?}");
        }
    }

    #[test]
    fn a_file_is_made_for_its_owner_and_changed_in_one_step() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users");
        let done = |changed: Result<Changed, PasswdError>| changed.expect("changed").done;
        assert_eq!(done(set(&path, "ada", "secret")), Done::Added);
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, MODE);
        assert_eq!(done(set(&path, "zoë ö", "pässwörd")), Done::Added);
        let text = fs::read_to_string(&path).expect("text");
        let hash = text.lines().find_map(|line| line.strip_prefix("zoë ö:")).expect("a line");
        assert!(PasswordHash::parse(hash).expect("a hash").verify("pässwörd".as_bytes()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("changed");
        assert_eq!(done(set(&path, "ada", "another")), Done::Replaced);
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o640);
        assert_eq!((has(&path, "ada").expect("read"), has(&path, "ad").expect("read")), (true, false));
        assert_eq!(done(remove(&path, "ada")), Done::Removed);
        let told = remove(&path, "ada").expect_err("gone").to_string();
        assert!(told.ends_with("users has no user ada"), "{told}");
        assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_token_is_made_here_and_stored_nowhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users");
        let (changed, token) = set_token(&path, "ci").expect("changed");
        assert_eq!((changed.done, changed.wrong), (Done::Added, None));
        assert!(token.starts_with("medusa_") && token.len() == 7 + 43, "{}", *token);
        let text = fs::read_to_string(&path).expect("text");
        let hash = text.trim_end().strip_prefix("ci:").expect("a line");
        assert!(
            PasswordHash::parse(hash).expect("a hash").verify(token.as_bytes()) && !text.contains(&*token)
        );
        let (changed, other) = set_token(&path, "ci").expect("changed");
        assert!(changed.done == Done::Replaced && other != token);
    }

    #[test]
    fn what_a_link_leads_to_is_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let [path, link] = ["users", "link"].map(|name| folder.path().join(name));
        fs::write(&path, format!("ada:{SECRET}\n")).expect("written");
        std::os::unix::fs::symlink("users", &link).expect("linked");
        assert_eq!(set(&link, "bob", "secret").expect("changed").done, Done::Added);
        assert!(link.is_symlink() && has(&path, "bob").expect("read") && has(&path, "ada").expect("read"));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users");
        for user in ["", "a:b", "a\nb", " a", &"x".repeat(256)] {
            assert!(matches!(set(&path, user, "x"), Err(PasswdError::Name(_))), "{user}");
        }
        for password in ["", "a\nb", "\u{7f}", &"x".repeat(256)] {
            assert!(matches!(set(&path, "ada", password), Err(PasswdError::Password)), "{password}");
        }
        assert!(!path.exists());
        assert!(matches!(set(folder.path(), "ada", "x"), Err(PasswdError::File(_))));
        assert!(matches!(set(&folder.path().join("no/users"), "ada", "x"), Err(PasswdError::File(_))));
        assert!(matches!(remove(&path, "ada"), Err(PasswdError::NoUser { .. })));
        fs::write(&path, "nonsense\n").expect("written");
        let changed = set(&path, "ada", "x").expect("changed");
        let wrong = changed.wrong.expect("a line that is wrong");
        assert!(wrong.ends_with("users:1: not a line like `name:hash`"), "{wrong}");
        assert!(fs::read_to_string(&path).expect("text").starts_with("nonsense\nada:$argon2id$"));
    }

    #[test]
    fn of_two_at_a_time_none_undoes_the_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users");
        std::thread::scope(|scope| {
            for at in 0..4 {
                let path = &path;
                scope.spawn(move || set(path, &format!("user{at}"), "secret").expect("changed"));
            }
        });
        assert_eq!(fs::read_to_string(&path).expect("text").lines().count(), 4);
    }
}
