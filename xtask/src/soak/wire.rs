//! Connections from an address of our choice, and the pieces of HTTP that both good and hostile clients are made of.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

/// The longest head of a response that is read, in bytes.
const LONGEST_HEAD: usize = 64 * 1024;

/// Connects from `from`, an address of this machine: to a server every such address is a client of its own. Reads and
/// writes take `patience` at most; `buffer` makes the receive buffer that small.
pub(super) fn dial(
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
    bind(&socket, &SocketAddr::new(IpAddr::V4(from), 0))?;
    connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(patience))?;
    Ok(stream)
}

/// A response: its status, and whether the connection may be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) keeps: bool,
}

/// Reads a response with a `Content-Length`, or to the connection's end if it has none. At most `most` bytes of body.
pub(super) fn answer(stream: &mut impl Read, most: u64) -> io::Result<Answer> {
    let (head, begun) = head(stream)?;
    let text = String::from_utf8_lossy(&head);
    let mut lines = text.split("\r\n");
    let status =
        lines.next().and_then(|line| line.get(9..12)?.parse().ok()).ok_or_else(|| wrong("no status"))?;
    let field = |name: &str| {
        let mut fields = lines.clone().filter_map(|line| line.split_once(':'));
        fields.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let length = field("content-length").and_then(|length| length.parse::<u64>().ok());
    let closes = field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let left = length.unwrap_or(u64::MAX).saturating_sub(begun as u64).min(most);
    let taken = io::copy(&mut stream.take(left), &mut io::sink())?;
    match length {
        Some(_) if taken < left => Err(io::ErrorKind::UnexpectedEof.into()),
        length => Ok(Answer { status, keeps: length.is_some() && !closes }),
    }
}

/// The head, and how many bytes of the body came with it.
fn head(stream: &mut impl Read) -> io::Result<(Vec<u8>, usize)> {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let length = stream.read(&mut piece)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&piece[..length]);
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            let begun = head.len() - end - 4;
            head.truncate(end);
            return Ok((head, begun));
        }
        if head.len() > LONGEST_HEAD {
            return Err(wrong("a head without an end"));
        }
    }
}

/// Sends a GET.
pub(super) fn get(stream: &mut impl Write, path: &str) -> io::Result<()> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: soak\r\n\r\n").as_bytes())
}

fn wrong(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn read(text: &str) -> io::Result<Answer> {
        answer(&mut text.as_bytes(), 1 << 20)
    }

    #[test]
    fn an_answer_is_read_to_its_end_and_no_further() {
        let kept = read("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("whole");
        assert_eq!(kept, Answer { status: 200, keeps: true });
        let last = read("HTTP/1.1 503 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").expect("whole");
        assert_eq!(last, Answer { status: 503, keeps: false });
        let open = read("HTTP/1.1 200 OK\r\n\r\nuntil the end").expect("whole");
        assert_eq!(open, Answer { status: 200, keeps: false });
    }

    #[test]
    fn an_answer_that_breaks_off_is_an_error() {
        for cut in
            ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", "nonsense\r\n\r\n"]
        {
            assert!(read(cut).is_err(), "{cut:?}");
        }
    }

    #[test]
    fn a_connection_comes_from_the_address_that_was_chosen() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let from = Ipv4Addr::new(127, 0, 9, 1);
        let to = listener.local_addr().expect("address");
        let _stream = dial(from, to, Duration::from_secs(5), Some(4096)).expect("connect");
        let (_, peer) = listener.accept().expect("accept");
        assert_eq!(peer.ip(), IpAddr::V4(from));
    }
}
