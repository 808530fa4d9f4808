//! The connections: one reqwest client for each way to connect, and so many idle connections and no more.
//!
//! What a connection trusts and how long it may take to open is fixed when a reqwest client is made, so fetches that
//! differ in these have different clients. Plain http has one of its own that trusts nothing, so that it also works where
//! there are no certificates.
//!
//! A client bounds its idle connections for each origin, not the number of origins. So a client that has seen
//! [`ORIGINS`] of them is replaced by a new one, and its idle connections close; those in use are finished.
//! At most `CLIENTS * ORIGINS * IDLE` connections are idle, each for [`IDLE_TIMEOUT`] at most.
//!
//! Nothing here comes from the environment but where the system's certificates are (`SSL_CERT_FILE`, `SSL_CERT_DIR`):
//! a proxy that someone exported in a shell is not asked.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Url};
use tokio::sync::Mutex;

use crate::error::{Cause, Fault};
use crate::request::Request;
use crate::resolve::{Adapter, Resolve};

/// Ways to connect that are kept. A script has two or three: plain, TLS, and TLS with an authority of its own.
const CLIENTS: usize = 8;

/// Origins whose connections a client keeps.
const ORIGINS: usize = 16;

/// Idle connections to one origin.
const IDLE: usize = 8;

/// How long a connection stays idle. Most servers close theirs after 5 to 75 seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest header of an answer, in bytes; also of one that is refused only once it is there (HTTP/1, where hyper
/// stops reading at some 400 KiB).
pub(crate) const MAX_HEAD: usize = 64 * 1024;

/// The most fields of an answer.
const MAX_FIELDS: usize = 200;

/// What may have come of one answer over HTTP/2 without being read, and of all on one connection, in bytes. hyper's own
/// are 2 and 5 MiB, too much for hundreds of fetches that nobody reads; this is enough for 10 MB/s at 50 ms.
const STREAM_WINDOW: u32 = 512 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// HTTP/2 has all fetches of an origin on one connection. Were it dead, all of them would wait for it in vain until the
/// kernel gave up, after a quarter of an hour; so the peer is asked whether it is there while somebody waits.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest file of certificates. The system's own bundle has a quarter of this.
const MAX_CA: u64 = 1024 * 1024;

/// A way to connect.
#[derive(Clone, PartialEq, Eq)]
struct Way {
    trust: Trust,
    connect_timeout: Duration,
}

/// Whose certificates are taken.
#[derive(Clone, PartialEq, Eq)]
enum Trust {
    /// Nobody's: there is no TLS.
    Nobody,
    /// Those of the system's authorities.
    System,
    /// Also those of the authorities in this PEM text.
    Also(Bytes),
    /// Anyone's.
    Anyone,
}

struct Known {
    way: Way,
    client: Client,
    origins: HashSet<String>,
}

/// The clients in use; the one used last is last.
pub(crate) struct Clients {
    resolver: Option<Arc<dyn Resolve>>,
    known: Mutex<Vec<Known>>,
}

impl Clients {
    pub(crate) fn new(resolver: Option<Arc<dyn Resolve>>) -> Self {
        Self { resolver, known: Mutex::default() }
    }

    /// The client for fetching `url` in the way of `request`.
    pub(crate) async fn get(&self, request: &Request, url: &Url) -> Result<Client, Fault> {
        let trust = match (url.scheme(), &request.ca) {
            ("http", _) => Trust::Nobody,
            _ if request.insecure => Trust::Anyone,
            (_, Some(path)) => Trust::Also(read_ca(path).await?),
            _ => Trust::System,
        };
        let way = Way { trust, connect_timeout: request.limits.connect_timeout };
        let origin = url.origin().ascii_serialization();
        // Held while a client is made, which takes a few milliseconds, so that two fetches do not make two.
        let mut known = self.known.lock().await;
        let found = known.iter().position(|known| known.way == way).map(|at| known.remove(at));
        let mut found = match found {
            Some(found) if found.origins.len() < ORIGINS || found.origins.contains(&origin) => found,
            _ => Known { client: self.make(&way).await?, way, origins: HashSet::new() },
        };
        found.origins.insert(origin);
        let client = found.client.clone();
        if known.len() >= CLIENTS {
            known.remove(0);
        }
        known.push(found);
        Ok(client)
    }

    /// Makes a client, on a thread that may block: the system's certificates are a hundred files to read and parse.
    async fn make(&self, way: &Way) -> Result<Client, Fault> {
        let resolver = self.resolver.clone();
        let way = way.clone();
        let made = tokio::task::spawn_blocking(move || make(&way, resolver)).await;
        made.unwrap_or_else(|gone| Err(Fault::Setup(Cause::innermost(&gone))))
    }
}

fn make(way: &Way, resolver: Option<Arc<dyn Resolve>>) -> Result<Client, Fault> {
    let mut builder = Client::builder()
        .user_agent(concat!("medusa/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .referer(false)
        // Ours are followed in `redirect`.
        .redirect(Policy::none())
        .connect_timeout(way.connect_timeout)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE)
        .http1_max_headers(MAX_FIELDS)
        .http2_max_header_list_size(MAX_HEAD as u32)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT);
    if let Some(resolver) = resolver {
        builder = builder.dns_resolver(Adapter(resolver));
    }
    let builder = match &way.trust {
        Trust::Nobody => builder.tls_certs_only([]),
        Trust::System => builder,
        Trust::Also(pem) => builder.tls_certs_merge(certificates(pem)?),
        Trust::Anyone => builder.tls_danger_accept_invalid_certs(true),
    };
    builder.build().map_err(|error| {
        let cause = Cause::innermost(&error);
        if matches!(way.trust, Trust::Also(_)) { Fault::Authority(cause) } else { Fault::Setup(cause) }
    })
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, Fault> {
    let certificates =
        Certificate::from_pem_bundle(pem).map_err(|error| Fault::Authority(Cause::innermost(&error)))?;
    if certificates.is_empty() {
        return Err(Fault::Authority(Cause::new("the file holds no certificate in PEM form")));
    }
    Ok(certificates)
}

async fn read_ca(path: &Path) -> Result<Bytes, Fault> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || read_ca_here(&path)).await;
    let read = read.unwrap_or_else(|gone| Err(gone.to_string()));
    read.map_err(|message| Fault::Authority(Cause::new(message)))
}

fn read_ca_here(path: &Path) -> Result<Bytes, String> {
    let failed = |error| format!("{}: {error}", path.display());
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() || metadata.len() > MAX_CA {
        return Err(format!("{}: it is no file, or longer than {MAX_CA} bytes", path.display()));
    }
    std::fs::read(path).map(Bytes::from).map_err(failed)
}
