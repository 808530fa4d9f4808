//! Idle connections of HTTP/1.1, of each worker its own. Those of HTTP/2 are in `multiplex`.
//!
//! The race is between a request and an upstream that closes what is idle: it is not lost often, as a connection is kept for
//! less time than the upstream keeps it, and looked at before it is used; and where it is lost, the request is sent again
//! if it may be. One that must not be gets a connection that was used just now, or a new one.
//!
//! **Bounds:** so many for each upstream (an option), [`MOST`] in all; each for the time it is kept. What keeps its time is a
//! task that ends when there are none left.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use arc_swap::Guard;
use tokio::task::spawn_local;
use tokio::time::sleep;

use crate::connection::UpstreamConnection;
use crate::upstream::{Upstream, UpstreamState};

/// Idle connections of one worker to all upstreams.
const MOST: usize = 1024;

/// Between two looks at which have been idle for too long.
const SWEEP: Duration = Duration::from_secs(1);

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

#[derive(Debug, Default)]
struct Pool {
    /// By the keys of upstreams; the one used last is last.
    idle: HashMap<Arc<str>, Vec<IdleConnection>>,
    count: usize,
    is_swept: bool,
}

#[derive(Debug)]
struct IdleConnection {
    connection: Box<UpstreamConnection>,
    since: Instant,
    /// The place where it is counted.
    counted: Arc<UpstreamState>,
}

impl IdleConnection {
    fn new(connection: Box<UpstreamConnection>) -> Self {
        let counted = Guard::into_inner(connection.upstream.state());
        counted.counts.idle.fetch_add(1, Relaxed);
        Self { connection, since: Instant::now(), counted }
    }

    fn end(self) -> (Box<UpstreamConnection>, Duration) {
        self.counted.counts.idle.fetch_sub(1, Relaxed);
        (self.connection, self.since.elapsed())
    }
}

/// A connection to `upstream`, if one is idle. With `young`, one that the upstream has hardly begun to think of closing: for
/// a request that is not to be sent twice.
pub(crate) fn take(upstream: &Arc<Upstream>, young: bool) -> Option<Box<UpstreamConnection>> {
    POOL.with_borrow_mut(|pool| {
        let idle = pool.idle.get_mut(&upstream.key)?;
        loop {
            let last = idle.last()?;
            if young && last.since.elapsed() > last.connection.kept_for / 2 {
                return None;
            }
            let (mut connection, idle_for) = idle.pop()?.end();
            pool.count -= 1;
            if idle_for < connection.kept_for && connection.stream.look(|io| io.is_quiet(young)) {
                connection.is_reused = true;
                // Whoever opened it may be gone; counts are of who uses it.
                connection.upstream = Arc::clone(upstream);
                return Some(connection);
            }
        }
    })
}

/// Keeps a connection that may have another request: `most` of one upstream.
pub(crate) fn put(connection: Box<UpstreamConnection>, most: usize) {
    if most == 0 {
        return;
    }
    // An error: the thread ends.
    let _ended = POOL.try_with(|pool| {
        let pool = &mut *pool.borrow_mut();
        let full = pool.count >= MOST;
        let idle = pool.idle.entry(Arc::clone(&connection.upstream.key)).or_default();
        let mut ended = None;
        if idle.len() >= most || full {
            if idle.is_empty() {
                return;
            }
            ended = Some(idle.remove(0).end());
        }
        idle.push(IdleConnection::new(connection));
        pool.count += usize::from(ended.is_none());
        if !std::mem::replace(&mut pool.is_swept, true) {
            spawn_local(sweep());
        }
    });
}

/// Closes what has been idle for too long, as long as there is any.
async fn sweep() {
    loop {
        sleep(SWEEP).await;
        let is_empty = POOL.with_borrow_mut(|pool| {
            let mut count = 0;
            pool.idle.retain(|_, idle| {
                // The oldest are first, but not all are kept for as long.
                let mut at = 0;
                while at < idle.len() {
                    if idle[at].since.elapsed() >= idle[at].connection.kept_for {
                        drop(idle.remove(at).end());
                    } else {
                        at += 1;
                    }
                }
                count += idle.len();
                !idle.is_empty()
            });
            pool.count = count;
            pool.is_swept = count > 0;
            count == 0
        });
        if is_empty {
            return;
        }
    }
}
