//! Options of a resolver, and their defaults.

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::DnsError;

/// The number of servers that a resolver takes: three more than `resolv.conf` may have, each of which may cost its
/// timeout.
pub(crate) const MAX_SERVERS: usize = 6;

/// Options of the system's own resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemOptions {
    /// The servers, search list and options: `resolv.conf(5)`. Default: `/etc/resolv.conf`. Read again when it changes.
    /// If it does not exist or names no server, the one on this machine is asked, as the C library does.
    pub resolv_conf: PathBuf,
    /// Names that no server is asked for: `hosts(5)`. Default: `/etc/hosts`. Read again when it changes. It need not
    /// exist.
    pub hosts: PathBuf,
    /// The cache of answers.
    pub cache: CacheOptions,
}

impl Default for SystemOptions {
    fn default() -> Self {
        Self {
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            hosts: PathBuf::from("/etc/hosts"),
            cache: CacheOptions::default(),
        }
    }
}

/// Options of a resolver with given servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// The protocol spoken with them. Default: [`Protocol::Udp`].
    pub protocol: Protocol,
    /// The name that must be in their certificate, for [`Protocol::Tls`] and [`Protocol::Https`]. Default: the server's
    /// address.
    pub tls_name: Option<String>,
    /// PEM file of the certificate authorities to trust, for [`Protocol::Tls`] and [`Protocol::Https`]. Default: the
    /// system's.
    pub ca: Option<PathBuf>,
    /// The path of the answers on an HTTPS server (RFC 8484). Default: `/dns-query`.
    pub path: String,
    /// The time that a server may take for one answer, between 10 ms and one minute. Default: 2 seconds; a server
    /// nearby that needs longer has forgotten the question.
    pub timeout: Duration,
    /// The number of times each server is asked before giving up, 1 to 10. Default: 2.
    pub attempts: u32,
    /// Take the servers in turn, instead of the first one for as long as it answers. Default: no.
    pub rotate: bool,
    /// Names that the servers are not asked for: `hosts(5)`. Default: none.
    pub hosts: Option<PathBuf>,
    /// The cache of answers.
    pub cache: CacheOptions,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            protocol: Protocol::default(),
            tls_name: None,
            ca: None,
            path: "/dns-query".to_owned(),
            timeout: Duration::from_secs(2),
            attempts: 2,
            rotate: false,
            hosts: None,
            cache: CacheOptions::default(),
        }
    }
}

impl ServerOptions {
    pub(crate) fn check(&self) -> Result<(), DnsError> {
        within(
            "timeout",
            self.timeout,
            Duration::from_millis(10),
            Duration::from_mins(1),
            "between 10 ms and 1 minute",
        )?;
        within("attempts", self.attempts, 1, 10, "between 1 and 10")?;
        let meaningless =
            |option, meant_for| DnsError::Meaningless { option, protocol: self.protocol, meant_for };
        let encrypted = matches!(self.protocol, Protocol::Tls | Protocol::Https);
        if self.tls_name.is_some() && !encrypted {
            return Err(meaningless("tls_name", "tls, https"));
        }
        if self.ca.is_some() && !encrypted {
            return Err(meaningless("ca", "tls, https"));
        }
        if self.path != "/dns-query" && self.protocol != Protocol::Https {
            return Err(meaningless("path", "https"));
        }
        if !self.path.starts_with('/') || !self.path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(DnsError::HttpsPath(self.path.clone()));
        }
        self.cache.check()
    }
}

/// Options of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// The number of answers, 1 to 16,777,216. Default: 65,536. When there is no room, those not asked for lately go.
    pub entries: usize,
    /// The number of bytes that the answers may take together, at least 64 KiB. Default: 64 MiB, a KiB for each of
    /// the default number of answers; one answer can have as many as 64 KiB.
    pub bytes: usize,
    /// Answers hold at least this long, whatever the server says. Default: 0. At most [`max_ttl`](Self::max_ttl).
    pub min_ttl: Duration,
    /// Answers hold at most this long (RFC 8767 §4 asks for a cap of days at most). Default: 1 day.
    pub max_ttl: Duration,
    /// That there is no such name or record holds at most this long. Default: 3 hours (RFC 2308 §5).
    pub negative_max: Duration,
    /// After a failure, how long a name is not asked for again: 1 second to 5 minutes (RFC 9520 §3.2). Default: 5
    /// seconds.
    pub failure_ttl: Duration,
    /// For how long an answer is given beyond its time, while the servers fail (RFC 8767). Default: 1 day. 0: never.
    pub stale: Duration,
    /// Ask again for what is in use before its time is over, so that nobody waits for it. Default: yes.
    pub prefetch: bool,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            entries: 65_536,
            bytes: 64 * 1024 * 1024,
            min_ttl: Duration::ZERO,
            max_ttl: Duration::from_hours(24),
            negative_max: Duration::from_hours(3),
            failure_ttl: Duration::from_secs(5),
            stale: Duration::from_hours(24),
            prefetch: true,
        }
    }
}

impl CacheOptions {
    pub(crate) fn check(&self) -> Result<(), DnsError> {
        const WEEK: Duration = Duration::from_hours(7 * 24);
        within("entries", self.entries, 1, 1 << 24, "between 1 and 16777216")?;
        within("bytes", self.bytes, 64 * 1024, usize::MAX, "at least 64 KiB")?;
        within("max_ttl", self.max_ttl, Duration::from_secs(1), WEEK, "between 1 second and 7 days")?;
        within("min_ttl", self.min_ttl, Duration::ZERO, self.max_ttl, "at most `max_ttl`")?;
        within("negative_max", self.negative_max, Duration::ZERO, Duration::from_hours(24), "at most 1 day")?;
        let failure = Duration::from_secs(1)..=Duration::from_mins(5);
        within(
            "failure_ttl",
            self.failure_ttl,
            *failure.start(),
            *failure.end(),
            "between 1 second and 5 minutes",
        )?;
        within("stale", self.stale, Duration::ZERO, WEEK, "at most 7 days")
    }
}

