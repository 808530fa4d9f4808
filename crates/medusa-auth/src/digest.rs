//! The credentials of a request, `Authorization: Digest ...` ([RFC 7616](https://www.rfc-editor.org/rfc/rfc7616)): a password is
//! proved, and not sent.
//!
//! Of its ways there is one, `qop=auth`: without it a client would not count its requests, and anybody could send them again; with
//! `auth-int` bodies would have to be read as a whole.
//!
//! **Invariant:** whatever is in a field, reading it takes a time that its length bounds, and what is taken has all that an answer
//! is made of.

use std::fmt;

use medusa_proto::hex;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::basic::split;
use crate::{MAX_USER, Secret};

/// The most parameters of a field: there are twelve with a meaning.
const MAX_PARAMS: usize = 32;

/// The longest nonce and the longest of a client's own, in bytes.
const MAX_NONCE: usize = 256;

/// The hash that an answer is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DigestAlgorithm {
    /// SHA-256.
    Sha256,
    /// MD5, for older clients.
    Md5,
}

impl DigestAlgorithm {
    /// All of them, the better one first.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Md5];

    /// The hash of the parts with colons between them, as digits in lower case.
    pub(crate) fn hash(self, parts: &[&[u8]]) -> String {
        let all = parts.join(&b':');
        match self {
            Self::Sha256 => hex::lower(&Sha256::digest(&all)),
            Self::Md5 => hex::lower(&md5::compute(&all).0),
        }
    }

    /// The number of digits of a hash.
    fn digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Md5 => 32,
        }
    }
}

impl fmt::Display for DigestAlgorithm {
    /// The name that it has in a field.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "SHA-256",
            Self::Md5 => "MD5",
        })
    }
}

/// Whom a client says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DigestUser {
    /// The name.
    Name(String),
    /// The hash of name and realm, as digits in lower case: nobody on the way is to read the name.
    Hash(String),
}

impl DigestUser {
    /// What it has said.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Name(text) | Self::Hash(text) => text,
        }
    }
}

/// What a client gives for a password.
#[derive(Debug)]
pub struct DigestCredentials {
    /// Who it is.
    pub user: DigestUser,
    /// What it was told that is protected.
    pub realm: String,
    /// The target that it asks for.
    pub uri: Vec<u8>,
    /// What came with the challenge, to come back unchanged.
    pub opaque: Option<Vec<u8>>,
    pub(crate) algorithm: DigestAlgorithm,
    pub(crate) nonce: Vec<u8>,
    /// How many requests it has made with the nonce, this one included.
    pub(crate) count: u32,
    count_text: Vec<u8>,
    own_nonce: Vec<u8>,
    response: Secret,
}

