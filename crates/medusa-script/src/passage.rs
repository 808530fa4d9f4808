//! The way from a wrapper's function to the handler that it stands before, and back.
//!
//! The function may run on another thread than the request's own, which an answer never leaves: a request that is passed on
//! comes back to it, and of the answer only the head goes to the function.

use std::fmt;

use http::{HeaderMap, StatusCode};
use medusa_http::{HandlerError, Request, Response};
use tokio::sync::oneshot;

/// The way on, which can be taken once.
#[derive(Debug)]
pub(crate) struct WayOn(oneshot::Sender<PassedOn>);

/// A request that was passed on.
#[derive(Debug)]
pub(crate) struct PassedOn {
    pub(crate) request: Request,
    /// Where the head of its answer is waited for.
    pub(crate) answer: oneshot::Sender<Result<AnswerHead, HandlerError>>,
}

impl WayOn {
    /// The way, and its other end.
    pub(crate) fn new() -> (Self, oneshot::Receiver<PassedOn>) {
        let (way, end) = oneshot::channel();
        (Self(way), end)
    }

    /// Passes a request on, and waits for the head of its answer; none if nobody waits for that any more.
    pub(crate) async fn pass_on(self, request: Request) -> Option<Result<AnswerHead, HandlerError>> {
        let (answer, answered) = oneshot::channel();
        self.0.send(PassedOn { request, answer }).ok()?;
        answered.await.ok()
    }
}

/// What a function gets to see, and may change, of an answer that passes it.
#[derive(Debug)]
pub(crate) struct AnswerHead {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Whether another protocol goes on after it.
    pub(crate) opens_session: bool,
}

impl AnswerHead {
    /// Takes it out of a response.
    pub(crate) fn of(response: &mut Response) -> Self {
        let headers = std::mem::take(&mut response.headers);
        Self { status: response.status, headers, opens_session: response.upgrade.is_some() }
    }
}

/// How far the way of a request to the handler behind has been gone.
#[derive(Debug)]
pub(crate) enum Passage {
    /// There is none behind.
    Absent,
    /// It can be gone.
    Open(WayOn),
    /// It is being answered, could not be, or its answer was returned.
    Taken,
    /// It was gone, and this has come back.
    Answered(Box<AnswerHead>),
}

impl Passage {
    /// The beginning of it.
    pub(crate) fn new(way: Option<WayOn>) -> Self {
        way.map_or(Self::Absent, Self::Open)
    }

    /// Whether it can be gone.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// Whether it was gone.
    pub(crate) fn is_used(&self) -> bool {
        matches!(self, Self::Taken | Self::Answered(_))
    }

    /// Refuses it unless it can be gone.
    pub(crate) fn check(&self) -> mlua::Result<()> {
        match self {
            Self::Open(_) => Ok(()),
            Self::Absent => Err(refused("behind this function is no other handler")),
            Self::Taken | Self::Answered(_) => {
                Err(refused("it has been called already: the handler behind answers a request once"))
            }
        }
    }

    /// Goes it.
    pub(crate) fn take(&mut self) -> mlua::Result<WayOn> {
        self.check()?;
        match std::mem::replace(self, Self::Taken) {
            Self::Open(way) => Ok(way),
            _ => Err(refused("it has been called already")),
        }
    }

    /// It has been answered.
    pub(crate) fn answered(&mut self, answer: AnswerHead) {
        *self = Self::Answered(Box::new(answer));
    }

    /// The answer, as long as it was not returned.
    pub(crate) fn answer(&mut self) -> mlua::Result<&mut AnswerHead> {
        match self {
            Self::Answered(answer) => Ok(answer),
            _ => Err(mlua::Error::runtime("this answer has been returned already")),
        }
    }

    /// Takes the answer, to be returned.
    pub(crate) fn take_answer(&mut self) -> mlua::Result<(StatusCode, HeaderMap)> {
        let AnswerHead { status, headers, .. } = self.answer()?;
        let taken = (*status, std::mem::take(headers));
        *self = Self::Taken;
        Ok(taken)
    }
}

/// An error of `next`.
pub(crate) fn refused(why: impl fmt::Display) -> mlua::Error {
    mlua::Error::runtime(format!("next(req): {why}"))
}

/// What a handler's function has come to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// An answer of its own.
    Own(Response),
    /// The answer to what it has passed on, with this status and these fields.
    Passed(StatusCode, HeaderMap),
}

impl Outcome {
    /// The answer of a function that has passed nothing on.
    pub(crate) fn own(self) -> Result<Response, HandlerError> {
        match self {
            Self::Own(response) => Ok(response),
            Self::Passed(..) => Err(HandlerError::internal("there is no answer to what was passed on")),
        }
    }
}
