//! What `medusa passwd` does: the line of a user in a file is written, replaced or removed; in one for Digest a user has two.
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
use crate::digest::DigestAlgorithm;
use crate::file::{self, FileError, MAX_FILE};
use crate::hash::{Ha1, new_argon2id, token_text};
use crate::htdigest::{self, check_realm};
use crate::htpasswd::{self, WrongLines, check_name, lines};

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
    /// Nobody can have that name, or be of that realm.
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

/// Whose lines of a file are meant.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The name.
    pub user: &'a str,
    /// The realm, in a file for Digest.
    pub realm: Option<&'a str>,
}

impl Owner<'_> {
    fn check(self) -> Result<(), PasswdError> {
        check_name(self.user).and_then(|()| self.realm.map_or(Ok(()), check_realm)).map_err(PasswdError::Name)
    }

    /// What the lines begin with.
    fn key(self) -> String {
        match self.realm {
            None => format!("{}:", self.user),
            Some(realm) => format!("{}:{realm}:", self.user),
        }
    }

    /// The lines of a file that no server will understand.
    fn wrong(self, bytes: &[u8], name: &str) -> Option<WrongLines> {
        match self.realm {
            None => htpasswd::parse(bytes, name).err(),
            Some(realm) => htdigest::parse(bytes, name, realm).err(),
        }
    }
}

/// Gives a user of a file a password. The file is made if there is none, for its owner alone.
///
/// # Errors
///
/// See [`PasswdError`].
pub fn set(path: &Path, owner: Owner<'_>, password: &str) -> Result<Changed, PasswdError> {
    owner.check()?;
    if password.is_empty() || password.len() > MAX_PASSWORD || password.chars().any(char::is_control) {
        return Err(PasswdError::Password);
    }
    let hashes = match owner.realm {
        None => vec![new_hash(password).ok_or(PasswdError::NoRandom)?],
        Some(realm) => {
            let ha1 = Ha1::new(owner.user, realm, password.as_bytes());
            DigestAlgorithm::ALL.into_iter().filter_map(|algorithm| ha1.hash(algorithm)).collect()
        }
    };
    change(path, owner, |before| Ok(replaced(before, owner, &hashes)))
}

/// Gives a user of a file a new token, which is in no file and is returned.
///
/// # Errors
///
/// See [`PasswdError`].
pub fn set_token(path: &Path, user: &str) -> Result<(Changed, Zeroizing<String>), PasswdError> {
    let owner = Owner { user, realm: None };
    owner.check()?;
    let mut random = Zeroizing::new([0; 32]);
    let filled = getrandom(&mut *random, GetRandomFlags::empty()).map_err(|_error| PasswdError::NoRandom)?;
    if filled != random.len() {
        return Err(PasswdError::NoRandom);
    }
    let token = Zeroizing::new(format!("{TOKEN_BEGINS}{}", URL_SAFE_NO_PAD.encode(*random)));
    let hash = token_text(token.as_bytes());
    let changed = change(path, owner, |before| Ok(replaced(before, owner, &[hash])))?;
    Ok((changed, token))
}

/// Removes a user from a file.
///
/// # Errors
///
/// See [`PasswdError`].
pub fn remove(path: &Path, owner: Owner<'_>) -> Result<Changed, PasswdError> {
    change(path, owner, |before| match replaced(before, owner, &[]) {
        (_, Done::Added) => Err(PasswdError::NoUser { path: path.to_owned(), user: owner.user.to_owned() }),
        (after, _) => Ok((after, Done::Removed)),
    })
}

/// The text with other lines for a user, one for each hash; [`Done::Added`] says that there was none before.
fn replaced(before: &[u8], owner: Owner<'_>, hashes: &[String]) -> (Vec<u8>, Done) {
    let mark = if before.starts_with("\u{feff}".as_bytes()) { 3 } else { 0 };
    let (mark, rest) = before.split_at_checked(mark).unwrap_or_default();
    let key = owner.key();
    let windows = rest.ends_with(b"\r\n");
    let mut after = mark.to_vec();
    let (mut new, mut done) = (Some(hashes), Done::Added);
    for old in rest.split_inclusive(|byte| *byte == b'\n') {
        let Some(hash) = old.trim_ascii().strip_prefix(key.as_bytes()) else {
            after.extend(old);
            continue;
        };
        done = Done::Replaced;
        let end: &[u8] = if old.ends_with(b"\r\n") { b"\r\n" } else { b"\n" };
        // A comment, or what else a reader finds behind the hash.
        let comment =
            hash.iter().position(|byte| *byte == b':').and_then(|at| hash.get(at..)).unwrap_or_default();
        // Where there were more, the others go.
        for hash in new.take().unwrap_or_default() {
            after.extend([key.as_bytes(), hash.as_bytes(), comment, end].concat());
        }
    }
    let end = if windows { "\r\n" } else { "\n" };
    if new.is_some_and(|new| !new.is_empty()) && after.len() > mark.len() && !after.ends_with(b"\n") {
        after.push(b'\n');
    }
    for hash in new.unwrap_or_default() {
        after.extend([key.as_bytes(), hash.as_bytes(), end.as_bytes()].concat());
    }
    (after, done)
}

