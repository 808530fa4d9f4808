//! The check of answers of Digest. It takes microseconds, so it is made at once; what counts of wrong ones is the same.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Format, Source, Users, Verdict, add_guess, slow_down};
use crate::digest::{DigestAlgorithm, DigestCredentials};
use crate::hashing::{self, Scope};
use crate::nonces;
use crate::remembered::seal;

impl Users {
    /// The realm whose users they are; none if they cannot do Digest.
    pub fn realm(&self) -> Option<&str> {
        match &self.source {
            Source::File(file) => match &file.format {
                Format::Htdigest { realm } => Some(realm),
                Format::Htpasswd => None,
            },
            _ => None,
        }
    }

    /// The algorithms that all of them can answer by, the better one first.
    pub fn digest_algorithms(&self) -> Vec<DigestAlgorithm> {
        self.table.load().algorithms().to_vec()
    }

    /// Checks a client's answer, to a request with that method, for which a nonce lasts that long.
    ///
    /// That realm and target are those of the request, the caller has seen.
    pub async fn verify_digest(
        self: &Arc<Self>,
        client: Scope,
        given: &DigestCredentials,
        method: &str,
        lasts: Duration,
    ) -> Verdict {
        let verdict = self.check_digest(client, given, method, lasts).await;
        self.count(&verdict);
        verdict
    }

    async fn check_digest(
        self: &Arc<Self>,
        client: Scope,
        given: &DigestCredentials,
        method: &str,
        lasts: Duration,
    ) -> Verdict {
        let table = self.current().await;
        let Some(realm) = self.realm().filter(|realm| *realm == given.realm) else { return Verdict::Wrong };
        let user = given.user.text();
        if let Err(wait) = slow_down(client, user).await {
            return Verdict::Busy(wait);
        }
        let now = Instant::now();
        let (ha1, known) = table.ha1(&given.user, given.algorithm);
        let (name, stored) = known.map_or((user, ""), |(name, stored)| (&**name, &**stored));
        // Who was right from there before is looked at whatever others there do.
        let seal = seal(&[b"digest", &client.host, name.as_bytes(), stored.as_bytes()]);
        let was_right = seal.is_some_and(|seal| self.checks.remembered(&seal, now) == Some(true));
        let too_many = hashing::too_many(client);
        if let Some(wait) = too_many.filter(|_| !was_right) {
            add_guess(client, user);
            return Verdict::TooMany(wait);
        }
        let fits = given.is_answered(&ha1, method);
        let Some((name, _)) = known.filter(|_| fits) else {
            hashing::add_wrong(client, now);
            if too_many.is_some() {
                add_guess(client, user);
            }
            return Verdict::Wrong;
        };
        if let Some(seal) = seal {
            self.checks.remember(seal, true, now);
        }
        // Only now: whoever does not know the password leaves no trace among the nonces.
        if nonces::take(&given.nonce, given.count, realm, lasts) {
            Verdict::Right(Arc::clone(name))
        } else {
            Verdict::Stale
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::parse;
    use crate::hash::Ha1;
    use crate::hashing::HASHED;
    use crate::passwd::{Owner, set};
    use crate::{new_nonce, passwd};

    const REALM: &str = "The club";
    const LASTS: Duration = Duration::from_mins(5);

    /// A client of which nothing is known yet, whatever other tests have.
    fn client(number: u8) -> Scope {
        Scope { host: [number; 16], network: [200; 16] }
    }

    fn club(folder: &tempfile::TempDir) -> Arc<Users> {
        let path = folder.path().join("users");
        set(&path, Owner { user: "ada", realm: Some(REALM) }, "secret").expect("written");
        Users::of_htdigest(&path, REALM).expect("users")
    }

    /// What a client sends that has been told a nonce.
    fn answer(
        algorithm: DigestAlgorithm,
        user: &str,
        password: &str,
        nonce: &str,
        count: u32,
    ) -> DigestCredentials {
        let ha1 = Ha1::new(user, REALM, password.as_bytes()).hash(algorithm).expect("both");
        let request = algorithm.hash(&[b"GET", b"/"]);
        let count = format!("{count:08x}");
        let response = algorithm.hash(&[
            ha1.as_bytes(),
            nonce.as_bytes(),
            count.as_bytes(),
            b"mine",
            b"auth",
            request.as_bytes(),
        ]);
        let field = format!(
            "Digest username=\"{user}\", realm=\"{REALM}\", uri=\"/\", algorithm={algorithm}, nonce=\"{nonce}\", nc={count}, \
             cnonce=\"mine\", qop=auth, response=\"{response}\""
        );
        parse(field.as_bytes()).expect("of the scheme").expect("credentials")
    }

    #[tokio::test]
    async fn an_answer_is_right_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let users = club(&folder);
        assert_eq!(users.digest_algorithms(), DigestAlgorithm::ALL);
        for algorithm in DigestAlgorithm::ALL {
            let nonce = new_nonce(REALM).expect("a nonce");
            let verify = async |user: &str, password: &str, nonce: &str, count| {
                let given = answer(algorithm, user, password, nonce, count);
                users.verify_digest(client(201), &given, "GET", LASTS).await
            };
            assert_eq!(verify("ada", "secret", &nonce, 1).await, Verdict::Right("ada".into()));
            assert_eq!(verify("ada", "secret", &nonce, 3).await, Verdict::Right("ada".into()));
            assert_eq!(verify("ada", "secret", &nonce, 2).await, Verdict::Right("ada".into()));
            assert_eq!(verify("ada", "secret", &nonce, 2).await, Verdict::Stale, "sent again");
            assert_eq!(verify("ada", "secret", "made up", 1).await, Verdict::Stale, "of another process");
            assert_eq!(verify("ada", "Secret", &nonce, 4).await, Verdict::Wrong);
            assert_eq!(verify("eve", "secret", &nonce, 4).await, Verdict::Wrong);
            assert_eq!(
                verify("ada", "secret", &nonce, 4).await,
                Verdict::Right("ada".into()),
                "it was not used up"
            );
        }
        let nonce = new_nonce(REALM).expect("a nonce");
        let given = answer(DigestAlgorithm::Sha256, "ada", "secret", &nonce, 1);
        assert_eq!(users.verify_digest(client(201), &given, "HEAD", LASTS).await, Verdict::Wrong);
        assert_eq!(
            users.verify_digest(client(201), &given, "GET", Duration::ZERO).await,
            Verdict::Stale,
            "too old"
        );
        // A name that nobody on the way reads.
        let mut hashed = answer(DigestAlgorithm::Sha256, "ada", "secret", &nonce, 1);
        let owner = format!("ada:{REALM}");
        hashed.user = crate::digest::DigestUser::Hash(DigestAlgorithm::Sha256.hash(&[owner.as_bytes()]));
        assert_eq!(
            users.verify_digest(client(201), &hashed, "GET", LASTS).await,
            Verdict::Right("ada".into())
        );
        // They are users for Basic, too.
        assert_eq!(users.verify(client(201), "ada", "secret".into()).await, Verdict::Right("ada".into()));
        assert_eq!(users.verify(client(201), "ada", "Secret".into()).await, Verdict::Wrong);
        let shown = format!("{users:?} {}", users.status());
        let ha1 = Ha1::new("ada", REALM, b"secret");
        assert!(DigestAlgorithm::ALL.iter().all(|which| !shown.contains(&ha1.hash(*which).expect("both"))));
        assert!(shown.contains("stale") && shown.contains("auth.htdigest"), "{shown}");
    }

    #[tokio::test]
    async fn guesses_end_and_who_was_right_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let users = club(&folder);
        let nonce = new_nonce(REALM).expect("a nonce");
        let verify = async |at: u8, password: &str, count| {
            let given = answer(DigestAlgorithm::Sha256, "ada", password, &nonce, count);
            users.verify_digest(client(at), &given, "GET", LASTS).await
        };
        assert_eq!(verify(202, "secret", 1).await, Verdict::Right("ada".into()));
        for guess in 0..HASHED {
            assert_eq!(verify(202, "x", 100 + guess).await, Verdict::Wrong);
            assert_eq!(verify(203, "x", 200 + guess).await, Verdict::Wrong);
        }
        assert!(
            matches!(verify(203, "secret", 2).await, Verdict::TooMany(_)),
            "whatever it is, it is not looked at"
        );
        assert_eq!(verify(202, "secret", 3).await, Verdict::Right("ada".into()));
        assert_eq!(verify(204, "secret", 4).await, Verdict::Right("ada".into()));
        // The same budget as that of passwords.
        assert!(matches!(users.verify(client(203), "ada", "secret".into()).await, Verdict::TooMany(_)));
    }

