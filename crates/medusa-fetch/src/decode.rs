//! Undoes the content codings of an answer's body (RFC 9110 §8.4): gzip with all of its members (RFC 1952 §2.2) and
//! zstd with all of its frames (RFC 8878 §3), or several of these one over the other.
//!
//! A body of which a coding is not known is left as it is, with the field that says so. So is one that is a part of a
//! whole, which cannot be decoded, and what is told of a body that is not there.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use flate2::bufread::MultiGzDecoder;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use medusa_proto::coding::Coding;
use parking_lot::Mutex;
use zstd::stream::read::Decoder as ZstdDecoder;

/// The codings that are asked for.
pub(crate) const ACCEPTED: HeaderValue = HeaderValue::from_static("zstd,gzip");

/// Codings one over the other. Two are a curiosity already.
const MAX_CODINGS: usize = 4;

/// The longest piece that is decoded at once, in bytes.
const PIECE: usize = 32 * 1024;

/// The distance that a frame of zstd may refer back, as a power of two: 8 MiB, the most there may be in HTTP (RFC
/// 9659 §3).
const MAX_WINDOW_LOG: u32 = 23;

/// Undoes a coding of what it is given.
type BoxedDecoder = fn(Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>>;

/// The decoder of a coding, of those that are [asked for](ACCEPTED).
fn undoer(coding: Coding) -> Option<BoxedDecoder> {
    match coding {
        Coding::Gzip => Some(|coded| Ok(Box::new(MultiGzDecoder::new(BufReader::new(coded))))),
        Coding::Zstd => Some(|coded| {
            let mut decoder = ZstdDecoder::new(coded)?;
            decoder.window_log_max(MAX_WINDOW_LOG)?;
            Ok(Box::new(decoder))
        }),
        Coding::Brotli => None,
    }
}

/// The decoders of a body's codings, in the order in which they were applied; none if one is not known.
fn codings(headers: &HeaderMap) -> Option<Vec<BoxedDecoder>> {
    let mut codings = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        for name in value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if !name.is_empty() && !name.eq_ignore_ascii_case(b"identity") {
                codings.push(undoer(Coding::named(name)?)?);
            }
        }
    }
    (codings.len() <= MAX_CODINGS).then_some(codings)
}

/// A body on its way through its decoders.
pub(crate) struct Decoder {
    fed: Arc<Mutex<Input>>,
    reader: Box<dyn Read + Send>,
}

/// Bytes that have come and were not decoded.
#[derive(Default)]
struct Input {
    bytes: Bytes,
    begun: bool,
    ended: bool,
}

/// A piece to hand on.
pub(crate) enum Piece {
    Decoded(Bytes),
    /// More of the body has to come first.
    NeedsInput,
    End,
}

impl Decoder {
    /// The decoder for the body that `headers` are of, if it needs one; it takes the fields that are not true of what is
    /// decoded.
    pub(crate) fn take(
        method: &Method,
        status: StatusCode,
        headers: &mut HeaderMap,
    ) -> io::Result<Option<Self>> {
        let absent = method == Method::HEAD
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || status == StatusCode::PARTIAL_CONTENT;
        let Some(codings) = codings(headers).filter(|codings| !absent && !codings.is_empty()) else {
            return Ok(None);
        };
        headers.remove(header::CONTENT_ENCODING);
        headers.remove(header::CONTENT_LENGTH);
        let fed: Arc<Mutex<Input>> = Arc::default();
        let mut reader: Box<dyn Read + Send> = Box::new(InputReader(Arc::clone(&fed)));
        for undo in codings.into_iter().rev() {
            reader = undo(reader)?;
        }
        Ok(Some(Self { fed, reader }))
    }

    /// Takes the next piece of the body; `None`: there is no more. Only when it is [`NeedsInput`](Piece::NeedsInput).
    pub(crate) fn feed(&mut self, bytes: Option<Bytes>) {
        let mut fed = self.fed.lock();
        match bytes {
            Some(bytes) => {
                fed.begun |= !bytes.is_empty();
                fed.bytes = bytes;
            }
            None => fed.ended = true,
        }
    }

    /// The next piece. An error: the body is damaged, or is not whole.
    pub(crate) fn next(&mut self) -> io::Result<Piece> {
        {
            let fed = self.fed.lock();
            // Nothing at all is an empty body, and not one that is cut off.
            if !fed.begun {
                return Ok(if fed.ended { Piece::End } else { Piece::NeedsInput });
            }
        }
        let mut piece = vec![0; PIECE];
        loop {
            match self.reader.read(&mut piece) {
                Ok(0) => return Ok(Piece::End),
                Ok(length) => {
                    piece.truncate(length);
                    return Ok(Piece::Decoded(piece.into()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Piece::NeedsInput),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The decoders' end of what is fed.
struct InputReader(Arc<Mutex<Input>>);

impl Read for InputReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut fed = self.0.lock();
        if fed.bytes.is_empty() && !fed.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = fed.bytes.len().min(into.len());
        fed.bytes.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}
