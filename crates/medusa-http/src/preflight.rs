//! Preflights: what a browser asks before it sends a request to another origin that a page could not send otherwise
//! ([Fetch, CORS protocol](https://fetch.spec.whatwg.org/#cors-preflight-request)).
//!
//! One is an OPTIONS that asks about another method. So it goes to the mount that would get that request, where
//! something answers preflights, and not to whatever takes OPTIONS.
//!
//! **Invariant:** at a mount that does not take OPTIONS nothing sees it that would act on it: wrappers pass it on, functions and
//! handlers beside what answers it are left out ([`Head::preflight`]). Any page of any site can have a browser send one.

use http::Method;
use http::header;

use crate::request::Head;

/// The method that a preflight asks about; none if the request is no preflight.
pub(crate) fn asked_method(head: &Head) -> Option<Method> {
    if head.method != Method::OPTIONS || !head.headers.contains_key(header::ORIGIN) {
        return None;
    }
    let method = head.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(method.as_bytes()).ok()
}
