//! The kinds of parts, a file each.

mod event_log;
mod http;
mod monitor;
mod resolver;
mod timer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub use event_log::EventLog;
pub use http::{HttpServer, MountId, MountSpec, ServerSpec};
pub use monitor::{FrontEnd, MonitorServer, MonitorSpec};
pub use resolver::SiteResolver;
pub use timer::{MAX_TIMERS, MadeTimer, Timer, TimerCounters, TimerStage};

/// A name for what nobody names: a number, unlike any other in this process.
fn number() -> Arc<str> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed).to_string().into()
}
