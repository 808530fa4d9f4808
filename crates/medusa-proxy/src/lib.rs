//! The handler that has other servers answer, in tandem with this one: a reverse proxy.
//!
//! A request goes through [`fields`](mod@fields) (what is passed on, and what is told of the client), `choose` (which
//! upstream), `pool`, `multiplex` or `connect` (over which connection), `connection` (hyper's client, driven by the request's own
//! task) or `http2` (a stream of a connection that requests share; `carrier` is either) and comes back by `answer`, or by
//! `tunnel` if it is another protocol from then on. `repeat` says whether it is sent again, `health` knows which upstreams
//! answer, `watch` asks them.
//!
//! Everything happens on the worker that has the request: a connection belongs to a worker, is driven by whichever task
//! has the request, and by none while it is idle; one of HTTP/2 is a task of the worker. So no byte goes from one thread to another, and a client that leaves
//! takes its upstream request along. What must not be done there, lookups and checks, is done on the thread of
//! [`Fetcher`](medusa_fetch::Fetcher).
//!
//! **Invariants:**
//!
//! - Messages are framed anew, both ways: no field that frames one or steers a connection is passed on, nor one that
//!   `Connection` names, nor such fields behind a body. What a client says of who it is, is not passed on either.
//! - A connection is used again only after a whole answer to a whole request, with nothing behind it.
//! - Bytes are passed through unread only after a 101 that was asked for, or an extended CONNECT that was agreed to.
//! - A request is sent again only if it may be, and nothing of it can have been answered: see `repeat`.
//! - Nothing is gathered without a bound: a side that does not read holds the other one back.

mod answer;
mod carrier;
mod choose;
mod connect;
mod connection;
mod error;
mod fields;
mod handler;
mod health;
mod http2;
mod multiplex;
mod options;
mod pool;
mod repeat;
mod sent;
mod shared;
mod stream;
mod tunnel;
mod upstream;
mod watch;

pub use handler::Proxy;
pub use options::{Balance, HealthCheck, HostField, HttpVersion, ProxyOptions, TlsOptions};
pub use upstream::{MOST_UPSTREAMS, UpstreamUrl, UpstreamUrlError};
