//! The connection's side of a session: frames in, frames out, the clocks, the closing handshake.
//!
//! Writing does not wait for reading, but reading for writing: a client is read no further than it takes its answers, for
//! its pings are answered here, and what it does not take would pile up.
//!
//! Invariant: whatever the client does, the pump ends: a client that takes nothing is cut off by the connection's write
//! deadline, one that says nothing and one that does not answer a close by the [`SessionClock`].

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::clock::{Due, SessionClock};
use super::deflate::COMPRESSOR;
use super::fragments::Fragments;
use super::frames::{self, Failure, NextFrame, Reader, Received, code};
use super::handshake::EndGuard;
use super::message::Close;
use super::overhead::OverheadBudget;
use super::queue::{Item, Refused};
use crate::budget::{Account, Held, Kind};
use crate::upgrade::{Io, Upgraded};

/// The size that is read at a time.
const READ: usize = 16 * 1024;

/// The number of frames of compressed messages that are made before others have their turn.
const MOST_COMPRESSED: usize = 4;

/// The limits of a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionLimits {
    pub(super) max_message: usize,
    pub(super) ping: Duration,
    pub(super) idle: Duration,
    /// The client's window, by which messages are compressed.
    pub(super) window: Option<u8>,
}

/// Resolves when the server wants the session to end.
type EndSignal = Pin<Box<dyn Future<Output = Close>>>;

/// The connection's side of a session.
struct Pump {
    io: Io,
    reader: Reader,
    /// Frames on their way to the cork.
    out: Vec<u8>,
    written: usize,
    /// The answer to the client's last ping, which is the only one that it waits for.
    pong: Option<Bytes>,
    window: Option<u8>,
    link: EndGuard,
    clock: SessionClock,
    sleep: Pin<Box<Sleep>>,
    /// None once it was obeyed.
    leave: Option<EndSignal>,
    /// What is left of the message that is being sent.
    outgoing: Option<Outgoing>,
    ping_due: bool,
    /// What was read so far: a long frame on a slow line is a sign of life, too.
    read: u64,
    overhead: OverheadBudget,
    /// The account of the messages, and the limit for answers.
    account: Account,
    answers: u64,
    state: PumpState,
}

