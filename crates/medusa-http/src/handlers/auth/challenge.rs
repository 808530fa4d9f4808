//! What a client that is not known is told to do.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use http::header::{self, HeaderValue};
use medusa_auth::digest::{self, DigestAlgorithm, DigestCredentials};
use medusa_auth::{MAX_REALM, Secrets, Users, new_nonce};

use super::Given;
use crate::handler::HandlerError;
use crate::response::Response;

/// The realm, unless another is given.
const REALM: &str = "Members only";

/// A way to show a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthScheme {
    /// As it is.
    Basic,
    /// By an answer that is made with it.
    Digest,
}

impl AuthScheme {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Basic, Self::Digest];
}

impl fmt::Display for AuthScheme {
    /// The word that a script has for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic => "basic",
            Self::Digest => "digest",
        })
    }
}

/// What a wrapper is given beside the users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthOptions {
    /// What is protected, as browsers tell people who are asked for a password; by default what the users are of, or else
    /// "Members only".
    pub realm: Option<String>,
    /// Whether the handler sees the field `Authorization`.
    pub pass_authorization: bool,
    /// The ways to show a password, in the order in which they are offered. By default there is one, the best that the users can do.
    pub schemes: Option<Vec<AuthScheme>>,
    /// How long what a client is told to make its answers with can be used, in Digest.
    pub nonce_lifetime: Duration,
}

impl Default for AuthOptions {
    fn default() -> Self {
        let nonce_lifetime = Duration::from_mins(5);
        Self { realm: None, pass_authorization: false, schemes: None, nonce_lifetime }
    }
}

/// The reason why there can be no such wrapper.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AuthError {
    /// The realm cannot be sent.
    #[error("the realm {0:?} cannot be sent; give one line of 1 to {MAX_REALM} bytes")]
    Realm(String),
    /// The users are of another.
    #[error(
        "the users are of the realm {users:?}, and their passwords fit no other, such as {given:?}; leave `realm` out"
    )]
    OtherRealm {
        /// What was given.
        given: String,
        /// What they are of.
        users: String,
    },
    /// They cannot do Digest.
    #[error(
        "these users cannot do \"digest\": it needs a hash of name, realm and password, and theirs are of other kinds; take \
         `medusa.auth.htdigest(file, {{ realm = ... }})`, whose file `medusa passwd --digest REALM FILE USER` writes"
    )]
    NoDigest,
    /// They have no passwords.
    #[error("these users have no passwords to show in one of several `schemes`; leave that out")]
    NoPasswords,
    /// There is no way.
    #[error(
        "`schemes` is empty, so nobody could log in; leave it out, or give \"basic\", \"digest\" or both"
    )]
    NoScheme,
}

/// What a client that is not known is told to do.
#[derive(Debug, Clone)]
pub struct Challenge {
    schemes: Vec<AuthScheme>,
    realm: String,
    /// What comes back unchanged, and is the same in each process: who has it still is asked for no password after a restart.
    opaque: String,
    basic: HeaderValue,
    /// For users some of whom have tokens.
    bearer: HeaderValue,
    /// For who came with a token that nobody has.
    wrong_token: HeaderValue,
    nonce_lifetime: Duration,
    passes_authorization: bool,
}

impl Challenge {
    /// What these options say for these users.
    ///
    /// # Errors
    ///
    /// See [`AuthError`].
    pub fn new(options: &AuthOptions, users: &Users) -> Result<Self, AuthError> {
        let realm = match (options.realm.as_deref(), users.realm()) {
            (Some(given), Some(users)) if given != users => {
                return Err(AuthError::OtherRealm { given: given.to_owned(), users: users.to_owned() });
            }
            (given, users) => given.or(users).unwrap_or(REALM).to_owned(),
        };
        let refused = || AuthError::Realm(realm.clone());
        if !(1..=MAX_REALM).contains(&realm.len()) || realm.chars().any(char::is_control) {
            return Err(refused());
        }
        let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
        let value = |text: String| HeaderValue::from_bytes(text.as_bytes()).map_err(|_invalid| refused());
        Ok(Self {
            schemes: schemes(options, users)?,
            basic: value(format!("Basic realm=\"{quoted}\", charset=\"UTF-8\""))?,
            bearer: value(format!("Bearer realm=\"{quoted}\""))?,
            wrong_token: value(format!("Bearer realm=\"{quoted}\", error=\"invalid_token\""))?,
            opaque: digest::opaque(&realm),
            realm,
            nonce_lifetime: options.nonce_lifetime,
            passes_authorization: options.pass_authorization || users.certificate_name().is_some(),
        })
    }

