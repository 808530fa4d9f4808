//! Files of lines `NAME:HASH`, as Apache's `htpasswd` and nginx have them.
//!
//! What is behind another colon is a comment, as nginx has it; so is a line that begins with `#`. A byte order mark and the
//! line ends of Windows do no harm.
//!
//! **Invariant:** a file with a line that is not understood is not taken, so that nobody who was to be in it, or to be no longer,
//! is mistaken for somebody else.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::{self, Write as _};
use std::ops::Deref;
use std::sync::Arc;

use crate::MAX_USER;
use crate::hash::{MAX_TEXT, PasswordHash};

/// The longest line, in bytes.
const MAX_LINE: usize = MAX_USER + 1 + MAX_TEXT + 256;

/// The most users.
pub(crate) const MAX_USERS: usize = 65_536;

/// The most wrong lines that are told of.
const TOLD: usize = 8;

/// The users of a file, with the hashes of their passwords.
pub(crate) type Stored = HashMap<Arc<str>, StoredHash>;

/// A hash as it is written, which is not shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct StoredHash(Arc<str>);

impl From<&str> for StoredHash {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl Deref for StoredHash {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A file as it is understood.
#[derive(Debug)]
pub(crate) struct Htpasswd {
    pub(crate) users: Stored,
    /// What is unwise about it, in a line each.
    pub(crate) concerns: Vec<String>,
}

/// The lines of a file that are not understood.
#[derive(Debug, PartialEq, Eq)]
pub struct WrongLines {
    /// The first of them, with what is wrong.
    lines: Vec<(usize, String)>,
    /// The number of all.
    count: usize,
}

impl WrongLines {
    /// The text that tells of them in a file of that name.
    pub fn told(&self, name: &str) -> String {
        let mut told = String::new();
        for (line, why) in &self.lines {
            let before = if told.is_empty() { "" } else { "; " };
            let _written = write!(told, "{before}{name}:{line}: {why}");
        }
        let more = self.count.saturating_sub(self.lines.len());
        if more > 0 {
            let _written = write!(told, "; and {more} more");
        }
        told
    }

