//! The reason why a request is not carried out.

use http::StatusCode;
use medusa_http::store::StoreError;
use medusa_http::{HandlerError, RequestBodyError, Response};

use crate::answer;
use crate::destination::AddressError;
use crate::if_header::IfHeaderError;
use crate::properties::PropertyError;
use crate::xml::XmlError;

/// The reason.
#[derive(Debug)]
pub(crate) enum DavError {
    /// The files are not such that it can be done.
    Store(StoreError),
    /// It cannot be done, or the server fails.
    Handler(HandlerError),
    /// A condition does not hold that has a name.
    Precondition { status: StatusCode, code: &'static str, href: Option<String> },
    /// Some of what was asked for could not be done: responses of a 207.
    Parts(String),
}

impl DavError {
    /// The client is to blame.
    pub(crate) fn client(status: StatusCode, reason: &'static str) -> Self {
        Self::Handler(HandlerError::client(status, reason))
    }

    /// It is locked by a lock on the path at `href`.
    pub(crate) fn locked(href: String) -> Self {
        Self::Precondition { status: StatusCode::LOCKED, code: "lock-token-submitted", href: Some(href) }
    }

    /// The answer.
    pub(crate) fn answer(self) -> Result<Response, HandlerError> {
        match self {
            Self::Store(error) => Err(error.into()),
            Self::Handler(error) => Err(error),
            Self::Precondition { status, code, href } => {
                Ok(answer::precondition(status, code, href.as_deref()).into())
            }
            Self::Parts(responses) => Ok(answer::multistatus(&responses).into()),
        }
    }

    /// As the store says it.
    pub(crate) fn into_store(self) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Precondition { status: StatusCode::LOCKED, .. } => StoreError::Locked,
            _ => StoreError::Changed,
        }
    }
}

impl From<StoreError> for DavError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<HandlerError> for DavError {
    fn from(error: HandlerError) -> Self {
        Self::Handler(error)
    }
}

impl From<RequestBodyError> for DavError {
    fn from(error: RequestBodyError) -> Self {
        Self::Handler(error.into())
    }
}

impl From<PropertyError> for DavError {
    fn from(error: PropertyError) -> Self {
        match error {
            PropertyError::Full => {
                Self::Handler(HandlerError::client(StatusCode::INSUFFICIENT_STORAGE, error))
            }
            PropertyError::Store(error) => Self::Store(error),
            PropertyError::Database { .. } => Self::Handler(HandlerError::internal(error)),
        }
    }
}

impl From<XmlError> for DavError {
    fn from(error: XmlError) -> Self {
        Self::Handler(HandlerError::client(StatusCode::BAD_REQUEST, error))
    }
}

impl From<IfHeaderError> for DavError {
    fn from(error: IfHeaderError) -> Self {
        Self::Handler(HandlerError::client(StatusCode::BAD_REQUEST, error))
    }
}

impl From<AddressError> for DavError {
    fn from(error: AddressError) -> Self {
        let status = match error {
            AddressError::Malformed => StatusCode::BAD_REQUEST,
            // As of another server (RFC 4918 §9.8.5).
            AddressError::Elsewhere => StatusCode::BAD_GATEWAY,
        };
        Self::Handler(HandlerError::client(status, error))
    }
}
