//! The reader that hyper has of an HTTP/1 connection: as far as that is right, by [`Framing`]. Behind that it sees the end
//! of what the client sends, so that what was asked before is still answered.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use medusa_net::Stream;
use medusa_net::cork::CorkIo;
use medusa_proto::framing::{Framing, Violation};
use tokio::io::{AsyncRead, ReadBuf};

use crate::connection::Connection;

pub(super) struct StrictReader<'a> {
    io: CorkIo<Stream>,
    framing: Framing,
    context: &'a Connection,
    /// Requests before those that are read here.
    before: u64,
    refused: Option<Violation>,
    /// What came with that, from there on.
    rest: Bytes,
    /// hyper has been told that nothing more comes.
    is_at_end: bool,
}

impl<'a> StrictReader<'a> {
    pub(super) fn new(context: &'a Connection) -> Self {
        Self {
            io: context.handle.io(),
            framing: Framing::default(),
            context,
            before: context.conn.requests(),
            refused: None,
            rest: Bytes::new(),
            is_at_end: false,
        }
    }

    /// Whether hyper has come to a head that it must not see the end of: all before it is answered.
    pub(super) fn has_stopped_in_head(&self) -> bool {
        self.is_at_end && self.refused.is_some_and(|violation| !violation.in_body)
    }

    /// The bytes of the last read that hyper has not seen.
    pub(super) fn rest(&self) -> &[u8] {
        &self.rest
    }
}

impl AsyncRead for StrictReader<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.refused.is_some() {
            this.is_at_end = true;
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        let announced = (this.framing.heads(), this.framing.announced());
        if let Err(violation) = this.framing.read(read) {
            // Another protocol may go on here, whose business it is.
            this.rest = Bytes::copy_from_slice(&read[violation.allowed..]);
            this.context.handle.unread(this.rest.clone());
            buf.set_filled(before + violation.allowed);
            this.is_at_end = violation.allowed == 0;
            this.refused = Some(violation);
            if violation.in_body {
                this.context.misframed(this.before + this.framing.heads());
            }
        } else if this.framing.announced() > 0
            && announced != (this.framing.heads(), this.framing.announced())
        {
            this.context.unread().announce(this.before + this.framing.heads(), this.framing.announced());
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use http_body::Body as _;
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use proptest::prelude::*;

    use super::*;
    use crate::driver::http1::builder;
    use crate::limits::Limits;

    /// The number of requests that hyper makes of `bytes`, and whether it takes all of it for right.
    fn by_hyper(bytes: &[u8]) -> (u64, bool) {
        let (heads, is_right) = (Cell::new(0), Cell::new(true));
        let service = service_fn(async |mut request: http::Request<Incoming>| {
            heads.set(heads.get() + 1);
            let body = request.body_mut();
            while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
                if frame.is_err() {
                    is_right.set(false);
                    break;
                }
            }
            Ok::<_, Infallible>(http::Response::new(String::new()))
        });
        let io = TokioIo::new(tokio::io::join(bytes, tokio::io::sink()));
        let mut http = builder(&Limits::default()).serve_connection(io, service);
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        // Now and then it gives way, to others than there are.
        let mut polls = std::iter::repeat_with(|| Pin::new(&mut http).poll(cx)).take(1000);
        let served = polls.find(Poll::is_ready).expect("it waits for nothing");
        (heads.get(), is_right.get() && matches!(served, Poll::Ready(Ok(()))))
    }

    /// A right request, as a client may write it.
    fn request() -> impl Strategy<Value = String> {
        let extension = prop::sample::select(vec!["", ";a", ";a=b", " ; a = \"\\\"\t;\"", ";a;b=c"]);
        let chunk = (1_usize..40, extension)
            .prop_map(|(len, extension)| format!("{len:x}{extension}\r\n{}\r\n", "\n".repeat(len)));
        let trailers = prop::sample::select(vec!["", "A: b\r\n", "A:\r\nContent-Length: 7\r\n"]);
        let chunks = (prop::collection::vec(chunk, 0..4), trailers);
        let field =
            prop::sample::select(vec!["A: #\r\n", "TE: trailers\n", "C: Content-Length: 3\r\n", "T:\r\n"]);
        let before = prop::sample::select(vec!["", "\r\n", "\n\r\n"]);
        let body = prop_oneof![
            Just("\r\n".to_owned()),
            (0_usize..40).prop_map(|len| format!("content-length:\t{len} \r\n\n{}", "\n".repeat(len))),
            chunks.prop_map(|(chunks, trailers)| {
                format!("TRANSFER-encoding: Chunked\r\n\r\n{}00\r\n{trailers}\r\n", chunks.concat())
            }),
        ];
        (before, prop::collection::vec(field, 0..3), body).prop_map(|(before, fields, body)| {
            format!("{before}POST /a?b HTTP/1.1\r\n{}{body}", fields.concat())
        })
    }

    proptest! {
        #[test]
        fn what_is_right_is_read_as_hyper_does(requests in prop::collection::vec(request(), 0..6)) {
            let bytes = requests.concat();
            let mut framing = Framing::default();
            prop_assert_eq!(framing.read(bytes.as_bytes()), Ok(()));
            prop_assert_eq!((framing.heads(), true), by_hyper(bytes.as_bytes()));
            prop_assert_eq!(framing.heads(), requests.len() as u64);
        }

        /// One byte in another's place: where both take it, they take it for the same.
        #[test]
        fn what_is_not_right_is_read_as_hyper_does_or_not_at_all(
            requests in prop::collection::vec(request(), 1..5),
            at in any::<prop::sample::Index>(),
            byte in prop::sample::select(b"\r\n :;#=\"\\05aTC\0".to_vec()),
        ) {
            let mut bytes = requests.concat().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let mut framing = Framing::default();
            let read = framing.read(&bytes);
            let (heads, is_right) = by_hyper(&bytes);
            // After a request of HTTP/1.0, hyper reads no other.
            let goes_on = memchr::memmem::find(&bytes, b"HTTP/1.0").is_none();
            if read.is_ok() && is_right && goes_on {
                prop_assert_eq!(framing.heads(), heads);
            }
        }
    }
}
