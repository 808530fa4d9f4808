//! The reason why a form could not be read.

use std::io;

use http::StatusCode;
use medusa_http::RequestBodyError;
use medusa_net::descriptors::FilesExhausted;

use super::form::{MAX_FIELD, MAX_FIELDS, MAX_IN_MEMORY};

/// The reason why a form could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormError {
    /// The body could not be read.
    #[error(transparent)]
    Body(#[from] RequestBodyError),
    /// It is something else: 415.
    #[error("a form was expected, but the body is {0}")]
    NotAForm(String),
    /// It is in another charset: 415. Guessing would make other characters of it.
    #[error("the form is in the charset {0:?}; only UTF-8 and ISO-8859-1 are read")]
    Charset(String),
    /// It is not what its type says: 400.
    #[error("the form is malformed: {0}")]
    Malformed(String),
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
        if let Self::Body(error) = self { error.option() } else { None }
    }

    /// The status of what is not the script's affair.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Body(error) => Some(error.status()),
            Self::NotAForm(_) | Self::Charset(_) => Some(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::Malformed(_) => Some(StatusCode::BAD_REQUEST),
            Self::TooManyFields | Self::FieldTooLong(_) | Self::TooLong => {
                Some(StatusCode::PAYLOAD_TOO_LARGE)
            }
            Self::Spool(error) => FilesExhausted::is(error).then_some(StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}