fn within<T: PartialOrd + fmt::Debug>(
    option: &'static str,
    given: T,
    least: T,
    most: T,
    range: &'static str,
) -> Result<(), DnsError> {
    if given < least || given > most {
        return Err(DnsError::OutOfRange { option, given: format!("{given:?}"), range });
    }
    Ok(())
}

/// A protocol of name servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Datagrams, and TCP for an answer that does not fit in one (RFC 1035 §4.2). Port 53.
    #[default]
    Udp,
    /// TCP alone (RFC 7766). Port 53.
    Tcp,
    /// DNS over TLS (RFC 7858). Port 853.
    Tls,
    /// DNS over HTTPS (RFC 8484), by HTTP/2. Port 443.
    Https,
}

impl Protocol {
    /// Its name: `udp`, `tcp`, `tls` or `https`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Https => "https",
        }
    }

    /// The port where its servers are, unless they are elsewhere.
    pub const fn port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 53,
            Self::Tls => 853,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "udp" => Ok(Self::Udp),
            "tcp" => Ok(Self::Tcp),
            "tls" => Ok(Self::Tls),
            "https" => Ok(Self::Https),
            _ => Err(UnknownProtocol(text.to_owned())),
        }
    }
}

/// A text that names no [`Protocol`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a protocol of name servers: use one of udp, tcp, tls, https")]
pub struct UnknownProtocol(pub String);

/// The place of a server: an address, and a port if it is not the usual one of the [`Protocol`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerAddr {
    /// Its address.
    pub ip: IpAddr,
    /// Its port, if given.
    pub port: Option<u16>,
}

impl ServerAddr {
    pub(crate) fn socket(self, protocol: Protocol) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or_else(|| protocol.port()))
    }
}

impl From<IpAddr> for ServerAddr {
    fn from(ip: IpAddr) -> Self {
        Self { ip, port: None }
    }
}

impl From<SocketAddr> for ServerAddr {
    fn from(socket: SocketAddr) -> Self {
        Self { ip: socket.ip(), port: Some(socket.port()) }
    }
}

impl fmt::Display for ServerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

/// `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:5353`.
impl FromStr for ServerAddr {
    type Err = BadServerAddr;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        let address = match bare.parse::<IpAddr>() {
            Ok(ip) if bare.len() == text.len() || ip.is_ipv6() => Self::from(ip),
            _ => match text.parse::<SocketAddr>() {
                Ok(SocketAddr::V6(socket)) if has_scope(&socket) => {
                    return Err(BadServerAddr(text.to_owned()));
                }
                Ok(socket) if socket.port() != 0 => Self::from(socket),
                _ => return Err(BadServerAddr(text.to_owned())),
            },
        };
        Ok(address)
    }
}

fn has_scope(socket: &SocketAddrV6) -> bool {
    socket.scope_id() != 0
}

/// A text that is not the address of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the address of a name server: give an IP address without a zone, and a port if it is not the usual \
     one, like 192.0.2.1, 192.0.2.1:5353 or [2001:db8::1]:5353"
)]
pub struct BadServerAddr(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_addresses() {
        for (text, socket) in [
            ("192.0.2.1", "192.0.2.1:53"),
            ("192.0.2.1:5353", "192.0.2.1:5353"),
            ("2001:db8::1", "[2001:db8::1]:53"),
            ("[2001:db8::1]", "[2001:db8::1]:53"),
            ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
        ] {
            let address: ServerAddr = text.parse().expect(text);
            assert_eq!(address.socket(Protocol::Udp).to_string(), socket);
        }
        for text in [
            "",
            "localhost",
            "192.0.2.1:",
            "192.0.2.1:0",
            "[192.0.2.1]",
            "fe80::1%eth0",
            "[fe80::1%2]:53",
            "1.2.3",
        ] {
            assert_eq!(text.parse::<ServerAddr>(), Err(BadServerAddr(text.to_owned())));
        }
        assert_eq!("192.0.2.1".parse::<ServerAddr>().expect("an address").socket(Protocol::Tls).port(), 853);
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        let given = |options: ServerOptions| options.check().map_err(|error| error.to_string());
        let udp = ServerOptions::default();
        assert_eq!(given(udp.clone()), Ok(()));
        let with_ca = ServerOptions { ca: Some("ca.pem".into()), ..udp.clone() };
        assert_eq!(
            given(with_ca),
            Err("`ca` has no meaning for the protocol udp: leave it out, or use one of tls, https".to_owned())
        );
        let attempts = ServerOptions { attempts: 0, ..udp.clone() };
        assert_eq!(given(attempts), Err("`attempts` is 0: it must be between 1 and 10".to_owned()));
        let path = ServerOptions { protocol: Protocol::Https, path: "dns".to_owned(), ..udp.clone() };
        assert!(given(path).is_err_and(|error| error.contains("\"dns\" is not the path")));
        let cache = CacheOptions {
            min_ttl: Duration::from_secs(10),
            max_ttl: Duration::from_secs(5),
            ..CacheOptions::default()
        };
        assert!(
            given(ServerOptions { cache, ..udp }).is_err_and(|error| error.contains("at most `max_ttl`"))
        );
    }
}
