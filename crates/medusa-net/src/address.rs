//! Listen addresses, as people write them.
//!
//! Invariant: an address that parses can be bound as far as its form goes; names are never looked up, so what a script
//! says is what the socket gets.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// The longest path of a unix socket, in bytes: `sun_path` of unix(7), less its terminating NUL.
const MAX_UNIX_PATH: usize = 107;

/// An address to listen on.
///
/// | written | listens on |
/// |---|---|
/// | `127.0.0.1:8080`, `[::1]:80` | that address |
/// | `localhost:8080` | `127.0.0.1:8080` |
/// | `:8080`, `[::]:8080` | every address of the machine, IPv4 and IPv6 |
/// | `0.0.0.0:8080` | every IPv4 address of the machine |
/// | `unix:/run/site.sock` | that unix socket |
///
/// Port 0 lets the system choose a free port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddr {
    /// An IP address and a TCP port.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// A mistake in a listen address, with how to write it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing was given.
    #[error("the listen address is empty; write it like `127.0.0.1:8080`")]
    Empty,
    /// A number alone.
    #[error(
        "`{0}` is only a port; write `:{0}` to listen on every address, or `127.0.0.1:{0}` for this machine alone"
    )]
    OnlyPort(String),
    /// No port.
    #[error("`{0}` has no port; write it like `{0}:8080`")]
    NoPort(String),
    /// An IPv6 address without brackets.
    #[error("`{0}` is an IPv6 address without a port; write it like `[{0}]:8080`")]
    Unbracketed(Ipv6Addr),
    /// The port is not a number from 0 to 65535.
    #[error("`{port}` in `{input}` is not a port; use a number from 0 to 65535")]
    BadPort {
        /// The whole address.
        input: String,
        /// What stands where the port should.
        port: String,
    },
    /// The host is neither an IP address nor `localhost`.
    #[error(
        "`{host}` in `{input}` is not an IP address, and names are not looked up; give the address itself, or \
         `:{port}` for every address"
    )]
    NotAnIp {
        /// The whole address.
        input: String,
        /// What stands where the IP address should.
        host: String,
        /// The port.
        port: u16,
    },
    /// A URL.
    #[error("`{0}` is a URL; a listen address has no `http://` and no path: write it like `127.0.0.1:8080`")]
    Url(String),
    /// A path without `unix:`.
    #[error("`{0}` looks like the path of a unix socket; write it as `unix:{0}`")]
    BarePath(String),
    /// `unix:` and nothing else.
    #[error("`unix:` is followed by no path; write it like `unix:/run/medusa.sock`")]
    NoPath,
    /// A path longer than the system allows.
    #[error("the socket path `{0}` is too long: {len} bytes, and the system allows {MAX_UNIX_PATH}", len = .0.len())]
    PathTooLong(String),
    /// A path with a NUL byte.
    #[error("the socket path {0:?} contains a NUL byte")]
    NulInPath(String),
}

impl ListenAddr {
    /// Whether some connections would be for both, so that only one of them can be listened on. Port 0 is a free one for
    /// each.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(path), Self::Unix(other)) => path == other,
            (Self::Tcp(addr), Self::Tcp(other)) => {
                let (one, two) = (addr.ip(), other.ip());
                addr.port() == other.port() && addr.port() != 0 && (covers(one, two) || covers(two, one))
            }
            (Self::Unix(_), Self::Tcp(_)) | (Self::Tcp(_), Self::Unix(_)) => false,
        }
    }
}

/// Whether a listener on `listened` gets what is for `asked`: `[::]` is for IPv4, too.
fn covers(listened: IpAddr, asked: IpAddr) -> bool {
    listened == asked || listened.is_unspecified() && (listened.is_ipv6() || asked.is_ipv4())
}

impl FromStr for ListenAddr {
    type Err = AddressError;

