//! HTTP/1 over a raw socket: exactly the bytes that a test gives go out, and what comes back is taken apart strictly.
//!
//! Strictly, as this is where a server's mistakes in framing must show: a length that is not a number, bytes after the
//! last response, a chunk without its end are panics and not guesses.

mod parse;
mod queue;
mod stream;

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use rustls::{ClientConfig, HandshakeKind};

use crate::PATIENCE;
use parse::{Framing, Head};
use stream::Stream;
pub use stream::known_as;

/// The longest response that is read, in bytes, if nothing else is said.
const LONGEST: usize = 64 * 1024 * 1024;

/// A response.
#[derive(Debug, Clone)]
pub struct Response {
    /// `HTTP/1.1`, as it was sent.
    pub version: String,
    /// The status code.
    pub status: u16,
    /// The fields in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of the field `name` (in lower case), if it is there.
    ///
    /// # Panics
    ///
    /// It is there more than once.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values =
            self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "the field {name} came more than once: {self:?}");
        value
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the server says that it will close the connection.
    #[track_caller]
    pub fn says_close(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// Connects from `from`, an address of this machine: to a server every such address is a client of its own. Connecting,
/// reading and writing take `patience` at most; `buffer` makes the receive buffer that small.
///
/// # Errors
///
/// The system or the server refuses.
pub fn dial(
    from: Ipv4Addr,
    to: SocketAddr,
    patience: Duration,
    buffer: Option<usize>,
) -> io::Result<TcpStream> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if let Some(size) = buffer {
        sockopt::set_socket_recv_buffer_size(&socket, size)?;
    }
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(patience))?; // also that of the connect
    bind(&socket, &SocketAddr::from((from, 0)))?;
    connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(patience))?;
    Ok(stream)
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    /// Bytes that came and have not been taken.
    ahead: Vec<u8>,
    /// The longest response that is read, in bytes.
    longest: usize,
}

