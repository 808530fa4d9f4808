//! A mount's pattern, `[METHODS ][host]/path`, taken apart.
//!
//! **Invariant:** a [`Pattern`] exists only if some request can match it: no empty or dot segments, no misplaced
//! wildcard, no host that is none. Literals are decoded here, once, and compared with decoded segments later.

mod error;
mod parse;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

pub use error::PatternError;
pub(super) use parse::MAX_HOST;

use super::methods::Methods;
use super::params::Names;

/// The requests that a mount gets: `[METHODS ][host]/path`.
///
/// - `/about` is this path; `/docs/` is everything below `/docs/`, and `/docs` is redirected there.
/// - `{name}` is one segment, `~{name}` one that begins with `~` and goes on, `{name...}` the rest of the path, at the
///   end only; `/docs/{$}` is `/docs/` itself and nothing below.
/// - `example.com/` is one host, `*.example.com/` every host below it; without a host, any.
/// - `GET /about`, `PUT,DELETE /`: only these methods; `GET` includes `HEAD`. Without any, all.
///
/// Of several patterns that match, the most specific gets the request: by host, then by path, then by methods.
/// Methods are case-sensitive ([RFC 9110 §9.1](https://www.rfc-editor.org/rfc/rfc9110#section-9.1)), hosts are not.
///
/// ```
/// # use medusa_http::router::Pattern;
/// let pattern: Pattern = "GET example.com/users/{id}".parse()?;
/// assert_eq!(pattern.to_string(), "GET example.com/users/{id}");
/// # Ok::<(), medusa_http::router::PatternError>(())
/// ```
#[derive(Clone)]
pub struct Pattern(pub(super) Arc<PatternParts>);

/// The parts of a pattern.
#[derive(Debug)]
pub(super) struct PatternParts {
    text: Box<str>,
    pub(super) methods: Methods,
    pub(super) host: HostPattern,
    pub(super) segments: Vec<Segment>,
    pub(super) end: PatternEnd,
    /// The names of the wildcards, from left to right.
    pub(super) names: Names,
}

/// The hosts that a pattern matches. Names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HostPattern {
    /// Every host.
    Any,
    /// `*`: the hosts that no pattern names, be it by what they are below; and none at all.
    Others,
    /// `*.name`: every host below `name`, at any depth, but not `name` itself.
    Below(Box<str>),
    Exact(Box<str>),
}

/// One segment of a pattern. Literals are decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(Arc<[u8]>),
    /// A literal and at least one byte more, which is the value of the wildcard.
    Prefix(Arc<[u8]>),
    /// Any segment, which is not empty since paths are clean.
    Wild,
}

/// The rest of a path behind the last segment of the pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PatternEnd {
    /// Not at all: `/a`.
    Here,
    /// With a slash and nothing more: `/a/{$}`.
    Slash,
    /// With a slash and anything: `/a/` and `/a/{name...}`.
    Rest,
}

impl Pattern {
    /// The methods it takes.
    pub fn methods(&self) -> &Methods {
        &self.0.methods
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The names of its wildcards, from left to right.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.names.iter().map(AsRef::as_ref)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        parse::pattern(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.0.text)
    }
}

/// Two patterns are equal when they are written alike.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for Pattern {}

/// By its text, as it is compared.
impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}
