//! The servers that are asked: where each is, and what is known of it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};
use http::Uri;
use http::header::HeaderValue;
use http::uri::Scheme;
use medusa_proto::status::Status;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::error::Fault;
use crate::health::{Change, Health};
use crate::options::{HttpVersion, ProxyOptions};

/// The number of upstreams of one proxy.
pub const MOST_UPSTREAMS: usize = 64;

/// The reason why something is no upstream.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamUrlError {
    /// It is nothing of the kind.
    #[error(
        "{0:?} is no upstream: give one like \"http://127.0.0.1:9000\", \"https://app.example\", \"h2c://127.0.0.1:9000\" or \"unix:/run/app.sock\""
    )]
    Url(String),
    /// It has a path.
    #[error(
        "{0:?} has a path or a query: paths are passed on as they come, and medusa.handler.rewrite changes them"
    )]
    Path(String),
    /// No certificate can be for that name.
    #[error("{0:?} is no name that a certificate can be for")]
    Name(String),
    /// It is asked by HTTP/2, and must not be.
    #[error("{0:?} is asked by HTTP/2: leave out `http = \"1.1\"`, or write \"http://\"")]
    Version(String),
    /// Its path is not absolute.
    #[error("{0:?}: the path of a unix socket must be absolute")]
    Relative(String),
}

/// Where an upstream is: `http://HOST[:PORT]`, `https://HOST[:PORT]`, `h2c://HOST[:PORT]` (HTTP/2 without TLS) or `unix:/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    text: String,
    pub(crate) place: UpstreamPlace,
    /// It says that HTTP/2 is spoken there.
    is_h2c: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UpstreamPlace {
    Tcp { host: UpstreamHost, port: u16, is_tls: bool, authority: String },
    Unix(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UpstreamHost {
    Address(IpAddr),
    Name(String),
}

impl FromStr for UpstreamUrl {
    type Err = UpstreamUrlError;

    fn from_str(text: &str) -> Result<Self, UpstreamUrlError> {
        let wrong = || UpstreamUrlError::Url(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') {
                return Err(UpstreamUrlError::Relative(text.to_owned()));
            }
            return Ok(Self {
                text: text.to_owned(),
                place: UpstreamPlace::Unix(path.into()),
                is_h2c: false,
            });
        }
        let uri: Uri = text.parse().map_err(|_invalid| wrong())?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else { return Err(wrong()) };
        let (is_tls, is_h2c) = match scheme {
            scheme if *scheme == Scheme::HTTP => (false, false),
            scheme if *scheme == Scheme::HTTPS => (true, false),
            scheme if scheme.as_str() == "h2c" => (false, true),
            _ => return Err(wrong()),
        };
        if uri.path_and_query().is_some_and(|path| path.as_str() != "/") || text.contains('#') {
            return Err(UpstreamUrlError::Path(text.to_owned()));
        }
        let host = authority.host().trim_matches(['[', ']']);
        let port = match authority.port() {
            Some(port) => Some(port.as_u16()).filter(|&port| port != 0).ok_or_else(wrong)?,
            // Behind the host there is something else, or a number too large.
            None if authority.as_str() != authority.host() => return Err(wrong()),
            None => {
                if is_tls {
                    443
                } else {
                    80
                }
            }
        };
        if host.is_empty() || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let host = match host.parse() {
            Ok(address) => UpstreamHost::Address(address),
            Err(_name) => UpstreamHost::Name(host.to_owned()),
        };
        let authority = authority.as_str().to_owned();
        let text = format!("{scheme}://{authority}");
        Ok(Self { text, place: UpstreamPlace::Tcp { host, port, is_tls, authority }, is_h2c })
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl UpstreamUrl {
    /// Whether it is asked by TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self.place, UpstreamPlace::Tcp { is_tls: true, .. })
    }

    /// Whether it has a name that must be looked up.
    pub fn has_name(&self) -> bool {
        matches!(self.place, UpstreamPlace::Tcp { host: UpstreamHost::Name(_), .. })
    }

    /// The version of HTTP it is asked by, where the options say this.
    fn version(&self, option: HttpVersion) -> Result<HttpVersion, UpstreamUrlError> {
        match option {
            HttpVersion::Http1 if self.is_h2c => Err(UpstreamUrlError::Version(self.text.clone())),
            HttpVersion::Auto if self.is_h2c => Ok(HttpVersion::Http2),
            HttpVersion::Auto if !self.is_tls() => Ok(HttpVersion::Http1),
            option => Ok(option),
        }
    }

    /// Its own `Host`.
    fn host_field(&self) -> HeaderValue {
        let authority = match &self.place {
            UpstreamPlace::Tcp { authority, .. } => authority.as_str(),
            UpstreamPlace::Unix(_) => "localhost",
        };
        HeaderValue::from_str(authority).unwrap_or(const { HeaderValue::from_static("localhost") })
    }
}

/// A server that is asked. All workers know the same of it.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// As logs and the status have it.
    pub(crate) name: Arc<str>,
    /// Tells its connections from others: with what is trusted.
    pub(crate) key: Arc<str>,
    pub(crate) place: UpstreamPlace,
    pub(crate) host_field: HeaderValue,
    /// The name that its certificate must be for.
    pub(crate) server_name: Option<ServerName<'static>>,
    /// There when the handler was prepared.
    pub(crate) tls: OnceLock<UpstreamTls>,
    /// `Auto` for what TLS agrees on.
    pub(crate) version: HttpVersion,
    state: ArcSwap<UpstreamState>,
}

/// HTTP/2, as it is called in TLS.
pub(crate) const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

/// Settings of TLS.
#[derive(Debug)]
pub(crate) struct UpstreamTls {
    /// For what the upstream is asked by.
    pub(crate) offered: Arc<ClientConfig>,
    /// For HTTP/1.1 alone.
    pub(crate) http1: Arc<ClientConfig>,
}

impl UpstreamTls {
    pub(crate) fn new(config: &ClientConfig, version: HttpVersion) -> Self {
        let offering = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|&protocol| protocol.into()).collect();
            Arc::new(config)
        };
        let http1 = offering(&[HTTP_1]);
        let offered = match version {
            HttpVersion::Auto => offering(&[HTTP_2, HTTP_1]),
            HttpVersion::Http1 => Arc::clone(&http1),
            HttpVersion::Http2 => offering(&[HTTP_2]),
        };
        Self { offered, http1 }
    }
}