    #[tokio::test]
    async fn a_line_that_changes_ends_what_was_right() {
        let folder = tempfile::tempdir().expect("a folder");
        let users = club(&folder);
        let path = folder.path().join("users");
        let owner = Owner { user: "ada", realm: Some(REALM) };
        let nonce = new_nonce(REALM).expect("a nonce");
        let given = answer(DigestAlgorithm::Md5, "ada", "secret", &nonce, 1);
        assert_eq!(
            users.verify_digest(client(205), &given, "GET", LASTS).await,
            Verdict::Right("ada".into())
        );
        set(&path, owner, "another").expect("written");
        users.look().expect("understood");
        let given = answer(DigestAlgorithm::Md5, "ada", "secret", &nonce, 2);
        assert_eq!(users.verify_digest(client(205), &given, "GET", LASTS).await, Verdict::Wrong);
        passwd::remove(&path, owner).expect("removed");
        users.look().expect("understood");
        let given = answer(DigestAlgorithm::Md5, "ada", "another", &nonce, 3);
        assert_eq!(users.verify_digest(client(205), &given, "GET", LASTS).await, Verdict::Wrong);
        assert!(
            Users::of_htdigest(&path, "a\"b")
                .expect_err("no realm")
                .to_string()
                .contains("a realm of Digest has")
        );
        assert!(
            Users::of_table([("ada", "{HA1}$$ada")])
                .expect_err("of another file")
                .to_string()
                .contains("file of their own")
        );
    }
}
