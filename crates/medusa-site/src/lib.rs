//! The Site, and how it changes.
//!
//! A [`Site`] is all a server is at one instant, as one immutable value: its [`Part`]s, the objects they use and the
//! listeners they have. A change is a [`Draft`]: a copy that is edited, *prepared* (everything that can fail happens here,
//! and nothing of it shows), *published* (one pointer swap) and whose leftovers are then *retired*. [`Live`] holds the
//! running Site and lets one change at a time through.
//!
//! **Invariant:** what a draft leaves unchanged is, after its publication, the very same object as before: its
//! connections, caches and counters never notice.

mod draft;
mod gate;
mod interner;
mod listeners;
mod live;
mod object;
mod part;
mod parts;
mod prepare;
mod site;
mod walk;

pub use draft::{Draft, DraftError};
pub use gate::{Busy, GivenUp, MOST_HELD};
pub use interner::{Interner, MAX_HANDLERS, MAX_RESOLVERS, MAX_SINKS, MAX_TLS, Unmade};
pub use listeners::SiteListener;
pub use live::{Change, Live};
pub use object::{BoxError, Object, Use};
pub use part::{Environment, Part, PartId, PartKind, Parts, Place, Prepare, Preparing, Refusal};
pub use parts::{
    EventLog, HttpServer, MAX_TIMERS, MadeTimer, MonitorSsh, MonitorSshSpec, MountId, MountSpec, ServerSpec,
    SiteResolver, Timer, TimerCounters, TimerStage,
};
pub use prepare::{PartError, PublishError, PublishStage};
pub use site::Site;
