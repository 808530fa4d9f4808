//! `application/x-www-form-urlencoded` bodies.
//!
//! They are decoded as they come, a pair at a time: what is encoded is never held beside what was made of it.

use std::borrow::Cow;

use bytes::Bytes;
use medusa_http::RequestBody;
use medusa_http::forms::Charset;
use medusa_proto::query;

use super::error::FormError;
use super::form::{Field, Form, MAX_FIELD, MAX_FIELDS, MAX_IN_MEMORY};
use crate::counted::shown_name;
use crate::request::chunks::next_chunk;
use crate::task::give_way;

/// The longest pair before it is decoded, in bytes: a value of [`MAX_FIELD`] in which each byte is written as three, and
/// a long name.
const MAX_PAIR: usize = 4 * MAX_FIELD;

/// Reads a form to its end.
pub(super) async fn read(charset: Charset, body: &mut RequestBody) -> Result<Form, FormError> {
    let mut decoder = FormDecoder { charset, form: Form::default(), pair: Vec::new(), room: MAX_IN_MEMORY };
    while let Some(piece) = next_chunk(body).await? {
        body.hold(piece.len())?;
        decoder.push(&piece).await?;
    }
    decoder.finish().await
}

struct FormDecoder {
    charset: Charset,
    form: Form,
    /// The beginning of a pair.
    pair: Vec<u8>,
    /// How much more may come. What is decoded is longer than it was only where it becomes UTF-8, which is counted then.
    room: usize,
}

impl FormDecoder {
    async fn push(&mut self, piece: &[u8]) -> Result<(), FormError> {
        self.room = self.room.checked_sub(piece.len()).ok_or(FormError::TooLong)?;
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|&byte| byte == b'&') {
            if self.pair.is_empty() {
                self.decode(&rest[..end]).await?;
            } else {
                self.add(&rest[..end])?;
                let pair = std::mem::take(&mut self.pair);
                self.decode(&pair).await?;
            }
            rest = &rest[end + 1..];
        }
        self.add(rest)
    }

    fn add(&mut self, part: &[u8]) -> Result<(), FormError> {
        if self.pair.len() + part.len() > MAX_PAIR {
            let name = self.pair.split(|&byte| byte == b'=').next().unwrap_or_default();
            return Err(FormError::FieldTooLong(shown_name(name)));
        }
        self.pair.extend_from_slice(part);
        Ok(())
    }

    async fn decode(&mut self, pair: &[u8]) -> Result<(), FormError> {
        if pair.is_empty() {
            return Ok(());
        }
        if self.form.fields.len() == MAX_FIELDS {
            return Err(FormError::TooManyFields);
        }
        let (name, value) = match pair.iter().position(|&byte| byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &pair[pair.len()..]),
        };
        let text = async |text| match (decoded(text, PIECE).await, self.charset) {
            (text, Charset::Utf8) => text,
            (text, charset) => Bytes::from(charset.to_utf8(&text).into_owned()),
        };
        let (length, name, value) = (name.len() + value.len(), text(name).await, text(value).await);
        let grown = (name.len() + value.len()).saturating_sub(length);
        self.room = self.room.checked_sub(grown).ok_or(FormError::TooLong)?;
        if value.len() > MAX_FIELD {
            return Err(FormError::FieldTooLong(shown_name(&name)));
        }
        self.form.push(name, Field::Text(value));
        Ok(())
    }

    async fn finish(mut self) -> Result<Form, FormError> {
        let pair = std::mem::take(&mut self.pair);
        self.decode(&pair).await?;
        Ok(self.form)
    }
}

/// The length that is decoded at a stretch, in bytes: a millisecond's work at the most.
const PIECE: usize = 32 * 1024;

/// The bytes that `text` stands for, without what is reserved for a longer text. Others have their turn after each `piece`.
async fn decoded(mut text: &[u8], piece: usize) -> Bytes {
    let mut decoded = Vec::new();
    while text.len() > piece {
        let (first, rest) = text.split_at(boundary(text, piece));
        decoded.extend_from_slice(&query::form_decode(first));
        text = rest;
        // What a form costs depends on its length, which has a limit of its own.
        let _goes_on = give_way().await;
    }
    if decoded.is_empty() {
        return match query::form_decode(text) {
            Cow::Borrowed(text) => Bytes::copy_from_slice(text),
            Cow::Owned(text) => Bytes::from(text.into_boxed_slice()),
        };
    }
    decoded.extend_from_slice(&query::form_decode(text));
    Bytes::from(decoded.into_boxed_slice())
}

/// The place to cut `text`, at `at` or a little before: not within a byte's three.
fn boundary(text: &[u8], at: usize) -> usize {
    let begins = |back: usize| at > back && text[at - back] == b'%';
    match (begins(1), begins(2)) {
        (true, _) => at - 1,
        (_, true) => at - 2,
        _ => at,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Outside of any task nothing gives way.
    fn now<T>(future: impl Future<Output = T>) -> T {
        let polled = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(value) = polled else { panic!("it waits") };
        value
    }

    #[test]
    fn a_long_text_means_the_same_in_pieces() {
        for text in ["%41%42+c%4", "%%%%%%%%", "%4%41%%4141%zz+", "a%2", "%", "aaaa%41"] {
            for piece in 3..=text.len() {
                let whole = query::form_decode(text.as_bytes());
                assert_eq!(now(super::decoded(text.as_bytes(), piece)), *whole, "{text} by {piece}");
            }
        }
    }

    fn decoded(pieces: &[&[u8]]) -> Result<Vec<[Vec<u8>; 2]>, FormError> {
        let mut decoder = FormDecoder {
            charset: Charset::Utf8,
            form: Form::default(),
            pair: Vec::new(),
            room: MAX_IN_MEMORY,
        };
        let form = now(async {
            for piece in pieces {
                decoder.push(piece).await?;
            }
            decoder.finish().await
        });
        let fields = form?.fields.into_iter();
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
