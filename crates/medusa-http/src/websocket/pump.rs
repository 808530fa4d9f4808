//! The connection's side of a session: frames in, frames out, the clocks, the closing handshake.
//!
//! Writing does not wait for reading, but reading for writing: a client is read no further than it takes its answers, for
//! its pings are answered here, and what it does not take would pile up.
//!
//! Invariant: whatever the client does, the pump ends: a client that takes nothing is cut off by the connection's write
//! deadline, one that says nothing and one that does not answer a close by the [`Clock`].

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream as _};
use medusa_net::Stream;
use medusa_net::cork::CorkIo;
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frames;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::clock::{Clock, Due};
use super::fragments::{Fragments, LONGEST};
use super::handshake::Ends;
use super::message::{Close, Message};
use super::queue::{Item, Refused};
use super::toll::Toll;
use crate::budget::{Account, Kind};
use crate::upgrade::Upgraded;

/// What is read at a time. A longer frame makes the buffer grow, and takes it along.
const READ: usize = 4 * 1024;

/// How long the head of a client's control frame is, in bytes.
const CONTROL_HEAD: u64 = 6;

/// What bounds a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) max_message: usize,
    pub(super) ping: Duration,
    pub(super) idle: Duration,
}

type Socket = WebSocketStream<CorkIo<Stream>>;

/// Resolves when the server wants the session to end.
type Leave = Pin<Box<dyn Future<Output = Close>>>;

/// The connection's side of a session.
struct Pump {
    socket: Socket,
    link: Ends,
    clock: Clock,
    sleep: Pin<Box<Sleep>>,
    /// None once it was obeyed.
    leave: Option<Leave>,
    /// What is left of the message that is being sent.
    outgoing: Option<Fragments>,
    ping_due: bool,
    /// What was read so far: a long frame on a slow line is a sign of life, too.
    read: u64,
    toll: Toll,
    /// Whose messages these are.
    account: Account,
    /// How much had been read when the last frame was complete that is not part of a message on its way.
    complete: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Our close is out, and the client's awaited. What it still sends is thrown away.
    Closing,
    /// The client's close is here; ours goes out as the answer.
    Answering,
    /// The client broke the protocol: our close goes out, and nothing of the client is read any more.
    Failing,
}

/// Runs the session on a connection that is a `WebSocket` from now on, to its end.
pub(super) async fn run(
    Upgraded { io, account, limits, .. }: Upgraded,
    link: Ends,
    settings: Settings,
    leave: impl Future<Output = Close> + 'static,
) {
    link.0.begin(&account, &limits);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ)
        .write_buffer_size(0) // it is the cork that collects
        .max_write_buffer_size(2 * LONGEST) // a frame that the cork has no room for, and a pong
        .max_message_size(Some(settings.max_message))
        .max_frame_size(Some(settings.max_message));
    let now = Instant::now();
    let read = io.bytes_read();
    let mut pump = Pump {
        socket: WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await,
        link,
        clock: Clock::new(settings.ping, settings.idle, now),
        sleep: Box::pin(tokio::time::sleep_until(now)),
        leave: Some(Box::pin(leave)),
        outgoing: None,
        ping_due: false,
        read,
        account,
        complete: read,
        toll: Toll::new(settings.max_message, now),
        state: State::Open,
    };
    poll_fn(|cx| pump.poll(cx)).await;
}

