//! Asks several handlers in turn: the first that knows what is asked for answers.
//!
//! **Invariant:** no handler gets a body of which another has read.

use std::sync::Arc;

use http::StatusCode;
use medusa_proto::status::Status;

use crate::handler::{Handler, HandlerError, HandlerFuture};
use crate::pass::pass;
use crate::request::Request;
use crate::response::Response;

/// A wrapper that stands before several handlers. What one answers 404 the next is asked, with the request as it came; what the
/// last one answers stands. So does a 404 of one that has begun to read the request's body, or still reads it.
#[derive(Debug)]
pub struct First {
    inner: Vec<Arc<dyn Handler>>,
}

impl First {
    /// Asks these, in their order.
    pub fn new(inner: Vec<Arc<dyn Handler>>) -> Self {
        Self { inner }
    }

    async fn answer(&self, request: Request) -> Result<Response, HandlerError> {
        let Request { head, mut body } = request;
        let Some((last, before)) = self.inner.split_last() else {
            return Ok(Response::page(StatusCode::NOT_FOUND));
        };
        for handler in before {
            let (lent, claim) = body.lend();
            let answered = pass(handler, Request { head: Arc::clone(&head), body: lent }).await;
            if !is_not_found(&answered) {
                return answered;
            }
            body = match claim.take_back() {
                Some(body) => body,
                None => return answered,
            };
        }
        pass(last, Request { head, body }).await
    }
}

fn is_not_found(answered: &Result<Response, HandlerError>) -> bool {
    let status = answered.as_ref().map_or_else(HandlerError::status, |response| response.status);
    status == StatusCode::NOT_FOUND
}

impl Handler for First {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(self.answer(request))
    }

    fn inner(&self) -> &[Arc<dyn Handler>] {
        &self.inner
    }

    fn around_all(&self, inner: Vec<Arc<dyn Handler>>) -> Option<Arc<dyn Handler>> {
        Some(Arc::new(Self::new(inner)))
    }

    fn status(&self) -> Status {
        Status::new("handler.first", format!("of {}", self.inner.len()))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Method;
    use parking_lot::Mutex;

    use super::*;
    use crate::request::{Head, RequestBody};

    /// Answers with a status, having read the body or not, and says of what it was asked.
    #[derive(Debug)]
    struct Known {
        name: &'static str,
        answer: Answer,
        reads: bool,
        asked: Arc<Mutex<Vec<String>>>,
    }

    #[derive(Debug, Clone, Copy)]
    enum Answer {
        Status(u16),
        Fails(u16),
    }

    impl Handler for Known {
        fn handle(&self, mut request: Request) -> HandlerFuture<'_> {
            Box::pin(async move {
                let read = if self.reads { request.body.collect().await? } else { Bytes::new() };
                let read = String::from_utf8_lossy(&read).into_owned();
                self.asked.lock().push(format!("{} {read}", self.name));
                let status = |status| StatusCode::from_u16(status).expect("a status");
                match self.answer {
                    Answer::Status(known) => Ok(Response::status(status(known))),
                    Answer::Fails(known) => Err(HandlerError::client(status(known), "no")),
                }
            })
        }

        fn status(&self) -> Status {
            Status::new("known", self.name)
        }
    }

    /// Asks the handlers, each by its answer and whether it reads: the status, and who was asked.
    async fn ask(handlers: &[(Answer, bool)], content: &'static str) -> (u16, Vec<String>) {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let handlers = handlers.iter().zip(["a", "b", "c"]).map(|(&(answer, reads), name)| {
            let known: Arc<dyn Handler> = Arc::new(Known { name, answer, reads, asked: Arc::clone(&asked) });
            known
        });
        let inner: Vec<_> = handlers.collect();
        let (head, body) = (Head::new(Method::POST, "/".parse().expect("a target")), Bytes::from(content));
        let request = Request { head: head.into(), body: RequestBody::from_bytes(body) };
        let answered = First::new(inner).handle(request).await;
        let status = answered.map_or_else(|error| error.status(), |response| response.status);
        let asked = std::mem::take(&mut *asked.lock());
        (status.as_u16(), asked)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_next_is_asked_what_is_not_found() {
        use Answer::{Fails, Status};
        for (handlers, status, asked) in [
            (&[(Status(200), false), (Status(201), false)][..], 200, &["a "][..]),
            (&[(Status(404), false), (Status(201), true)], 201, &["a ", "b sent"]),
            (&[(Fails(404), false), (Status(201), true)], 201, &["a ", "b sent"]),
            (
                &[(Status(404), false), (Status(404), false), (Status(404), true)],
                404,
                &["a ", "b ", "c sent"],
            ),
            (&[(Status(405), false), (Status(200), false)], 405, &["a "]),
            (&[(Fails(500), false), (Status(200), false)], 500, &["a "]),
            (&[(Status(404), true), (Status(200), false)], 404, &["a sent"]),
            (&[(Status(404), false), (Status(404), true), (Status(200), false)], 404, &["a ", "b sent"]),
            (&[(Status(404), false)], 404, &["a "]),
        ] {
            assert_eq!(
                ask(handlers, "sent").await,
                (status, asked.iter().map(|&name| name.to_owned()).collect())
            );
        }
        // There is nothing to read, so nothing is lost.
        let all = ask(&[(Status(404), true), (Status(200), true)], "").await;
        assert_eq!(all, (200, vec!["a ".to_owned(), "b ".to_owned()]));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn one_within_another_gives_back_what_nobody_has_read() {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let known = |name, status, reads| -> Arc<dyn Handler> {
            Arc::new(Known { name, answer: Answer::Status(status), reads, asked: Arc::clone(&asked) })
        };
        let within = First::new(vec![known("a", 404, false), known("b", 404, false)]);
        let all = First::new(vec![Arc::new(within), known("c", 200, true)]);
        let head = Head::new(Method::POST, "/".parse().expect("a target"));
        let body = RequestBody::from_bytes(Bytes::from("sent"));
        let response = all.handle(Request { head: head.into(), body }).await.expect("an answer");
        assert_eq!(response.status, 200);
        assert_eq!(*asked.lock(), ["a ", "b ", "c sent"]);
    }
}
