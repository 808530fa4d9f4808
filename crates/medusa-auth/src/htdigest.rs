//! Files of lines `NAME:REALM:HA1`, as Apache's `htdigest` makes them, with MD5; one with SHA-256 has twice the digits, and stands in a
//! line of its own. Else they are like files of [`htpasswd`](crate::htpasswd): so is what is behind another colon, and what begins with `#`.
//!
//! **Invariant:** all users of a realm that are taken have a hash by one algorithm at least that all of them have: a client chooses by
//! what it is offered, before anybody knows who it is.

use std::collections::BTreeMap;

use crate::digest::DigestAlgorithm;
use crate::hash::Ha1;
use crate::htpasswd::{Htpasswd, MAX_USERS, Stored, StoredHash, WrongLines, check_name, lines};
use crate::{MAX_REALM, MAX_USER};

/// The longest line, in bytes.
const MAX_LINE: usize = MAX_USER + MAX_REALM + 512;

/// Whether a realm can stand in a file, and in a challenge as it stands there: clients differ in what they make of a backslash.
///
/// # Errors
///
/// A line that says why not.
pub fn check_realm(realm: &str) -> Result<(), String> {
    let is_wrong = |letter: char| letter.is_control() || matches!(letter, ':' | '"' | '\\');
    if (1..=MAX_REALM).contains(&realm.len()) && !realm.contains(is_wrong) && realm.trim() == realm {
        return Ok(());
    }
    Err(format!(
        "a realm of Digest has 1 to {MAX_REALM} bytes, no colon, quote, backslash or control character, and no white space around it"
    ))
}

