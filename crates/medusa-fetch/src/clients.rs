//! The connections: one pool of hyper-util's for each way to connect, and so many idle connections and no more.
//!
//! What a connection trusts and how long it may take to open is fixed when a pool is made, so fetches that
//! differ in these have different clients. Plain http has one of its own that trusts nothing, so that it also works where
//! there are no certificates.
//!
//! A client bounds its idle connections for each origin, not the number of origins. So a client that has seen
//! [`ORIGINS`] of them is replaced by a new one, and its idle connections close; those in use are finished.
//! At most `CLIENTS * ORIGINS * IDLE` connections are idle, each for [`IDLE_TIMEOUT`] at most.
//!
//! **Invariant:** no fetch waits here for another one's lookup: the list is locked only to look at it, and what blocks has
//! threads of its own ([`blocking`](crate::blocking)), not those that name servers can hold.
//!
//! Nothing here comes from the environment but where the system's certificates are (`SSL_CERT_FILE`, `SSL_CERT_DIR`):
//! a proxy that someone exported in a shell is not asked.

use std::collections::HashSet;
use std::convert::Infallible;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::sync::OnceCell;
use url::Url;

use crate::blocking::BlockingThreads;
use crate::bounds::MAX_HEAD;
use crate::connect::Connector;
use crate::error::{Cause, Fault};
use crate::request::Request;
use crate::resolve::{NameResolver, Resolve};
use crate::tls::{self, Trust};

/// Sends requests over the connections of one pool.
pub(crate) type Client = legacy::Client<Connector, RequestBody>;

/// Ways to connect that are kept. A script has two or three: plain, TLS, and TLS with an authority of its own.
const CLIENTS: usize = 8;

/// Origins whose connections a client keeps.
const ORIGINS: usize = 16;

/// Idle connections to one origin.
const IDLE: usize = 8;

/// The number of connections that one fetch may find closed by their server, one after the other: more than there are
/// idle ones.
pub(crate) const MAX_STALE: usize = 2 * IDLE;

/// The time that a connection stays idle. Most servers close theirs after 5 to 75 seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The most fields of an answer.
const MAX_FIELDS: usize = 200;

/// The size that may have come of one answer over HTTP/2 without being read, and of all on one connection, in bytes.
/// hyper's own are 2 and 5 MiB, too much for hundreds of fetches that nobody reads; this is enough for 10 MB/s at 50
/// ms.
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
struct ConnectOptions {
    trust: Trust,
    connect_timeout: Duration,
}

struct CachedClient {
    way: ConnectOptions,
    /// Made by the first fetch that needs it, while others wait for that one.
    client: Arc<OnceCell<Client>>,
    origins: HashSet<String>,
}

/// The clients in use; the one used last is last.
pub(crate) struct Clients {
    resolver: Option<Arc<dyn Resolve>>,
    known: Mutex<Vec<CachedClient>>,
    blocking: BlockingThreads,
}

impl Clients {
    pub(crate) fn new(resolver: Option<Arc<dyn Resolve>>) -> Self {
        Self { resolver, known: Mutex::default(), blocking: BlockingThreads::default() }
    }

    /// The client for fetching `url` in the way of `request`.
    pub(crate) async fn get(&self, request: &Request, url: &Url) -> Result<Client, Fault> {
        let trust = match url.scheme() {
            "http" => Trust::NoTls,
            _ => self.trust(request.ca.as_deref(), request.insecure).await?,
        };
        let way = ConnectOptions { trust, connect_timeout: request.limits.connect_timeout };
        let client = self.place(&way, url.origin().ascii_serialization());
        client.get_or_try_init(|| self.make(way)).await.cloned()
    }

    async fn trust(&self, ca: Option<&Path>, insecure: bool) -> Result<Trust, Fault> {
        Ok(match ca {
            _ if insecure => Trust::Any,
            Some(path) => Trust::SystemAnd(self.read_ca(path).await?),
            None => Trust::System,
        })
    }

