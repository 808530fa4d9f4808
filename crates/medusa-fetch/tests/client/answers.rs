//! What an answer says arrives as it was said: decompressed whole, its fields put together, and asked for again where the
//! connection had gone.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderMap;
use medusa_fetch::{Body, FetchError, Fetcher, Request};

/// A server that has `serve` answer each connection, the first of which is number 0.
fn serve(serve: impl Fn(usize, BufReader<TcpStream>) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let serve = std::sync::Arc::new(serve);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (stream, serve) = (stream.unwrap(), std::sync::Arc::clone(&serve));
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            thread::spawn(move || serve(number, BufReader::new(stream)));
        }
    });
    addr
}

/// Reads a head; its first line, or none at the end.
fn head(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let (mut first, mut line) = (String::new(), String::new());
    stream.read_line(&mut first).ok().filter(|read| *read > 0)?;
    while stream.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    Some(first)
}

/// Answers every request with `fields` and a body in these pieces, and ends the connection.
fn answer(fields: &'static str, pieces: Vec<Vec<u8>>) -> SocketAddr {
    serve(move |_, mut stream| {
        head(&mut stream);
        let length: usize = pieces.iter().map(Vec::len).sum();
        let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n");
        stream.get_mut().write_all(head.as_bytes()).unwrap();
        for piece in &pieces {
            stream.get_mut().set_nodelay(true).unwrap();
            // The client may have had enough.
            let _sent = stream.get_mut().write_all(piece);
        }
    })
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 3).unwrap()
}

async fn fetch(method: &str, addr: SocketAddr, stream: bool) -> Result<(HeaderMap, Vec<u8>), FetchError> {
    let mut request = Request::new(method, &format!("http://{addr}/")).unwrap();
    request.stream = stream;
    let fetcher = Fetcher::start(None).unwrap();
    let response = fetcher.fetch(request).await?;
    let mut bytes = Vec::new();
    match response.body {
        Body::Whole(whole) => bytes.extend_from_slice(whole.bytes()),
        Body::Stream(mut stream) => {
            while let Some(chunk) = stream.next().await? {
                bytes.extend_from_slice(&chunk);
            }
        }
    }
    Ok((response.headers, bytes))
}

/// In one piece, in two, and in pieces of one byte; in memory and as a stream.
#[tokio::test]
async fn a_body_is_decoded_whole_whatever_its_coding_is_called() {
    let two = [gzip(b"one "), gzip(b"two")].concat();
    let empty_between = [gzip(b"one "), gzip(b""), gzip(b"two")].concat();
    let frames = [zstd(b"one "), zstd(b"two")].concat();
    for (fields, body) in [
        ("Content-Encoding: gzip\r\n", two.clone()),
        ("Content-Encoding: gzip\r\n", empty_between),
        ("Content-Encoding: GZIP\r\n", two.clone()),
        ("Content-Encoding: x-gzip\r\n", gzip(b"one two")),
        ("Content-Encoding: X-GZip \r\n", gzip(b"one two")),
        ("Content-Encoding: zstd\r\n", frames.clone()),
        ("Content-Encoding: ZSTD\r\n", frames),
        ("Content-Encoding: gzip, ZSTD\r\n", zstd(&two)),
        ("Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n", gzip(&two)),
        ("Content-Encoding: identity\r\n", b"one two".to_vec()),
        ("", b"one two".to_vec()),
    ] {
        let bytes = body.iter().map(|byte| vec![*byte]).collect();
        let halves = vec![body[..body.len() / 2].to_vec(), body[body.len() / 2..].to_vec()];
        for pieces in [vec![body], halves, bytes] {
            for stream in [false, true] {
                let (headers, decoded) = fetch("GET", answer(fields, pieces.clone()), stream).await.unwrap();
                assert_eq!(String::from_utf8_lossy(&decoded), "one two", "{fields}");
                let coded = fields.len() > 2 && !fields.contains("identity");
                assert_eq!(headers.contains_key("content-length"), !coded, "{fields}: {headers:?}");
                assert!(!coded || !headers.contains_key("content-encoding"), "{fields}: {headers:?}");
            }
        }
    }
}

/// What is left as it is says so.
#[tokio::test]
async fn what_is_not_decoded_keeps_its_fields() {
    for fields in
        ["Content-Encoding: br\r\n", "Content-Encoding: br, gzip\r\n", "Content-Encoding: gzip/2\r\n"]
    {
        let (headers, body) = fetch("GET", answer(fields, vec![b"as it is".to_vec()]), false).await.unwrap();
        assert_eq!(body, b"as it is");
        assert!(fields.contains(headers["content-encoding"].to_str().unwrap()), "{headers:?}");
        assert_eq!(headers["content-length"], "8");
    }
    // There is no body, and the length is that of the one there would be.
    let addr = serve(|_, mut stream| {
        head(&mut stream);
        let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1234\r\n\r\n";
        stream.get_mut().write_all(head.as_bytes()).unwrap();
    });
    let (headers, body) = fetch("HEAD", addr, false).await.unwrap();
    assert_eq!(
        (&headers["content-encoding"], &headers["content-length"]),
        (&"gzip".parse().unwrap(), &"1234".parse().unwrap())
    );
    assert_eq!(body, b"");
    let part = serve(|_, mut stream| {
        head(&mut stream);
        let head = "HTTP/1.1 206 Partial Content\r\nContent-Encoding: gzip\r\nContent-Range: bytes 0-3/9\r\nContent-Length: 4\r\n\r\npart";
        stream.get_mut().write_all(head.as_bytes()).unwrap();
    });
    let (headers, body) = fetch("GET", part, false).await.unwrap();
    assert_eq!((body.as_slice(), &headers["content-encoding"]), (&b"part"[..], &"gzip".parse().unwrap()));
}