fn change(
    path: &Path,
    owner: Owner<'_>,
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
    Ok(Changed { done, wrong: owner.wrong(&after, &name).map(|wrong| wrong.told(&name)) })
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

    fn of(user: &str) -> Owner<'_> {
        Owner { user, realm: None }
    }

    fn after(before: &str, hash: Option<&str>) -> (String, Done) {
        let hashes: Vec<_> = hash.into_iter().map(str::to_owned).collect();
        let (after, done) = replaced(before.as_bytes(), of("ada"), &hashes);
        (String::from_utf8(after).expect("text"), done)
    }

    #[test]
    fn one_line_changes_and_the_others_stay() {
        let new = Some("2");
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
        assert_eq!(done(set(&path, of("ada"), "secret")), Done::Added);
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, MODE);
        assert_eq!(done(set(&path, of("zoë ö"), "pässwörd")), Done::Added);
        let text = fs::read_to_string(&path).expect("text");
        let hash = text.lines().find_map(|line| line.strip_prefix("zoë ö:")).expect("a line");
        assert!(PasswordHash::parse(hash).expect("a hash").verify("pässwörd".as_bytes()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("changed");
        assert_eq!(done(set(&path, of("ada"), "another")), Done::Replaced);
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o640);
        assert_eq!((has(&path, "ada").expect("read"), has(&path, "ad").expect("read")), (true, false));
        assert_eq!(done(remove(&path, of("ada"))), Done::Removed);
        let told = remove(&path, of("ada")).expect_err("gone").to_string();
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
    fn a_user_of_digest_has_a_line_for_each_algorithm() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users");
        let [ada, bob] = ["ada", "bob"].map(|user| Owner { user, realm: Some("The club") });
        let other = Owner { realm: Some("Bar"), ..ada };
        let done = |changed: Result<Changed, PasswdError>| {
            let Changed { done, wrong } = changed.expect("changed");
            assert_eq!(wrong, None);
            done
        };
        let lines =
            || fs::read_to_string(&path).expect("text").lines().map(str::to_owned).collect::<Vec<_>>();
        // As Apache's htdigest has written it, with MD5 alone.
        let md5 = Ha1::new("ada", "The club", b"old").hash(DigestAlgorithm::Md5).expect("both");
        fs::write(&path, format!("# members\nada:The club:{md5}:since May\n")).expect("written");
        assert_eq!(done(set(&path, ada, "secret")), Done::Replaced);
        assert_eq!(done(set(&path, bob, "secret")), Done::Added);
        assert_eq!(done(set(&path, other, "secret")), Done::Added);
        let text = lines();
        assert_eq!(text.len(), 7, "{text:?}");
        let sha256 = Ha1::new("ada", "The club", b"secret").hash(DigestAlgorithm::Sha256).expect("both");
        assert_eq!(text[1], format!("ada:The club:{sha256}:since May"));
        assert!(text[2].ends_with(":since May") && text[2].len() + 32 == text[1].len());
        assert_eq!(done(remove(&path, ada)), Done::Removed);
        assert!(lines().len() == 5 && lines().iter().all(|line| !line.starts_with("ada:The club:")));
        for realm in ["", "a:b", "a\"b"] {
            let owner = Owner { realm: Some(realm), ..ada };
            assert!(matches!(set(&path, owner, "x"), Err(PasswdError::Name(_))), "{realm}");
        }
    }

    #[test]
    fn what_a_link_leads_to_is_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let [path, link] = ["users", "link"].map(|name| folder.path().join(name));
        fs::write(&path, format!("ada:{SECRET}\n")).expect("written");
        std::os::unix::fs::symlink("users", &link).expect("linked");
        assert_eq!(set(&link, of("bob"), "secret").expect("changed").done, Done::Added);
        assert!(link.is_symlink() && has(&path, "bob").expect("read") && has(&path, "ada").expect("read"));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users");
        for user in ["", "a:b", "a\nb", " a", &"x".repeat(256)] {
            assert!(matches!(set(&path, of(user), "x"), Err(PasswdError::Name(_))), "{user}");
        }
        for password in ["", "a\nb", "\u{7f}", &"x".repeat(256)] {
            assert!(matches!(set(&path, of("ada"), password), Err(PasswdError::Password)), "{password}");
        }
        assert!(!path.exists());
        assert!(matches!(set(folder.path(), of("ada"), "x"), Err(PasswdError::File(_))));
        assert!(matches!(set(&folder.path().join("no/users"), of("ada"), "x"), Err(PasswdError::File(_))));
        assert!(matches!(remove(&path, of("ada")), Err(PasswdError::NoUser { .. })));
        fs::write(&path, "nonsense\n").expect("written");
        let changed = set(&path, of("ada"), "x").expect("changed");
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
                scope.spawn(move || set(path, of(&format!("user{at}")), "secret").expect("changed"));
            }
        });
        assert_eq!(fs::read_to_string(&path).expect("text").lines().count(), 4);
    }
}
