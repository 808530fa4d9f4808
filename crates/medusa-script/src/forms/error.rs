//! The reason why a form could not be read.

use std::io;

use http::StatusCode;
use medusa_http::RequestBodyError;
use medusa_http::forms::PartError;
use medusa_net::descriptors::FilesExhausted;

use super::form::{MAX_FIELD, MAX_FIELDS, MAX_IN_MEMORY};

/// The reason why a form could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormError {
    /// The body could not be read, or is not what its type says.
    #[error(transparent)]
    Part(#[from] PartError),
    /// It is something else: 415.
    #[error("a form was expected, but the body is {0}")]
    NotAForm(String),
    /// There are too many fields: 413.
    #[error("the form has more than {MAX_FIELDS} fields")]
    TooManyFields,
    /// One field that is not a file is too long: 413.
    #[error("the form's field {0:?} is longer than {MAX_FIELD} bytes")]
    FieldTooLong(String),
    /// The fields that are not files, and all names, are too long together: 413.
    #[error("the form's fields and names are longer than {MAX_IN_MEMORY} bytes together")]
    TooLong,
    /// The disk would not take a file; or there are too many of them: 503.
    #[error("keeping an uploaded file failed")]
    Spool(#[from] io::Error),
}

impl FormError {
    /// The option of the server that sets the limit.
    pub(crate) fn option(&self) -> Option<&'static str> {
        if let Self::Part(error) = self { error.option() } else { None }
    }

    /// The status of what is not the script's affair.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Part(error) => Some(error.status()),
            Self::NotAForm(_) => Some(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::TooManyFields | Self::FieldTooLong(_) | Self::TooLong => {
                Some(StatusCode::PAYLOAD_TOO_LARGE)
            }
            Self::Spool(error) => FilesExhausted::is(error).then_some(StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

impl From<RequestBodyError> for FormError {
    fn from(error: RequestBodyError) -> Self {
        Self::Part(error.into())
    }
}