    /// Settings of TLS for whoever speaks `protocols` and opens connections himself.
    pub(crate) async fn tls(
        &self,
        ca: Option<&Path>,
        insecure: bool,
        protocols: &'static [&'static [u8]],
    ) -> Result<ClientConfig, Fault> {
        let trust = self.trust(ca, insecure).await?;
        let made = self.blocking.run(move || tls::config(&trust, protocols)).await;
        let made = made.map_err(|error| Fault::Setup(Cause::innermost(&error)))??;
        made.ok_or_else(|| Fault::Setup(Cause::new("there is no TLS")))
    }

    /// Whoever looks up names.
    pub(crate) fn names(&self) -> NameResolver {
        NameResolver(self.resolver.clone())
    }

    /// The place of that way's client, made or not.
    fn place(&self, way: &ConnectOptions, origin: String) -> Arc<OnceCell<Client>> {
        let mut known = self.known.lock();
        let found = known.iter().position(|known| known.way == *way).map(|at| known.remove(at));
        let mut found = match found {
            Some(found) if found.origins.len() < ORIGINS || found.origins.contains(&origin) => found,
            _ => CachedClient { client: Arc::default(), way: way.clone(), origins: HashSet::new() },
        };
        found.origins.insert(origin);
        let client = Arc::clone(&found.client);
        if known.len() >= CLIENTS {
            known.remove(0);
        }
        known.push(found);
        client
    }

    /// Makes a client, on a thread that may block: the system's certificates are a hundred files to read and parse.
    async fn make(&self, way: ConnectOptions) -> Result<Client, Fault> {
        let resolver = self.resolver.clone();
        let made = self.blocking.run(move || make(&way, resolver)).await;
        made.unwrap_or_else(|error| Err(Fault::Setup(Cause::innermost(&error))))
    }

    async fn read_ca(&self, path: &Path) -> Result<Bytes, Fault> {
        let path = path.to_owned();
        let read = self.blocking.run(move || read_ca(&path)).await;
        let read = read.unwrap_or_else(|error| Err(error.to_string()));
        read.map_err(|message| Fault::Authority(Cause::new(message)))
    }
}

fn make(way: &ConnectOptions, resolver: Option<Arc<dyn Resolve>>) -> Result<Client, Fault> {
    let connector =
        Connector::new(NameResolver(resolver), tls::config(&way.trust, tls::PROTOCOLS)?, way.connect_timeout);
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE)
        // Each line end with what follows it becomes spaces (RFC 9112 §5.2).
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_max_headers(MAX_FIELDS)
        .http2_max_header_list_size(MAX_HEAD as u32)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT);
    Ok(builder.build(connector))
}

/// The body of a request.
#[derive(Debug, Default)]
pub(crate) struct RequestBody(pub(crate) Bytes);

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = std::mem::take(&mut self.0);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

fn read_ca(path: &Path) -> Result<Bytes, String> {
    let failed = |error| format!("{}: {error}", path.display());
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() || metadata.len() > MAX_CA {
        return Err(format!("{}: it is no file, or longer than {MAX_CA} bytes", path.display()));
    }
    let mut bytes = Vec::new();
    // It may grow meanwhile, so not by its length.
    File::open(path).and_then(|file| file.take(MAX_CA).read_to_end(&mut bytes)).map_err(failed)?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// The one thread for lookups is held, as a dead name server holds it.
    #[test]
    fn clients_are_made_while_all_lookups_hang() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let (release, held) = mpsc::sync_channel::<()>(1);
        let (holds, begun) = mpsc::sync_channel(1);
        let lookup = runtime.spawn_blocking(move || {
            holds.send(()).unwrap();
            held.recv().unwrap_err();
        });
        begun.recv().unwrap();
        let ca = tempfile::NamedTempFile::new().unwrap();
        let key = rcgen::generate_simple_self_signed(["t".to_owned()]).unwrap();
        std::fs::write(ca.path(), key.cert.pem()).unwrap();
        let clients = Clients::new(None);
        let get = async |url: &str, ca: Option<&Path>| {
            let mut request = Request::new("GET", url).unwrap();
            request.ca = ca.map(Path::to_owned);
            clients.get(&request, &request.hop.url).await.map(drop)
        };
        let made = runtime.block_on(async {
            let all = async { tokio::join!(get("http://t/", None), get("https://t/", Some(ca.path()))) };
            tokio::time::timeout(Duration::from_secs(10), all).await
        });
        drop(release);
        runtime.block_on(lookup).unwrap();
        assert!(matches!(made, Ok((Ok(()), Ok(())))), "{made:?}");
    }

    #[test]
    fn one_client_is_made_for_each_way() {
        let clients = Clients::new(None);
        let way = |trust| ConnectOptions { trust, connect_timeout: Duration::from_secs(1) };
        let one = clients.place(&way(Trust::NoTls), "http://a".to_owned());
        assert!(Arc::ptr_eq(&one, &clients.place(&way(Trust::NoTls), "http://b".to_owned())));
        assert!(!Arc::ptr_eq(&one, &clients.place(&way(Trust::Any), "http://b".to_owned())));
        for origin in 0..ORIGINS - 2 {
            assert!(Arc::ptr_eq(&one, &clients.place(&way(Trust::NoTls), origin.to_string())));
        }
        let next = clients.place(&way(Trust::NoTls), "one too many".to_owned());
        assert!(!Arc::ptr_eq(&one, &next));
        assert_eq!(clients.known.lock().len(), 2);
    }
}
