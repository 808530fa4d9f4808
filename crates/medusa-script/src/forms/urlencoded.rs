//! `application/x-www-form-urlencoded` bodies.
//!
//! They are decoded as they come, a pair at a time: what is encoded is never held beside what was made of it.

use std::borrow::Cow;

use bytes::Bytes;
use medusa_http::RequestBody;
use medusa_proto::query;

use super::{Field, Form, FormError, MAX_FIELD, MAX_FIELDS, MAX_IN_MEMORY, shown};
use crate::request::chunk;

/// The longest pair before it is decoded, in bytes: a value of [`MAX_FIELD`] in which each byte is written as three, and
/// a long name.
const MAX_PAIR: usize = 4 * MAX_FIELD;

/// Reads a form to its end.
pub(super) async fn read(body: &mut RequestBody) -> Result<Form, FormError> {
    let mut decoder = Decoder { form: Form::default(), pair: Vec::new(), room: MAX_IN_MEMORY };
    while let Some(piece) = chunk(body).await? {
        body.hold(piece.len())?;
        decoder.push(&piece)?;
    }
    decoder.finish()
}

struct Decoder {
    form: Form,
    /// The beginning of a pair.
    pair: Vec<u8>,
    /// How much more may come. What is decoded is never longer than it was.
    room: usize,
}

impl Decoder {
    fn push(&mut self, piece: &[u8]) -> Result<(), FormError> {
        self.room = self.room.checked_sub(piece.len()).ok_or(FormError::TooLong)?;
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|&byte| byte == b'&') {
            if self.pair.is_empty() {
                self.decode(&rest[..end])?;
            } else {
                self.add(&rest[..end])?;
                let pair = std::mem::take(&mut self.pair);
                self.decode(&pair)?;
            }
            rest = &rest[end + 1..];
        }
        self.add(rest)
    }

    fn add(&mut self, part: &[u8]) -> Result<(), FormError> {
        if self.pair.len() + part.len() > MAX_PAIR {
            let name = self.pair.split(|&byte| byte == b'=').next().unwrap_or_default();
            return Err(FormError::FieldTooLong(shown(name)));
        }
        self.pair.extend_from_slice(part);
        Ok(())
    }

    fn decode(&mut self, pair: &[u8]) -> Result<(), FormError> {
        let Some((name, value)) = query::pairs(pair).next() else { return Ok(()) };
        if self.form.fields.len() == MAX_FIELDS {
            return Err(FormError::TooManyFields);
        }
        if value.len() > MAX_FIELD {
            return Err(FormError::FieldTooLong(shown(&name)));
        }
        self.form.push(exact(name), Field::Text(exact(value)));
        Ok(())
    }

    fn finish(mut self) -> Result<Form, FormError> {
        let pair = std::mem::take(&mut self.pair);
        self.decode(&pair)?;
        Ok(self.form)
    }
}

/// Without what was reserved for a longer text.
fn exact(text: Cow<'_, [u8]>) -> Bytes {
    match text {
        Cow::Borrowed(text) => Bytes::copy_from_slice(text),
        Cow::Owned(text) => Bytes::from(text.into_boxed_slice()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(pieces: &[&[u8]]) -> Result<Vec<[Vec<u8>; 2]>, FormError> {
        let mut decoder = Decoder { form: Form::default(), pair: Vec::new(), room: MAX_IN_MEMORY };
        pieces.iter().try_for_each(|piece| decoder.push(piece))?;
        let fields = decoder.finish()?.fields.into_iter();
        let fields = fields.map(|(name, field)| match field {
            Field::Text(text) => [name.to_vec(), text.to_vec()],
            Field::File(_) => unreachable!(),
        });
        Ok(fields.collect())
    }

    #[test]
    fn it_means_the_same_in_whatever_pieces_it_comes() {
        for text in ["", "a", "&&a=1&b=%20+%2&&=x&a=&c&", "=&=", "%26=%3D&a=b=c&%&", "a=1&a=2"] {
            let whole: Vec<_> =
                query::pairs(text.as_bytes()).map(|(a, b)| [a.into_owned(), b.into_owned()]).collect();
            for size in 1..=text.len().max(1) {
                let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                assert_eq!(decoded(&pieces).unwrap(), whole, "{text:?} by {size}");
            }
        }
    }

    #[test]
    fn what_is_too_much_is_refused_as_soon_as_it_is_there() {
        let piece = vec![b'x'; 64 * 1024];
        let pieces = |count| vec![&piece[..]; count];
        let value: Vec<&[u8]> = [&b"a="[..]].into_iter().chain(pieces(17)).collect();
        assert!(matches!(decoded(&value), Err(FormError::FieldTooLong(name)) if name == "a"));
        assert!(decoded(&pieces(65)).unwrap_err().to_string().len() < 200, "the message names it in short");
        let ones = b"a&".repeat(32 * 1024 / 64);
        assert!(decoded(&[&ones[..]; 2]).is_err_and(|error| matches!(error, FormError::TooManyFields)));
        let empty = vec![b'&'; 64 * 1024];
        assert!(decoded(&vec![&empty[..]; 128]).unwrap().is_empty());
        assert!(matches!(decoded(&vec![&empty[..]; 129]), Err(FormError::TooLong)));
    }
}