/// What is known of an upstream, and was counted. Proxies that take each other's place on a mount have the same.
#[derive(Debug, Default)]
pub(crate) struct UpstreamState {
    pub(crate) health: Health,
    pub(crate) counts: UpstreamCounts,
    /// By HTTP/2 it does not answer for the hosts that it is asked for (421).
    pub(crate) is_particular: AtomicBool,
}

/// Counts of one upstream.
#[derive(Debug, Default)]
pub(crate) struct UpstreamCounts {
    pub(crate) active: AtomicUsize,
    pub(crate) idle: AtomicUsize,
    pub(crate) requests: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) connections: AtomicU64,
}

impl Upstream {
    pub(crate) fn new(url: &UpstreamUrl, options: &ProxyOptions) -> Result<Self, UpstreamUrlError> {
        let server_name = match &url.place {
            UpstreamPlace::Tcp { host, is_tls: true, .. } => Some(match (&options.tls.name, host) {
                (Some(name), _) | (None, UpstreamHost::Name(name)) => ServerName::try_from(name.clone())
                    .map_err(|_invalid| UpstreamUrlError::Name(name.clone()))?,
                (None, UpstreamHost::Address(address)) => (*address).into(),
            }),
            _ => None,
        };
        let key = if url.is_tls() { format!("{url}\0{:?}", options.tls) } else { url.to_string() };
        Ok(Self {
            name: url.to_string().into(),
            key: key.into(),
            place: url.place.clone(),
            host_field: url.host_field(),
            server_name,
            tls: OnceLock::new(),
            version: url.version(options.http)?,
            state: ArcSwap::default(),
        })
    }

