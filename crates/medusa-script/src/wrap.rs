//! A wrapper that is a script: a function of the main script, or a handler file, before another handler.
//!
//! The function is called with the request and a way on ([`WayOn`]). What it passes on is answered here, on the request's own
//! worker and beside the function, so that it takes none of its CPU budget; bodies never come near it.

use std::any::Any;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::poll_immediate;
use futures_util::stream::FuturesUnordered;
use medusa_http::{Handler, HandlerError, HandlerFuture, Request, Response, note, pass};
use medusa_proto::status::Status;

use crate::handler_files::ScriptHandler;
use crate::inline::InlineHandler;
use crate::passage::{AnswerHead, Outcome, PassedOn, WayOn};

/// A handler, and the script that stands before it.
#[derive(Debug)]
pub(crate) struct Wrap {
    /// The function, which is a handler of its own, and what it stands before.
    inner: [Arc<dyn Handler>; 2],
}

impl Wrap {
    /// Its kind, in the status.
    pub(crate) const KIND: &str = "handler.wrap";

    /// Has `function`, which is one of a script, stand before `inner`.
    pub(crate) fn new(function: Arc<dyn Handler>, inner: Arc<dyn Handler>) -> Self {
        Self { inner: [function, inner] }
    }

    async fn answer(&self, request: Request) -> Result<Response, HandlerError> {
        let [function, inner] = &self.inner;
        let head = Arc::clone(&request.head);
        let (way, mut passed_on) = WayOn::new();
        let mut answering = std::pin::pin!(note(function, &head, run(function, request, way)));
        let passed_on = tokio::select! {
            biased;
            answered = &mut answering => return answered?.own(),
            passed_on = &mut passed_on => passed_on,
        };
        // An error: it has let go of its way, and answers by itself.
        let Ok(PassedOn { request, answer }) = passed_on else { return answering.await?.own() };
        let mut responding = pass(inner, request);
        let at_once = poll_immediate(&mut responding).await;
        let answered = if let Some(answered) = at_once {
            answered
        } else {
            // Polled only when it is woken itself: each piece of an upload wakes this task, and none concerns the function.
            let mut function = FuturesUnordered::from_iter([&mut answering]);
            tokio::select! {
                biased;
                // It was stopped, or does not want to know.
                Some(answered) = function.next() => return answered?.own(),
                answered = &mut responding => answered,
            }
        };
        let (told, held) = match answered {
            Ok(mut response) => (Ok(AnswerHead::of(&mut response)), Some(response)),
            Err(error) => (Err(error), None),
        };
        // An error: nobody waits for it.
        drop(answer.send(told));
        match (answering.await?, held) {
            (Outcome::Passed(status, headers), Some(response)) => {
                Ok(Response { status, headers, ..response })
            }
            (outcome, _) => outcome.own(),
        }
    }
}

/// Calls a function of a script with a way on.
async fn run(function: &Arc<dyn Handler>, request: Request, way: WayOn) -> Result<Outcome, HandlerError> {
    let any: &dyn Any = &**function;
    if let Some(function) = any.downcast_ref::<InlineHandler>() {
        function.run(request, Some(way)).await
    } else if let Some(file) = any.downcast_ref::<ScriptHandler>() {
        file.run(request, Some(way)).await
    } else {
        Err(HandlerError::internal("what stands before this handler is no script"))
    }
}

impl Handler for Wrap {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        if request.head.preflight {
            return pass(&self.inner[1], request);
        }
        Box::pin(self.answer(request))
    }

    fn inner(&self) -> &[Arc<dyn Handler>] {
        &self.inner
    }

    fn around_all(&self, inner: Vec<Arc<dyn Handler>>) -> Option<Arc<dyn Handler>> {
        let [function, inner] = <[_; 2]>::try_from(inner).ok()?;
        Some(Arc::new(Self::new(function, inner)))
    }

    fn status(&self) -> Status {
        let [function, _] = &self.inner;
        Status::new(Self::KIND, function.status().name)
    }
}
