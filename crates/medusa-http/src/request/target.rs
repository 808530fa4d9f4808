//! Another target for a request that is passed on: a wrapper asks for something else than the client did.
//!
//! **Invariant:** what the router promises of a path holds for one that was changed, too: it is absolute and clean.

use http::Uri;
use http::uri::PathAndQuery;

use super::Head;
use crate::router::is_clean;

/// The reason why a request cannot have a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It is no path that a router would take.
    #[error("a path begins with a slash, and has no `?`, `#`, `//`, `.` or `..` in its own right")]
    Path,
    /// It is no query.
    #[error("a query is what stands behind the `?`, encoded as in a URL, without a `#`")]
    Query,
}

impl Head {
    /// Asks for something else: a path, not decoded, and a query, without its `?`. The [tail](Self::tail) of a path that begins
    /// with what the mount has matched is what is behind that; of any other, it is what is behind its first slash.
    ///
    /// # Errors
    ///
    /// One of them is none. Then nothing is changed.
    pub fn set_target(&mut self, path: &str, query: Option<&str>) -> Result<(), TargetError> {
        if path.contains(['?', '#']) || !is_clean(path) || PathAndQuery::try_from(path).is_err() {
            return Err(TargetError::Path);
        }
        let target = match query {
            None => path.to_owned(),
            Some(query) if query.contains('#') => return Err(TargetError::Query),
            Some(query) => format!("{path}?{query}"),
        };
        let mut parts = self.uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(|_invalid| TargetError::Query)?);
        let uri = Uri::from_parts(parts).map_err(|_invalid| TargetError::Path)?;
        let is_below = |mounted: &str| mounted.ends_with('/') && path.starts_with(mounted);
        if path != self.path() && !self.path().get(..self.tail).is_some_and(is_below) {
            self.tail = 1;
        }
        self.replace_uri(uri);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn head(target: &str, tail: usize) -> Head {
        Head { tail, ..Head::new(Method::GET, target.parse().expect("a target")) }
    }

    #[test]
    fn the_tail_is_what_is_below_the_mount() {
        let mut head = head("/docs/a/b?x=1", 6);
        head.set_target("/docs/c", Some("y=2")).expect("a target");
        assert_eq!((head.path(), head.tail(), head.uri.query()), ("/docs/c", "c", Some("y=2")));
        head.set_target("/other/c", None).expect("a target");
        assert_eq!((head.path(), head.tail(), head.uri.query()), ("/other/c", "other/c", None));
        head.set_target("/", None).expect("a target");
        assert_eq!((head.path(), head.tail()), ("/", ""));
        let mut exact = self::head("/about", 6);
        exact.set_target("/about", Some("x")).expect("a target");
        assert_eq!((exact.tail(), exact.uri.query()), ("", Some("x")));
        exact.set_target("/about.html", None).expect("a target");
        assert_eq!(exact.tail(), "about.html");
    }

    #[test]
    fn the_host_stays() {
        let mut head = head("https://example.com/a", 1);
        head.set_target("/b", Some("c")).expect("a target");
        assert_eq!(head.uri.to_string(), "https://example.com/b?c");
    }

    #[test]
    fn what_no_client_could_ask_for_is_refused() {
        let mut head = head("/a", 1);
        for path in [
            "",
            "a",
            "*",
            "/a?b",
            "/a#b",
            "//a",
            "/a/../b",
            "/%2e%2e/b",
            "/./a",
            "/%zz",
            "/%00",
            "/a b",
            "/a\nb",
        ] {
            assert_eq!(head.set_target(path, None), Err(TargetError::Path), "{path:?}");
        }
        for query in ["a#b", "a b", "a\r\nb"] {
            assert_eq!(head.set_target("/b", Some(query)), Err(TargetError::Query), "{query:?}");
        }
        assert_eq!(head.path(), "/a");
    }
}