/// A message that is being sent.
struct Outgoing {
    fragments: Fragments,
    /// What counts its compressor.
    _held: Option<Held>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PumpState {
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
    link: EndGuard,
    settings: SessionLimits,
    leave: impl Future<Output = Close> + 'static,
) {
    link.0.begin(&account, &limits);
    let now = Instant::now();
    let read = io.bytes_read();
    let mut pump = Pump {
        io,
        reader: Reader::new(settings.max_message, settings.window.is_some()),
        out: Vec::new(),
        written: 0,
        pong: None,
        window: settings.window,
        link,
        clock: SessionClock::new(settings.ping, settings.idle, now),
        sleep: Box::pin(tokio::time::sleep_until(now)),
        leave: Some(Box::pin(leave)),
        outgoing: None,
        ping_due: false,
        read,
        account,
        answers: limits.answer_bytes,
        overhead: OverheadBudget::new(settings.max_message, now),
        state: PumpState::Open,
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
        self.account(now);
        // After reading, for what has been heard just now counts; before writing, for it may ask for a ping.
        if self.poll_clock(cx, now).is_ready() { Poll::Ready(()) } else { self.poll_write(cx, now) }
    }

    /// Takes note of what was read.
    fn account(&mut self, now: Instant) {
        let read = self.io.bytes_read();
        let came = read - std::mem::replace(&mut self.read, read);
        if came > 0 {
            self.clock.heard(now);
            self.overhead.received(came, now);
        }
        if self.state == PumpState::Open && self.overhead.is_exceeded() {
            self.fail(&Close::of(Close::POLICY, "too many frames that are no message"), now);
        }
        if self.state == PumpState::Open && !self.link.0.inbox.set_unfinished(self.reader.held()) {
            self.fail(&no_memory(), now);
        }
    }

    /// Reads as far as the handler takes it, and the client its answers. Ready: the session has ended.
    fn poll_read(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        loop {
            if ready!(self.poll_sent(cx, now)).is_err() {
                return Poll::Ready(());
            }
            match self.state {
                PumpState::Open => {
                    let room = self.link.0.inbox.poll_room(cx);
                    if room.is_pending() {
                        // Nothing of the client is heard, which is not its fault.
                        self.clock.heard(now);
                        return Poll::Pending;
                    }
                }
                PumpState::Closing => {}
                PumpState::Answering | PumpState::Failing => return Poll::Pending,
            }
            match self.reader.next() {
                Ok(NextFrame::Received(received)) => {
                    if self.state == PumpState::Closing {
                        if matches!(received, Received::Close(_)) {
                            return Poll::Ready(());
                        }
                    } else if !self.take(received, now) {
                        self.fail(&no_memory(), now);
                    }
                }
                Ok(NextFrame::Busy) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(NextFrame::Wait) => {
                    let mut buf = [MaybeUninit::uninit(); READ];
                    let mut buf = ReadBuf::uninit(&mut buf);
                    let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf));
                    if read.is_err() || buf.filled().is_empty() {
                        return Poll::Ready(());
                    }
                    self.reader.push(buf.filled());
                }
                Err(failure) if self.state == PumpState::Open => self.fail(&close_for(failure), now),
                Err(_) => return Poll::Ready(()),
            }
        }
    }

    /// False: there is no memory for it.
    fn take(&mut self, received: Received, now: Instant) -> bool {
        let (message, came) = match received {
            Received::Message { message, came } => (message, came),
            Received::Close(close) => {
                self.state = PumpState::Answering;
                self.clock.closing(now);
                self.forget(&close);
                frames::write_close(&close, &mut self.out);
                return true;
            }
            // They may come within a message.
            Received::Ping(data) => {
                self.pong = Some(data);
                return true;
            }
            Received::Pong => return true,
        };
        // That is less.
        let _has_room = self.link.0.inbox.set_unfinished(self.reader.held());
        self.clock.message(now);
        // As much as it took to send: a compressed one is no more.
        self.overhead.message(came);
        let message = message.map(|data| self.account.count(Kind::Requests, data));
        // There was room. Refused where the handler has ended the session: it does not want to hear it.
        !matches!(self.link.0.inbox.push(Item::Message(message)), Err(Refused::NoMemory(_)))
    }

    /// The client broke the protocol ([RFC 6455 §7.1.7](https://www.rfc-editor.org/rfc/rfc6455#section-7.1.7)).
    fn fail(&mut self, close: &Close, now: Instant) {
        self.state = PumpState::Failing;
        self.clock.closing(now);
        self.forget(close);
        frames::write_close(close, &mut self.out);
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
    fn poll_sent(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<io::Result<()>> {
        if let Some(data) = self.pong.take_if(|_| self.state == PumpState::Open) {
            frames::write(code::PONG, true, false, &data, &mut self.out);
        }
        let sent = self.poll_write_out(cx);
        self.clock.blocked(sent.is_pending(), now);
        sent
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        // Nothing is kept between messages.
        self.out = Vec::new();
        self.written = 0;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Writes as far as the client takes it. Ready: the session has ended.
    fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let mut compressed = 0;
        loop {
            if ready!(self.poll_sent(cx, now)).is_err() {
                return Poll::Ready(());
            }
            match self.state {
                PumpState::Open if compressed == MOST_COMPRESSED => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                PumpState::Open => ready!(self.poll_frame(cx, now)),
                PumpState::Closing => return Poll::Pending,
                // It is out.
                PumpState::Answering | PumpState::Failing => return Poll::Ready(()),
            }
            compressed += usize::from(self.window.is_some());
        }
    }

    /// Writes what is to be sent next. A ping may come between the frames of a message.
    fn poll_frame(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        if std::mem::take(&mut self.ping_due) {
            frames::write(code::PING, true, false, &[], &mut self.out);
            return Poll::Ready(());
        }
        let mut outgoing = match self.outgoing.take() {
            Some(outgoing) => outgoing,
            None => match ready!(self.link.0.outbox.poll_pop(cx)) {
                Ok(Item::Message(message)) => {
                    self.clock.message(now);
                    self.begin(Fragments::of(&message, self.window))
                }
                Ok(Item::Ping) => {
                    frames::write(code::PING, true, false, &[], &mut self.out);
                    return Poll::Ready(());
                }
                Err(close) => {
                    self.state = PumpState::Closing;
                    self.clock.closing(now);
                    frames::write_close(&close, &mut self.out);
                    return Poll::Ready(());
                }
            },
        };
        if !outgoing.fragments.next(&mut self.out) {
            self.outgoing = Some(outgoing);
        }
        Poll::Ready(())
    }

    /// Begins to send a message. One whose compressor would stay, and for which there is no memory, goes as it is.
    fn begin(&self, mut fragments: Fragments) -> Outgoing {
        let mut held = None;
        if fragments.is_long_work() {
            held = self.account.take(Kind::Answers, COMPRESSOR, self.answers);
            if held.is_none() {
                fragments.leave_plain();
            }
        }
        Outgoing { fragments, _held: held }
    }
}

/// The close for a client whose message there is no memory for.
fn no_memory() -> Close {
    Close::of(Close::TRY_AGAIN, "there is no memory for this message")
}

/// The close for a client that did something wrong.
fn close_for(failure: Failure) -> Close {
    match failure {
        Failure::Protocol(what) => Close::of(Close::PROTOCOL, what),
        Failure::Content(what) => Close::of(Close::NOT_UTF8, what),
        Failure::TooLong => Close::of(Close::TOO_LONG, "the message is too long"),
    }
}