/// The reason why a field has no such credentials, though it is of the scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the credentials of the scheme Digest are malformed: {0}")]
pub struct MalformedDigest(pub(crate) &'static str);

/// What comes back unchanged from clients at `realm`: it is the same in each process, so that who has it from before a restart still
/// is one of ours.
pub fn opaque(realm: &str) -> String {
    let mut digits = DigestAlgorithm::Sha256.hash(&[b"opaque", realm.as_bytes()]);
    digits.truncate(32);
    digits
}

/// The credentials in the value of a field `Authorization`; none if it is of another scheme.
///
/// # Errors
///
/// See [`MalformedDigest`].
pub fn parse(field: &[u8]) -> Option<Result<DigestCredentials, MalformedDigest>> {
    let (scheme, params) = split(field);
    scheme.eq_ignore_ascii_case(b"Digest").then(|| credentials(params))
}

impl DigestCredentials {
    /// Whether that is the answer of one who has the hash of user, realm and password, to a request with this method.
    pub(crate) fn is_answered(&self, ha1: &str, method: &str) -> bool {
        let request = self.algorithm.hash(&[method.as_bytes(), &self.uri]);
        let answer = self.algorithm.hash(&[
            ha1.as_bytes(),
            &self.nonce,
            &self.count_text,
            &self.own_nonce,
            b"auth",
            request.as_bytes(),
        ]);
        answer.as_bytes().ct_eq(self.response.bytes()).into()
    }
}

/// Takes the parameters together.
fn credentials(field: &[u8]) -> Result<DigestCredentials, MalformedDigest> {
    let mut params = Params::parse(field)?;
    let algorithm = match params.take("algorithm") {
        None => DigestAlgorithm::Md5,
        Some(name) => {
            let is_it =
                |algorithm: &DigestAlgorithm| algorithm.to_string().as_bytes().eq_ignore_ascii_case(&name);
            let known = DigestAlgorithm::ALL.into_iter().find(is_it);
            known.ok_or(MalformedDigest("an algorithm that was not offered"))?
        }
    };
    let is_hashed = match params.take("userhash") {
        None => false,
        Some(value) if value.eq_ignore_ascii_case(b"false") => false,
        Some(value) if value.eq_ignore_ascii_case(b"true") => true,
        Some(_) => return Err(MalformedDigest("`userhash` is true or false")),
    };
    let user = match (params.take("username"), params.take("username*")) {
        (Some(user), None) if is_hashed => {
            DigestUser::Hash(digits(&user, algorithm).ok_or(MalformedDigest("`username` is no hash"))?)
        }
        (Some(user), None) => DigestUser::Name(name(text(user))?),
        (None, Some(encoded)) if !is_hashed => DigestUser::Name(name(extended(&encoded)?)?),
        (None, None) => return Err(MalformedDigest("no `username`")),
        _ => return Err(MalformedDigest("two names of a user")),
    };
    if !params.required("qop")?.eq_ignore_ascii_case(b"auth") {
        return Err(MalformedDigest("`qop` is auth"));
    }
    let count_text = params.required("nc")?;
    let count = (count_text.len() == 8 && count_text.iter().all(u8::is_ascii_hexdigit))
        .then(|| u32::from_str_radix(str::from_utf8(&count_text).ok()?, 16).ok())
        .flatten()
        .filter(|count| *count > 0)
        .ok_or(MalformedDigest("`nc` is a number of eight hexadecimal digits, from 1 on"))?;
    let response = digits(&params.required("response")?, algorithm);
    let response = response.ok_or(MalformedDigest("`response` is no hash of this algorithm"))?;
    let [nonce, own_nonce] = [params.required("nonce")?, params.required("cnonce")?];
    if nonce.len() > MAX_NONCE || own_nonce.len() > MAX_NONCE {
        return Err(MalformedDigest("a nonce is too long"));
    }
    Ok(DigestCredentials {
        user,
        realm: text(params.required("realm")?),
        uri: params.required("uri")?,
        opaque: params.take("opaque"),
        algorithm,
        nonce,
        count,
        count_text,
        own_nonce,
        response: response.into_bytes().into(),
    })
}

/// The parameters of a field ([RFC 9110 §11.2](https://www.rfc-editor.org/rfc/rfc9110#section-11.2)), their names in lower case.
struct Params(Vec<(Vec<u8>, Vec<u8>)>);

impl Params {
    fn parse(mut rest: &[u8]) -> Result<Self, MalformedDigest> {
        let mut params: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        loop {
            // An element may be empty.
            rest = rest.trim_ascii_start();
            while let Some(behind) = rest.strip_prefix(b",") {
                rest = behind.trim_ascii_start();
            }
            if rest.is_empty() {
                return Ok(Self(params));
            }
            let (name, behind) = token(rest);
            let behind = behind.trim_ascii_start().strip_prefix(b"=").map(<[u8]>::trim_ascii_start);
            let (Some(behind), false) = (behind, name.is_empty()) else {
                return Err(MalformedDigest("a parameter is not like `name=value`"));
            };
            let (value, behind) = if let Some(quoted) = behind.strip_prefix(b"\"") {
                unquoted(quoted)?
            } else {
                let (value, behind) = token(behind);
                (value.to_vec(), behind)
            };
            rest = behind.trim_ascii_start();
            if !rest.is_empty() && !rest.starts_with(b",") {
                return Err(MalformedDigest("there is no comma behind a parameter"));
            }
            let name = name.to_ascii_lowercase();
            if params.len() >= MAX_PARAMS {
                return Err(MalformedDigest("too many parameters"));
            }
            if params.iter().any(|(known, _)| *known == name) {
                return Err(MalformedDigest("a parameter is there twice"));
            }
            params.push((name, value));
        }
    }

    fn take(&mut self, name: &str) -> Option<Vec<u8>> {
        let (_, value) = self.0.iter_mut().find(|(known, _)| known == name.as_bytes())?;
        Some(std::mem::take(value))
    }

    /// One that must be there, and must not be empty.
    fn required(&mut self, name: &'static str) -> Result<Vec<u8>, MalformedDigest> {
        let value = self.take(name).filter(|value| !value.is_empty());
        value.ok_or(MalformedDigest(match name {
            "realm" => "no `realm`",
            "nonce" => "no `nonce`",
            "uri" => "no `uri`",
            "response" => "no `response`",
            "cnonce" => "no `cnonce`",
            "nc" => "no `nc`",
            _ => "no `qop`",
        }))
    }
}

/// The token at the beginning, and what is behind it.
fn token(bytes: &[u8]) -> (&[u8], &[u8]) {
    let is_in = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let end = bytes.iter().position(|byte| !is_in(byte)).unwrap_or(bytes.len());
    bytes.split_at_checked(end).unwrap_or_default()
}

/// What stands before the quote that ends it, and what is behind that.
fn unquoted(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), MalformedDigest> {
    let mut value = Vec::new();
    while let [byte, behind @ ..] = rest {
        rest = behind;
        let byte = match (byte, behind) {
            (b'"', _) => return Ok((value, behind)),
            (b'\\', [escaped, behind @ ..]) => {
                rest = behind;
                escaped
            }
            (byte, _) => byte,
        };
        if byte.is_ascii_control() && *byte != b'\t' {
            return Err(MalformedDigest("a control character"));
        }
        value.push(*byte);
    }
    Err(MalformedDigest("a quote is not closed"))
}

/// UTF-8, or what some clients send instead.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|latin_1| latin_1.as_bytes().iter().copied().map(char::from).collect())
}

