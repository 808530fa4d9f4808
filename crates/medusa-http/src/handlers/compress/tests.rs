//! The wrapper around a handler that answers what the test wants.

use std::collections::VecDeque;
use std::task::Poll;

use http::header::HeaderName;

use super::encode::tests::decode;
use super::*;
use crate::body::BodyError;
use crate::handlers::files::tests::{collect, request};
use crate::response::{HTML, TEXT};

/// Answers with what `make` makes.
struct Fixed<F>(F);

impl<F> std::fmt::Debug for Fixed<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fixed")
    }
}

impl<F: Fn() -> Response + Send + Sync + 'static> Handler for Fixed<F> {
    fn handle(&self, _request: Request) -> HandlerFuture<'_> {
        Box::pin(std::future::ready(Ok((self.0)())))
    }

    fn status(&self) -> Status {
        Status::new("test", "fixed")
    }
}

fn compress(make: impl Fn() -> Response + Send + Sync + 'static) -> Compress {
    Compress::new(Arc::new(Fixed(make)))
}

async fn send(handler: &Compress, method: Method, fields: &[(HeaderName, &str)]) -> Response {
    handler.handle(request(method, "/", fields)).await.unwrap()
}

async fn ask(handler: &Compress, accept: &str) -> Response {
    send(handler, Method::GET, &[(header::ACCEPT_ENCODING, accept)]).await
}

