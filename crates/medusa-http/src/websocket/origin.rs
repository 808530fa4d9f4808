//! From which pages a session may be opened ([RFC 6455 §10.2](https://www.rfc-editor.org/rfc/rfc6455#section-10.2)).
//!
//! The same-origin policy does not hold for `WebSocket`s: any page may open one to any server, and the browser sends that
//! server's cookies with it. Only the server can say no. A client that is no browser sends no `Origin`, or any it likes:
//! this protects users, not the server.

use crate::request::without_default_port;

/// The pages that may open a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origins {
    /// Those of the very host and port that is asked. The default.
    #[default]
    Same,
    /// Every page of every site.
    Any,
    /// Those of these origins (`https://example.com`).
    Only(Vec<String>),
}

impl Origins {
    /// Whether a page of `origin` may, where `authority` was asked.
    pub(super) fn allow(&self, origin: &str, authority: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::Same => {
                let Some((scheme, host)) = origin.split_once("://") else { return false };
                let asked = authority.map(|authority| without_default_port(scheme, authority));
                asked.is_some_and(|asked| without_default_port(scheme, host).eq_ignore_ascii_case(asked))
            }
            Self::Only(list) => list.iter().any(|known| same_origin(known, origin)),
        }
    }
}

fn same_origin(known: &str, origin: &str) -> bool {
    match (known.split_once("://"), origin.split_once("://")) {
        (Some((scheme, host)), Some((its, its_host))) => {
            let host = without_default_port(scheme, host.trim_end_matches('/'));
            scheme.eq_ignore_ascii_case(its) && host.eq_ignore_ascii_case(without_default_port(its, its_host))
        }
        // `null`: a page without an origin.
        _ => known.eq_ignore_ascii_case(origin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_origin_is_the_host_and_port_that_is_asked() {
        let same = |origin, host| Origins::Same.allow(origin, Some(host));
        assert!(same("http://example.com", "example.com"));
        assert!(same("https://Example.COM", "example.com"));
        assert!(same("https://example.com", "example.com:443"));
        assert!(same("http://example.com:80", "example.com"));
        assert!(same("http://127.0.0.1:8080", "127.0.0.1:8080"));
        assert!(same("http://[::1]:8080", "[::1]:8080"));
        for (origin, host) in [
            ("http://evil.com", "example.com"),
            ("http://example.com.evil.com", "example.com"),
            ("http://evil.com/example.com", "example.com"),
            ("http://sub.example.com", "example.com"),
            ("http://example.com:8080", "example.com"),
            ("http://example.com", "example.com:8080"),
            ("https://example.com:80", "example.com"),
            ("http://user@example.com", "example.com"),
            ("null", "example.com"),
            ("null", "null"),
            ("", ""),
            ("example.com", "example.com"),
        ] {
            assert!(!same(origin, host), "{origin} at {host}");
        }
        assert!(!Origins::Same.allow("http://example.com", None));
    }

    #[test]
    fn a_list_names_whole_origins() {
        let only = Origins::Only(vec!["https://example.com/".into(), "http://127.0.0.1:3000".into()]);
        let allow = |origin| only.allow(origin, Some("other.example"));
        assert!(allow("https://example.com") && allow("https://EXAMPLE.com:443"));
        assert!(allow("http://127.0.0.1:3000"));
        assert!(!allow("http://example.com") && !allow("https://example.com.evil.com"));
        assert!(!allow("https://other.example") && !allow("null"));
        assert!(Origins::Only(vec!["null".into()]).allow("null", None));
        assert!(Origins::Any.allow("null", None));
    }
}
