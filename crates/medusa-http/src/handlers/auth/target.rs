//! Whether an answer of Digest is to the request that it came with ([RFC 7616
//! §3.4.6](https://www.rfc-editor.org/rfc/rfc7616#section-3.4.6)): else, it could be sent with any other.

use http::Uri;

use crate::request::Head;

/// Whether that is the target of a request, as the client has sent it: path and query, or the whole of it.
pub(super) fn is_that_of(head: &Head, uri: &[u8]) -> bool {
    let path = |uri: &Uri| uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let asked = path(head.target());
    if uri == asked.as_bytes() {
        return true;
    }
    let Some(given) = Uri::try_from(uri).ok().filter(|given| given.scheme().is_some()) else { return false };
    let authority = given.authority().map(http::uri::Authority::as_str);
    let is_ours = |given: &str| head.authority().is_some_and(|ours| ours.eq_ignore_ascii_case(given));
    authority.is_some_and(is_ours) && path(&given) == asked
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method, header};

    use super::*;

    #[test]
    fn a_target_is_the_same_in_each_of_its_forms() {
        let head = |target: &str| {
            let mut head = Head::new(Method::GET, target.parse().expect("a target"));
            head.headers.insert(header::HOST, HeaderValue::from_static("Example.org:8080"));
            head
        };
        for (target, given, expected) in [
            ("/a?b=c", "/a?b=c", true),
            ("/a?b=c", "/a", false),
            ("/a", "/a?", false),
            ("/a", "/A", false),
            ("/%61", "/a", false),
            ("/a", "", false),
            ("/a", "a", false),
            ("/a", "http://example.org:8080/a", true),
            ("/a", "http://example.org/a", false),
            ("/a", "http://example.org:8080/b", false),
            ("/", "http://example.org:8080", true),
            ("http://example.net/a", "/a", true),
            ("http://example.net/a", "http://example.net/a", true),
            ("http://example.net/a", "http://example.org:8080/a", false),
            ("*", "*", true),
            ("/a", "*", false),
            ("/a", "\u{ff}", false),
        ] {
            assert_eq!(is_that_of(&head(target), given.as_bytes()), expected, "{target} {given}");
        }
        let mut changed = head("/old/a?b");
        changed.set_target("/a", None).expect("a target");
        assert!(
            is_that_of(&changed, b"/old/a?b") && !is_that_of(&changed, b"/a"),
            "what the client has sent counts"
        );
    }
}