    fn from_str(input: &str) -> Result<Self, AddressError> {
        if let Some(path) = input.strip_prefix("unix:") {
            return unix(path);
        }
        reject_other_forms(input)?;
        let (host, port) = input.rsplit_once(':').ok_or_else(|| AddressError::NoPort(input.to_owned()))?;
        let port = port
            .parse::<u16>()
            .map_err(|_invalid| AddressError::BadPort { input: input.to_owned(), port: port.to_owned() })?;
        let ip = ip(host).ok_or_else(|| AddressError::NotAnIp {
            input: input.to_owned(),
            host: host.to_owned(),
            port,
        })?;
        Ok(Self::Tcp(SocketAddr::new(ip, port)))
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<SocketAddr> for ListenAddr {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp(addr)
    }
}

fn unix(path: &str) -> Result<ListenAddr, AddressError> {
    if path.is_empty() {
        return Err(AddressError::NoPath);
    }
    if path.contains('\0') {
        return Err(AddressError::NulInPath(path.to_owned()));
    }
    if path.len() > MAX_UNIX_PATH {
        return Err(AddressError::PathTooLong(path.to_owned()));
    }
    Ok(ListenAddr::Unix(PathBuf::from(path)))
}

/// The mistakes people make, each with its own answer.
fn reject_other_forms(input: &str) -> Result<(), AddressError> {
    let owned = || input.to_owned();
    if input.is_empty() {
        Err(AddressError::Empty)
    } else if input.bytes().all(|b| b.is_ascii_digit()) {
        Err(AddressError::OnlyPort(owned()))
    } else if input.contains("://") {
        Err(AddressError::Url(owned()))
    } else if input.contains('/') {
        Err(AddressError::BarePath(owned()))
    } else if let Ok(ip) = input.parse::<Ipv6Addr>() {
        Err(AddressError::Unbracketed(ip))
    } else if input.ends_with(']') {
        Err(AddressError::NoPort(owned()))
    } else {
        Ok(())
    }
}

fn ip(host: &str) -> Option<IpAddr> {
    match host {
        "" => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        _ => match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(v6) => v6.parse().ok().map(IpAddr::V6),
            None => host.parse().ok().map(IpAddr::V4),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(input: &str) -> Result<String, String> {
        input.parse::<ListenAddr>().map(|addr| addr.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_documented_form_parses() {
        for (input, shown) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            ("[::1]:80", "[::1]:80"),
            ("[::]:8080", "[::]:8080"),
            (":8080", "[::]:8080"),
            ("localhost:8080", "127.0.0.1:8080"),
            ("unix:/run/x.sock", "unix:/run/x.sock"),
            ("unix:x.sock", "unix:x.sock"),
        ] {
            assert_eq!(parsed(input).as_deref(), Ok(shown), "{input}");
            assert_eq!(parsed(shown).as_deref(), Ok(shown), "{shown} does not survive a round trip");
        }
    }

    #[test]
    fn what_takes_the_same_connections_overlaps() {
        for (one, other, overlaps) in [
            ("127.0.0.1:80", "localhost:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            (":0", ":0", false),
            (":80", "127.0.0.1:80", true),
            (":80", "0.0.0.0:80", true),
            (":80", "[::1]:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("unix:a", "unix:a", true),
            ("unix:a", "unix:b", false),
            ("unix:a", ":80", false),
        ] {
            let [one, other] = [one, other].map(|addr| addr.parse::<ListenAddr>().expect("an address"));
            assert_eq!(one.overlaps(&other), overlaps, "{one} {other}");
            assert_eq!(other.overlaps(&one), overlaps, "{other} {one}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_cure() {
        for (input, part) in [
            ("", "is empty"),
            ("8080", "`:8080`"),
            ("127.0.0.1", "like `127.0.0.1:8080`"),
            ("[::1]", "like `[::1]:8080`"),
            ("::1", "like `[::1]:8080`"),
            ("localhost", "has no port"),
            ("127.0.0.1:", "`` in `127.0.0.1:` is not a port"),
            ("127.0.0.1:70000", "`70000`"),
            ("127.0.0.1:http", "`http`"),
            ("127.0.0.1:-1", "`-1`"),
            ("example.org:80", "names are not looked up"),
            ("*:80", "`:80` for every address"),
            ("[127.0.0.1]:80", "not an IP address"),
            ("1.2.3:80", "not an IP address"),
            ("http://127.0.0.1:80/", "is a URL"),
            ("/run/x.sock", "`unix:/run/x.sock`"),
            ("unix:", "like `unix:/run/medusa.sock`"),
            ("unix:a\0b", "NUL"),
        ] {
            match parsed(input) {
                Ok(addr) => panic!("{input:?} was taken as {addr}"),
                Err(message) => assert!(message.contains(part), "{input:?}: {message}"),
            }
        }
    }

    #[test]
    fn a_socket_path_may_have_107_bytes() {
        let longest = format!("unix:{}", "a".repeat(MAX_UNIX_PATH));
        assert!(parsed(&longest).is_ok());
        let message = parsed(&format!("{longest}a"));
        assert!(message.is_err_and(|m| m.contains("108 bytes")));
    }
}
