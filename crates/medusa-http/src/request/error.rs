//! The reason why a request body could not be read.

use std::time::Duration;

use http::StatusCode;

/// The reason why a request body could not be read to its end, as a client may know it; [`option`](Self::option) is
/// for the operator.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// Longer than the limit: 413.
    #[error("the request body is longer than the limit of {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The client went away or broke the framing: 400.
    #[error("the request body broke off")]
    Broken(#[source] hyper::Error),
    /// The client sent nothing for too long: 408.
    #[error("the client sent nothing of its request body for {0:?}")]
    Stalled(Duration),
    /// There is no memory for more of it: 503.
    #[error("there is no memory for more of this request body now")]
    NoMemory,
    /// The client sends too slowly: 408.
    #[error("the client sent its request body at less than {rate} bytes per second")]
    Slow {
        /// The least rate, in bytes per second.
        rate: u32,
    },
}

impl RequestBodyError {
    /// The status the client is answered with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
            Self::NoMemory => StatusCode::SERVICE_UNAVAILABLE,
            Self::Stalled(_) | Self::Slow { .. } => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// The option of the server that sets the limit.
    pub fn option(&self) -> Option<&'static str> {
        match self {
            Self::TooLarge { .. } => Some("limits.body"),
            Self::Broken(_) => None,
            Self::Stalled(_) => Some("limits.body_idle"),
            Self::NoMemory => Some("limits.request_bytes"),
            Self::Slow { .. } => Some("limits.body_rate"),
        }
    }
}
