//! Target of a network sink, as its user spells it: `tcp://logs.example:601`, `unix:/run/log`.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use crate::OptionError;

/// Target of a [`RemoteSink`](crate::RemoteSink).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RemoteTarget {
    /// `tcp://host:port` and the like.
    Net(Scheme, Host),
    /// A unix socket.
    Unix(PathBuf, UnixKind),
}

/// Way to speak to another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `tcp`: a stream.
    Tcp,
    /// `tls`: a stream under TLS.
    Tls,
    /// `relp`: a stream whose receiver acknowledges every record.
    Relp,
    /// `relp+tls`: the same, under TLS.
    RelpTls,
    /// `udp`: one record per datagram, and nobody who says whether it has arrived.
    Udp,
}

impl Scheme {
    const ALL: [Self; 5] = [Self::Tcp, Self::Tls, Self::Relp, Self::RelpTls, Self::Udp];

    const fn name(self) -> &'static str {
        ["tcp", "tls", "relp", "relp+tls", "udp"][self as usize]
    }

    /// The port of syslog: RFC 6587 has none for TCP, 514 is what its daemons listen on; 6514 is of RFC 5425, 514 of RFC 5426.
    /// For RELP none is registered, and receivers have none of their own.
    const fn syslog_port(self) -> Option<u16> {
        match self {
            Self::Tcp | Self::Udp => Some(514),
            Self::Tls => Some(6514),
            Self::Relp | Self::RelpTls => None,
        }
    }
}

/// Kind of socket that a path is expected to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnixKind {
    /// `unix:/path`: a stream.
    Stream,
    /// `unixgram:/path`: one record per datagram. Unlike UDP it loses none: a full receiver makes the sink wait.
    Datagram,
    /// Whichever the socket turns out to be, datagrams tried first: what `/dev/log` is differs between systems.
    Either,
}

/// A name, or an address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    /// The name or address, an IPv6 address without its brackets.
    pub name: String,
    /// The port.
    pub port: u16,
}

/// The longest path of a unix socket (`sun_path` less its end).
const MAX_PATH: usize = 107;

impl RemoteTarget {
    /// The socket that a system's own syslog listens on.
    pub const DEV_LOG: &str = "/dev/log";

    /// Reads a target.
    ///
    /// # Errors
    ///
    /// If it is no target.
    pub fn parse(text: &str) -> Result<Self, OptionError> {
        Self::read(text, |_| None)
    }

    /// Reads a target of syslog, which has ports of its own, and whose unix stream may be datagrams as well.
    ///
    /// # Errors
    ///
    /// If it is no target.
    pub fn parse_syslog(text: &str) -> Result<Self, OptionError> {
        Ok(match Self::read(text, Scheme::syslog_port)? {
            Self::Unix(path, UnixKind::Stream) => Self::Unix(path, UnixKind::Either),
            other => other,
        })
    }

    /// `port` is that of a host that comes without.
    fn read(text: &str, port: fn(Scheme) -> Option<u16>) -> Result<Self, OptionError> {
        let of_path = || text.split_once(':').filter(|(scheme, _)| scheme.starts_with("unix"));
        let (name, rest) = text.split_once("://").or_else(of_path).ok_or_else(|| unknown(text))?;
        let kind = match name {
            "unix" => UnixKind::Stream,
            "unixgram" => UnixKind::Datagram,
            _ => {
                let scheme = Scheme::ALL.into_iter().find(|scheme| scheme.name() == name);
                let scheme = scheme.ok_or_else(|| unknown(text))?;
                return Ok(Self::Net(scheme, host(text, rest, port(scheme))?));
            }
        };
        if rest.is_empty() || rest.len() > MAX_PATH || rest.contains('\0') {
            return Err(no_path(text));
        }
        Ok(Self::Unix(rest.into(), kind))
    }

    /// The same target with its path, if it has one, made another: absolute, for instance.
    #[must_use]
    pub fn map_path(self, map: impl FnOnce(&Path) -> PathBuf) -> Self {
        match self {
            Self::Unix(path, kind) => Self::Unix(map(&path), kind),
            other @ Self::Net(..) => other,
        }
    }

    /// How it is spoken to, if it is on another machine.
    pub const fn scheme(&self) -> Option<Scheme> {
        match self {
            Self::Net(scheme, _) => Some(*scheme),
            Self::Unix(..) => None,
        }
    }

    /// Tells whether it is on this machine.
    pub const fn is_local(&self) -> bool {
        matches!(self, Self::Unix(..))
    }

    /// Tells whether its receiver acknowledges every record.
    pub const fn is_relp(&self) -> bool {
        matches!(self, Self::Net(Scheme::Relp | Scheme::RelpTls, _))
    }

    /// Tells whether it is spoken to under TLS.
    pub const fn is_tls(&self) -> bool {
        matches!(self, Self::Net(Scheme::Tls | Scheme::RelpTls, _))
    }