    pub(crate) const fn none() -> Self {
        Self { lines: Vec::new(), count: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn add(&mut self, line: usize, why: impl fmt::Display) {
        self.count += 1;
        if self.lines.len() < TOLD {
            self.lines.push((line, why.to_string()));
        }
    }
}

/// The lines of a file, with their numbers and without what ends them; the mark before the first is left out.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    bytes.split(|byte| *byte == b'\n').enumerate().map(|(at, line)| (at + 1, line.trim_ascii()))
}

/// The users of a file of that `name`.
pub(crate) fn parse(bytes: &[u8], name: &str) -> Result<Htpasswd, WrongLines> {
    let mut users = Stored::new();
    let (mut where_is, mut tokens) = (HashMap::new(), HashMap::new());
    let mut wrong = WrongLines::none();
    let (mut concerns, mut concerned, mut weak) = (Vec::new(), 0_usize, 0_usize);
    for (line, bytes) in lines(bytes) {
        if bytes.is_empty() || bytes.starts_with(b"#") {
            continue;
        }
        let (user, text, hash) = match entry(bytes) {
            Ok(entry) => entry,
            Err(why) => {
                wrong.add(line, why);
                continue;
            }
        };
        if users.len() >= MAX_USERS {
            wrong.add(line, format_args!("there are more than {MAX_USERS} users"));
            break;
        }
        match users.entry(user.into()) {
            Entry::Vacant(entry) => {
                entry.insert(text.into());
                where_is.insert(user, line);
            }
            Entry::Occupied(_) => {
                let first = where_is.get(user).copied().unwrap_or_default();
                wrong.add(line, format_args!("this user is in line {first}, too"));
                continue;
            }
        }
        if let Some(digest) = hash.token()
            && let Some(first) = tokens.insert(digest, line)
        {
            wrong.add(line, format_args!("this token is in line {first}, too"));
            continue;
        }
        weak += usize::from(hash.is_weak());
        if let Some(concern) = hash.concern() {
            concerned += 1;
            if concerned <= TOLD {
                concerns.push(format!("{name}:{line}: {concern}"));
            }
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    if concerned > TOLD {
        concerns.push(format!("{name}: and {} more such hashes", concerned - TOLD));
    }
    if weak > 0 {
        concerns.push(format!(
            "{name}: {weak} of its hashes are {{SHA}} or apr1, which whoever sees the file finds out soon; \
             `medusa passwd {name} USER` makes better ones"
        ));
    }
    Ok(Htpasswd { users, concerns })
}

fn entry(line: &[u8]) -> Result<(&str, &str, PasswordHash), String> {
    if line.len() > MAX_LINE {
        return Err(format!("the line has more than {MAX_LINE} bytes"));
    }
    let line = std::str::from_utf8(line).map_err(|_invalid| "the line is not UTF-8".to_owned())?;
    let mut fields = line.splitn(3, ':');
    let (Some(user), Some(text)) = (fields.next(), fields.next()) else {
        return Err("not a line like `name:hash`".to_owned());
    };
    check_name(user)?;
    let hash = PasswordHash::parse(text).map_err(|error| error.to_string())?;
    Ok((user, text, hash))
}

/// Whether a user can have that name.
///
/// # Errors
///
/// A line that says why not.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        Err("a user has no name".to_owned())
    } else if name.len() > MAX_USER {
        Err(format!("the name of a user has more than {MAX_USER} bytes"))
    } else if name.contains(':') || name.chars().any(char::is_control) || name.trim() != name {
        Err("the name of a user has a colon, a control character, or white space around it".to_owned())
    } else {
        Ok(())
    }
}

/// The users of a table that a script gives.
pub(crate) fn of_entries<'a>(
    entries: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Htpasswd, String> {
    let mut users = Stored::new();
    let mut concerns = Vec::new();
    for (user, text) in entries {
        check_name(user)?;
        let hash = PasswordHash::parse(text).map_err(|error| format!("{user}: {error}"))?;
        concerns.extend(hash.concern().map(|concern| format!("{user}: {concern}")));
        if users.len() >= MAX_USERS {
            return Err(format!("there are more than {MAX_USERS} users"));
        }
        if users.insert(user.into(), text.into()).is_some() {
            return Err(format!("{user} is there twice"));
        }
    }
    Ok(Htpasswd { users, concerns })
}

/// Reads such a text as a file of users, for those who test what it is made of.
///
/// # Errors
///
/// The lines that are not understood.
pub fn check(bytes: &[u8]) -> Result<usize, WrongLines> {
    parse(bytes, "users").map(|parsed| parsed.users.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, proptest};

    use super::*;
    use crate::examples::{HASHES, SECRET, TOKEN};

    fn told(text: impl AsRef<[u8]>) -> String {
        parse(text.as_ref(), "f").expect_err("wrong").told("f")
    }

    fn users(text: impl AsRef<[u8]>) -> Vec<String> {
        let parsed = parse(text.as_ref(), "f").unwrap_or_else(|wrong| panic!("{}", wrong.told("f")));
        let mut users: Vec<_> = parsed.users.keys().map(ToString::to_string).collect();
        users.sort();
        users
    }

    #[test]
    fn users_are_read_whatever_ends_the_lines() {
        assert_eq!(users(""), [""; 0]);
        assert_eq!(users(format!("# people\n\nada:{SECRET}\nbob:{SECRET}")), ["ada", "bob"]);
        assert_eq!(
            users(format!("\u{feff}ada:{SECRET}\r\n  # x\r\n\r\nbob:{SECRET}:the second\r\n")),
            ["ada", "bob"]
        );
        assert_eq!(users(format!("  zoë ö:{SECRET}  \n")), ["zoë ö"]);
        let all: Vec<_> =
            HASHES.iter().enumerate().map(|(at, (hash, ..))| format!("user{at}:{hash}")).collect();
        assert_eq!(users(all.join("\n")).len(), HASHES.len());
    }

    #[test]
    fn each_line_that_is_wrong_is_named() {
        let long = "x".repeat(MAX_LINE);
        let name = "x".repeat(MAX_USER + 1);
        let table: [(Vec<u8>, &str); 15] = [
            ("ada\n".into(), "f:1: not a line like `name:hash`"),
            ("\n#\nada:\n".into(), "f:3: there is no hash"),
            (format!(":{SECRET}\n").into(), "f:1: a user has no name"),
            (format!("a\tb:{SECRET}\n").into(), "f:1: the name of a user has a colon, a control"),
            (format!("ada :{SECRET}\n").into(), "f:1: the name of a user has a colon, a control"),
            (
                format!("ada:{SECRET}\nbob:{SECRET}\nada:{SECRET}\n").into(),
                "f:3: this user is in line 1, too",
            ),
            (format!("{name}:{SECRET}").into(), "f:1: the name of a user has more than 255 bytes"),
            (format!("ada:{SECRET}:{long}").into(), "f:1: the line has more than 1024 bytes"),
            (b"ada:\xff\n".into(), "f:1: the line is not UTF-8"),
            ("ada:secret\n".into(), "f:1: a password that is not hashed, or DES-crypt"),
            ("ada:{PLAIN}secret\n".into(), "f:1: a hash of a kind that is not taken"),
            (format!("a:{TOKEN}\nb:{TOKEN}\n").into(), "f:2: this token is in line 1, too"),
            (b"\xff\xfea\0d\0a\0\n".into(), "f:1: the line is not UTF-8"),
            ("\0\0\0\0".into(), "f:1: not a line like"),
            (
                format!("ada:{SECRET}\n<<<<<<<\nbob:x\n").into(),
                "f:2: not a line like `name:hash`; f:3: a password",
            ),
        ];
        for (text, begin) in table {
            let told = told(&text);
            assert!(told.starts_with(begin), "{told}");
            assert!(!told.contains("secret") && !told.contains("PlR7"), "{told}");
        }
        let many = told("x\n".repeat(20));
        assert!(many.contains("f:8:") && !many.contains("f:9:") && many.ends_with("; and 12 more"), "{many}");
    }

    #[test]
    fn what_is_unwise_is_said_of_the_file_or_its_line() {
        let concerns = |text: &str| parse(text.as_bytes(), "f").expect("understood").concerns;
        assert!(concerns(&format!("ada:{SECRET}")).is_empty());
        let dear = SECRET.replace("$04$", "$14$");
        let told = concerns(&format!("ada:{SECRET}\nbob:{dear}\n"));
        assert!(told.len() == 1 && told[0].starts_with("f:2: the cost of bcrypt is 14"), "{told:?}");
        let told = concerns("a:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\nb:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/");
        assert!(told.len() == 1 && told[0].starts_with("f: 2 of its hashes are {SHA} or apr1"), "{told:?}");
        let many: Vec<_> = (0..20).map(|at| format!("u{at}:{dear}")).collect();
        assert_eq!(concerns(&many.join("\n")).len(), TOLD + 1);
    }

    #[test]
    fn a_table_of_a_script_is_held_to_the_same() {
        let of =
            |entries: &[(&str, &str)]| of_entries(entries.iter().copied()).map(|parsed| parsed.users.len());
        assert_eq!(of(&[("ada", SECRET), ("bob", SECRET)]), Ok(2));
        assert!(
            of(&[("ada", "secret")]).expect_err("wrong").starts_with("ada: a password that is not hashed")
        );
        assert!(of(&[("a:b", SECRET)]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_file_makes_it_panic(bytes in any::<Vec<u8>>()) {
            let _parsed = check(&bytes);
        }
    }
}
