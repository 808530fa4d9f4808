//! What all requests of a proxy share, on all workers.

use std::sync::Arc;

use medusa_fetch::Fetcher;
use medusa_http::Sessions;

use crate::choose::Chooser;
use crate::options::ProxyOptions;
use crate::upstream::Upstream;

/// What all requests of a proxy share, and those who ask whether its upstreams are well.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    pub(crate) options: ProxyOptions,
    pub(crate) sessions: Sessions,
    pub(crate) chooser: Chooser,
    /// There if a name must be looked up, an authority read, or somebody asked besides.
    pub(crate) names: Option<Fetcher>,
}
