//! Connections of HTTP/2, of each worker its own, which many requests share.
//!
//! One is opened when there is none with room, by one request at a time: those that wait meanwhile share it. If it cannot be
//! opened, it cannot for all of them.
//!
//! **Bounds:** a connection has 100 streams, or what the upstream allows, and there are as many connections as the requests under
//! way need. Without a request each is kept for the time of the options, and so many of one upstream as those say.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use medusa_fetch::Fetcher;
use tokio::sync::Mutex;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use crate::connect::{connect, speaks_http2};
use crate::error::Fault;
use crate::http2::{Http2Connection, UpstreamStream};
use crate::options::ProxyOptions;
use crate::stream::UpstreamIo;
use crate::upstream::Upstream;

/// Between two looks at which are of no use any more.
const SWEEP: Duration = Duration::from_secs(1);

thread_local! {
    static POOL: RefCell<StreamPool> = RefCell::default();
}

#[derive(Default)]
struct StreamPool {
    /// By the keys of upstreams.
    shelves: HashMap<Arc<str>, Shelf>,
    is_swept: bool,
}

/// The connections to one upstream.
#[derive(Default)]
struct Shelf {
    connections: Vec<Rc<Http2Connection>>,
    /// Held by whoever opens one.
    opening: Rc<Mutex<Option<OpeningFailure>>>,
    /// The last time it was asked, it agreed on HTTP/1.1.
    speaks_http1: bool,
    /// Idle connections that are kept.
    most_idle: usize,
}

/// How the last one was not opened.
struct OpeningFailure {
    at: Instant,
    fault: Fault,
}

/// What came of opening a connection.
pub(crate) enum Opened {
    Stream(UpstreamStream),
    /// The upstream speaks HTTP/1.1.
    Http1(UpstreamIo),
}

/// What a request needs of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamNeeds {
    /// One that was opened after this.
    pub(crate) opened_after: Option<Instant>,
    /// One that the upstream has hardly begun to think of closing: it is not to be sent twice.
    pub(crate) young: bool,
}

/// A stream of a connection that is open, if there is one with room.
pub(crate) fn take(upstream: &Arc<Upstream>, needs: StreamNeeds) -> Option<UpstreamStream> {
    POOL.with_borrow(|pool| {
        let shelf = pool.shelves.get(&upstream.key)?;
        let fits = |connection: &&Rc<Http2Connection>| {
            needs.opened_after.is_none_or(|after| connection.begun_at > after)
                && connection.has_room(needs.young)
        };
        shelf.connections.iter().find(fits).map(|connection| connection.stream(upstream))
    })
}

/// Opens a connection, or waits until another request has.
pub(crate) async fn open(
    upstream: &Arc<Upstream>,
    names: Option<&Fetcher>,
    options: &ProxyOptions,
    needs: StreamNeeds,
) -> Result<Opened, Fault> {
    let asked_at = Instant::now();
    let (opening, speaks_http1) = POOL.with_borrow_mut(|pool| {
        let shelf = pool.shelves.entry(Arc::clone(&upstream.key)).or_default();
        shelf.most_idle = options.idle_connections;
        (Rc::clone(&shelf.opening), shelf.speaks_http1)
    });
    // Of HTTP/1.1, each needs its own.
    let mut failure = if speaks_http1 { None } else { Some(opening.lock().await) };
    if let Some(stream) = take(upstream, needs) {
        return Ok(Opened::Stream(stream));
    }
    if let Some(last) = &failure
        && let Some(last) = &**last
        && last.at >= asked_at
    {
        return Err(last.fault.of_opening());
    }
    match begin(upstream, names, options).await {
        Ok(Begun::Http2(connection)) => {
            let stream = connection.stream(upstream);
            put(upstream, connection);
            Ok(Opened::Stream(stream))
        }
        Ok(Begun::Http1(io)) => {
            note(upstream, true);
            Ok(Opened::Http1(io))
        }
        Err(fault) => {
            if let Some(failure) = &mut failure {
                **failure = Some(OpeningFailure { at: Instant::now(), fault: fault.of_opening() });
            }
            Err(fault)
        }
    }
}

enum Begun {
    Http2(Rc<Http2Connection>),
    Http1(UpstreamIo),
}

async fn begin(
    upstream: &Arc<Upstream>,
    names: Option<&Fetcher>,
    options: &ProxyOptions,
) -> Result<Begun, Fault> {
    let limit = options.connect_timeout;
    let io = connect(upstream, names, limit, false).await?;
    if !speaks_http2(upstream, &io)? {
        return Ok(Begun::Http1(io));
    }
    let begun = timeout(limit, Http2Connection::begin(io, upstream, options)).await;
    begun.unwrap_or(Err(Fault::ConnectTimedOut(limit))).map(Begun::Http2)
}

/// Remembers what an upstream speaks.
fn note(upstream: &Upstream, speaks_http1: bool) {
    POOL.with_borrow_mut(|pool| {
        if let Some(shelf) = pool.shelves.get_mut(&upstream.key) {
            shelf.speaks_http1 = speaks_http1;
        }
        pool.sweep();
    });
}

/// Keeps a connection.
fn put(upstream: &Upstream, connection: Rc<Http2Connection>) {
    POOL.with_borrow_mut(|pool| {
        let shelf = pool.shelves.entry(Arc::clone(&upstream.key)).or_default();
        shelf.speaks_http1 = false;
        shelf.connections.push(connection);
        pool.sweep();
    });
}

impl StreamPool {
    /// Has somebody look after what is there.
    fn sweep(&mut self) {
        if !std::mem::replace(&mut self.is_swept, true) {
            spawn_local(sweep());
        }
    }
}

/// Lets go of connections that are of no use any more, as long as there are any.
async fn sweep() {
    loop {
        sleep(SWEEP).await;
        let (done, is_empty) = POOL.with_borrow_mut(|pool| {
            let mut done = Vec::new();
            pool.shelves.retain(|_, shelf| {
                let mut idle = 0;
                // The first ones are used first.
                shelf.connections.retain(|connection| {
                    idle += usize::from(connection.is_idle());
                    let stays = !connection.is_done() && (!connection.is_idle() || idle <= shelf.most_idle);
                    if !stays {
                        done.push(Rc::clone(connection));
                    }
                    stays
                });
                !shelf.connections.is_empty() || Rc::strong_count(&shelf.opening) > 1
            });
            pool.is_swept = !pool.shelves.is_empty();
            (done, pool.shelves.is_empty())
        });
        drop(done);
        if is_empty {
            return;
        }
    }
}
