//! Access records, events, and the sinks they go to.
//!
//! The way of a record: a worker fills a [`Record`](medusa_proto::access::Record) from the request at hand and gives it
//! to its [`Recorder`], which copies it into an open [`Batch`]. Full batches, and all of them every 100 ms or so, are
//! submitted to their [`Sink`]: a pointer into a bounded queue. The sink's own thread formats them and writes them out.
//!
//! **Invariant: a request never waits for a log**, unless its user says so, and then 10 ms at most
//! ([`WhenFull::Block`]). Submitting cannot fail. What a sink cannot take is kept on disk if that was asked for, else
//! dropped, counted, and told in the stream itself once it works again; no record is lost in silence.
//!
//! A sink is one module, with its options and its [`Status`](medusa_proto::status::Status). Some have a target and a
//! thread (`file`, `remote`); they share `queue`, which also spills. The others stand before another sink (`multi`,
//! `filter`, `sample`, `resolving`) or are its end (`tail`).

mod batch;
pub mod drain;
pub mod events;
mod file;
mod filter;
mod local;
pub mod mailbox;
mod multi;
mod queue;
mod recorder;
mod remote;
mod resolving;
mod sample;
mod select;
mod sink;
mod tail;

pub use batch::{Batch, Extent, MAX_FIELD};
pub use file::{FileSink, Fsync, Mode, Options, Period, Rotation, Target, size};
pub use filter::{Conditions, EntryKind, FilterSink, Statuses};
pub use local::zone_trouble;
pub use multi::MultiSink;
pub use queue::{QueueOptions, SpillOptions, WhenFull};
pub use recorder::{MAX_BATCH_BYTES, MAX_BATCH_RECORDS, Recorder};
pub use remote::{
    Host, LineEnd, RecordFraming, RemoteOptions, RemoteSink, RemoteTarget, Scheme, TlsOptions, UnixKind,
};
pub use resolving::{Answer, Known, Names, NamesError, ResolvingOptions, ResolvingSink, hostname};
pub use sample::{Rate, SampleSink, Sampling};
pub use select::{Choice, SelectingSink};
pub use sink::{Flushed, OptionError, Sink, SinkError, describe};
pub use tail::{Follower, Last, Tail};
