//! Forms: what browsers send for `<form method="post">`, in either of the two formats.
//!
//! - `urlencoded` and `multipart`: the formats, the latter over `medusa_http::forms`; `kind`: which of them it is;
//! - `form`: what was read, and its limits; `error`: why it could not be;
//! - `upload`: a file of a form, in memory while it is small and in an unnamed file of the disk past that;
//! - `file`: the same as a script's value; `save`: kept for good, below the script's directory.
//!
//! **Invariants:** a form holds at most [`MAX_IN_MEMORY`](form::MAX_IN_MEMORY) bytes of memory, names included, and one descriptor, however
//! large it is and however many files it has; beside that there is what is just being read. What is on disk has no name
//! and goes with the request. Everything a form says comes from outside: names, types, and file names above all.

mod error;
mod file;
mod form;
mod kind;
mod multipart;
mod save;
mod upload;
mod urlencoded;

use medusa_http::RequestBody;
use medusa_net::clients::ClientPrefix;

pub(crate) use self::error::FormError;
pub(crate) use self::file::CLASS as UPLOADED_FILE;
pub(crate) use self::form::Form;
pub(crate) use self::kind::Kind;

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
