//! `application/x-www-form-urlencoded` bodies.

use bytes::{Bytes, BytesMut};
use medusa_http::RequestBody;
use medusa_proto::query;

use super::{Field, Form, FormError, MAX_FIELD, MAX_IN_MEMORY, shown};
use crate::request::chunk;

/// Reads a form to its end.
pub(super) async fn read(body: &mut RequestBody) -> Result<Form, FormError> {
    let mut text = BytesMut::new();
    while let Some(piece) = chunk(body).await? {
        if text.len() + piece.len() > MAX_IN_MEMORY {
            return Err(FormError::TooLong);
        }
        text.extend_from_slice(&piece);
    }
    parse(&text)
}

fn parse(text: &[u8]) -> Result<Form, FormError> {
    let mut form = Form::default();
    let mut pairs = query::pairs(text);
    for (name, value) in pairs.by_ref() {
        if value.len() > MAX_FIELD {
            return Err(FormError::FieldTooLong(shown(&name)));
        }
        form.push(Bytes::from(name.into_owned()), Field::Text(Bytes::from(value.into_owned())));
    }
    if pairs.is_cut_off() { Err(FormError::TooManyFields) } else { Ok(form) }
}
