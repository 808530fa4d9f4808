//! HTTP: from an accepted connection to a handler's response and its access record.
//!
//! The life of a request: [`conn`] drives hyper over the connection → [`exchange`] asks the [`Directory`] for the
//! server of this instant, checks what hyper does not, and routes → the [`Handler`] answers → the response goes out,
//! and when its last byte is handed over, [`record`] writes the access record.
//!
//! **Invariant:** nothing here knows where servers, mounts and handlers come from; whoever publishes them stands above.

mod body;
mod conn;
mod exchange;
mod handler;
pub mod handlers;
mod record;
mod request;
mod response;
pub mod router;
mod server;

pub use body::{Body, BodyError, BodyStream, FileBody};
pub use conn::HttpAccept;
pub use handler::{Handler, HandlerError, HandlerFuture, PrepareError, PrepareFuture};
pub use record::flush as flush_records;
pub use request::{Head, Request, RequestBody, RequestBodyError};
pub use response::{HTML, Response, TEXT};
pub use server::{Counters, Directory, Limits, Mount, PinnedServer, Server, ServerParts};