    pub(super) fn passes_authorization(&self) -> bool {
        self.passes_authorization
    }

    pub(super) fn nonce_lifetime(&self) -> Duration {
        self.nonce_lifetime
    }

    pub(super) fn offers(&self, scheme: AuthScheme) -> bool {
        self.schemes.contains(&scheme)
    }

    /// Whether credentials of that kind are asked for. Others are not looked at: a password that comes where an answer is asked for
    /// is not to be let in.
    pub(super) fn asks_for(&self, given: &Given<'_>, users: &Users) -> bool {
        match given {
            Given::Password(_) => self.offers(AuthScheme::Basic),
            Given::Digest(_) => self.offers(AuthScheme::Digest),
            // One that nobody has is told so, also where there are none yet.
            Given::Token(_) => users.asked_secrets() != Some(Secrets::Passwords),
        }
    }

    /// Whether credentials are an answer to what was asked here.
    pub(super) fn is_ours(&self, given: &DigestCredentials) -> bool {
        given.realm == self.realm
            && given.opaque.as_ref().is_none_or(|opaque| *opaque == self.opaque.as_bytes())
    }

    /// 401: who is it? `is_stale` says that it is known, and that its answer was made with something too old.
    pub(super) fn page(&self, users: &Users, is_stale: bool) -> Result<Response, HandlerError> {
        let mut challenges = Vec::new();
        // The first is what a browser takes.
        for scheme in &self.schemes {
            match scheme {
                AuthScheme::Basic => challenges.push(self.basic.clone()),
                AuthScheme::Digest => {
                    let unavailable =
                        || HandlerError::unavailable("the system gives no random bytes to make a nonce with");
                    let nonce = new_nonce(&self.realm).ok_or_else(unavailable)?;
                    let fields = users
                        .digest_algorithms()
                        .into_iter()
                        .map(|algorithm| self.digest(algorithm, &nonce, is_stale));
                    challenges.extend(fields.flatten());
                }
            }
        }
        if users.have_tokens() {
            challenges.push(self.bearer.clone());
        }
        Ok(unauthorized(challenges))
    }

    /// 401: nobody has that token.
    pub(super) fn wrong_token(&self) -> Response {
        unauthorized(vec![self.wrong_token.clone()])
    }

    /// Asks for an answer ([RFC 7616 §3.3](https://www.rfc-editor.org/rfc/rfc7616#section-3.3)). Older clients, which do not know
    /// `userhash`, are those with MD5.
    fn digest(&self, algorithm: DigestAlgorithm, nonce: &str, is_stale: bool) -> Option<HeaderValue> {
        let hashed = if algorithm == DigestAlgorithm::Sha256 { ", userhash=true" } else { "" };
        let stale = if is_stale { ", stale=true" } else { "" };
        let Self { realm, opaque, .. } = self;
        let text = format!(
            "Digest realm=\"{realm}\", qop=\"auth\", algorithm={algorithm}, nonce=\"{nonce}\", opaque=\"{opaque}\", \
             charset=UTF-8{hashed}{stale}"
        );
        // Its realm has none of what would have to be escaped, as its users' file has been read.
        HeaderValue::from_bytes(text.as_bytes()).ok()
    }
}

