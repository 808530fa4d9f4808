//! Users who come with a certificate, which whoever accepts connections has checked.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Source, Users, UsersError, Verdict, made};
use crate::MAX_USER;
use crate::htpasswd::{MAX_USERS, Stored, check_name};

/// What of a certificate is the name of its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertificateName {
    /// The common name of its subject, `CN`.
    CommonName,
    /// Its mail address, an alternative name.
    Email,
    /// Its host name, an alternative name.
    Dns,
    /// Its URI, an alternative name.
    Uri,
    /// The whole of its subject.
    Subject,
    /// Its SHA-256, in hexadecimal.
    Fingerprint,
}

impl CertificateName {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::CommonName, Self::Email, Self::Dns, Self::Uri, Self::Subject, Self::Fingerprint];
}

impl fmt::Display for CertificateName {
    /// The word that a script has for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CommonName => "cn",
            Self::Email => "email",
            Self::Dns => "dns",
            Self::Uri => "uri",
            Self::Subject => "subject",
            Self::Fingerprint => "fingerprint",
        })
    }
}

/// Whose certificates are users', and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateUsers {
    /// What their names are.
    pub name: CertificateName,
    /// The users by those names; without it all are users, by just these.
    pub users: Option<BTreeMap<String, Arc<str>>>,
}

impl Users {
    /// Users who come with a certificate.
    ///
    /// # Errors
    ///
    /// Nobody can have the name of one, or there are too many.
    pub fn of_certificates(users: CertificateUsers) -> Result<Arc<Self>, UsersError> {
        let named = users.users.iter().flatten();
        if let Some((of, _)) = named.clone().find(|(_, user)| !is_name(user)) {
            let why = format!(
                "the name of a user has 1 to {MAX_USER} bytes, no control character, and no white space around it"
            );
            return Err(UsersError::Wrong(format!("{of:?}: {why}")));
        }
        if named.count() > MAX_USERS {
            return Err(UsersError::Wrong(format!("there are more than {MAX_USERS} users")));
        }
        let key = format!("certificates\0{users:?}");
        Ok(made(key, || Arc::new(Self::new(Stored::new(), Source::Certificates(users)))))
    }

    /// What of a certificate is their name; none if they have none.
    pub fn certificate_name(&self) -> Option<CertificateName> {
        if let Source::Certificates(users) = &self.source { Some(users.name) } else { None }
    }

    /// Whose a certificate with that name is; without a name, or a certificate, it is nobody's.
    pub fn verify_certificate(&self, name: Option<&str>) -> Verdict {
        let user = match (&self.source, name) {
            (Source::Certificates(CertificateUsers { users: Some(users), .. }), Some(name)) => {
                users.get(name).map(Arc::clone)
            }
            (Source::Certificates(_), Some(name)) => is_name(name).then(|| name.into()),
            _ => None,
        };
        let verdict = user.map_or(Verdict::Wrong, Verdict::Right);
        self.count(&verdict);
        verdict
    }
}

/// Whether that can be the name of a user who never types it: it may have a colon, as in a URI, and else is as all names are.
fn is_name(name: &str) -> bool {
    // Of a field that is passed on, other servers trim the ends, and would take its user for another.
    check_name(&name.replace(':', "-")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_its_users() {
        let of = |users: Option<&[(&str, &str)]>| {
            let users = users.map(|users| {
                users
                    .iter()
                    .map(|(of, user)| ((*of).to_owned(), Arc::from(*user)))
                    .collect::<BTreeMap<_, _>>()
            });
            Users::of_certificates(CertificateUsers { name: CertificateName::Email, users })
        };
        let right = |user: &str| Verdict::Right(user.into());
        let all = of(None).expect("users");
        assert_eq!(all.certificate_name(), Some(CertificateName::Email));
        assert_eq!(all.verify_certificate(Some("a@example.org")), right("a@example.org"));
        assert_eq!(all.verify_certificate(Some("spiffe://a/b")), right("spiffe://a/b"));
        assert_eq!(all.verify_certificate(Some("Ada Byron")), right("Ada Byron"));
        let spaces = [" alice ", "alice ", "\u{a0}alice", " "].map(Some);
        for nobody in [None, Some(""), Some(&*"a".repeat(256)), Some("a\nb")].into_iter().chain(spaces) {
            assert_eq!(all.verify_certificate(nobody), Verdict::Wrong, "{nobody:?}");
        }
        let some = of(Some(&[("a@example.org", "ada")])).expect("users");
        assert_eq!(some.verify_certificate(Some("a@example.org")), right("ada"));
        assert_eq!(some.verify_certificate(Some("b@example.org")), Verdict::Wrong);
        assert!(Arc::ptr_eq(&some, &of(Some(&[("a@example.org", "ada")])).expect("the same")));
        for user in ["a\nb", " ada"] {
            assert!(of(Some(&[("a@example.org", user)])).is_err(), "{user:?}");
        }
        assert!(of(Some(&[])).is_ok_and(|nobody| nobody.verify_certificate(Some("x")) == Verdict::Wrong));
        assert_eq!(Users::of_table([]).expect("users").verify_certificate(Some("x")), Verdict::Wrong);
    }
}
