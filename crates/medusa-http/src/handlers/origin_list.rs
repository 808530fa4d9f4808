//! Lists of web origins, as scripts write them: scheme, host and port, nothing else ([RFC 6454
//! §6.2](https://www.rfc-editor.org/rfc/rfc6454#section-6.2)).
//!
//! **Invariant:** a list has each origin in the very form in which browsers send it, so that comparing bytes is enough
//! and no origin that only looks like a listed one is taken for it.

use http::HeaderValue;

use crate::request::without_default_port;

/// The origin of a page that has none: of a file, or in a sandbox. Any page can make itself one.
const NULL: &str = "null";

/// Origins, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginList(Vec<String>);

/// The reason why a text is no origin.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OriginError {
    /// Not a scheme, a host and perhaps a port.
    #[error("{0:?} is not an origin like \"https://example.com\" or \"http://localhost:3000\"")]
    NotAnOrigin(String),
    /// There is something behind it.
    #[error("{entry:?} is more than an origin; write {origin:?}")]
    Longer {
        /// The text.
        entry: String,
        /// The origin in it.
        origin: String,
    },
    /// There are no wildcards.
    #[error("{0:?} has a wildcard, and there are none; list every origin")]
    Wildcard(String),
    /// A host is sent in ASCII.
    #[error("{0:?} is not ASCII; write the host as browsers send it (\"xn--...\")")]
    NotAscii(String),
}

impl OriginList {
    /// Reads a list of origins like `https://example.com`, and `null`, that of pages without one.
    ///
    /// # Errors
    ///
    /// The first entry that is none.
    pub fn parse<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Result<Self, OriginError> {
        let mut origins =
            entries.into_iter().map(|entry| canonical(entry.as_ref())).collect::<Result<Vec<_>, _>>()?;
        origins.sort_unstable();
        origins.dedup();
        Ok(Self(origins))
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether pages without an origin are listed.
    pub fn has_null(&self) -> bool {
        self.contains(NULL.as_bytes())
    }

    /// Whether what a browser sent is listed.
    pub(super) fn has(&self, origin: &HeaderValue) -> bool {
        self.contains(origin.as_bytes())
    }

    fn contains(&self, origin: &[u8]) -> bool {
        self.0.binary_search_by(|known| known.as_bytes().cmp(origin)).is_ok()
    }

    /// The origins, for the status.
    pub(super) fn shown(&self) -> String {
        match &*self.0 {
            [first, second, rest @ ..] if !rest.is_empty() => {
                format!("{first} {second} and {} more", rest.len())
            }
            few => few.join(" "),
        }
    }
}

/// An origin as browsers send it ([HTML, serialization of an
/// origin](https://html.spec.whatwg.org/#ascii-serialisation-of-an-origin)).
fn canonical(entry: &str) -> Result<String, OriginError> {
    if entry == NULL {
        return Ok(entry.to_owned());
    }
    let not_one = || OriginError::NotAnOrigin(entry.to_owned());
    if entry.contains('*') {
        return Err(OriginError::Wildcard(entry.to_owned()));
    }
    if !entry.is_ascii() {
        return Err(OriginError::NotAscii(entry.to_owned()));
    }
    let lower = entry.to_ascii_lowercase();
    let (scheme, rest) = lower.split_once("://").ok_or_else(not_one)?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    if !is_scheme || !is_host_and_port(authority) {
        return Err(not_one());
    }
    let origin = format!("{scheme}://{}", without_default_port(scheme, authority));
    if behind.is_empty() { Ok(origin) } else { Err(OriginError::Longer { entry: entry.to_owned(), origin }) }
}

fn is_host_and_port(authority: &str) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let is_host = match host.strip_prefix('[') {
        Some(address) => {
            address.strip_suffix(']').is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
        }
        None => host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
    };
    !host.is_empty() && is_host && port.is_none_or(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_kept_as_browsers_send_it() {
        for (written, sent) in [
            ("https://example.com", "https://example.com"),
            ("HTTPS://Example.COM:443", "https://example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://example.com:80", "http://example.com"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
            ("null", "null"),
        ] {
            let list = OriginList::parse([written]).expect(written);
            assert!(list.has(&HeaderValue::from_static(sent)), "{written}");
            assert_eq!(list.has_null(), sent == "null");
        }
    }

    #[test]
    fn what_only_looks_like_a_listed_one_is_another() {
        let list = OriginList::parse(["https://example.com", "http://localhost:3000"]).expect("origins");
        for other in [
            "http://example.com",
            "https://example.com:8443",
            "https://sub.example.com",
            "https://example.com.evil.example",
            "https://evil-example.com",
            "https://example.com/",
            "http://localhost",
            "null",
            "",
        ] {
            assert!(!list.has(&HeaderValue::from_static(other)), "{other}");
        }
    }

    #[test]
    fn what_is_none_is_refused_with_what_to_write() {
        let refused = |entry| OriginList::parse([entry]).expect_err(entry).to_string();
        assert_eq!(
            refused("https://Example.com/app"),
            "\"https://Example.com/app\" is more than an origin; write \"https://example.com\""
        );
        assert!(refused("https://*.example.com").contains("list every origin"));
        assert!(refused("https://bücher.example").contains("xn--"));
        for entry in
            ["", "example.com", "https://", "https://a b", "https://u@example.com", "http://a:99999", "://a"]
        {
            assert!(refused(entry).contains("is not an origin like"), "{entry}");
        }
    }

    #[test]
    fn the_first_few_are_shown() {
        let shown = |entries: &[&str]| OriginList::parse(entries).expect("origins").shown();
        assert_eq!(shown(&["http://b", "http://a", "http://a"]), "http://a http://b");
        assert_eq!(shown(&["http://b", "http://a", "http://c", "http://d"]), "http://a http://b and 2 more");
    }
}
