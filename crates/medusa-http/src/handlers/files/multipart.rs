//! Several parts of one file in one answer: `multipart/byteranges`
//! ([RFC 9110 §14.6](https://www.rfc-editor.org/rfc/rfc9110#section-14.6)).
//!
//! **Invariant:** what an answer holds in memory does not depend on how much is asked for: the parts are read from the
//! file one after the other, as the client takes them. Their number is bounded by
//! [`MAX_RANGES`](medusa_proto::range::MAX_RANGES), their sum by the file's length.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use http::HeaderValue;
use medusa_proto::range::Range;

use super::entity::Entity;
use crate::body::{Body, BodyError};

/// An answer of several parts, ready to be sent.
#[derive(Debug)]
pub(super) struct Multipart {
    pub(super) content_type: HeaderValue,
    pub(super) len: u64,
    pub(super) body: Body,
}

impl Multipart {
    pub(super) fn new(entity: &Entity, ranges: &[Range]) -> Self {
        let boundary = boundary();
        let mut pieces = VecDeque::with_capacity(2 * ranges.len() + 1);
        for (at, range) in ranges.iter().enumerate() {
            pieces.push_back(part_head(&boundary, at > 0, entity, *range));
            pieces.push_back(entity.body(range.start, range.len));
        }
        pieces.push_back(format!("\r\n--{boundary}--\r\n").into());
        let content_type = format!("multipart/byteranges; boundary={boundary}");
        Self {
            // Letters and digits only.
            content_type: HeaderValue::from_str(&content_type)
                .unwrap_or(const { HeaderValue::from_static("multipart/byteranges") }),
            len: pieces.iter().filter_map(Body::len).sum(),
            body: Body::Stream(Box::pin(Pieces(pieces))),
        }
    }
}

fn part_head(boundary: &str, follows: bool, entity: &Entity, range: Range) -> Body {
    let line_end: &[u8] = if follows { b"\r\n" } else { b"" };
    let content_range = range.content_range(entity.len);
    let head = [
        line_end,
        b"--",
        boundary.as_bytes(),
        b"\r\nContent-Type: ",
        entity.metadata.content_type.as_bytes(),
        b"\r\nContent-Range: ",
        content_range.as_bytes(),
        b"\r\n\r\n",
    ];
    Bytes::from(head.concat()).into()
}

/// Letters that the file does not hold, short of a miracle: 128 bits that nobody can foresee, so that nobody can put
/// them into a file. The standard library's hash keys are the system's random numbers.
fn boundary() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}

/// Bodies of known lengths, one after the other.
#[derive(Debug)]
struct Pieces(VecDeque<Body>);

impl Stream for Pieces {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while let Some(piece) = self.0.front_mut() {
            match ready!(piece.poll_chunk(cx)) {
                Some(chunk) => return Poll::Ready(Some(chunk)),
                None => drop(self.0.pop_front()),
            }
        }
        Poll::Ready(None)
    }
}
