//! One HTTP request, to see that a server answers as it must: the smallest client that can tell.
//!
//! It speaks HTTP/1.0, whose body ends with the connection, so it needs no framing; and it takes at most a megabyte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::error::{Error, Result};

/// The most that is read of a response, in bytes.
const MOST: u64 = 1 << 20;
/// How long a connect, a read or a write may take, when the caller does not say.
const PATIENCE: Duration = Duration::from_secs(10);

/// A response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// Sends `GET path` to `address`; the server has ten seconds to answer.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<Response> {
    get_within(PATIENCE, address, path)
}

/// The same with another patience, for an answer that is meant to take long.
pub(crate) fn get_within(patience: Duration, address: SocketAddr, path: &str) -> Result<Response> {
    let failed = |source| Error::Io { what: format!("fetch http://{address}{path}"), source };
    let answer = exchange(patience, address, path).map_err(failed)?;
    parse(&answer).ok_or_else(|| {
        let start = String::from_utf8_lossy(&answer[..answer.len().min(80)]).into_owned();
        Error::Found(format!("http://{address}{path} did not answer with HTTP but with {start:?}"))
    })
}

fn exchange(patience: Duration, address: SocketAddr, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    // One write: a server may answer and close on the first piece of a request, and the others would meet a reset.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer)?;
    Ok(answer)
}

fn parse(answer: &[u8]) -> Option<Response> {
    let blank = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = str::from_utf8(&answer[..blank]).ok()?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.get(..3)?.parse().ok()?;
    Some(Response { status, body: answer[blank + 4..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn a_response_is_taken_apart() {
        let response = parse(b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\nno\r\n\r\n").expect("HTTP");
        assert_eq!(response, Response { status: 404, body: b"no\r\n\r\n".to_vec() });
        assert_eq!(parse(b"SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n"), None);
    }

    #[test]
    fn the_request_names_path_and_host() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accept");
            let lines = BufReader::new(stream.try_clone().expect("clone")).lines();
            let head: Vec<String> =
                lines.map(|line| line.expect("line")).take_while(|line| !line.is_empty()).collect();
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello").expect("write");
            head
        });
        let response = get(address, "/a?b").expect("a response");
        assert_eq!(response, Response { status: 200, body: b"hello".to_vec() });
        assert_eq!(
            server.join().expect("server"),
            ["GET /a?b HTTP/1.0".to_owned(), format!("Host: {address}")]
        );
    }
}