/// The ways that users can show their passwords in.
fn schemes(options: &AuthOptions, users: &Users) -> Result<Vec<AuthScheme>, AuthError> {
    let has_passwords = users.certificate_name().is_none() && users.asked_secrets() != Some(Secrets::Tokens);
    match &options.schemes {
        Some(_) if !has_passwords => Err(AuthError::NoPasswords),
        Some(schemes) if schemes.is_empty() => Err(AuthError::NoScheme),
        Some(schemes) if schemes.contains(&AuthScheme::Digest) && users.realm().is_none() => {
            Err(AuthError::NoDigest)
        }
        Some(schemes) => Ok(schemes.clone()),
        None if !has_passwords => Ok(Vec::new()),
        None if users.realm().is_some() => Ok(vec![AuthScheme::Digest]),
        None => Ok(vec![AuthScheme::Basic]),
    }
}

fn unauthorized(challenges: Vec<HeaderValue>) -> Response {
    let mut response = Response::page(StatusCode::UNAUTHORIZED);
    for challenge in challenges {
        // There is room: a page has a field or two.
        let _full = response.headers.try_append(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: &AuthOptions) -> Result<Challenge, AuthError> {
        Challenge::new(options, &Users::of_table([]).expect("nobody"))
    }

    #[test]
    fn a_realm_is_one_line_of_text() {
        let value = |realm: &str| {
            let options = AuthOptions { realm: Some(realm.to_owned()), ..AuthOptions::default() };
            of(&options).map(|challenge| challenge.basic.as_bytes().to_vec())
        };
        assert_eq!(value("Zoë").as_deref(), Ok("Basic realm=\"Zoë\", charset=\"UTF-8\"".as_bytes()));
        assert_eq!(value("a \"b\\").as_deref(), Ok(&b"Basic realm=\"a \\\"b\\\\\", charset=\"UTF-8\""[..]));
        for realm in ["", "a\nb", "a\tb", &"x".repeat(MAX_REALM + 1)] {
            assert_eq!(value(realm), Err(AuthError::Realm(realm.to_owned())));
        }
    }

    #[test]
    fn users_show_their_passwords_in_the_ways_they_can() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users");
        std::fs::write(&path, "").expect("written");
        let club = Users::of_htdigest(&path, "Club").expect("users");
        let tokens = Users::asked(Secrets::Tokens, Duration::ZERO, None);
        let with = |schemes: &[AuthScheme]| AuthOptions {
            schemes: Some(schemes.to_vec()),
            ..AuthOptions::default()
        };
        let fields = |options: &AuthOptions, users: &Users, is_stale| {
            let page =
                Challenge::new(options, users).expect("a challenge").page(users, is_stale).expect("a page");
            let fields = page.headers.get_all(header::WWW_AUTHENTICATE).iter();
            fields.map(|field| String::from_utf8_lossy(field.as_bytes()).into_owned()).collect::<Vec<_>>()
        };
        let asked = fields(&AuthOptions::default(), &club, false);
        assert_eq!(asked.len(), 2, "{asked:?}");
        assert!(
            asked[0].starts_with("Digest realm=\"Club\", qop=\"auth\", algorithm=SHA-256, nonce=\""),
            "{asked:?}"
        );
        assert!(
            asked[0].ends_with("charset=UTF-8, userhash=true") && asked[1].contains("algorithm=MD5, "),
            "{asked:?}"
        );
        let both = fields(&with(&[AuthScheme::Digest, AuthScheme::Basic]), &club, true);
        assert!(both.len() == 3 && both[1].ends_with("charset=UTF-8, stale=true"), "{both:?}");
        assert!(both[2].starts_with("Basic realm=\"Club\""), "{both:?}");
        assert_eq!(fields(&AuthOptions::default(), &tokens, false), ["Bearer realm=\"Members only\""]);
        assert_eq!(of(&with(&[AuthScheme::Digest])).err(), Some(AuthError::NoDigest));
        assert_eq!(of(&with(&[])).err(), Some(AuthError::NoScheme));
        assert_eq!(Challenge::new(&with(&[AuthScheme::Basic]), &tokens).err(), Some(AuthError::NoPasswords));
        let other = AuthOptions { realm: Some("Bar".into()), ..AuthOptions::default() };
        assert!(matches!(Challenge::new(&other, &club), Err(AuthError::OtherRealm { .. })));
    }
}
