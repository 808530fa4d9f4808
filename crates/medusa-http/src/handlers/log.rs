//! Has the requests of a mount recorded elsewhere than those of its server: in another log, or in none.
//!
//! The record is the same, made when the last byte is sent, and so is its batch; only where it goes is another. What is not recorded
//! at all still counts, and shows in traces.
//!
//! **Invariant:** a request has one log: that of the wrapper of this kind that it came to last, be it that its client leaves before
//! there is an answer.

use std::sync::Arc;

use medusa_log::Sink;
use medusa_proto::status::Status;

use crate::handler::{Handler, HandlerFuture};
use crate::pass::pass;
use crate::request::Request;

/// A wrapper that has requests recorded in a log of its own.
#[derive(Debug)]
pub struct Log {
    inner: Arc<dyn Handler>,
    /// None: nowhere.
    sink: Option<Arc<dyn Sink>>,
}

impl Log {
    /// Wraps `inner`; without a sink, its requests are not recorded.
    pub fn new(inner: Arc<dyn Handler>, sink: Option<Arc<dyn Sink>>) -> Self {
        Self { inner, sink }
    }
}

impl Handler for Log {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        request.head.log_to(self.sink.clone());
        pass(&self.inner, request)
    }

    fn inner(&self) -> &[Arc<dyn Handler>] {
        std::slice::from_ref(&self.inner)
    }

    fn around(&self, inner: Arc<dyn Handler>) -> Option<Arc<dyn Handler>> {
        Some(Arc::new(Self::new(inner, self.sink.clone())))
    }

    fn logs(&self) -> &[Arc<dyn Sink>] {
        self.sink.as_slice()
    }

    fn status(&self) -> Status {
        let sink = self.sink.as_ref().map(|sink| sink.status());
        let shown = sink.map_or_else(|| "nowhere".to_owned(), |sink| format!("{} {}", sink.kind, sink.name));
        Status::new("handler.log", shown.trim_end())
    }
}
