//! What becomes of a request, as far as its method and its target tell: to which mount it goes, or what the server answers by itself.
//!
//! **Invariant:** this is asked when a request is served and when its way is explained, so that the two cannot differ.

use std::fmt;

use http::{Method, StatusCode};

use crate::router::{Params, Pattern, Route};
use crate::server::Server;

/// The methods that a server knows as a whole, whatever is mounted.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Way<'s> {
    /// A mount gets it.
    Mount {
        /// Its place among the mounts of the definition.
        at: u32,
        /// The pattern that matched.
        pattern: &'s Pattern,
        /// What its wildcards matched.
        params: Params,
        /// Where the part of the raw path begins that the end of the pattern covers.
        tail: usize,
    },
    /// It is sent to another spelling of its path, without a query.
    Redirect(String),
    /// The server answers it.
    Answer(OwnAnswer),
}

/// An answer that no handler gives.
#[derive(Debug)]
pub(crate) struct OwnAnswer {
    /// Its status.
    pub(crate) status: StatusCode,
    /// The methods that are allowed; empty: it does not say.
    pub(crate) allow: Vec<String>,
    /// Whether the connection ends with it.
    pub(crate) closes: bool,
}

impl OwnAnswer {
    fn new(status: StatusCode) -> Self {
        Self { status, allow: Vec::new(), closes: false }
    }

    fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    fn allowing<'a>(self, methods: impl Iterator<Item = &'a str>) -> Self {
        Self { allow: methods.map(str::to_owned).collect(), ..self }
    }

    fn allowing_all(self) -> Self {
        self.allowing(METHODS.iter().map(Method::as_str))
    }
}

impl Server {
    /// What becomes of a request. `host` is without its port, `path` raw.
    pub(crate) fn way(&self, method: &Method, host: Option<&str>, path: &str) -> Way<'_> {
        match *method {
            Method::OPTIONS if path == "*" => {
                return Way::Answer(OwnAnswer::new(StatusCode::NO_CONTENT).allowing_all());
            }
            // Only a proxy is asked for a tunnel, and of the protocols there may be in one we know WebSocket alone: "SHOULD
            // respond to the request with a 501" (RFC 9220 §3).
            Method::CONNECT => return Way::Answer(OwnAnswer::new(StatusCode::NOT_IMPLEMENTED).closing()),
            _ => {}
        }
        let is_trace = *method == Method::TRACE;
        Way::Answer(match self.router.route(method, host, path) {
            // Sends a client's cookies back to whoever can make it ask: no handler gets it.
            Route::Found { .. } if is_trace => OwnAnswer::new(StatusCode::METHOD_NOT_ALLOWED).allowing_all(),
            Route::Found { value, pattern, params, tail } => {
                return Way::Mount { at: *value, pattern, params, tail };
            }
            Route::Redirect(location) => return Way::Redirect(location),
            Route::MethodNotAllowed(methods) if *method == Method::OPTIONS => {
                OwnAnswer::new(StatusCode::NO_CONTENT).allowing(methods.iter().chain(["OPTIONS"]))
            }
            Route::MethodNotAllowed(_) if !is_trace && !METHODS.contains(method) => {
                OwnAnswer::new(StatusCode::NOT_IMPLEMENTED)
            }
            Route::MethodNotAllowed(methods) => {
                OwnAnswer::new(StatusCode::METHOD_NOT_ALLOWED).allowing(methods.iter())
            }
            Route::NotFound => OwnAnswer::new(StatusCode::NOT_FOUND),
            Route::BadPath => OwnAnswer::new(StatusCode::BAD_REQUEST).closing(),
        })
    }
}

impl Server {
    /// The methods by which a request for a path gets to another mount than that one: what a handler knows nothing of that says which
    /// methods there are.
    pub(crate) fn methods_elsewhere(&self, at: u32, host: Option<&str>, path: &str) -> Vec<String> {
        let named = self.router.methods(host, path);
        let goes_elsewhere = |name: &&str| {
            Method::from_bytes(name.as_bytes()).is_ok_and(
                |method| matches!(self.way(&method, host, path), Way::Mount { at: other, .. } if other != at),
            )
        };
        named.iter().filter(goes_elsewhere).map(str::to_owned).collect()
    }
}

impl fmt::Display for Way<'_> {
    /// `answered by GET /api/`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OwnAnswer { status, allow, .. } = match self {
            Self::Mount { pattern, .. } => return write!(f, "answered by {pattern}"),
            Self::Redirect(location) => return write!(f, "redirected to {location}"),
            Self::Answer(answer) => answer,
        };
        write!(f, "answered {}", status.as_u16())?;
        match *status {
            StatusCode::NOT_FOUND => f.write_str(": no mount matches"),
            StatusCode::BAD_REQUEST => f.write_str(": the path is not one"),
            StatusCode::NOT_IMPLEMENTED => f.write_str(": no server here knows this method"),
            _ => write!(f, ": allowed are {}", allow.join(", ")),
        }
    }
}
