//! The forms of the page, all of them `multipart/form-data`: their fields, one after the other.

use bytes::Bytes;
use http::StatusCode;
use http::header;

use crate::forms::{Disposition, FormPart, FormParts, PartError, boundary};
use crate::handler::HandlerError;
use crate::request::{Head, RequestBody, RequestBodyError};

/// The most fields of a form that is no upload.
const MOST_FIELDS: usize = 16;
/// The most that stands around the fields of such a form, in bytes.
const AROUND: u64 = 16 * 1024;

/// The reason why a form cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageFormError {
    #[error("this is not a form that a page of ours sends")]
    Foreign,
    #[error("the form is not in UTF-8")]
    Charset,
    #[error("a field of the form is missing: {0}")]
    Missing(&'static str),
}

impl From<PageFormError> for HandlerError {
    fn from(error: PageFormError) -> Self {
        Self::client(StatusCode::BAD_REQUEST, error)
    }
}

impl From<PartError> for HandlerError {
    fn from(error: PartError) -> Self {
        let (status, option) = (error.status(), error.option());
        Self::client(status, error).by_option(option)
    }
}

/// The fields of a form without files.
#[derive(Debug, Default)]
pub(super) struct PageFields(Vec<(Vec<u8>, String)>);

impl PageFields {
    /// The text of a field.
    pub(super) fn get(&self, name: &'static str) -> Result<&str, PageFormError> {
        let field = self.0.iter().find(|(known, _)| known == name.as_bytes());
        field.map(|(_, text)| text.as_str()).ok_or(PageFormError::Missing(name))
    }
}

/// Begins to read a form.
pub(super) fn parts<'b>(
    head: &Head,
    body: &'b mut RequestBody,
) -> Result<FormParts<'b, RequestBody>, HandlerError> {
    let kind = head.headers.get(header::CONTENT_TYPE).ok_or(PageFormError::Foreign)?.as_bytes();
    if !kind.get(..19).is_some_and(|kind| kind.eq_ignore_ascii_case(b"multipart/form-data")) {
        return Err(PageFormError::Foreign.into());
    }
    Ok(FormParts::new(&boundary(kind)?, body))
}

/// What a part says that it is.
pub(super) fn disposition(part: &FormPart) -> Disposition {
    let field = part.headers().get(header::CONTENT_DISPOSITION);
    field.map(|value| Disposition::of(value.as_bytes())).unwrap_or_default()
}

/// Reads a form without files, whose fields have at most `most` bytes in all.
pub(super) async fn fields(
    head: &Head,
    mut body: RequestBody,
    most: u64,
) -> Result<PageFields, HandlerError> {
    body.set_limit(most + AROUND);
    let mut parts = parts(head, &mut body)?;
    let mut fields = PageFields::default();
    while let Some(mut part) = parts.next().await? {
        let Some(name) = disposition(&part).name.filter(|_| fields.0.len() < MOST_FIELDS) else {
            return Err(PageFormError::Foreign.into());
        };
        let text = text(&mut parts, &mut part, most).await?;
        fields.0.push((name, text));
    }
    parts.finish().await?;
    Ok(fields)
}

/// Reads the text of a field of at most `most` bytes.
pub(super) async fn text(
    parts: &mut FormParts<'_, RequestBody>,
    part: &mut FormPart,
    most: u64,
) -> Result<String, HandlerError> {
    let mut text = Vec::new();
    while let Some(piece) = parts.data(part).await? {
        if (text.len() + piece.len()) as u64 > most {
            return Err(RequestBodyError::TooLarge { limit: most }.into());
        }
        parts.source().hold(piece.len())?;
        text.extend_from_slice(&piece);
    }
    Ok(String::from_utf8(text).map_err(|_other| PageFormError::Charset)?)
}

/// Passes over a part.
pub(super) async fn pass_over(
    parts: &mut FormParts<'_, RequestBody>,
    part: &mut FormPart,
) -> Result<(), HandlerError> {
    while parts.data(part).await?.as_ref().is_some_and(|piece: &Bytes| !piece.is_empty()) {}
    Ok(())
}
