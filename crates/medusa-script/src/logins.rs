//! The sessions of users who have logged in: what signs them, and which were ended, in the state directory.
//!
//! `signing.key` has a key of 32 random bytes that nobody but the server's user may read, and behind it older ones, which sign nothing
//! any more and are known all the same; it is made when it is first needed. `sessions.ended` has what was ended before its time. Without
//! a state directory, both are the process's and end with it.

use std::fmt::Display;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use medusa_auth::Secret;
use medusa_auth::sessions::LoginSessions;
use medusa_auth::signing::SigningKeys;
use parking_lot::Mutex;

use crate::state_file;

const KEY: &str = "signing.key";
const ENDED: &str = "sessions.ended";

/// The longest list of ended sessions: that of as many users as are remembered, with the longest names.
const LONGEST_ENDED: u64 = 8 * 1024 * 1024;

/// The sessions of an engine, made when they are first asked for.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    state: Option<Arc<Path>>,
    made: Mutex<Option<Arc<LoginSessions>>>,
}

impl Logins {
    /// Those that are kept in `state`.
    pub(crate) fn new(state: Option<&Path>) -> Self {
        Self { state: state.map(Into::into), made: Mutex::default() }
    }

    /// The sessions, with the key as it is now. An error is for the operator.
    pub(crate) fn sessions(&self) -> Result<Arc<LoginSessions>, String> {
        let mut made = self.made.lock();
        let sessions = match (&*made, &self.state) {
            (Some(sessions), None) => Arc::clone(sessions),
            (Some(sessions), Some(state)) => {
                sessions.set_keys(&keys(&state.join(KEY))?);
                Arc::clone(sessions)
            }
            (None, None) => {
                let keys = SigningKeys::random().map_err(|error| error.to_string())?;
                LoginSessions::new(&keys, None, None).map_err(|error| error.to_string())?
            }
            (None, Some(state)) => {
                let (keys, path) = (keys(&state.join(KEY))?, state.join(ENDED));
                let ended = ended(&path).map_err(|error| told(&path, error))?;
                let save = {
                    let path = path.clone();
                    move |text: &[u8]| state_file::replace(&path, text)
                };
                let sessions = LoginSessions::new(&keys, ended.as_deref(), Some(Box::new(save)));
                let what = "restore the file; without it, sessions that were ended would go on, unless the key is removed, too";
                sessions.map_err(|error| told(&path, format_args!("{error}: {what}")))?
            }
        };
        *made = Some(Arc::clone(&sessions));
        Ok(sessions)
    }
}

fn told(path: &Path, error: impl Display) -> String {
    format!("{}: {error}", path.display())
}

/// The keys in a file, which is made if it is not there.
fn keys(path: &Path) -> Result<SigningKeys, String> {
    let refused = |error: io::Error| told(path, error);
    let Some(file) = state_file::open(path, SigningKeys::LONGEST as u64).map_err(refused)? else {
        let keys = SigningKeys::random().map_err(refused)?;
        state_file::replace(path, &keys.bytes()).map_err(refused)?;
        return Ok(keys);
    };
    if file.metadata().map_err(refused)?.mode() & 0o077 != 0 {
        let path = path.display();
        return Err(format!("{path}: others may read this key or change it; `chmod 600 {path}`"));
    }
    let mut bytes = Vec::with_capacity(SigningKeys::LONGEST);
    file.take(SigningKeys::LONGEST as u64).read_to_end(&mut bytes).map_err(refused)?;
    SigningKeys::parse(Secret::from(bytes).bytes()).ok_or_else(|| {
        told(path, "a key has 32 bytes, and there are 4 at the most; restore it, or remove it, which logs everybody out")
    })
}

/// What was ended before, if anything was.
fn ended(path: &Path) -> io::Result<Option<String>> {
    let Some(file) = state_file::open(path, LONGEST_ENDED)? else { return Ok(None) };
    let mut text = String::new();
    file.take(LONGEST_ENDED).read_to_string(&mut text)?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_for_nobody_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(KEY);
        let logins = Logins::new(Some(folder.path()));
        let sessions = logins.sessions().expect("they are made");
        let key = fs::read(&path).expect("a key");
        assert_eq!((key.len(), fs::metadata(&path).expect("a file").mode() & 0o777), (32, 0o600));
        assert!(Arc::ptr_eq(&sessions, &logins.sessions().expect("the same")));
        Logins::new(Some(folder.path())).sessions().expect("they are there");
        assert_eq!(fs::read(&path).expect("a key"), key);
    }

    #[test]
    fn a_key_that_is_none_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(KEY);
        let error = || Logins::new(Some(folder.path())).sessions().expect_err("it is refused");
        fs::write(&path, [7; 31]).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("set");
        assert!(error().contains("signing.key: a key has 32 bytes"), "{}", error());
        fs::write(&path, [7; 64]).expect("written");
        Logins::new(Some(folder.path())).sessions().expect("two keys");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("set");
        assert!(error().contains("chmod 600"), "{}", error());
        fs::remove_file(&path).expect("removed");
        fs::write(folder.path().join(ENDED), "medusa ended sessions 1\nx\n").expect("written");
        assert!(error().contains("sessions.ended: line 2 is not understood"), "{}", error());
    }

    #[test]
    fn without_a_place_for_them_they_are_the_process() {
        let logins = Logins::default();
        let sessions = logins.sessions().expect("they are made");
        assert!(Arc::ptr_eq(&sessions, &logins.sessions().expect("the same")));
    }
}
