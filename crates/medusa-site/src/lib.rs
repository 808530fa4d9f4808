//! The Site, and how it changes.
//!
//! A [`Site`] is all a server is at one instant, as one immutable value. A change is a [`Draft`]: a copy that is
//! edited, *prepared* (everything that can fail happens here, and nothing of it shows), *published* (one pointer
//! swap) and whose leftovers are then *retired*. [`Live`] holds the running Site and lets one change at a time
//! through.
//!
//! **Invariant:** what a draft leaves unchanged is, after its publication, the very same object as before: its
//! connections, caches and counters never notice.

mod draft;
mod gate;
mod live;
mod parts;
mod prepare;
mod site;

pub use draft::{Draft, DraftError, MountId, MountSpec, ServerId, ServerSpec};
pub use gate::{Busy, GivenUp, Hand, MOST_HELD};
pub use live::{Change, Live};
pub use parts::{MAX_HANDLERS, MAX_RESOLVERS, MAX_SINKS, MAX_TLS, Parts, Unmade};
pub use prepare::{PublishError, Rehearsed};
pub use site::{Bound, EventLog, EventLogId, Site};