    /// What is known of it.
    pub(crate) fn state(&self) -> Guard<Arc<UpstreamState>> {
        self.state.load()
    }

    /// Goes on with what another knows of the same server: from now on both know the same.
    pub(crate) fn take_over(&self, before: &Self) {
        self.state.store(before.state.load_full());
    }

    /// Begins anew, as one that nobody has asked yet.
    pub(crate) fn forget(&self) {
        self.state.store(Arc::default());
    }

    /// Whether requests may be sent to it by HTTP/2.
    pub(crate) fn may_speak_http2(&self) -> bool {
        match self.version {
            HttpVersion::Auto => !self.state().is_particular.load(Relaxed),
            HttpVersion::Http1 => false,
            HttpVersion::Http2 => true,
        }
    }

    /// Has it asked by HTTP/1.1 from now on, if that may be: it does not answer for a host by HTTP/2, where connections may be
    /// shared by several ([RFC 9110 §15.5.20](https://www.rfc-editor.org/rfc/rfc9110#section-15.5.20)).
    pub(crate) fn leave_http2(&self) -> bool {
        let may = self.version == HttpVersion::Auto;
        if may && !self.state().is_particular.swap(true, Relaxed) {
            tracing::info!(
                upstream = %self.name,
                "medusa.handler.proxy: {} does not answer for this host by HTTP/2 (421): it is asked by HTTP/1.1; `host` says for what \
                 it is asked",
                self.name
            );
        }
        may
    }

    /// The scheme of what it is asked for.
    pub(crate) fn scheme(&self) -> Scheme {
        if self.server_name.is_some() { Scheme::HTTPS } else { Scheme::HTTP }
    }

    /// It has answered.
    pub(crate) fn answered(&self, options: &ProxyOptions) {
        // Where others ask, they say when it is up again.
        let state = self.state();
        if options.health.is_none() && state.health.answered(1) == Some(Change::Up) {
            tracing::info!(upstream = %self.name, "medusa.handler.proxy: {} answers again", self.name);
        } else if options.health.is_some() {
            state.health.forgive();
        }
    }

    /// It has not answered, for this reason.
    pub(crate) fn failed(&self, options: &ProxyOptions, now: u64, fault: &Fault) {
        let state = self.state();
        state.counts.failures.fetch_add(1, Relaxed);
        // That is our own fault.
        if matches!(fault, Fault::Descriptors) {
            return;
        }
        let pause = u64::try_from(options.retry_after.as_millis()).unwrap_or(u64::MAX);
        if state.health.failed(options.fall, now, pause) == Some(Change::Down) {
            let reason = medusa_proto::with_causes(fault);
            tracing::warn!(upstream = %self.name, "medusa.handler.proxy: {} is taken for down after {} failures in a row: {reason}", self.name, options.fall);
        }
    }

    /// It has not answered a request that says nothing of its health.
    pub(crate) fn failed_aside(&self) {
        self.state().counts.failures.fetch_add(1, Relaxed);
    }

    pub(crate) fn status(&self) -> Status {
        let state = self.state();
        let UpstreamCounts { active, idle, requests, failures, repeated, connections } = &state.counts;
        Status::new("upstream", &*self.name)
            .field("state", if state.health.is_down() { "down" } else { "up" })
            .gauge("active", active.load(Relaxed) as u64)
            .gauge("idle", idle.load(Relaxed) as u64)
            .counter("requests", requests.load(Relaxed))
            .counter("failures", failures.load(Relaxed))
            .counter("repeated", repeated.load(Relaxed))
            .counter("connections", connections.load(Relaxed))
    }
}

/// One request under way at an upstream.
#[derive(Debug)]
pub(crate) struct ActiveRequest(Arc<UpstreamState>);

