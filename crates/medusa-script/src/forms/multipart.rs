//! `multipart/form-data` bodies ([RFC 7578](https://www.rfc-editor.org/rfc/rfc7578)).
//!
//! multer finds the parts. It is fed by hand, a piece at a time and only when it asks for one: left to pull by itself it
//! takes everything that is there into memory at once, and has no limit for what stands before a part's data, which it
//! searches from the start again with every piece that comes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use medusa_http::RequestBody;
use medusa_net::clients::ClientPrefix;
use multer::Multipart;
use parking_lot::{Mutex, MutexGuard};

use super::charset::Charset;
use super::error::FormError;
use super::form::{Field, Form, MAX_FIELD, MAX_FIELDS, MAX_IN_MEMORY};
use super::params::Disposition;
use super::upload::{Room, Spool};
use crate::counted::shown_name;
use crate::request::chunks::next_chunk;

/// The most that may stand before a part's data, in bytes: its fields, or what comes before the first part.
const MAX_HEAD: usize = 16 * 1024;

/// The size that is fed at once while a part's head is looked for, in bytes.
const HEAD_PIECE: usize = 4 * 1024;

/// The size that is fed at once of a part's data, in bytes.
const DATA_PIECE: usize = 64 * 1024;

/// Reads a form to its end.
pub(super) async fn read(
    boundary: &str,
    body: &mut RequestBody,
    holder: Option<ClientPrefix>,
) -> Result<Form, FormError> {
    let mut parts = Parts::new(boundary, body);
    let mut form = Form::default();
    let mut room = Room::new(MAX_IN_MEMORY, holder);
    let mut count = 0;
    while let Some(mut part) = parts.next().await? {
        count += 1;
        parts.hold(&room)?;
        if count > MAX_FIELDS {
            return Err(FormError::TooManyFields);
        }
        let disposition = part.headers().get(http::header::CONTENT_DISPOSITION);
        let disposition = disposition.map(|value| Disposition::of(value.as_bytes())).unwrap_or_default();
        let Some(name) = disposition.name.map(Bytes::from) else {
            return Err(FormError::Malformed("a part has no name".to_owned()));
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
    parts.hold(&room)?;
    parts.finish().await?;
    Ok(form)
}

/// Takes memory for what cannot go to disk.
fn take(room: &mut Room, bytes: usize) -> Result<(), FormError> {
    if room.take(bytes) { Ok(()) } else { Err(FormError::TooLong) }
}

async fn read_text(
    parts: &mut Parts<'_>,
    part: &mut multer::Field<'static>,
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
    parts: &mut Parts<'_>,
    part: &mut multer::Field<'static>,
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

/// The parts of a body, one after the other.
struct Parts<'a> {
    multipart: Multipart<'static>,
    feed: Feed,
    body: &'a mut RequestBody,
    /// What came and has not been fed.
    ahead: Bytes,
    /// Bytes of the form that are counted as the client's memory.
    held: usize,
}

impl<'a> Parts<'a> {
    fn new(boundary: &str, body: &'a mut RequestBody) -> Self {
        let feed = Feed::default();
        let multipart = Multipart::new(feed.clone(), boundary);
        Self { multipart, feed, body, ahead: Bytes::new(), held: 0 }
    }

    /// Counts what the form keeps in memory.
    fn hold(&mut self, room: &Room) -> Result<(), FormError> {
        let kept = MAX_IN_MEMORY - room.left();
        self.body.hold(kept.saturating_sub(self.held))?;
        self.held = self.held.max(kept);
        Ok(())
    }

    /// The next part. The one before must have been read to its end, and be gone.
    async fn next(&mut self) -> Result<Option<multer::Field<'static>>, FormError> {
        let mut fed = 0;
        loop {
            match self.multipart.poll_next_field(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(part) => return part.map_err(malformed),
                Poll::Pending if fed > MAX_HEAD => {
                    let message = format!("a part's fields are longer than {MAX_HEAD} bytes");
                    return Err(FormError::Malformed(message));
                }
                Poll::Pending => fed += self.feed(HEAD_PIECE).await?,
            }
        }
    }

    /// The next piece of a part's data.
    async fn data(&mut self, part: &mut multer::Field<'static>) -> Result<Option<Bytes>, FormError> {
        loop {
            match Pin::new(&mut *part).poll_next(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(piece) => return piece.transpose().map_err(malformed),
                Poll::Pending => drop(self.feed(DATA_PIECE).await?),
            }
        }
    }

    /// Feeds at most so many bytes, or the end. Returns how many.
    async fn feed(&mut self, limit: usize) -> Result<usize, FormError> {
        if self.ahead.is_empty() {
            match next_chunk(self.body).await? {
                Some(piece) => self.ahead = piece,
                None => return if self.feed.end() { Ok(0) } else { Err(broken_off()) },
            }
        }
        let piece = self.ahead.split_to(self.ahead.len().min(limit));
        let length = piece.len();
        self.feed.put(piece);
        Ok(length)
    }

    /// Reads what stands behind the last part, which means nothing.
    async fn finish(self) -> Result<(), FormError> {
        while next_chunk(self.body).await?.is_some() {}
        Ok(())
    }
}

fn malformed(error: multer::Error) -> FormError {
    FormError::Malformed(error.to_string())
}

fn broken_off() -> FormError {
    FormError::Malformed("it ends in the middle".to_owned())
}

/// The stream that multer reads from: one piece at most.
#[derive(Clone, Default)]
struct Feed(Arc<Mutex<FeedState>>);

#[derive(Default)]
struct FeedState {
    piece: Option<Bytes>,
    ended: bool,
}

impl Feed {
    fn put(&self, piece: Bytes) {
        self.lock().piece = Some(piece);
    }

    /// Says that nothing more will come; false if that was said before.
    fn end(&self) -> bool {
        !std::mem::replace(&mut self.lock().ended, true)
    }

    fn lock(&self) -> MutexGuard<'_, FeedState> {
        self.0.lock()
    }
}

impl Stream for Feed {
    type Item = Result<Bytes, std::convert::Infallible>;

    /// No waker is kept: whoever feeds polls again.
    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut slot = self.lock();
        match slot.piece.take() {
            Some(piece) => Poll::Ready(Some(Ok(piece))),
            None if slot.ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}
