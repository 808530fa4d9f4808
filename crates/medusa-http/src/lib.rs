//! HTTP: from an accepted connection to a handler's response and its access record.
//!
//! The life of a request: [`driver`] drives hyper over the connection → [`exchange`] asks the [`Directory`] for the
//! server of this instant, checks what hyper does not, and routes → the [`Handler`] answers → the response goes out,
//! and when its last byte is handed over, [`recorder`] writes the access [`record`].
//!
//! **Invariant:** nothing here knows where servers, mounts and handlers come from; whoever publishes them stands above.

mod admission;
mod body;
mod budget;
mod client;
mod connection;
mod counters;
mod driver;
mod end_hook;
mod escaped;
mod event_stream;
mod exchange;
mod fault;
mod file_body;
pub mod forms;
mod frame_budget;
mod handler;
pub mod handlers;
mod latency;
mod limits;
mod listen;
mod pass;
pub mod preconditions;
mod preflight;
mod record;
mod recorder;
mod request;
mod request_id;
mod response;
pub mod router;
mod server;
mod sessions;
pub mod store;
pub mod time_limit;
mod trace;
mod under_way;
mod upgrade;
mod way;
pub mod websocket;
mod window;

pub use admission::{Admission, holder};
pub use body::{Body, BodyError, BodyStream, TrailerSlot};
pub use budget::{Allowance, Held, memory};
pub use counters::{Counters, ServerCounters};
pub use driver::HttpAccept;
pub use end_hook::{Delivery, EndHook};
pub use fault::{Fault, Faults};
pub use file_body::FileBody;
pub use handler::{
    Handler, HandlerError, HandlerFuture, OverdueFuture, PrepareFuture, chain, own_logs, take_over,
};
pub use latency::{Latencies, LatencyWatch};
pub use limits::{LIMITS, Limit, Limits};
pub use listen::Listen;
pub use pass::{answer, note, pass};
pub use recorder::flush as flush_records;
pub use request::{Finding, Head, PolledBody, Purpose, Request, RequestBody, RequestBodyError, TargetError};
pub use request_id::RequestId;
pub use response::{HTML, Response, TEXT};
pub use server::{Directory, Mount, MountText, PinnedServer, Server, ServerDefinition};
pub use sessions::{Membership, Sessions};
pub use trace::{MOST_TRACES, TooManyTraces, Trace, TraceEnd, TraceFilter, TraceStep, TracedRequest, traces};
pub use under_way::{EndBy, UnderWay, UseCounts, end_long_lived};
pub use upgrade::{Io, Session, StreamIo, Upgrade, Upgraded};
