//! The Site, and how it changes.
//!
//! A [`Site`] is all a server is at one instant, as one immutable value: its [`Part`]s, the objects they use and the
//! listeners they have. A change is a [`Draft`]: a copy that is edited, *prepared* (everything that can fail happens here,
//! and nothing of it shows), *published* (one pointer swap) and whose leftovers are then *retired*. [`Live`] holds the
//! running Site and lets one change at a time through.
//!
//! **Invariant:** what a draft leaves unchanged is, after its publication, the very same object as before: its
//! connections, caches and counters never notice.

mod approval;
mod diff;
mod draft;
mod drain;
mod explain;
mod gate;
mod guard;
mod history;
mod in_use;
mod interner;
mod listeners;
mod live;
mod object;
mod part;
mod parts;
mod pending;
mod prepare;
mod scope;
mod site;
mod walk;

pub use approval::{APPROVED_FOR, ApprovalError, Proposal};
pub use diff::{Difference, Differences, Sign, differences};
pub use draft::{Draft, DraftError};
pub use drain::DrainError;
pub use explain::{ExplainError, explain};
pub use gate::{Busy, GivenUp, MOST_HELD};
pub use guard::{Guard, GuardTerms, Guarding};
pub use history::{Generation, HistoryError, MAX_GENERATIONS, MAX_LOADS, MAX_WHOLE, first_to_go};
pub use in_use::{HandlerState, HandlerUse};
pub use interner::{Interner, MAX_HANDLERS, MAX_RESOLVERS, MAX_SINKS, MAX_TLS, Unmade};
pub use listeners::SiteListener;
pub use live::{Change, ConfirmError, Live, Published, RevertError};
pub use object::{BoxError, Object, Use};
pub use part::{Environment, Part, PartId, PartKind, Parts, Place, Prepare, Preparing, Refusal};
pub use parts::{
    EventLog, FrontEnd, HttpServer, MAX_TIMERS, MadeTimer, MonitorServer, MonitorSpec, MountId, MountSpec,
    ServerSpec, SiteResolver, Timer, TimerCounters, TimerStage,
};
pub use pending::{
    LONGEST_REASON, LONGEST_TRIAL, Pending, TrialError, TrialTerms, Unconfirmed, reason_of, trial_of,
};
pub use prepare::{PartError, PublishError, PublishStage};
pub use scope::{OutOfScope, check_run};
pub use site::Site;
