//! Takes a prefix off the path that the handler in it sees, or puts one before it.
//!
//! The path is the one that came, not decoded, and a prefix is whole segments: `/app` is one of `/app` and `/app/x`,
//! not of `/apple`. The part below the mount stays what it is. What the handler says of its own place (a redirect) is
//! not changed.
//!
//! A head belongs to many, so a request that is rewritten gets one of its own.

use std::sync::Arc;

use http::Uri;
use http::uri::PathAndQuery;
use medusa_proto::status::Status;

use crate::handler::{Handler, HandlerError, HandlerFuture};
use crate::pass::pass;
use crate::request::{Head, Request};
use crate::response::Response;

/// The longest prefix, in bytes: a path may be longer by that than clients may send.
const MOST_BYTES: usize = 1024;

/// Prefixes of paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RewriteOptions {
    /// The prefix that is taken off; a request without it is answered 404. Empty: none.
    pub strip_prefix: String,
    /// The prefix that is put before what is left. Empty: none.
    pub add_prefix: String,
}

/// The reason why a prefix is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RewriteError {
    /// Not the beginning of a path.
    #[error(
        "{0:?} is not the beginning of a path like \"/app\": with a slash at its beginning and none at its end"
    )]
    Prefix(String),
    /// Longer than paths are.
    #[error("the prefix is longer than {MOST_BYTES} bytes")]
    TooLong,
    /// There is none.
    #[error("nothing is rewritten; give `strip_prefix` or `add_prefix`")]
    Nothing,
}

impl RewriteOptions {
    /// Checks them.
    ///
    /// # Errors
    ///
    /// See [`RewriteError`].
    pub fn check(&self) -> Result<(), RewriteError> {
        for prefix in [&self.strip_prefix, &self.add_prefix] {
            if prefix.len() > MOST_BYTES {
                return Err(RewriteError::TooLong);
            }
            let is_path = || {
                let segments = || prefix.split('/').skip(1);
                prefix.starts_with('/')
                    && prefix.is_ascii()
                    && segments().all(|segment| !matches!(segment, "" | "." | ".."))
                    && !prefix.contains(['?', '#'])
                    && prefix.parse::<PathAndQuery>().is_ok_and(|path| path.as_str() == *prefix)
            };
            if !prefix.is_empty() && !is_path() {
                return Err(RewriteError::Prefix(prefix.clone()));
            }
        }
        if *self == Self::default() { Err(RewriteError::Nothing) } else { Ok(()) }
    }

    /// The target and the beginning of what is below the mount; none if the path has not the prefix.
    fn rewritten(&self, head: &Head) -> Option<(Uri, usize)> {
        let (strip, add) = (self.strip_prefix.as_str(), self.add_prefix.as_str());
        let rest = head.path().strip_prefix(strip)?;
        if !(rest.is_empty() || rest.starts_with('/')) {
            return None;
        }
        let slash = if add.is_empty() && rest.is_empty() { "/" } else { "" };
        let mut target = format!("{add}{rest}{slash}");
        // What is below the mount begins behind the slash where the mount is above the prefix.
        let tail = add.len() + head.tail.saturating_sub(strip.len()).max(1);
        if let Some(query) = head.uri.query() {
            target.push('?');
            target.push_str(query);
        }
        let mut parts = head.uri.clone().into_parts();
        parts.path_and_query = Some(target.parse().ok()?);
        Some((Uri::from_parts(parts).ok()?, tail))
    }
}

/// A wrapper that changes the path of requests.
#[derive(Debug)]
pub struct Rewrite {
    inner: Arc<dyn Handler>,
    options: RewriteOptions,
}

impl Rewrite {
    /// Wraps `inner`. The options were checked.
    pub fn new(inner: Arc<dyn Handler>, options: RewriteOptions) -> Self {
        Self { inner, options }
    }

    async fn answer(&self, mut request: Request) -> Result<Response, HandlerError> {
        let Some((uri, tail)) = self.options.rewritten(&request.head) else {
            return Ok(Response::page(http::StatusCode::NOT_FOUND));
        };
        let head = Arc::make_mut(&mut request.head);
        head.replace_uri(uri);
        head.tail = tail;
        pass(&self.inner, request).await
    }
}

