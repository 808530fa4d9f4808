//! Redirects ([RFC 9110 §15.4](https://www.rfc-editor.org/rfc/rfc9110#section-15.4)).
//!
//! Whoever answers chooses the next URL, so this is where secrets would leak: an origin that can be made to redirect (an
//! open redirect is enough) would get what was meant for it sent to any other.
//!
//! **Invariants:** what a hop to another origin carries are the fields of [`TRAVELLING`] and nothing else that the script
//! set, and it does not come back with a later hop. No hop leads from https to http, or to anything but these two.
//!
//! The body of a 307 or 308 is sent to wherever it points, as the RFC has it.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use url::Url;

use crate::bounds::MAX_URL;
use crate::error::{Fault, redacted};

/// Fields that go along to another origin. All others may be keys of an API, under whatever name.
const TRAVELLING: [HeaderName; 9] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::RANGE,
    header::USER_AGENT,
];

/// Fields that describe a body, and go with it.
const OF_BODY: [HeaderName; 4] =
    [header::CONTENT_ENCODING, header::CONTENT_LANGUAGE, header::CONTENT_LOCATION, header::CONTENT_TYPE];

/// One request on the way to the answer.
#[derive(Clone)]
pub(crate) struct Hop {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) auth: Auth,
}

/// The login of a hop.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Auth {
    None,
    Basic { user: String, pass: String },
    Bearer(String),
}

