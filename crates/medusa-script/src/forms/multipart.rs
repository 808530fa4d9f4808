//! `multipart/form-data` bodies ([RFC 7578](https://www.rfc-editor.org/rfc/rfc7578)), from which `medusa_http::forms` has the parts.

use bytes::{Bytes, BytesMut};
use medusa_http::forms::{Charset, Disposition, FormPart, FormParts, PartError, PartSource};
use medusa_http::{RequestBody, RequestBodyError};
use medusa_net::clients::ClientPrefix;

use super::error::FormError;
use super::form::{Field, Form, MAX_FIELD, MAX_FIELDS, MAX_IN_MEMORY};
use super::upload::{Room, Spool};
use crate::counted::shown_name;
use crate::request::chunks::next_chunk;

/// A body that a script reads.
struct ScriptSource<'b> {
    body: &'b mut RequestBody,
    /// Bytes of the form that are counted as the client's memory.
    held: usize,
}

impl PartSource for ScriptSource<'_> {
    fn chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, RequestBodyError>> {
        next_chunk(self.body)
    }
}

impl ScriptSource<'_> {
    /// Counts what the form keeps in memory.
    fn hold(&mut self, room: &Room) -> Result<(), RequestBodyError> {
        let kept = MAX_IN_MEMORY - room.left();
        self.body.hold(kept.saturating_sub(self.held))?;
        self.held = self.held.max(kept);
        Ok(())
    }
}

type ScriptParts<'p, 'b> = FormParts<'p, ScriptSource<'b>>;

/// Reads a form to its end.
pub(super) async fn read(
    boundary: &str,
    body: &mut RequestBody,
    holder: Option<ClientPrefix>,
) -> Result<Form, FormError> {
    let mut source = ScriptSource { body, held: 0 };
    let mut parts = FormParts::new(boundary, &mut source);
    let mut form = Form::default();
    let mut room = Room::new(MAX_IN_MEMORY, holder);
    let mut count = 0;
    while let Some(mut part) = parts.next().await? {
        count += 1;
        parts.source().hold(&room)?;
        if count > MAX_FIELDS {
            return Err(FormError::TooManyFields);
        }
        let disposition = part.headers().get(http::header::CONTENT_DISPOSITION);
        let disposition = disposition.map(|value| Disposition::of(value.as_bytes())).unwrap_or_default();
        let Some(name) = disposition.name.map(Bytes::from) else {
            return Err(PartError::Malformed("a part has no name".to_owned()).into());
        };
        take(&mut room, name.len())?;
        let field = match disposition.filename {
            None => Some(Field::Text(read_text(&mut parts, &mut part, &name, &mut room).await?)),
            Some(filename) => read_file(&mut parts, &mut part, &filename, &mut room).await?,
        };
        if let Some(field) = field {
            form.push(name, field);
        }
    }
    parts.source().hold(&room)?;
    parts.finish().await?;
    Ok(form)
}

/// Takes memory for what cannot go to disk.
fn take(room: &mut Room, bytes: usize) -> Result<(), FormError> {
    if room.take(bytes) { Ok(()) } else { Err(FormError::TooLong) }
}

async fn read_text(
    parts: &mut ScriptParts<'_, '_>,
    part: &mut FormPart,
    name: &[u8],
    room: &mut Room,
) -> Result<Bytes, FormError> {
    let kind = part.headers().get(http::header::CONTENT_TYPE);
    let charset = Charset::of(kind.map_or(b"", |kind| kind.as_bytes()))?;
    let mut text = BytesMut::new();
    while let Some(piece) = parts.data(part).await? {
        let piece = charset.to_utf8(&piece);
        if text.len() + piece.len() > MAX_FIELD {
            return Err(FormError::FieldTooLong(shown_name(name)));
        }
        take(room, piece.len())?;
        text.extend_from_slice(&piece);
    }
    // Copied, for what it was collected in is up to twice as large.
    Ok(Bytes::copy_from_slice(&text))
}

/// A file; none where no file was chosen, which browsers send as an empty one without a name.
async fn read_file(
    parts: &mut ScriptParts<'_, '_>,
    part: &mut FormPart,
    filename: &[u8],
    room: &mut Room,
) -> Result<Option<Field>, FormError> {
    let kind = part.headers().get(http::header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).map(ToOwned::to_owned);
    take(room, filename.len() + kind.as_ref().map_or(0, String::len))?;
    let mut spool = Spool::default();
    while let Some(piece) = parts.data(part).await? {
        spool.push(&piece, room).await?;
    }
    if filename.is_empty() && spool.is_empty() {
        return Ok(None);
    }
    Ok(Some(Field::File(spool.finish(filename, kind, room).await?)))
}
