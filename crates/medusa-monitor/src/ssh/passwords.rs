//! Passwords that may log in: a file of lines `name:hash`, `name:hash:role` or `name:hash:OPTIONS` ([`options`]), each
//! hash Argon2id in the PHC format.
//!
//! **Invariants:** a password is checked on a blocking thread, few at a time, so that guesses can take neither the thread nor
//! all memory. For a name that is not there the same work is done as for one that is.

use std::path::Path;
use std::sync::Arc;

use medusa_auth::{PasswordHash, Scheme};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::options::{self, LoginOptions};
use crate::identity::Role;
use crate::login_files::{self, LoginFile, LoginFileError, MAX_PASSWORD};

/// The most that are checked at a time.
const AT_ONCE: usize = 2;

static CHECKS: Semaphore = Semaphore::const_new(AT_ONCE);

/// A name with the hash of its password.
pub(super) struct PasswordEntry {
    name: String,
    hash: PasswordHash,
    options: LoginOptions,
}

/// The entries of a file.
pub(super) fn read(path: &Path) -> Result<Vec<Result<PasswordEntry, LoginFileError>>, LoginFileError> {
    login_files::lines(path, |line| line.split(':').next(), parse)
}

fn parse(line: &str) -> Result<PasswordEntry, String> {
    const FORM: &str = "not a line like `name:$argon2id$v=19$m=19456,t=2,p=1$salt$hash`";
    let mut fields = line.splitn(3, ':');
    let (Some(name), Some(hash)) = (fields.next(), fields.next()) else { return Err(FORM.into()) };
    let options = match fields.next() {
        None => LoginOptions::default(),
        Some(text) if Role::named(text).is_none() => match LoginOptions::parse(text)? {
            (options, "") => options,
            _ => return Err(FORM.into()),
        },
        Some(name) => LoginOptions::of(options::role(name)?),
    };
    if name.is_empty() {
        return Err(FORM.into());
    }
    // The text is not told: it is what guesses are compared with.
    let hash = PasswordHash::parse(hash).map_err(|error| error.to_string())?;
    if hash.scheme() != Scheme::Argon2id {
        return Err(format!("the hash is made by {}, not by Argon2id", hash.scheme()));
    }
    Ok(PasswordEntry { name: name.to_owned(), hash, options })
}

/// What whoever has this name and password may do; none if nobody has.
pub(super) async fn check(
    file: &Arc<LoginFile<PasswordEntry>>,
    name: &str,
    password: &str,
) -> Option<LoginOptions> {
    if password.len() > MAX_PASSWORD {
        return None;
    }
    let turn = CHECKS.acquire().await.ok()?;
    let (file, name, password) = (Arc::clone(file), name.to_owned(), password.to_owned());
    let checked = spawn_blocking(move || {
        // Also if nobody waits for it any more.
        let _turn = turn;
        let entries = file.good_lines();
        let known = entries.iter().find(|entry| entry.name == name);
        // Somebody else's, if there is no such name: it takes as long.
        let hash = &known.or(entries.first())?.hash;
        let fits = hash.verify(password.as_bytes());
        known.filter(|_| fits).map(|entry| entry.options.clone())
    });
    checked.await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::super::tests::HASH;
    use super::*;

    #[tokio::test]
    async fn a_password_is_that_of_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("passwords");
        let hash = HASH;
        std::fs::write(
            &path,
            format!(
                "# people\nme:{hash}\n\nyou:{hash}:view\nbad:x\nthey:{hash}:role=\"operate\",from=\"::1\"\n"
            ),
        )
        .expect("written");
        let file = Arc::new(LoginFile::open(&path, read));
        let check =
            async |name, password| check(&file, name, password).await.map(|options| options.rights.role);
        assert_eq!(check("me", "secret").await, Some(Role::Program));
        assert_eq!(check("you", "secret").await, Some(Role::View));
        assert_eq!(check("they", "secret").await, Some(Role::Operate));
        assert_eq!(check("me", "Secret").await, None);
        assert_eq!(check("nobody", "secret").await, None);
        assert_eq!(check("bad", "x").await, None);
        let lines = read(&path).expect("there");
        let told = lines.into_iter().find_map(Result::err).expect("the last").to_string();
        assert!(told.contains("passwords:5: a password that is not hashed"), "{told}");
    }

    #[test]
    fn only_argon2id_within_bounds_is_taken() {
        let hash = HASH;
        let told = |line: &str| parse(line).map(|_| ()).expect_err("an error");
        assert!(told("me").contains("not a line"));
        assert!(told(&format!(":{hash}")).contains("not a line"));
        assert!(told(&format!("me:{hash}:king")).contains("king"));
        let parsed = parse(&format!("me:{hash}:approval,reason")).unwrap_or_else(|why| panic!("{why}"));
        assert!(parsed.options.rights.approval && parsed.options.rights.reason);
        assert!(told(&format!("me:{hash}:role=\"view\" x")).contains("not a line"));
        assert!(told(&format!("me:{hash}:restrict=\"x\"")).contains("restrict"));
        assert!(told(&format!("me:{}", hash.replace("argon2id", "argon2i"))).contains("only Argon2id"));
        assert!(told(&format!("me:{}", hash.replace("m=64", "m=1048576"))).contains("the most is 262144"));
        let bcrypt = "me:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
        assert!(told(bcrypt).contains("made by bcrypt, not by Argon2id"));
    }
}