    /// Tells whether it takes a record per datagram, or may do so.
    pub const fn may_take_datagrams(&self) -> bool {
        matches!(self, Self::Net(Scheme::Udp, _) | Self::Unix(_, UnixKind::Datagram | UnixKind::Either))
    }

    pub(super) const fn host(&self) -> Option<&Host> {
        match self {
            Self::Net(_, host) => Some(host),
            Self::Unix(..) => None,
        }
    }
}

impl fmt::Display for RemoteTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(scheme, Host { name, port }) if name.contains(':') => {
                write!(f, "{}://[{name}]:{port}", scheme.name())
            }
            Self::Net(scheme, Host { name, port }) => write!(f, "{}://{name}:{port}", scheme.name()),
            Self::Unix(path, UnixKind::Datagram) => write!(f, "unixgram:{}", path.display()),
            Self::Unix(path, _) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn host(text: &str, rest: &str, default: Option<u16>) -> Result<Host, OptionError> {
    let bracketed = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (name, port) = bracketed
        .filter(|(name, _)| name.parse::<Ipv6Addr>().is_ok())
        .unwrap_or_else(|| rest.split_at(rest.find(':').unwrap_or(rest.len())));
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if name.is_empty() || name.len() > 253 || !name.chars().all(is_name) {
        return Err(no_host(text));
    }
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port != 0),
        None => default.filter(|_| port.is_empty()),
    };
    Ok(Host { name: name.to_owned(), port: port.ok_or_else(|| no_port(text))? })
}

/// The target is of no kind we know.
fn unknown(text: &str) -> OptionError {
    OptionError(format!(
        "unknown target {text:?}: use tcp://host:port, tls://host:port, udp://host:port, unix:/path or unixgram:/path, and \
         for syslog also relp://host:port or relp+tls://host:port"
    ))
}

fn no_host(text: &str) -> OptionError {
    OptionError(format!(
        "the target {text:?} names no host: write it as tcp://logs.example:601, an IPv6 address as tcp://[2001:db8::1]:601"
    ))
}

fn no_port(text: &str) -> OptionError {
    OptionError(format!("the target {text:?} needs a port, from 1 to 65535: tcp://logs.example:601"))
}

fn no_path(text: &str) -> OptionError {
    OptionError(format!(
        "the target {text:?} needs the path of a socket, of at most {MAX_PATH} bytes: unix:/run/collector.sock"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<RemoteTarget, OptionError> {
        RemoteTarget::parse(text)
    }

    #[test]
    fn targets_are_shown_as_they_are_read() {
        for text in [
            "tcp://logs.example:601",
            "tls://[2001:db8::1]:6514",
            "udp://192.0.2.1:514",
            "relp://[::1]:2514",
            "relp+tls://logs.example:2514",
            "unix:/run/log",
            "unix:relative",
            "unixgram:/run/log",
        ] {
            assert_eq!(parse(text).expect(text).to_string(), text);
        }
        assert_eq!(parse("unix:///run/log"), parse("unix:/run/log"));
    }

    #[test]
    fn what_is_no_target_is_told_why() {
        for text in ["", "logs.example", "http://x:1", "tcp:x:1", "TCP://x:1", "unixpath:/x"] {
            assert_eq!(parse(text), Err(unknown(text)));
        }
        for text in [
            "tcp://",
            "tcp://:5",
            "tcp://::1:5",
            "tcp://a b:5",
            "tcp://u@x:5",
            "tcp://[::1",
            "tcp://[x]:5",
            "tcp://a/:5",
        ] {
            assert_eq!(parse(text), Err(no_host(text)));
        }
        for text in
            ["relp://x", "tcp://x", "tcp://x:", "tcp://x:0", "tcp://x:65536", "tcp://x:601/", "tcp://[::1]5"]
        {
            assert_eq!(parse(text), Err(no_port(text)));
        }
        let long = format!("unix:/{}", "x".repeat(MAX_PATH));
        assert_eq!(parse(&long), Err(no_path(&long)));
        assert_eq!(parse("unixgram:"), Err(no_path("unixgram:")));
    }

    #[test]
    fn syslog_has_ports_of_its_own() {
        for (text, whole) in
            [("udp://x", "udp://x:514"), ("tls://x", "tls://x:6514"), ("tcp://[::1]", "tcp://[::1]:514")]
        {
            let target = RemoteTarget::parse_syslog(text).expect(text);
            assert_eq!(target.to_string(), whole);
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_read_back(text in ".{0,40}|(tcp|udp|unix)://?[a-z\\[\\]:0-9]{0,20}") {
            if let Ok(target) = parse(&text) {
                prop_assert_eq!(parse(&target.to_string()), Ok(target));
            }
        }
    }
}
