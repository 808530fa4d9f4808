//! The handler's side of a session.

use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::message::{Close, Message};
use super::queue::{Item, Queue, Refused};
use crate::budget::{Account, Kind, LEAST};
use crate::limits::Limits;

/// The part of a session that both sides share.
#[derive(Debug, Default)]
pub(super) struct SessionLink {
    /// From the client.
    pub(super) inbox: Queue,
    /// To the client.
    pub(super) outbox: Queue,
    /// The close that ended it: both queues tell the same, though others may close it while one is told.
    closed: OnceLock<Close>,
    /// The account of the messages, and the server's limit of that for answers. Known once the session has begun.
    account: OnceLock<(Account, u64)>,
}

/// The time that a message waits for memory before it is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl SessionLink {
    /// Ends the session: what was sent before still goes out, then the close does. The first close counts.
    pub(super) fn close(&self, close: &Close) {
        let close = self.closed.get_or_init(|| close.clone());
        self.inbox.end(close);
        self.outbox.end(close);
    }

    /// The session begins, on a connection of this account.
    pub(super) fn begin(&self, account: &Account, limits: &Limits) {
        self.inbox.charge(account, Kind::Requests, limits.request_bytes);
        self.outbox.charge(account, Kind::Answers, limits.answer_bytes);
        // It begins once.
        let _again = self.account.set((account.clone(), limits.answer_bytes));
    }

    /// Lets `item` into the outbox, if there is room in it, and memory.
    fn send(&self, item: Item) -> Result<(), Refused> {
        match (item, self.account.get()) {
            (Item::Message(message), Some((account, limit))) if message.data().len() as u64 >= LEAST => {
                if account.is_full(Kind::Answers, *limit) && !self.outbox.has_ended() {
                    return Err(Refused::NoMemory(Item::Message(message)));
                }
                self.outbox.push(Item::Message(message.map(|data| account.keep(Kind::Answers, data))))
            }
            (item, _) => self.outbox.push(item),
        }
    }
}

/// One session, as its handler has it. Dropping it ends the session, with 1011 if it was not closed.
///
/// All its methods take `&self`: a handler may receive in one task and send in others.
#[derive(Debug)]
pub struct WebSocket {
    link: Arc<SessionLink>,
    protocol: Option<String>,
}

/// The session has ended; nothing more can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this websocket is closed")]
pub struct Closed;

/// The reason why a message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrySendError {
    /// The client is not taking what was sent before.
    #[error("the client does not keep up")]
    Full,
    /// The session has ended.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl WebSocket {
    pub(super) fn new(link: Arc<SessionLink>, protocol: Option<String>) -> Self {
        Self { link, protocol }
    }

    /// The subprotocol that was agreed on.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// The next message; how the session ended, once there are no more.
    pub async fn recv(&self) -> Result<Message, Close> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Polls for the next message.
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<Result<Message, Close>> {
        loop {
            match ready!(self.link.inbox.poll_pop(cx)) {
                Ok(Item::Message(message)) => return Poll::Ready(Ok(message)),
                Ok(Item::Ping) => {}
                Err(close) => return Poll::Ready(Err(close)),
            }
        }
    }

    /// Sends a message; waits while too much waits to be sent. Returns whether it had to wait.
    pub async fn send(&self, message: Message) -> Result<bool, Closed> {
        let mut item = Item::Message(message);
        let mut waited = false;
        loop {
            match self.link.send(item) {
                Ok(()) => return Ok(waited),
                Err(Refused::Ended) => return Err(Closed),
                Err(Refused::Full(back)) => {
                    item = back;
                    poll_fn(|cx| self.link.outbox.poll_room(cx)).await;
                }
                Err(Refused::NoMemory(back)) => {
                    item = back;
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
            waited = true;
        }
    }

    /// Sends a message if it need not wait: a slow client must not hold up the others that are told the same.
    pub fn try_send(&self, message: Message) -> Result<(), TrySendError> {
        self.push(Item::Message(message))
    }

    /// Sends a ping, whose answer is only seen in that the client is not gone. Where there is no room for it, the client
    /// has more to answer than a ping.
    pub fn ping(&self) -> Result<(), TrySendError> {
        self.push(Item::Ping)
    }

    fn push(&self, item: Item) -> Result<(), TrySendError> {
        self.link.send(item).map_err(|refused| match refused {
            Refused::Full(_) | Refused::NoMemory(_) => TrySendError::Full,
            Refused::Ended => Closed.into(),
        })
    }

    /// Ends the session. What was sent before still goes out. Where it has ended already, nothing happens.
    pub fn close(&self, close: &Close) {
        self.link.close(close);
    }

    /// Throws away what has come and was not received: nobody will.
    pub fn discard(&self) {
        self.link.inbox.clear();
    }

    /// Waits until the session ends, from whichever side.
    pub async fn closed(&self) {
        poll_fn(|cx| self.link.inbox.poll_ended(cx)).await;
    }

    /// Whether the session has ended.
    pub fn is_closed(&self) -> bool {
        self.link.inbox.has_ended()
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        self.link.close(&Close::of(Close::FAILED, ""));
        self.discard();
    }
}
