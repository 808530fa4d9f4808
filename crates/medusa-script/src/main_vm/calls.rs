//! Requests of handlers given as functions: taken from their workers, answered by a main VM.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use http::{Method, StatusCode};
use medusa_http::{HandlerError, Request};
use medusa_proto::author::{Author, Via};
use tokio::sync::mpsc;
use tokio::task::spawn_local;

use super::MainVm;
use crate::budget::TaskError;
use crate::call::{Handler, call, handler_error, vm_error};
use crate::error::ScriptError;
use crate::inline::{Answer, AnswerBody, Call, ChunkRequests, Chunks};
use crate::passage::WayOn;
use crate::producer::Producer;
use crate::request::{OpenRequest, Requests};
use crate::respond::ReplyBody;
use crate::transaction::Transaction;
use crate::websocket::{PendingSession, Session};

/// Work that goes on after an answer.
enum AfterAnswer {
    Nothing,
    /// With the time for which it may go on when its handler is gone.
    Producer(Producer, Duration),
    Session(Session, OpenRequest),
}

impl MainVm {
    /// Answers calls until nobody is left who could make one.
    pub(super) async fn take_calls(self: Rc<Self>, requests: Requests, mut incoming: mpsc::Receiver<Call>) {
        while let Some(call) = incoming.recv().await {
            self.functions.forget_released();
            let (main, requests) = (Rc::clone(&self), requests.clone());
            spawn_local(async move {
                main.requests_running.set(main.requests_running.get() + 1);
                let session = main.take_call(&requests, call).await;
                main.requests_running.set(main.requests_running.get() - 1);
                if let Some((session, open)) = session {
                    main.sessions_running.set(main.sessions_running.get() + 1);
                    session.run(Rc::clone(&main.vm), open.head(), open).await;
                    main.sessions_running.set(main.sessions_running.get() - 1);
                }
            });
        }
    }

    /// Answers a call. What is returned begins now that the answer is on its way.
    async fn take_call(&self, requests: &Requests, call: Call) -> Option<(Session, OpenRequest)> {
        let Call { function, request, way, mut answer, permit } = call;
        drop(permit);
        let wants_body = request.head.method != Method::HEAD;
        let what = format!("request {} {}", request.head.method, request.head.path());
        let author = Author::new(Via::Request, what);
        let transaction = Transaction::lazy(Arc::clone(&self.live), author, None);
        let answering = transaction.scope(self.answer(requests, function, request, way));
        let answered = tokio::select! {
            answered = answering => answered,
            // The client left: nobody waits for the rest.
            () = answer.closed() => return None,
        };
        let answered = match answered {
            Ok(answered) => answered,
            Err(error) => {
                drop(answer.send(Err(error)));
                return None;
            }
        };
        // A handler may change the site; the change is published with its answer.
        if let Err(error) = self.commit(&transaction).await {
            drop(answer.send(Err(HandlerError::internal(error))));
            return None;
        }
        match answered {
            (reply, AfterAnswer::Nothing) => drop(answer.send(Ok(reply))),
            (reply, AfterAnswer::Producer(mut producer, keep)) => {
                if wants_body {
                    producer = match producer.begin().await {
                        Ok(producer) => producer,
                        Err(error) => {
                            drop(answer.send(Err(handler_error(&error))));
                            return None;
                        }
                    };
                }
                let (chunks, asked) = Chunks::new();
                let reply = Answer { body: AnswerBody::Stream(chunks, keep), ..reply };
                if answer.send(Ok(reply)).is_ok() {
                    produce(producer, asked).await;
                }
            }
            (reply, AfterAnswer::Session(session, open)) => {
                return answer.send(Ok(reply)).is_ok().then_some((session, open));
            }
        }
        None
    }

    async fn answer(
        &self,
        requests: &Requests,
        function: u64,
        request: Request,
        way: Option<WayOn>,
    ) -> Result<(Answer, AfterAnswer), HandlerError> {
        let handler = self.functions.get(function);
        let (function, place) =
            handler.ok_or_else(|| HandlerError::internal("this handler's function is gone"))?;
        let handler = Handler { function: &function, place: &place };
        let allowance = request.head.allowance.clone();
        let (reply, open) = call(&self.vm, requests, &handler, request, way).await?;
        let (body, rest) = match reply.body {
            ReplyBody::Bytes(bytes) => {
                // Here, for it may be a while until its worker can.
                let counted = allowance.afford(bytes).ok_or_else(|| {
                    let busy = "there is no memory for this answer now";
                    HandlerError::client(StatusCode::SERVICE_UNAVAILABLE, busy)
                        .by_option(Some("limits.answer_bytes"))
                })?;
                (AnswerBody::Bytes(counted), AfterAnswer::Nothing)
            }
            ReplyBody::Producer(source) => {
                let keep = source.keep();
                let producer = Producer::new(&self.vm, source, open.head(), open).map_err(vm_error)?;
                (AnswerBody::Bytes(bytes::Bytes::new()), AfterAnswer::Producer(producer, keep))
            }
            ReplyBody::WebSocket(start) => {
                let PendingSession { accepted, session } = *start;
                (AnswerBody::WebSocket(accepted), AfterAnswer::Session(session, open))
            }
            ReplyBody::Passed => (AnswerBody::Passed, AfterAnswer::Nothing),
        };
        Ok((Answer { status: reply.status, headers: reply.headers, body }, rest))
    }
}

/// Runs a producer until it ends or its client is known to have left, whether it writes or not.
async fn produce(mut producer: Producer, mut asked: ChunkRequests) {
    while let Some(mut sender) = asked.next().await {
        let chunk = tokio::select! {
            chunk = producer.next() => chunk,
            () = sender.closed() => return,
        };
        let Some(chunk) = chunk else { return };
        let chunk = chunk.map_err(|error: TaskError| ScriptError::from_task(&error).with_traceback());
        // An error: the client left.
        drop(sender.send(chunk));
    }
}
