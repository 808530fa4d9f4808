//! Reading what a proxy says about a connection before anything else ([`proxy_protocol`]).
//!
//! Invariant: exactly the header is taken off the stream. What follows (a request, or the beginning of a handshake) is
//! read by whoever comes next, as if there had been no header.
//!
//! Only for listeners that proxies alone can reach: see [`proxy_protocol`] on what is believed otherwise.

use std::io;

use medusa_proto::proxy_protocol::{self, Header, MAX_LEN, Parsed};
use tokio::io::AsyncReadExt as _;

use crate::stream::Stream;

/// The reason why there is no header. Nothing can be answered: what protocol the other side speaks is not known. Close.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// It is not one, or a bad one: most often a client that is no proxy.
    #[error(transparent)]
    Header(#[from] proxy_protocol::Error),
    /// The proxy hung up before its end, perhaps before its beginning.
    #[error("the proxy hung up before its PROXY protocol header was complete")]
    Gone(#[source] io::Error),
}

/// Takes a header off the beginning of a connection. Takes as long as the proxy does: the connection's deadline is the
/// caller's.
///
/// # Errors
///
/// See [`ProxyError`]; what was read by then is lost.
pub async fn read_header(stream: &mut Stream) -> Result<Header, ProxyError> {
    let mut bytes = [0; MAX_LEN];
    let mut taken = 0;
    loop {
        // The parser is never incomplete with so many bytes, so there is always room for one more.
        let seen = taken + stream.peek(&mut bytes[taken..]).await.map_err(ProxyError::Gone)?;
        if seen == taken {
            return Err(ProxyError::Gone(io::ErrorKind::UnexpectedEof.into()));
        }
        // Of an incomplete header all that is there belongs to it; of a complete one only the parser knows.
        let (header, end) = match proxy_protocol::parse(&bytes[..seen])? {
            Parsed::Incomplete => (None, seen),
            Parsed::Complete { header, len } => (Some(header), len),
        };
        stream.read_exact(&mut bytes[taken..end]).await.map_err(ProxyError::Gone)?;
        if let Some(header) = header {
            return Ok(header);
        }
        taken = end;
    }
}
