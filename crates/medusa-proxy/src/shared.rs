//! What all requests of a proxy share, on all workers.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use medusa_fetch::Fetcher;
use medusa_http::Sessions;

use crate::choose::Chooser;
use crate::health;
use crate::options::ProxyOptions;
use crate::repeat::RepeatBudget;
use crate::upstream::Upstream;

/// What all requests of a proxy share, and those who ask whether its upstreams are well.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    pub(crate) options: ProxyOptions,
    pub(crate) sessions: Sessions,
    pub(crate) chooser: Chooser,
    pub(crate) repeats: RepeatBudget,
    /// There if a name must be looked up, an authority read, or somebody asked besides.
    pub(crate) names: Option<Fetcher>,
}

impl Shared {
    /// Whether one of its requests may be sent again, of all that were sent.
    pub(crate) fn may_repeat(&self) -> bool {
        let requests = |upstream: &Arc<Upstream>| upstream.state().counts.requests.load(Relaxed);
        let requests = self.upstreams.iter().map(requests).sum();
        self.repeats.take(requests, health::now())
    }
}
