//! Informational answers ([RFC 9110 §15.2](https://www.rfc-editor.org/rfc/rfc9110#section-15.2)), of which any number
//! may come before the answer itself. Nobody wants to know of them here, and hyper goes on reading them for as long as
//! more come: so each of them costs the connection's task a part of its turn, and too many end the fetch.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Waker};

use http::HeaderMap;
use tokio::sync::Notify;
use tokio::task::coop;

use crate::bounds::{MAX_HEAD, MAX_INTERIM, head_length};

/// Those of one request.
#[derive(Debug, Default)]
pub(crate) struct Interim {
    count: AtomicUsize,
    bytes: AtomicUsize,
    exceeded: Notify,
}

impl Interim {
    /// Has those that come before the answer to `request` counted.
    pub(crate) fn watch<B>(request: &mut http::Request<B>) -> Arc<Self> {
        let interim = Arc::new(Self::default());
        let counted = Arc::clone(&interim);
        hyper::ext::on_informational(request, move |answer| counted.came(answer.headers()));
        interim
    }

    /// Waits until there are too many, or they are too long together.
    pub(crate) async fn exceeded(&self) {
        self.exceeded.notified().await;
    }

    fn came(&self, headers: &HeaderMap) {
        let length = head_length(headers);
        let count = self.count.fetch_add(1, Relaxed) + 1;
        let bytes = self.bytes.fetch_add(length, Relaxed) + length;
        give_way();
        if count > MAX_INTERIM || bytes > MAX_HEAD {
            self.exceeded.notify_one();
        }
    }
}

/// Takes one step of those that the task has in this turn. After the last, its socket has nothing to read until the next.
fn give_way() {
    if let std::task::Poll::Ready(step) = coop::poll_proceed(&mut Context::from_waker(Waker::noop())) {
        step.made_progress();
    }
}
