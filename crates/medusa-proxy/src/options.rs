//! The options of a proxy.

use std::path::PathBuf;
use std::time::Duration;

/// The way an upstream is chosen, of those that answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way.
    LeastConnections,
    /// By the client's address (IPv4, or IPv6 /64): a client stays with its upstream as long as that answers.
    Address,
    /// By the path.
    Path,
}

/// The `Host` that upstreams are sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HostField {
    /// The one that the client asked for.
    #[default]
    Client,
    /// That of the upstream's URL.
    Upstream,
    /// This one.
    Fixed(String),
}

/// The version of HTTP that upstreams are asked by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/2 where the URL says so (`h2c://`) or TLS agrees on it (ALPN), else HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, by prior knowledge where there is no TLS.
    Http2,
}

/// The way TLS is spoken with upstreams.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// A PEM file of authorities that are trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// Whether anyone's certificate is taken.
    pub insecure: bool,
    /// The name that the certificate must be for, in place of the URL's host.
    pub name: Option<String>,
}

/// Questions to upstreams whether they are well, whoever else asks them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// The path that is asked for by GET. A status from 200 to 399 is well.
    pub path: String,
    /// Between two questions.
    pub interval: Duration,
    /// The longest that an answer may take.
    pub timeout: Duration,
    /// Answers in a row after which one that was down is up.
    pub rise: u32,
}

/// The options of a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyOptions {
    /// How an upstream is chosen.
    pub balance: Balance,
    /// The `Host` they are sent.
    pub host: HostField,
    /// The version of HTTP they are asked by.
    pub http: HttpVersion,
    /// The longest that connecting may take, TLS included. Default 3 s: TCP sends its first packet again after one second.
    pub connect_timeout: Duration,
    /// The longest wait for the head of an answer, counted anew whenever the client has sent some of a body. Default 30 s,
    /// below the time that handlers have.
    pub timeout: Duration,
    /// The longest silence within an answer's body; events (`text/event-stream`) may be silent for as long as they like.
    /// Default 60 s.
    pub idle_timeout: Duration,
    /// The time for which a connection is kept for the next request, where the upstream does not say by `Keep-Alive` how long
    /// it does. Default 4 s, for Node closes after 5.
    pub keep_alive: Duration,
    /// Idle connections that each worker keeps to each upstream. Default 32.
    pub idle_connections: usize,
    /// With HTTP/2, the silence on a connection with requests under way after which it is asked for a sign of life (PING), and
    /// without one within as long again, 10 s at most, is given up. Default 30 s: servers of gRPC take more for a flood. Zero
    /// for never.
    pub ping: Duration,
    /// Failures in a row after which an upstream is down. Default 3.
    pub fall: u32,
    /// The time after which one that is down is tried again by a request, where nothing else asks. Default 10 s.
    pub retry_after: Duration,
    /// Whether they are asked besides. Default no.
    pub health: Option<HealthCheck>,
    /// TLS, for `https`.
    pub tls: TlsOptions,
    /// The time for which a `WebSocket` or event stream may go on when the handler is no longer part of the site. Zero, the
    /// default: it ends.
    pub keep: Duration,
}

impl Default for ProxyOptions {
    fn default() -> Self {
        Self {
            balance: Balance::default(),
            host: HostField::default(),
            http: HttpVersion::default(),
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_mins(1),
            keep_alive: Duration::from_secs(4),
            idle_connections: 32,
            ping: Duration::from_secs(30),
            fall: 3,
            retry_after: Duration::from_secs(10),
            health: None,
            tls: TlsOptions::default(),
            keep: Duration::ZERO,
        }
    }
}