/// The users of a `realm` in a file of that `name`.
pub(crate) fn parse(bytes: &[u8], name: &str, realm: &str) -> Result<Htpasswd, WrongLines> {
    let mut users: BTreeMap<&str, (usize, Ha1)> = BTreeMap::new();
    let (mut wrong, mut other) = (WrongLines::none(), None);
    for (line, bytes) in lines(bytes) {
        if bytes.is_empty() || bytes.starts_with(b"#") {
            continue;
        }
        let (user, of, digits) = match entry(bytes) {
            Ok(entry) => entry,
            Err(why) => {
                wrong.add(line, why);
                continue;
            }
        };
        if of != realm {
            // It must be right all the same: the file is one.
            if Ha1::of(user, of).add(digits).is_none() {
                wrong.add(line, NO_HASH);
            }
            other.get_or_insert(of);
            continue;
        }
        if users.len() >= MAX_USERS && !users.contains_key(user) {
            wrong.add(line, format_args!("there are more than {MAX_USERS} users"));
            break;
        }
        let (first, ha1) = users.entry(user).or_insert_with(|| (line, Ha1::of(user, realm)));
        match ha1.add(digits) {
            Some(true) => {}
            Some(false) => wrong.add(line, format_args!("this user is in line {first}, or behind it, too")),
            None => wrong.add(line, NO_HASH),
        }
    }
    let lacks = |algorithm| users.iter().find(move |(_, (_, ha1))| ha1.hash(algorithm).is_none());
    if let [Some((one, (line, _))), Some((another, _))] = DigestAlgorithm::ALL.map(lacks)
        && wrong.is_empty()
    {
        wrong.add(
            *line,
            format_args!(
                "{one} has no hash by SHA-256, and {another} none by MD5: no client can do for all; \
                 `medusa passwd --digest {realm:?} {name} USER` writes both"
            ),
        );
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let mut concerns = Vec::new();
    if let (true, Some(other)) = (users.is_empty(), other) {
        concerns.push(format!("{name}: nobody is of the realm {realm:?}; there are users of {other:?}"));
    }
    let stored = |(user, (_, ha1)): (&str, (usize, Ha1))| (user.into(), StoredHash::from(&*ha1.text()));
    Ok(Htpasswd { users: users.into_iter().map(stored).collect::<Stored>(), concerns })
}

const NO_HASH: &str = "what stands behind the realm is no hash: 32 hexadecimal digits (MD5) or 64 (SHA-256)";

fn entry(line: &[u8]) -> Result<(&str, &str, &str), String> {
    if line.len() > MAX_LINE {
        return Err(format!("the line has more than {MAX_LINE} bytes"));
    }
    let line = str::from_utf8(line).map_err(|_invalid| "the line is not UTF-8".to_owned())?;
    let mut fields = line.splitn(4, ':');
    let (Some(user), Some(realm), Some(digits)) = (fields.next(), fields.next(), fields.next()) else {
        return Err("not a line like `name:realm:hash`".to_owned());
    };
    check_name(user)?;
    check_realm(realm)?;
    Ok((user, realm, digits))
}

/// Reads such a text as a file of users, for those who test what it is made of.
///
/// # Errors
///
/// The lines that are not understood.
pub fn check(bytes: &[u8], realm: &str) -> Result<usize, WrongLines> {
    parse(bytes, "users", realm).map(|parsed| parsed.users.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, proptest};

    use super::*;

    fn line(user: &str, realm: &str, algorithm: DigestAlgorithm) -> String {
        let hash = Ha1::new(user, realm, b"secret").hash(algorithm).expect("both");
        format!("{user}:{realm}:{hash}\n")
    }

    const MD5: DigestAlgorithm = DigestAlgorithm::Md5;
    const SHA256: DigestAlgorithm = DigestAlgorithm::Sha256;

    #[test]
    fn users_of_one_realm_are_read() {
        let text = [
            "\u{feff}# people\r\n\r\n",
            &line("ada", "Club", MD5).replace('\n', "\r\n"),
            &line("ada", "Club", SHA256).replace('\n', ":a comment\n"),
            &line("zoë", "Club", MD5).to_uppercase().replace("ZOË:CLUB", "zoë:Club"),
            &line("ada", "Bar", SHA256),
        ]
        .concat();
        let parsed = parse(text.as_bytes(), "f", "Club").expect("understood");
        assert_eq!((parsed.users.len(), parsed.concerns.len()), (2, 0));
        let ada = Ha1::stored(&parsed.users["ada"]).expect("kept");
        let zoe = Ha1::stored(&parsed.users["zoë"]).expect("kept");
        assert!(ada.hash(MD5).is_some() && ada.hash(SHA256).is_some() && zoe.hash(SHA256).is_none());
        assert_eq!(zoe.hash(MD5), Ha1::new("zoë", "Club", b"secret").hash(MD5));
        assert_eq!(check(text.as_bytes(), "Bar").expect("understood"), 1);
        let nobody = parse(text.as_bytes(), "f", "Pub").expect("understood");
        assert_eq!(nobody.concerns, ["f: nobody is of the realm \"Pub\"; there are users of \"Club\""]);
        assert_eq!(check(b"", "Club").expect("understood"), 0);
    }

    #[test]
    fn each_line_that_is_wrong_is_named() {
        let good = line("ada", "Club", MD5);
        let table = [
            ("ada\n".to_owned(), "f:1: not a line like `name:realm:hash`"),
            ("ada:Club\n".to_owned(), "f:1: not a line like"),
            (":Club:x\n".to_owned(), "f:1: a user has no name"),
            ("ada::x\n".to_owned(), "f:1: a realm of Digest has"),
            ("ada:a\"b:x\n".to_owned(), "f:1: a realm of Digest has"),
            ("ada:Club:secret\n".to_owned(), "f:1: what stands behind the realm is no hash"),
            ("ada:Pub:secret\n".to_owned(), "f:1: what stands behind the realm is no hash"),
            (format!("{good}#\n{good}"), "f:3: this user is in line 1"),
            (format!("ada:Club:{}", "x".repeat(1000)), "f:1: the line has more than"),
            (
                format!("{good}{}", line("bob", "Club", SHA256)),
                "f:1: ada has no hash by SHA-256, and bob none by MD5",
            ),
        ];
        for (text, begin) in table {
            let told = parse(text.as_bytes(), "f", "Club").expect_err(&text).told("f");
            assert!(told.starts_with(begin) && !told.contains("secret"), "{told}");
        }
        assert!(check(b"a\xff:Club:x", "Club").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_file_makes_it_panic(bytes in any::<Vec<u8>>()) {
            let _parsed = check(&bytes, "Club");
        }
    }
}
