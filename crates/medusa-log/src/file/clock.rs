//! The time and its zone: the machine's own, or a test's.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::local;

/// A clock on the wall.
#[derive(Clone, Debug, Default)]
pub(super) enum Clock {
    /// The machine's, in its zone.
    #[default]
    System,
    /// Set by hand.
    #[cfg(test)]
    Manual(std::sync::Arc<parking_lot::Mutex<Timestamp>>, TimeZone),
}

impl Clock {
    pub(super) fn now(&self) -> Timestamp {
        match self {
            // Years beyond 9999 do not occur, and would not rotate.
            Self::System => Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::MAX),
            #[cfg(test)]
            Self::Manual(now, _) => *now.lock(),
        }
    }

    pub(super) fn zone(&self) -> TimeZone {
        match self {
            Self::System => local::zone(),
            #[cfg(test)]
            Self::Manual(_, zone) => zone.clone(),
        }
    }
}