fn name(name: String) -> Result<String, MalformedDigest> {
    if name.len() > MAX_USER {
        Err(MalformedDigest("the name of the user is too long"))
    } else if name.chars().any(char::is_control) {
        Err(MalformedDigest("a control character"))
    } else {
        Ok(name)
    }
}

/// `UTF-8''%41da` ([RFC 8187 §3.2](https://www.rfc-editor.org/rfc/rfc8187#section-3.2)).
fn extended(value: &[u8]) -> Result<String, MalformedDigest> {
    let wrong = MalformedDigest("`username*` is not like UTF-8''name");
    let mut parts = value.splitn(3, |byte| *byte == b'\'');
    let (Some(charset), Some(_language), Some(mut rest)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(wrong);
    };
    if !charset.eq_ignore_ascii_case(b"UTF-8") {
        return Err(wrong);
    }
    let mut bytes = Vec::with_capacity(rest.len());
    while let [byte, behind @ ..] = rest {
        rest = behind;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, behind) = behind.split_at_checked(2).ok_or(wrong)?;
        let digits =
            str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        bytes.push(digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or(wrong)?);
        rest = behind;
    }
    String::from_utf8(bytes).map_err(|_invalid| wrong)
}

/// The digits of a hash, in lower case.
fn digits(bytes: &[u8], algorithm: DigestAlgorithm) -> Option<String> {
    let is_hash = bytes.len() == algorithm.digits() && bytes.iter().all(u8::is_ascii_hexdigit);
    is_hash.then(|| String::from_utf8_lossy(bytes).to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
