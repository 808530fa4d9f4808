//! The way that a request would take, told without serving it.

use std::fmt::Write as _;

use http::method::InvalidMethod;
use http::uri::InvalidUri;
use http::{Method, Uri};
use medusa_http::chain;

use crate::live::Live;
use crate::parts::HttpServer;

/// Why there is nothing to explain.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The method is none.
    #[error("{method:?} is no method")]
    Method {
        /// What was given.
        method: String,
        /// What is wrong with it.
        source: InvalidMethod,
    },
    /// The URL is none.
    #[error("{url:?} is no URL")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        source: InvalidUri,
    },
}

/// The way of a request through each server of the running Site: the mounts that match, first the one that answers, with
/// what stands before their handlers, the place in the script, and the generation that has published it so.
///
/// # Errors
///
/// It is no request.
pub fn explain(live: &Live, method: &str, url: &str) -> Result<String, ExplainError> {
    let invalid = |source| ExplainError::Method { method: method.to_owned(), source };
    let method = Method::from_bytes(method.as_bytes()).map_err(invalid)?;
    let target: Uri = url.parse().map_err(|source| ExplainError::Url { url: url.to_owned(), source })?;
    let site = live.site();
    let mut text = String::new();
    for server in site.parts.all::<HttpServer>() {
        let definition = &server.definition;
        let (way, mounts) = server.explain(&method, target.host(), target.path());
        let _ = write!(text, "{}{}: {way}", if text.is_empty() { "" } else { "\n" }, definition.name);
        for mount in mounts {
            let (pattern, way, since) = (&mount.pattern, chain(&mount.handler), mount.under_way.generation());
            let _ = write!(text, "\n  {pattern}  {way}  ({}, generation {since})", mount.origin);
        }
    }
    Ok(text)
}