/// An empty body is one of no bytes, too; any other that is not whole is an error.
#[tokio::test]
async fn a_coded_body_is_whole_or_an_error() {
    let long: Vec<u8> = (0..100_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for (fields, coded) in
        [("Content-Encoding: gzip\r\n", gzip(&long)), ("Content-Encoding: zstd\r\n", zstd(&long))]
    {
        let (_, body) = fetch("GET", answer(fields, vec![]), false).await.unwrap();
        assert_eq!(body, b"", "{fields}");
        let (_, body) = fetch("GET", answer(fields, vec![coded.clone()]), true).await.unwrap();
        assert!(body == long, "{fields}");
        let garbage = [coded.clone(), b"garbage".to_vec()].concat();
        let second_cut = [coded.clone(), coded[..coded.len() / 2].to_vec()].concat();
        let mut flipped = coded.clone();
        flipped[coded.len() - 3] ^= 1;
        for damaged in [garbage, second_cut, coded[..coded.len() - 1].to_vec(), coded[..5].to_vec(), flipped]
        {
            let damaged = if fields.contains("zstd") && damaged.len() == coded.len() {
                coded[..9].to_vec()
            } else {
                damaged
            };
            for stream in [false, true] {
                let error = fetch("GET", answer(fields, vec![damaged.clone()]), stream).await.unwrap_err();
                assert_eq!(error.fault().to_string(), "the body of the answer could not be read", "{fields}");
            }
        }
    }
}

#[tokio::test]
async fn a_folded_field_is_one_line() {
    let addr = answer("X-A: one\r\n  two\r\n\tthree\r\nX-B: b\r\n", vec![b"ok".to_vec()]);
    let (headers, body) = fetch("GET", addr, false).await.unwrap();
    let words: Vec<_> = headers["x-a"].to_str().unwrap().split_ascii_whitespace().collect();
    assert_eq!(words, ["one", "two", "three"], "{headers:?}");
    assert!(!headers["x-a"].as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n')), "{headers:?}");
    assert_eq!((&headers["x-b"], body.as_slice()), (&"b".parse().unwrap(), &b"ok"[..]));
}

/// A server whose first `stale` connections answer one request, and are closed when the second comes. It tells of each
/// request: the number of its connection, and its first line.
fn closes_when_reused(stale: usize) -> (SocketAddr, Receiver<(usize, String)>) {
    let (tell, seen) = sync_channel(1000);
    let addr = serve(move |number, mut stream| {
        let mut answered = 0;
        while let Some(first) = head(&mut stream) {
            tell.send((number, first)).unwrap();
            if number < stale && answered > 0 {
                return;
            }
            answered += 1;
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    });
    (addr, seen)
}

#[tokio::test]
async fn what_may_come_twice_is_sent_again_where_a_reused_connection_has_gone() {
    for (method, again) in [
        ("GET", true),
        ("HEAD", true),
        ("PUT", true),
        ("DELETE", true),
        ("OPTIONS", true),
        ("POST", false),
        ("PATCH", false),
    ] {
        let (addr, seen) = closes_when_reused(1);
        let fetcher = Fetcher::start(None).unwrap();
        let ask = || fetcher.fetch(Request::new(method, &format!("http://{addr}/")).unwrap());
        ask().await.unwrap();
        let second = ask().await;
        assert_eq!(second.is_ok(), again, "{method}: {second:?}");
        let asked: Vec<usize> = seen.try_iter().map(|(number, _)| number).collect();
        assert_eq!(asked, if again { vec![0, 0, 1] } else { vec![0, 0] }, "{method}");
    }
}

/// Also where several connections have gone; and never again where the one that was opened for it goes.
#[tokio::test]
async fn it_is_sent_again_until_a_connection_is_new() {
    let (addr, seen) = closes_when_reused(4);
    let fetcher = Fetcher::start(None).unwrap();
    let ask = || fetcher.fetch(Request::new("GET", &format!("http://{addr}/")).unwrap());
    let opened = tokio::join!(ask(), ask(), ask(), ask());
    for answered in [opened.0, opened.1, opened.2, opened.3] {
        answered.unwrap();
    }
    ask().await.unwrap();
    assert!(seen.try_iter().any(|(number, _)| number == 4));

    let (tell, seen) = sync_channel(100);
    let silent = serve(move |_, mut stream| tell.send(head(&mut stream)).unwrap());
    fetcher.fetch(Request::new("GET", &format!("http://{silent}/")).unwrap()).await.unwrap_err();
    assert_eq!(seen.try_iter().count(), 1);
}
