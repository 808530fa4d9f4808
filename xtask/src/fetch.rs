//! One HTTP request, to see that a server answers as it must: the smallest client that can tell.
//!
//! It speaks HTTP/1.0, whose body ends with the connection, so it needs no framing; and it takes a bounded answer.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::error::{Error, Result};

/// The most that is read of a response, in bytes, when the caller does not say.
const MOST: u64 = 1 << 20;
/// How long a connect, a read or a write may take, when the caller does not say.
const PATIENCE: Duration = Duration::from_secs(10);

/// A response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    /// The lines between the status line and the body.
    fields: String,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// A request with GET.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    /// The path and query.
    pub(crate) path: &'a str,
    /// A field beside `Host`, such as `Accept-Encoding: gzip`.
    pub(crate) header: Option<&'a str>,
    /// The most that is read of the response, in bytes.
    pub(crate) most: u64,
    /// How long a connect, a read or a write may take.
    pub(crate) patience: Duration,
}

impl<'a> Request<'a> {
    /// Ten seconds for a megabyte at most.
    pub(crate) fn get(path: &'a str) -> Self {
        Self { path, header: None, most: MOST, patience: PATIENCE }
    }

    /// Sends it to `address`.
    pub(crate) fn send(&self, address: SocketAddr) -> Result<Response> {
        self.send_over(address, Ok)
    }

    /// Sends it to `address` over what `wrap` makes of the connection.
    pub(crate) fn send_over<S: Read + Write>(
        &self,
        address: SocketAddr,
        wrap: impl FnOnce(TcpStream) -> io::Result<S>,
    ) -> Result<Response> {
        let path = self.path;
        let failed = |source| Error::Io { what: format!("fetch {path} from {address}"), source };
        let answer = self.connect(address).and_then(wrap).and_then(|stream| self.exchange(stream, address));
        let answer = answer.map_err(failed)?;
        parse(&answer).ok_or_else(|| {
            let start = String::from_utf8_lossy(&answer[..answer.len().min(80)]).into_owned();
            Error::Found(format!(
                "{address} did not answer a request for {path} with HTTP but with {start:?}"
            ))
        })
    }

    fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&address, self.patience)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(self.patience))?;
        Ok(stream)
    }

    fn exchange(&self, mut stream: impl Read + Write, address: SocketAddr) -> io::Result<Vec<u8>> {
        let header = self.header.map(|header| format!("{header}\r\n")).unwrap_or_default();
        // One write: a server may answer and close on the first piece of a request, and the others would meet a reset.
        let request = format!("GET {} HTTP/1.0\r\nHost: {address}\r\n{header}\r\n", self.path);
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(self.most).read_to_end(&mut answer)?;
        Ok(answer)
    }
}

/// Sends `GET path` to `address`; the server has ten seconds to answer.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<Response> {
    Request::get(path).send(address)
}

/// The same with another patience, for an answer that is meant to take long.
pub(crate) fn get_within(patience: Duration, address: SocketAddr, path: &str) -> Result<Response> {
    Request { patience, ..Request::get(path) }.send(address)
}

impl Response {
    /// The value of the first field called `name`.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let fields = self.fields.lines().filter_map(|line| line.split_once(':'));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}

fn parse(answer: &[u8]) -> Option<Response> {
    let blank = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = str::from_utf8(&answer[..blank]).ok()?;
    let (status, fields) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = status.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.get(..3)?.parse().ok()?;
    Some(Response { status, fields: fields.to_owned(), body: answer[blank + 4..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn a_response_is_taken_apart() {
        let response =
            parse(b"HTTP/1.1 404 Not Found\r\nA: b\r\nSome-Field:  c \r\n\r\nno\r\n\r\n").expect("HTTP");
        assert_eq!((response.status, response.body.as_slice()), (404, b"no\r\n\r\n".as_slice()));
        assert_eq!((response.field("a"), response.field("some-field")), (Some("b"), Some("c")));
        assert_eq!(response.field("no"), None);
        assert_eq!(parse(b"SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n"), None);
    }

    #[test]
    fn the_request_names_path_host_and_field() {
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
        let request = Request { header: Some("A: b"), ..Request::get("/a?b") };
        let response = request.send(address).expect("a response");
        assert_eq!((response.status, response.body.as_slice()), (200, b"hello".as_slice()));
        assert_eq!(
            server.join().expect("server"),
            ["GET /a?b HTTP/1.0".to_owned(), format!("Host: {address}"), "A: b".to_owned()]
        );
    }
}