impl Handler for Rewrite {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(self.answer(request))
    }

    fn inner(&self) -> &[Arc<dyn Handler>] {
        std::slice::from_ref(&self.inner)
    }

    fn around(&self, inner: Arc<dyn Handler>) -> Option<Arc<dyn Handler>> {
        Some(Arc::new(Self::new(inner, self.options.clone())))
    }

    fn status(&self) -> Status {
        let RewriteOptions { strip_prefix, add_prefix } = &self.options;
        let shown = [("-", strip_prefix), ("+", add_prefix)];
        let shown = shown.into_iter().filter(|(_, prefix)| !prefix.is_empty());
        let shown: Vec<_> = shown.map(|(sign, prefix)| format!("{sign}{prefix}")).collect();
        Status::new("handler.rewrite", shown.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::handlers::stand_in::{fine, request_from};

    fn options(strip_prefix: &str, add_prefix: &str) -> RewriteOptions {
        RewriteOptions { strip_prefix: strip_prefix.to_owned(), add_prefix: add_prefix.to_owned() }
    }

    #[test]
    fn a_prefix_is_whole_segments() {
        for (strip, add, target, tail, expected) in [
            ("/app", "", "/app/x?a=/app", 5, Some(("/x?a=/app", "x"))),
            ("/app", "", "/app", 4, Some(("/", ""))),
            ("/app", "", "/app?q", 4, Some(("/?q", ""))),
            ("/app", "/v1", "/app/x/y", 5, Some(("/v1/x/y", "x/y"))),
            ("/app", "/v1", "/app", 4, Some(("/v1", ""))),
            ("", "/v1", "/a%2Fb/", 1, Some(("/v1/a%2Fb/", "a%2Fb/"))),
            ("", "/v1", "/", 1, Some(("/v1/", ""))),
            ("/app", "", "/app/x", 1, Some(("/x", "x"))),
            ("/app", "/b", "/app/x/y", 7, Some(("/b/x/y", "y"))),
            ("/app", "", "/apple", 1, None),
            ("/app", "", "/other", 1, None),
            ("/a%2fb", "", "/a%2Fb/x", 1, None),
        ] {
            let mut request = request_from("::1", Method::GET, target, &[]);
            Arc::make_mut(&mut request.head).tail = tail;
            let rewritten = options(strip, add).rewritten(&request.head);
            let shown = rewritten
                .map(|(uri, tail)| (uri.to_string(), uri.path().get(tail..).unwrap_or_default().to_owned()));
            let shown = shown.as_ref().map(|(target, tail)| (&**target, &**tail));
            assert_eq!(shown, expected, "{target} -{strip} +{add}");
        }
    }

    #[test]
    fn what_is_no_beginning_of_a_path_is_refused() {
        assert_eq!(options("/app", "").check(), Ok(()));
        assert_eq!(options("", "/v1/a%20b").check(), Ok(()));
        assert_eq!(options("", "").check(), Err(RewriteError::Nothing));
        for prefix in ["app", "/", "/app/", "//app", "/a/../b", "/.", "/a?b", "/a#b", "/a b", "/ä"] {
            assert_eq!(options("", prefix).check(), Err(RewriteError::Prefix(prefix.to_owned())), "{prefix}");
        }
        assert_eq!(options(&"/a".repeat(600), "").check(), Err(RewriteError::TooLong));
    }

    /// Says that it is ada who asks, and for what.
    #[derive(Debug)]
    struct KnowsUser;

    impl Handler for KnowsUser {
        fn handle(&self, request: Request) -> HandlerFuture<'_> {
            let _first = request.head.user.set("ada".into());
            Box::pin(std::future::ready(Ok(Response::text(request.head.path().to_owned()))))
        }

        fn status(&self) -> Status {
            Status::new("test", "knows user")
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_user_is_known_outside_and_other_paths_are_not_found() {
        let rewrite = Rewrite::new(Arc::new(KnowsUser), options("/app", ""));
        let request = request_from("::1", Method::GET, "/app/x", &[]);
        let head = Arc::clone(&request.head);
        assert_eq!(rewrite.handle(request).await.expect("an answer").status, 200);
        assert_eq!((head.user.get().map(|user| &**user), head.path()), (Some("ada"), "/app/x"));
        let other = Rewrite::new(fine(), options("/app", ""));
        let answer = other.handle(request_from("::1", Method::GET, "/b", &[])).await.expect("an answer");
        assert_eq!(answer.status, 404);
        assert_eq!(other.status(), Status::new("handler.rewrite", "-/app"));
    }
}
