//! Faults of the client that a handler comes across: the answer is a 4xx, unless the script catches the error.

use http::StatusCode;
use medusa_http::RequestBodyError;

/// The fault of a request, and the status that says so.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ClientFault {
    status: StatusCode,
    message: String,
    /// What the operator may change: not for the client.
    option: Option<&'static str>,
}

impl ClientFault {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), option: None }
    }

    /// The same with the option that sets the limit.
    pub(crate) fn by_option(self, option: Option<&'static str>) -> Self {
        Self { option, ..self }
    }

    pub(crate) fn option(&self) -> Option<&'static str> {
        self.option
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Makes it the error of a host function.
    pub(crate) fn raise(self) -> mlua::Error {
        mlua::Error::external(self)
    }
}

impl From<RequestBodyError> for ClientFault {
    fn from(error: RequestBodyError) -> Self {
        Self::new(error.status(), error.to_string()).by_option(error.option())
    }
}