impl ActiveRequest {
    pub(crate) fn begin(upstream: &Upstream) -> Self {
        let state = Guard::into_inner(upstream.state());
        state.counts.active.fetch_add(1, Relaxed);
        state.counts.requests.fetch_add(1, Relaxed);
        Self(state)
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.counts.active.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<UpstreamUrl, String> {
        text.parse().map_err(|error: UpstreamUrlError| error.to_string())
    }

    #[test]
    fn upstreams_are_where_their_urls_say() {
        let tcp = |text: &str| match parse(text).unwrap().place {
            UpstreamPlace::Tcp { host, port, is_tls, authority } => (host, port, is_tls, authority),
            UpstreamPlace::Unix(path) => panic!("{path:?}"),
        };
        let address = |text: &str| UpstreamHost::Address(text.parse().unwrap());
        assert_eq!(
            tcp("http://127.0.0.1:9000"),
            (address("127.0.0.1"), 9000, false, "127.0.0.1:9000".into())
        );
        assert_eq!(tcp("http://[::1]:9000/"), (address("::1"), 9000, false, "[::1]:9000".into()));
        let name = UpstreamHost::Name("app.example".into());
        assert_eq!(tcp("https://app.example"), (name.clone(), 443, true, "app.example".into()));
        assert_eq!(tcp("http://app.example"), (name, 80, false, "app.example".into()));
        assert_eq!(tcp("h2c://[::1]"), (address("::1"), 80, false, "[::1]".into()));
        assert_eq!(parse("unix:/run/a.sock").unwrap().place, UpstreamPlace::Unix("/run/a.sock".into()));
        assert_eq!(parse("http://127.0.0.1:9000/").unwrap().to_string(), "http://127.0.0.1:9000");
    }

    #[test]
    fn what_is_none_is_said_with_what_would_be_one() {
        for wrong in [
            "",
            "127.0.0.1:9000",
            "ftp://a",
            "http://",
            "http://a:0",
            "http://a:99999",
            "http://u:p@a",
            "http://a:",
            "h2://a",
            "http://a b",
            "/path",
        ] {
            let error = parse(wrong).unwrap_err();
            assert!(error.starts_with(&format!("{wrong:?} is no upstream: give one like")), "{error}");
        }
        for path in ["http://a/b", "http://a/?q", "http://a?q"] {
            assert!(parse(path).unwrap_err().contains("medusa.handler.rewrite"), "{path}");
        }
        assert!(parse("unix:a.sock").unwrap_err().contains("must be absolute"));
    }

    #[test]
    fn the_version_is_the_urls_or_the_options() {
        use HttpVersion::{Auto, Http1, Http2};
        let version = |url: &str, http| {
            let options = ProxyOptions { http, ..Default::default() };
            Upstream::new(&parse(url).unwrap(), &options).map(|upstream| upstream.version)
        };
        for (url, [auto, http1, http2]) in [
            ("http://a", [Http1, Http1, Http2]),
            ("https://a", [Auto, Http1, Http2]),
            ("unix:/a", [Http1, Http1, Http2]),
        ] {
            let versions = [Auto, Http1, Http2].map(|option| version(url, option).unwrap());
            assert_eq!(versions, [auto, http1, http2], "{url}");
        }
        assert_eq!([Auto, Http2].map(|option| version("h2c://a", option).unwrap()), [Http2; 2]);
        assert!(version("h2c://a", Http1).unwrap_err().to_string().contains("leave out `http = \"1.1\"`"));
    }

    #[test]
    fn connections_are_shared_only_where_the_same_is_trusted() {
        let key = |url: &str, insecure| {
            let tls = crate::TlsOptions { insecure, ..Default::default() };
            Upstream::new(&parse(url).unwrap(), &ProxyOptions { tls, ..Default::default() }).unwrap().key
        };
        assert_ne!(key("https://a", true), key("https://a", false));
        assert_eq!(key("http://a", true), key("http://a", false));
        assert_ne!(key("http://a", true), key("http://b", true));
    }
}