fn field(response: &Response, name: HeaderName) -> &str {
    response.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

fn page() -> String {
    "<p>all work and no play makes jack a dull boy</p>\n".repeat(100)
}

#[tokio::test(flavor = "current_thread")]
async fn a_page_is_sent_as_the_client_likes_it() {
    let handler =
        compress(|| Response::new(HTML, page()).with(header::ETAG, HeaderValue::from_static("\"x\"")));
    for (accept, coding) in [
        ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
        ("gzip", Some(Coding::Gzip)),
        ("br", None),
        ("gzip;q=0", None),
        ("", None),
    ] {
        let response = ask(&handler, accept).await;
        assert_eq!(field(&response, header::VARY), "accept-encoding", "{accept}");
        let (len, tag) = (response.body.len(), field(&response, header::ETAG).to_owned());
        let encoding = field(&response, header::CONTENT_ENCODING).to_owned();
        let body = collect(response.body).await.unwrap();
        assert_eq!(len, Some(body.len() as u64), "the length is known");
        match coding {
            Some(coding) => {
                assert_eq!((encoding.as_str(), tag.as_str()), (coding.name(), "W/\"x\""));
                assert_eq!(decode(coding, &body), page().as_bytes());
            }
            None => {
                assert_eq!((encoding.as_str(), tag.as_str(), &body[..]), ("", "\"x\"", page().as_bytes()));
            }
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn head_has_the_fields_of_get() {
    let fields = [(header::ACCEPT_ENCODING, "zstd")];
    let handler = compress(|| Response::new(HTML, page()));
    let (get, head) =
        (send(&handler, Method::GET, &fields).await, send(&handler, Method::HEAD, &fields).await);
    assert_eq!((get.headers, get.body.len()), (head.headers, head.body.len()));

    // A handler that knows HEAD gives no content.
    let known = compress(|| Response::new(HTML, Body::Empty).with(header::CONTENT_LENGTH, 5000.into()));
    let head = send(&known, Method::HEAD, &fields).await;
    assert_eq!(field(&head, header::CONTENT_ENCODING), "zstd");
    assert!(!head.headers.contains_key(header::CONTENT_LENGTH));
    assert_eq!(head.body.len(), None, "so that no length of 0 is told");
}

#[tokio::test(flavor = "current_thread")]
async fn what_must_stay_as_it_is_does() {
    let with = |name: HeaderName, value: &'static str| {
        move || Response::new(HTML, page()).with(name.clone(), HeaderValue::from_static(value))
    };
    let of_type = |content_type| with(header::CONTENT_TYPE, content_type);
    let part = || Response { status: StatusCode::PARTIAL_CONTENT, ..Response::new(HTML, page()) };
    for (what, handler) in [
        ("encoded", compress(with(header::CONTENT_ENCODING, "br"))),
        ("no-transform", compress(with(header::CACHE_CONTROL, "public, No-Transform"))),
        ("an image", compress(of_type("image/png"))),
        ("events", compress(of_type("text/event-stream"))),
        ("a part", compress(part)),
        ("short", compress(|| Response::text("x".repeat(1000)))),
        ("no type", compress(|| Response::default().body(page()))),
    ] {
        let response = ask(&handler, "zstd, gzip").await;
        assert!(!response.headers.contains_key(header::VARY), "{what}");
        assert_ne!(field(&response, header::CONTENT_ENCODING), "zstd", "{what}");
        assert!(matches!(response.body, Body::Bytes(_)), "{what}");
    }
    let forbidding = [(header::ACCEPT_ENCODING, "gzip"), (header::CACHE_CONTROL, "no-transform")];
    let response = send(&compress(|| Response::new(HTML, page())), Method::GET, &forbidding).await;
    assert_eq!(field(&response, header::CONTENT_ENCODING), "");
    assert_eq!(field(&response, header::VARY), "accept-encoding");
}

#[tokio::test(flavor = "current_thread")]
async fn not_modified_varies_too() {
    let handler = compress(|| Response::status(StatusCode::NOT_MODIFIED));
    let response = ask(&handler, "gzip").await;
    assert_eq!(field(&response, header::VARY), "accept-encoding");
    assert_eq!(field(&response, header::CONTENT_ENCODING), "");
}

/// A stream of these chunks, which ends with an error if `fails`.
fn stream(chunks: &[&'static [u8]], fails: bool) -> Response {
    let mut chunks: VecDeque<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk))).collect();
    if fails {
        chunks.push_back(Err(BodyError::Producer("it broke".into())));
    }
    Response::new(TEXT, Body::Stream(Box::pin(futures_util::stream::iter(chunks))))
}

#[tokio::test(flavor = "current_thread")]
async fn a_stream_is_sent_chunk_by_chunk() {
    static LARGE: [u8; 100_000] = [b'x'; 100_000];
    let handler = compress(|| stream(&[b"first ", b"", b"second ", &LARGE], false));
    for coding in encode::LIVE {
        let mut response = ask(&handler, coding.name()).await;
        assert_eq!(field(&response, header::CONTENT_ENCODING), coding.name());
        assert_eq!(response.body.len(), None);
        let first = std::future::poll_fn(|cx| response.body.poll_chunk(cx)).await.unwrap().unwrap();
        assert!(!first.is_empty());
        assert_eq!(handler.encoders.available_permits(), MOST_AT_ONCE - 1);
        let all = [first.to_vec(), collect(response.body).await.unwrap()].concat();
        assert_eq!(decode(coding, &all), [b"first second ", &LARGE[..]].concat());
        assert_eq!(handler.encoders.available_permits(), MOST_AT_ONCE);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_stream_that_breaks_is_not_ended_well() {
    let handler = compress(|| stream(&[b"first"], true));
    let response = ask(&handler, "gzip").await;
    assert!(matches!(collect(response.body).await, Err(BodyError::Producer(_))));
}

#[tokio::test(flavor = "current_thread")]
async fn encoders_are_bounded() {
    let handler = compress(|| stream(&[b"first"], false));
    let mut held = Vec::new();
    for _ in 0..MOST_AT_ONCE {
        held.push(ask(&handler, "gzip").await);
    }
    let beyond = ask(&handler, "gzip").await;
    assert_eq!(
        (field(&beyond, header::CONTENT_ENCODING), field(&beyond, header::VARY)),
        ("", "accept-encoding")
    );
    assert_eq!(collect(beyond.body).await.unwrap(), b"first");
    drop(held);
    assert_eq!(field(&ask(&handler, "gzip").await, header::CONTENT_ENCODING), "gzip");
}

#[tokio::test(flavor = "current_thread")]
async fn a_stream_that_waits_is_waited_for() {
    let mut polls = 0;
    let waiting = futures_util::stream::poll_fn(move |cx| {
        polls += 1;
        match polls {
            2 => Poll::Ready(Some(Ok(Bytes::from_static(b"late")))),
            1 => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            _ => Poll::Ready(None),
        }
    });
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let stream = stream::Compressed::new(Body::Stream(Box::pin(waiting)), Coding::Gzip, permit);
    let sent = collect(Body::Stream(Box::pin(stream))).await.unwrap();
    assert_eq!(decode(Coding::Gzip, &sent), b"late");
}
