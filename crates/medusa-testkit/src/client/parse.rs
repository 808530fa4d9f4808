//! The head of a response, and what it says of the body.

use std::io;

use super::Response;

/// The framing of a body ([RFC 9112 §6.3](https://www.rfc-editor.org/rfc/rfc9112#section-6.3)).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// It has this many bytes.
    Length(usize),
    /// It comes in chunks.
    Chunked,
    /// It ends with the connection.
    Close,
}

/// A status line and fields.
#[derive(Debug)]
pub(super) struct Head {
    version: String,
    status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    /// Parses a head without the empty line at its end.
    pub(super) fn parse(head: &[u8]) -> io::Result<Self> {
        let bad = || malformed("this is not the head of a response", head);
        let text = std::str::from_utf8(head).map_err(|_invalid| bad())?;
        let mut lines = text.split("\r\n");
        let (version, rest) = lines.next().and_then(|line| line.split_once(' ')).ok_or_else(bad)?;
        let status = rest.get(..3).and_then(|status| status.parse().ok()).ok_or_else(bad)?;
        if !version.starts_with("HTTP/1.") || !matches!(rest.as_bytes().get(3), None | Some(b' ')) {
            return Err(bad());
        }
        let field = |line: &str| {
            let (name, value) = line.split_once(':')?;
            (!name.is_empty() && !name.contains([' ', '\t']))
                .then(|| (name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let headers = lines.map(|line| field(line).ok_or_else(bad)).collect::<io::Result<_>>()?;
        Ok(Self { version: version.to_owned(), status, headers })
    }

    pub(super) fn framing(&self, to_head: bool) -> io::Result<Framing> {
        if to_head || matches!(self.status, 100..=199 | 204 | 304) {
            return Ok(Framing::None);
        }
        let values = |name: &str| {
            self.headers
                .iter()
                .filter(|(known, _)| known == name)
                .map(|(_, value)| value.as_str())
                .collect::<Vec<_>>()
        };
        let bad = |what: &str| malformed(what, format!("{:?}", self.headers).as_bytes());
        match (values("transfer-encoding").as_slice(), values("content-length").as_slice()) {
            ([], []) => Ok(Framing::Close),
            (["chunked"], []) => Ok(Framing::Chunked),
            ([], [length]) => {
                length.parse().map(Framing::Length).map_err(|_error| bad("a length that is no number"))
            }
            _ => Err(bad("a body with two framings, or one that nobody asked for")),
        }
    }

    pub(super) fn into_response(self, body: Vec<u8>) -> Response {
        let Self { version, status, headers } = self;
        Response { version, status, headers, body }
    }
}

/// The size in the line that begins a chunk; extensions are refused, as the server has none to send.
pub(super) fn chunk_size(line: &[u8]) -> io::Result<usize> {
    let size =
        std::str::from_utf8(line).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let size = size.and_then(|digits| usize::from_str_radix(digits, 16).ok());
    size.ok_or_else(|| malformed("this is not the size of a chunk", line))
}

/// An error that shows what it is about.
pub(super) fn malformed(what: &str, bytes: &[u8]) -> io::Error {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(500)]).into_owned();
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {shown:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(head: &str, to_head: bool) -> Option<Framing> {
        Head::parse(head.as_bytes()).and_then(|head| head.framing(to_head)).ok()
    }

    #[test]
    fn a_body_is_framed_as_its_head_says() {
        assert_eq!(framing("HTTP/1.1 200 OK\r\nContent-Length: 7", false), Some(Framing::Length(7)));
        assert_eq!(framing("HTTP/1.1 200 OK\r\nContent-Length: 7", true), Some(Framing::None));
        assert_eq!(framing("HTTP/1.1 304 Not Modified\r\nContent-Length: 7", false), Some(Framing::None));
        assert_eq!(framing("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked", false), Some(Framing::Chunked));
        assert_eq!(framing("HTTP/1.0 200 OK", false), Some(Framing::Close));
    }

    #[test]
    fn what_a_server_must_not_send_is_refused() {
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked",
            "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 7",
            "HTTP/1.1 200 OK\r\nContent-Length: many",
            "HTTP/1.1 200 OK\r\nName : value",
            "HTTP/1.1 200 OK\r\nno colon",
            "HTTP/1.1 2000 OK",
            "HTTP/2 200",
            "",
        ] {
            assert_eq!(framing(head, false), None, "{head:?}");
        }
    }

    #[test]
    fn a_chunk_has_a_size_and_nothing_else() {
        assert_eq!(chunk_size(b"1aF").ok(), Some(0x1af));
        for line in ["", "+1", "1;ext", "x"] {
            assert!(chunk_size(line.as_bytes()).is_err(), "{line:?}");
        }
    }
}
