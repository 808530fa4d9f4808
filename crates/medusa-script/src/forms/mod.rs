//! Forms: what browsers send for `<form method="post">`, in either of the two formats.
//!
//! - `urlencoded` and `multipart`: the formats; `kind`, `params` and `charset`: what is said of them and their parts;
//! - `upload`: a file of a form, in memory while it is small and in an unnamed file of the disk past that;
//! - `file`: the same as a script's value; `save`: kept for good, below the script's directory.
//!
//! **Invariants:** a form holds at most [`MAX_IN_MEMORY`] bytes of memory, names included, and one descriptor, however
//! large it is and however many files it has; beside that there is what is just being read. What is on disk has no name
//! and goes with the request. Everything a form says comes from outside: names, types, and file names above all.

mod charset;
mod file;
mod kind;
mod multipart;
mod params;
mod save;
mod upload;
mod urlencoded;

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use http::StatusCode;
use medusa_http::{RequestBody, RequestBodyError};
use medusa_net::clients::ClientPrefix;
use medusa_net::descriptors::Scarce;
use mlua::{IntoLua, Lua, Table, Value};

pub(crate) use self::file::CLASS as UPLOADED_FILE;
use self::file::UploadedFile;
pub(crate) use self::kind::Kind;
use self::upload::Upload;
use crate::counted::shown_name as shown;
use crate::task::give_way;

/// The most fields of one form. As many as a query may have; a form of a person has some dozens.
const MAX_FIELDS: usize = medusa_proto::query::MAX_PAIRS;

/// The longest field that is not a file, in bytes: a long article. Files are as long as the server's `limits.body` lets
/// them be.
const MAX_FIELD: usize = 1024 * 1024;

/// The most memory that one form takes, in bytes: the fields, all names and types, and small files. Files past it go to
/// disk, however small; anything else is refused.
const MAX_IN_MEMORY: usize = 8 * 1024 * 1024;

/// A form that was read.
#[derive(Debug, Default)]
pub(crate) struct Form {
    fields: Vec<(Bytes, Field)>,
}

#[derive(Debug)]
enum Field {
    Text(Bytes),
    File(Rc<Upload>),
}

impl Form {
    /// A table of the first values by name.
    pub(crate) async fn first_values(&self, lua: &Lua) -> mlua::Result<Table> {
        let table = lua.create_table_with_capacity(0, self.fields.len())?;
        for (name, field) in self.fields.iter().rev() {
            table.raw_set(lua.create_string(name)?, field.value(lua)?)?;
            give_way().await?;
        }
        Ok(table)
    }

    /// The values of one name, in their order.
    pub(crate) async fn values_of(&self, lua: &Lua, name: &[u8]) -> mlua::Result<Table> {
        let values = lua.create_table()?;
        for (known, field) in &self.fields {
            if known == name {
                values.raw_push(field.value(lua)?)?;
                give_way().await?;
            }
        }
        Ok(values)
    }

    fn push(&mut self, name: Bytes, field: Field) {
        self.fields.push((name, field));
    }
}

impl Field {
    fn value(&self, lua: &Lua) -> mlua::Result<Value> {
        match self {
            Self::Text(text) => lua.create_string(text).map(Value::String),
            Self::File(upload) => UploadedFile::new(upload).into_lua(lua),
        }
    }
}

/// Reads a form to its end. What goes to disk is kept on `holder`'s account.
pub(crate) async fn read(
    kind: &Kind,
    body: &mut RequestBody,
    holder: Option<ClientPrefix>,
) -> Result<Form, FormError> {
    match kind {
        Kind::UrlEncoded(charset) => urlencoded::read(*charset, body).await,
        Kind::Multipart { boundary } => multipart::read(boundary, body, holder).await,
    }
}

/// Why a form could not be read.
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
            Self::Spool(error) => Scarce::is(error).then_some(StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}