/// The hop after `hop`, if its answer is a redirect.
pub(crate) fn next(
    hop: &Hop,
    status: StatusCode,
    location: Option<&HeaderValue>,
) -> Result<Option<Hop>, Fault> {
    let (true, Some(location)) = (is_redirect(status), location) else { return Ok(None) };
    let mut next = hop.clone();
    next.url = target(&hop.url, location)?;
    if hop.url.scheme() == "https" && next.url.scheme() == "http" {
        return Err(Fault::RedirectDowngrade(redacted(&next.url)));
    }
    if becomes_get(status, &hop.method) {
        next.method = Method::GET;
        next.body = Bytes::new();
        for name in OF_BODY {
            next.headers.remove(name);
        }
    }
    if next.url.origin() != hop.url.origin() {
        next.auth = Auth::None;
        next.headers = travelling(&next.headers);
    }
    Ok(Some(next))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// 303 means GET (§15.4.4); for 301 and 302 that is what everyone does with POST (§15.4.2, note).
fn becomes_get(status: StatusCode, method: &Method) -> bool {
    match status {
        StatusCode::SEE_OTHER => *method != Method::HEAD && *method != Method::GET,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => *method == Method::POST,
        _ => false,
    }
}

fn target(base: &Url, location: &HeaderValue) -> Result<Url, Fault> {
    let location = std::str::from_utf8(location.as_bytes()).map_err(|_binary| Fault::RedirectUrl)?;
    let mut url = base.join(location).map_err(|_no_url| Fault::RedirectUrl)?;
    if !matches!(url.scheme(), "http" | "https") || url.as_str().len() > MAX_URL {
        return Err(Fault::RedirectUrl);
    }
    // Whom to log in as is not the peer's to say. Both can only fail for URLs without a host, which these have.
    let _without_user = url.set_username("");
    let _without_password = url.set_password(None);
    Ok(url)
}

fn travelling(headers: &HeaderMap) -> HeaderMap {
    let kept = headers.iter().filter(|(name, _)| TRAVELLING.contains(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hop(method: &str, url: &str) -> Hop {
        let mut headers = HeaderMap::new();
        for name in ["accept", "content-type", "cookie", "authorization", "x-api-key"] {
            headers.insert(name, HeaderValue::from_static("v"));
        }
        Hop {
            method: method.parse().unwrap(),
            url: url.parse().unwrap(),
            headers,
            body: Bytes::from_static(b"body"),
            auth: Auth::Bearer("token".into()),
        }
    }

    fn follow(hop: &Hop, status: u16, location: &str) -> Result<Option<Hop>, Fault> {
        let location = HeaderValue::from_bytes(location.as_bytes()).unwrap();
        next(hop, StatusCode::from_u16(status).unwrap(), Some(&location))
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn methods_change_as_the_rfc_has_it() {
        let after = |method: &str, status| {
            let next = follow(&hop(method, "http://h/"), status, "/next").unwrap().unwrap();
            (next.method.to_string(), next.body.len(), next.headers.contains_key("content-type"))
        };
        for status in [301, 302, 303] {
            assert_eq!(after("POST", status), ("GET".into(), 0, false), "{status}");
        }
        assert_eq!(after("PUT", 303), ("GET".into(), 0, false));
        assert_eq!(after("PUT", 301), ("PUT".into(), 4, true));
        assert_eq!(after("HEAD", 303).0, "HEAD");
        for status in [307, 308] {
            assert_eq!(after("POST", status), ("POST".into(), 4, true), "{status}");
        }
    }

    #[test]
    fn what_is_no_redirect_is_the_answer() {
        for status in [200, 300, 304, 305, 404] {
            assert!(follow(&hop("GET", "http://h/"), status, "/next").unwrap().is_none(), "{status}");
        }
        assert!(next(&hop("GET", "http://h/"), StatusCode::FOUND, None).unwrap().is_none());
    }

    #[test]
    fn locations_are_relative_to_the_url() {
        let to = |location: &str| {
            follow(&hop("GET", "http://h:81/a/b?q"), 302, location).unwrap().unwrap().url.to_string()
        };
        assert_eq!(to("c"), "http://h:81/a/c");
        assert_eq!(to("/c?d"), "http://h:81/c?d");
        assert_eq!(to("//other/c"), "http://other/c");
        assert_eq!(to("https://joe:secret@h/"), "https://h/");
        for wrong in ["file:///etc/passwd", "ftp://h/", "http://", "javascript:1", "data:,x"] {
            let refused = follow(&hop("GET", "http://h/"), 302, wrong);
            assert!(matches!(refused, Err(Fault::RedirectUrl)), "{wrong}");
        }
    }

    #[test]
    fn secrets_stay_with_their_origin() {
        let start = hop("GET", "https://h/");
        let same = follow(&start, 302, "https://h:443/other").unwrap().unwrap();
        assert_eq!(names(&same.headers), names(&start.headers));
        assert!(same.auth == start.auth);
        for other in ["https://other/", "https://h:444/", "https://sub.h/"] {
            let next = follow(&start, 302, other).unwrap().unwrap();
            assert_eq!(names(&next.headers), ["accept", "content-type"], "{other}");
            assert!(next.auth == Auth::None, "{other}");
            let back = follow(&next, 302, "https://h/").unwrap().unwrap();
            assert!(back.auth == Auth::None && !back.headers.contains_key("cookie"), "not by way of {other}");
        }
        let upgraded = follow(&hop("GET", "http://h/"), 301, "https://h/").unwrap().unwrap();
        assert!(upgraded.auth == Auth::None, "another scheme is another origin");
    }

    #[test]
    fn a_downgrade_is_refused_without_its_query() {
        match follow(&hop("GET", "https://h/"), 302, "http://h/a?key=secret") {
            Err(Fault::RedirectDowngrade(place)) => assert_eq!(place, "http://h/a"),
            other => panic!("{:?}", other.map(|_| ())),
        }
    }

    proptest! {
        /// Whatever the peer says.
        #[test]
        fn no_location_breaks_the_rules(location in prop_oneof![
            "[!-~]{0,60}",
            "(https?:)?[/\\\\]{0,3}(user(:pw)?@)?(h|other|127\\.1|\\[::1\\])?(:[0-9]{1,6})?/?[!-~]{0,10}",
        ], status in prop_oneof![Just(301), Just(302), Just(303), Just(307), Just(308)]) {
            let start = hop("POST", "https://h/a");
            if let Ok(Some(next)) = follow(&start, status, &location) {
                prop_assert_eq!(next.url.scheme(), "https");
                prop_assert!(next.url.username().is_empty() && next.url.password().is_none());
                if next.url.origin() != start.url.origin() {
                    prop_assert!(next.auth == Auth::None);
                    prop_assert!(next.headers.keys().all(|name| TRAVELLING.contains(name)));
                }
            }
        }
    }
}