impl Client {
    /// Connects by TCP.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Connects by TCP.
    ///
    /// # Errors
    ///
    /// The server refuses, or does not answer within [`PATIENCE`].
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self::over(stream))
    }

    /// Goes on with a connection that was made, by [`dial`] perhaps.
    pub fn over(stream: TcpStream) -> Self {
        Self { stream: Stream::Tcp(stream), ahead: Vec::new(), longest: LONGEST }
    }

    /// Reads no response that is longer, in bytes: it is an error then.
    pub fn read_at_most(&mut self, longest: usize) {
        self.longest = longest;
    }

    /// Connects to a unix socket.
    #[track_caller]
    pub fn connect_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path)
            .and_then(|stream| {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(stream)
            })
            .unwrap_or_else(|error| panic!("cannot connect to {}: {error}", path.display()));
        Self { stream: Stream::Unix(stream), ahead: Vec::new(), longest: LONGEST }
    }

    /// Goes on encrypted, over what was sent so far (a header of the PROXY protocol, perhaps), trusting this authority
    /// alone and asking for `name`. The handshake is made with the first bytes that are sent.
    ///
    /// # Panics
    ///
    /// This is no TCP connection, `ca` (PEM) is no certificate, or `name` can be none's.
    #[must_use]
    #[track_caller]
    pub fn encrypted(self, ca: &str, name: &str) -> Self {
        self.encrypted_by(&Arc::new(stream::trusting(ca)), name)
    }

    /// Goes on encrypted as [`encrypted`](Self::encrypted) does, by settings of one's own.
    ///
    /// # Panics
    ///
    /// This is no TCP connection, or `name` can be none's.
    #[must_use]
    #[track_caller]
    pub fn encrypted_by(self, settings: &Arc<ClientConfig>, name: &str) -> Self {
        Self { stream: self.stream.encrypted(settings, name), ..self }
    }

    /// Whether the handshake was a full one; `None` before it, and where nothing is encrypted.
    pub fn handshake_kind(&self) -> Option<HandshakeKind> {
        match &self.stream {
            Stream::Tls(stream) => stream.conn.handshake_kind(),
            Stream::Tcp(_) | Stream::Unix(_) => None,
        }
    }

    /// The connection alone: what was encrypted can no longer be understood.
    ///
    /// # Panics
    ///
    /// This is no TCP connection.
    #[track_caller]
    pub fn into_tcp(self) -> TcpStream {
        match self.stream {
            Stream::Tcp(stream) => stream,
            Stream::Tls(stream) => stream.into_parts().1,
            Stream::Unix(_) => panic!("this is a unix socket"),
        }
    }

    /// Takes the server for stuck when it does not read, or says nothing, for this long; [`PATIENCE`] by default. For one
    /// that is meant to.
    #[track_caller]
    pub fn give_up_after(&mut self, time: Duration) {
        self.stream.give_up_after(time).expect("our own socket");
    }

    /// Sends these bytes.
    ///
    /// # Panics
    ///
    /// The server has closed the connection, or does not read for [`PATIENCE`].
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the server takes what is sent");
    }

    /// Sends these bytes, as far as the server takes them.
    ///
    /// # Errors
    ///
    /// The server has closed the connection, or does not read for [`PATIENCE`].
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Says that nothing more will be sent; the answers can still be read.
    #[track_caller]
    pub fn finish_sending(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is open");
    }

    /// Leaves without a word: the server is told that the connection is broken (TCP's RST), not that it is closed.
    #[track_caller]
    pub fn reset(self) {
        if let Stream::Tcp(stream) = &self.stream {
            sockopt::set_socket_linger(stream, Some(Duration::ZERO)).expect("our own socket");
        }
    }

    /// Asks for `path` and reads the answer. The connection stays open.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.request("GET", path, &[])
    }

    /// Sends a request without a body and reads the answer. The connection stays open.
    #[track_caller]
    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
        for (name, value) in headers {
            // Writing to a string cannot fail.
            let _infallible = write!(request, "{name}: {value}\r\n");
        }
        self.send(request + "\r\n");
        if method == "HEAD" { self.response_to_head() } else { self.response() }
    }

    /// The next response, to anything but HEAD.
    ///
    /// # Panics
    ///
    /// None comes, or it is not HTTP.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.read_response(false).unwrap_or_else(|error| panic!("no response: {error}"))
    }

    /// The next response, to HEAD: whatever its fields say, it has no body.
    ///
    /// # Panics
    ///
    /// None comes, or it is not HTTP.
    #[track_caller]
    pub fn response_to_head(&mut self) -> Response {
        self.read_response(true).unwrap_or_else(|error| panic!("no response: {error}"))
    }

    /// The next response, to a request of `method`; `None` if the server closes the connection instead.
    ///
    /// # Errors
    ///
    /// What comes is not HTTP, breaks off, or does not come within [`PATIENCE`].
    pub fn try_response(&mut self, method: &str) -> io::Result<Option<Response>> {
        if self.ahead.is_empty() && self.fill()? == 0 {
            return Ok(None);
        }
        self.read_response(method == "HEAD").map(Some)
    }

    /// Waits until the server has read all that was sent so far, so that what is sent next comes to it separately.
    /// TCP only.
    ///
    /// # Panics
    ///
    /// It does not read for [`PATIENCE`], or this is not TCP.
    #[track_caller]
    pub fn until_read(&self) {
        let Stream::Tcp(stream) = &self.stream else {
            panic!("only a TCP connection has a queue to look at")
        };
        queue::until_empty(stream);
    }

    /// The head of the next response. Its body is left to [`read_some`](Self::read_some).
    #[track_caller]
    pub fn head(&mut self) -> Response {
        let head = self.read_head().unwrap_or_else(|error| panic!("no response: {error}"));
        head.into_response(Vec::new())
    }

    /// The next bytes as they come, `limit` at most; none when the server has closed the connection.
    #[track_caller]
    pub fn read_some(&mut self, limit: usize) -> Vec<u8> {
        self.try_read_some(limit).expect("something to read")
    }

    /// The next bytes as they come, `limit` at most; none when the server has closed the connection.
    ///
    /// # Errors
    ///
    /// The connection is broken, or nothing comes within [`PATIENCE`].
    pub fn try_read_some(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        if self.ahead.is_empty() {
            self.fill()?;
        }
        Ok(self.ahead.drain(..self.ahead.len().min(limit)).collect())
    }

    /// Whether there is something to read within `time`, be it the end of the connection.
    #[track_caller]
    pub fn is_readable_within(&self, time: Duration) -> bool {
        let limit = Timespec::try_from(time).expect("a time of a test");
        let fd = match &self.stream {
            Stream::Tcp(stream) => PollFd::new(stream, PollFlags::IN),
            Stream::Unix(stream) => PollFd::new(stream, PollFlags::IN),
            Stream::Tls(stream) => PollFd::new(&stream.sock, PollFlags::IN),
        };
        !self.ahead.is_empty() || poll(&mut [fd], Some(&limit)).expect("our own socket") > 0
    }

    /// The next `length` bytes.
    ///
    /// # Panics
    ///
    /// They do not come.
    #[track_caller]
    pub fn read(&mut self, length: usize) -> Vec<u8> {
        self.take(length).unwrap_or_else(|error| panic!("{length} bytes were expected: {error}"))
    }

    /// Waits for the server to close the connection with nothing more to say; an error tells what it does instead.
    ///
    /// # Errors
    ///
    /// It says more, resets the connection, or leaves it open for [`PATIENCE`].
    pub fn closed(&mut self) -> Result<(), String> {
        let filled = if self.ahead.is_empty() { self.fill() } else { Ok(self.ahead.len()) };
        match filled {
            Ok(0) => Ok(()),
            Ok(_) => Err(format!("the server goes on with {:?}", String::from_utf8_lossy(&self.ahead))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err("the connection stays open".to_owned())
            }
            Err(error) => Err(format!("the connection broke: {error}")),
        }
    }

    /// Asserts that the server closes the connection: see [`closed`](Self::closed).
    #[track_caller]
    pub fn expect_close(&mut self) {
        self.closed().unwrap_or_else(|instead| panic!("a closed connection was expected, but {instead}"));
    }

    fn read_response(&mut self, to_head: bool) -> io::Result<Response> {
        let head = self.read_head()?;
        let body = match head.framing(to_head)? {
            Framing::None => Vec::new(),
            Framing::Length(length) => self.take(length)?,
            Framing::Chunked => self.take_chunks()?,
            Framing::Close => self.take_rest()?,
        };
        Ok(head.into_response(body))
    }

    fn read_head(&mut self) -> io::Result<Head> {
        let end = self.find(b"\r\n\r\n")?;
        let head = self.take(end + 4)?;
        Head::parse(&head[..end])
    }

    /// A chunked body ([RFC 9112 §7.1](https://www.rfc-editor.org/rfc/rfc9112#section-7.1)), without trailers.
    fn take_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = self.find(b"\r\n")?;
            let line = self.take(end + 2)?;
            let size = parse::chunk_size(&line[..end])?;
            self.check(body.len().saturating_add(size))?;
            body.extend(self.take(size)?);
            if self.take(2)? != b"\r\n" {
                return Err(parse::malformed("a chunk without its end", &line));
            }
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn take_rest(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.ahead))
    }

    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        self.check(length)?;
        while self.ahead.len() < length {
            self.fill_or_fail()?;
        }
        let rest = self.ahead.split_off(length);
        Ok(std::mem::replace(&mut self.ahead, rest))
    }

    /// The place where `what` begins in what comes.
    fn find(&mut self, what: &[u8]) -> io::Result<usize> {
        loop {
            if let Some(at) = self.ahead.windows(what.len()).position(|window| window == what) {
                return Ok(at);
            }
            self.fill_or_fail()?;
        }
    }

    fn fill_or_fail(&mut self) -> io::Result<()> {
        if self.fill()? == 0 {
            return Err(parse::malformed("the connection was closed in the middle of it", &self.ahead));
        }
        Ok(())
    }

    /// Whether a response may have more than these bytes.
    fn check(&self, length: usize) -> io::Result<()> {
        if length > self.longest {
            return Err(io::Error::other(format!("a response of more than {} bytes", self.longest)));
        }
        Ok(())
    }

    /// Reads what has come, waiting for the first byte; 0 at the end.
    fn fill(&mut self) -> io::Result<usize> {
        self.check(self.ahead.len())?;
        let mut buffer = [0; 16 * 1024];
        let read = self.stream.read(&mut buffer)?;
        self.ahead.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