impl Pump {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        if let Some(leave) = &mut self.leave
            && let Poll::Ready(close) = leave.as_mut().poll(cx)
        {
            self.leave = None;
            self.link.0.close(&close);
        }
        if self.poll_read(cx, now).is_ready() {
            return Poll::Ready(());
        }
        if self.account(now).is_ready() {
            return Poll::Ready(());
        }
        // After reading, for what has been heard just now counts; before writing, for it may ask for a ping.
        if self.poll_clock(cx, now).is_ready() { Poll::Ready(()) } else { self.poll_write(cx, now) }
    }

    /// Takes note of what was read. Ready: the session has ended.
    fn account(&mut self, now: Instant) -> Poll<()> {
        let read = self.socket.get_ref().bytes_read();
        let came = read - std::mem::replace(&mut self.read, read);
        if came == 0 {
            return Poll::Pending;
        }
        self.clock.heard(now);
        self.toll.received(came, now);
        if self.state == State::Open && self.toll.is_exceeded() {
            return self.fail(&Close::of(Close::POLICY, "too many frames that are no message"), now);
        }
        let unfinished = read.saturating_sub(self.complete);
        if self.state == State::Open && !self.link.0.inbox.set_unfinished(unfinished) {
            return self.fail(&no_memory(), now);
        }
        Poll::Pending
    }

    /// Reads as far as the handler takes it, and the client its answers. Ready: the session has ended.
    fn poll_read(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        loop {
            if ready!(self.poll_sent(cx, now)).is_err() {
                return Poll::Ready(());
            }
            match self.state {
                State::Open => {
                    let room = self.link.0.inbox.poll_room(cx);
                    if room.is_pending() {
                        // Nothing of the client is heard, which is not its fault.
                        self.clock.heard(now);
                        return Poll::Pending;
                    }
                }
                State::Closing | State::Answering => {}
                State::Failing => return Poll::Pending,
            }
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                None => return Poll::Ready(()),
                Some(Ok(received)) => {
                    if !self.take(received, now) {
                        ready!(self.fail(&no_memory(), now));
                    }
                }
                Some(Err(error)) => match failure(&error) {
                    Some(close) if self.state == State::Open => ready!(self.fail(&close, now)),
                    _ => return Poll::Ready(()),
                },
            }
        }
    }

    /// False: there is no memory for it.
    fn take(&mut self, received: Frames, now: Instant) -> bool {
        let message = match received {
            Frames::Text(text) => Message::checked_text(text.into()),
            Frames::Binary(data) => Message::binary(data),
            Frames::Close(frame) => {
                if self.state == State::Open {
                    self.state = State::Answering;
                    self.clock.closing(now);
                    self.forget(&Close::received(frame));
                }
                return true;
            }
            // Pings are answered by tungstenite itself. They may come within a message.
            Frames::Ping(data) | Frames::Pong(data) => {
                self.complete += CONTROL_HEAD + data.len() as u64;
                return true;
            }
            Frames::Frame(_) => return true,
        };
        self.complete = self.socket.get_ref().bytes_read();
        // That is less.
        let _has_room = self.link.0.inbox.set_unfinished(0);
        self.clock.message(now);
        self.toll.message(message.data().len());
        let message = message.map(|data| self.account.count(Kind::Requests, data));
        // There was room. Refused where the handler has ended the session: it does not want to hear it.
        !matches!(self.link.0.inbox.push(Item::Message(message)), Err(Refused::NoMemory(_)))
    }

    /// The client broke the protocol ([RFC 6455 §7.1.7](https://www.rfc-editor.org/rfc/rfc6455#section-7.1.7)).
    fn fail(&mut self, close: &Close, now: Instant) -> Poll<()> {
        self.state = State::Failing;
        self.clock.closing(now);
        self.forget(close);
        if self.start(Frames::Close(Some(close.frame()))) { Poll::Pending } else { Poll::Ready(()) }
    }

    /// The session is over for the handler, and what it wanted to say will not be heard.
    fn forget(&mut self, close: &Close) {
        self.link.0.close(close);
        self.link.0.outbox.clear();
        self.outgoing = None;
    }

    /// Does what the clock asks for. Ready: the session has ended.
    fn poll_clock(&mut self, cx: &mut Context<'_>, mut now: Instant) -> Poll<()> {
        loop {
            match self.clock.check(now) {
                Some(Due::Ping) => self.ping_due = true,
                Some(Due::Idle) => self.link.0.close(&Close::of(Close::GOING_AWAY, "idle for too long")),
                Some(Due::Gone) => return Poll::Ready(()),
                None => {
                    let Some(next) = self.clock.next() else { return Poll::Pending };
                    // Most of what happens moves it on: that is looked at when it goes off.
                    if next < self.sleep.deadline() || self.sleep.is_elapsed() {
                        self.sleep.as_mut().reset(next);
                    }
                    ready!(self.sleep.as_mut().poll(cx));
                    now = Instant::now();
                }
            }
        }
    }

    /// Waits until the cork has taken everything, pongs included. An error: nobody is there any more.
    fn poll_sent(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Result<(), Error>> {
        let sent = Pin::new(&mut self.socket).poll_flush(cx);
        self.clock.blocked(sent.is_pending(), now);
        sent
    }

    /// Writes as far as the client takes it. Ready: the session has ended.
    fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        loop {
            if ready!(self.poll_sent(cx, now)).is_err() {
                return Poll::Ready(());
            }
            let frame = match self.state {
                State::Open => ready!(self.poll_frame(cx, now)),
                State::Closing | State::Answering => return Poll::Pending,
                State::Failing => return Poll::Ready(()),
            };
            if !self.start(frame) {
                return Poll::Ready(());
            }
        }
    }

    /// What is to be sent next. A ping may come between the frames of a message.
    fn poll_frame(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Frames> {
        if std::mem::take(&mut self.ping_due) {
            return Poll::Ready(Frames::Ping(Bytes::new()));
        }
        let mut fragments = match self.outgoing.take() {
            Some(fragments) => fragments,
            None => match ready!(self.link.0.outbox.poll_pop(cx)) {
                Ok(Item::Message(message)) => {
                    self.clock.message(now);
                    Fragments::of(&message)
                }
                Ok(Item::Ping) => return Poll::Ready(Frames::Ping(Bytes::new())),
                Err(close) => {
                    self.state = State::Closing;
                    self.clock.closing(now);
                    return Poll::Ready(Frames::Close(Some(close.frame())));
                }
            },
        };
        let (frame, last) = fragments.next();
        if !last {
            self.outgoing = Some(fragments);
        }
        Poll::Ready(Frames::Frame(frame))
    }

    /// Hands something over to be sent; false if nobody is there any more.
    fn start(&mut self, frame: Frames) -> bool {
        Pin::new(&mut self.socket).start_send(frame).is_ok()
    }
}

/// What a client is told whose message there is no memory for.
fn no_memory() -> Close {
    Close::of(Close::TRY_AGAIN, "there is no memory for this message")
}

/// What a client is told that did something wrong; none for one that is gone.
fn failure(error: &Error) -> Option<Close> {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(violation) => Some(Close::of(Close::PROTOCOL, &short(&violation.to_string()))),
        Error::Utf8(_) => Some(Close::of(Close::NOT_UTF8, "not UTF-8")),
        Error::Capacity(_) => Some(Close::of(Close::TOO_LONG, "the message is too long")),
        _ => None,
    }
}

/// As much of a text as a close may carry.
fn short(text: &str) -> String {
    text[..text.floor_char_boundary(120)].to_owned()
}
