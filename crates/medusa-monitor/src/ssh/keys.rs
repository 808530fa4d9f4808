//! Keys that may log in: a file in the form of OpenSSH's `authorized_keys`, with [options](super::options) of our own.

use std::net::IpAddr;
use std::path::Path;

use medusa_proto::with_causes;
use russh::keys::{Algorithm, PublicKey};

use super::options::LoginOptions;
use crate::login_files::{self, LoginFileError};

/// A key that may log in.
#[derive(Debug, Clone)]
pub(super) struct AuthorizedKey {
    pub(super) key: PublicKey,
    pub(super) options: LoginOptions,
}

impl AuthorizedKey {
    /// Whether this is the key, and it may come from there, and now.
    pub(super) fn admits(&self, key: &PublicKey, from: IpAddr) -> bool {
        self.key.key_data() == key.key_data() && self.options.admit(from)
    }
}

/// The keys of a file.
pub(super) fn read(path: &Path) -> Result<Vec<Result<AuthorizedKey, LoginFileError>>, LoginFileError> {
    login_files::lines(path, blob, parse)
}

/// The key itself in a line, understood or not: the length it begins with has it begin like this.
fn blob(line: &str) -> Option<&str> {
    line.split_whitespace().find(|word| word.starts_with("AAAA"))
}

/// `role="view",from="192.0.2.0/24" ssh-ed25519 AAAA... name`
fn parse(line: &str) -> Result<AuthorizedKey, String> {
    let has_options = !is_algorithm(line.split_whitespace().next().unwrap_or_default());
    let (options, rest) =
        if has_options { LoginOptions::parse(line)? } else { (LoginOptions::default(), line) };
    let key = PublicKey::from_openssh(rest.trim_start())
        .map_err(|error| format!("not a public key: {}", with_causes(&error)))?;
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } => Ok(AuthorizedKey { key, options }),
        other => Err(format!("{other} keys are not taken: make one by `ssh-keygen -t ed25519`")),
    }
}

/// Whether a line that begins with this has no options.
fn is_algorithm(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|prefix| word.starts_with(prefix)) && !word.contains(['=', ','])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Role;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    #[test]
    fn a_line_is_a_key_with_a_role_and_addresses() {
        let parsed = parse(&format!("{KEY} me@laptop")).expect("a key");
        assert_eq!(
            (parsed.options.rights.role, parsed.key.comment().as_str_lossy()),
            (Role::Program, "me@laptop")
        );
        let parsed = parse(&format!("role=\"view\",from=\"192.0.2.0/24,::1\" {KEY}")).expect("a key");
        assert_eq!(parsed.options.rights.role, Role::View);
        let admits = |from: &str| parsed.admits(&parsed.key, from.parse().expect("an address"));
        assert!(admits("192.0.2.7") && admits("::1") && admits("::ffff:192.0.2.7"));
        assert!(!admits("192.0.3.7") && !admits("::2"));
    }

    #[test]
    fn a_line_that_is_not_understood_is_not_made_up_for_by_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys");
        std::fs::write(&path, format!("{KEY} me\nrole=\"veiw\" {KEY} me\n")).expect("written");
        let told: Vec<_> = read(&path).expect("there").into_iter().filter_map(Result::err).collect();
        let told: Vec<_> = told.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("keys:1: line 2 is of the same"), "{told:?}");
        assert!(told[1].contains("keys:2: there is no role \"veiw\""), "{told:?}");
    }

    #[test]
    fn a_line_that_is_not_understood_admits_nobody() {
        let told = |options: &str| parse(&format!("{options}{KEY}")).expect_err("an error");
        assert!(told("restrict ").contains("\"restrict\""));
        assert!(told("role=\"view\",command=\"ls\" ").contains("\"command\""));
        assert!(told("role=\"king\" ").contains("\"king\""));
        assert!(told("role=view ").contains("quotes"));
        assert!(told("role=\"view ").contains("no end"));
        assert!(told("from=\"here\" ").contains("from"));
        assert!(parse("ssh-ed25519 AAAA").expect_err("no key").contains("not a public key"));
        assert!(parse("role=\"view\"").expect_err("no key").contains("not a public key"));
        let rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7vbqajDRnWLnTBMHCMXWq0bbcfVzAeqYOmP0bhJ7KpQGZhp4X0kK8eT3x1d0C";
        assert!(parse(rsa).is_err());
    }
}
