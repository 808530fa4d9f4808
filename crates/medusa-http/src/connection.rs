//! A connection as its requests have it in common: the [`driver`](crate::driver) makes one, each exchange holds it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;
use medusa_log::MAX_FIELD;
use medusa_net::cork::{CorkHandle, cork};
use medusa_net::tls::{Alpn, TlsInfo};
use medusa_net::{Conn, Phase, Stream};
use medusa_proto::access::Peer;
use tokio::sync::Notify;

use crate::budget::{Account, Kind, Tally};
use crate::fault::Fault;
use crate::frame_budget::FrameBudget;
use crate::limits::Limits;
use crate::recorder;
use crate::request::{Carrier, UnreadBodies};
use crate::server::{Directory, PinnedServer};

/// One connection, as its requests see it.
pub(crate) struct Connection {
    pub(crate) conn: Rc<Conn>,
    pub(crate) handle: CorkHandle<Stream>,
    pub(crate) peer: Peer,
    /// What was agreed on, on an encrypted connection.
    pub(crate) tls: Option<Arc<TlsInfo>>,
    /// The account of the requests and answers.
    pub(crate) account: Account,
    directory: Arc<dyn Directory>,
    limits: RefCell<Arc<Limits>>,
    /// Requests that are being answered.
    open: Cell<usize>,
    frame_budget: FrameBudget,
    /// What is small of its requests and of its answers.
    tallies: [RefCell<Tally>; 2],
    /// What there is of a head that is not complete, and of answers that the peer does not take.
    waiting: [Cell<u64>; 2],
    /// HTTP/1: how much had been received when the last request had been answered.
    complete: Cell<u64>,
    unread: Arc<UnreadBodies>,
    /// The number of the request whose body is not right, if one is known to.
    misframed: Cell<Option<u64>>,
    /// The first line of a head that could not be read.
    unreadable_line: Cell<Option<Box<str>>>,
    /// To be told when the connection is to end: bodies that would go on.
    finishing: RefCell<Vec<Weak<Notify>>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("conn", &self.conn).finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(
        conn: Rc<Conn>,
        directory: Arc<dyn Directory>,
        stream: Stream,
        account: Account,
    ) -> Self {
        let tls = stream.tls();
        let (_, handle) = cork(stream, Rc::clone(&conn));
        let limits =
            directory.current().map_or_else(Arc::default, |server| Arc::clone(&server.definition.limits));
        conn.set_deadlines(limits.deadlines());
        Self {
            peer: peer(&conn),
            tls,
            handle,
            tallies: [Kind::Requests, Kind::Answers].map(|kind| RefCell::new(Tally::new(&account, kind))),
            waiting: Default::default(),
            complete: Cell::new(conn.received()),
            account,
            limits: RefCell::new(limits),
            open: Cell::new(0),
            frame_budget: FrameBudget::default(),
            unread: Arc::default(),
            misframed: Cell::new(None),
            unreadable_line: Cell::default(),
            finishing: RefCell::default(),
            conn,
            directory,
        }
    }

    /// The server of this instant; its deadlines are taken over, should they be others than before.
    pub(crate) fn server(&self) -> Option<PinnedServer> {
        let server = self.directory.current()?;
        let mut limits = self.limits.borrow_mut();
        if !Arc::ptr_eq(&limits, &server.definition.limits) {
            *limits = Arc::clone(&server.definition.limits);
            self.conn.set_deadlines(limits.deadlines());
        }
        drop(limits);
        Some(server)
    }

    /// Those of the server that was asked last.
    pub(crate) fn limits(&self) -> Limits {
        **self.limits.borrow()
    }

    /// HTTP/2: many requests at a time.
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.conn.is_multiplexed()
    }

    /// Whether HTTP/2 may begin: with the connection, and if the client has not agreed to something else.
    pub(crate) fn may_begin_http2(&self) -> bool {
        self.conn.requests() == 0 && self.tls.as_ref().is_none_or(|tls| tls.alpn != Alpn::Http1)
    }

    /// Whether client and server have agreed on HTTP/2: then nothing else is spoken.
    pub(crate) fn has_agreed_on_http2(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.alpn == Alpn::H2)
    }

    /// From now on there are many requests at a time.
    pub(crate) fn multiplex(&self) {
        self.conn.set_multiplexed();
        self.conn.enter(Phase::Idle);
    }

    /// The carrier of the last request's body.
    pub(crate) fn carrier(&self) -> Carrier<'_> {
        let request = (!self.is_multiplexed()).then(|| self.conn.requests());
        Carrier { account: &self.account, unread: &self.unread, request }
    }

    /// The bodies that are not at their end.
    pub(crate) fn unread(&self) -> &Arc<UnreadBodies> {
        &self.unread
    }

    /// Of its requests, the body of the one of that number is not right.
    pub(crate) fn misframed(&self, request: u64) {
        self.misframed.set(Some(request));
    }

    /// Whether that is the one that has begun last.
    pub(crate) fn is_misframed(&self) -> bool {
        self.misframed.get() == Some(self.conn.requests())
    }

    /// A request begins to be answered.
    pub(crate) fn begin(&self) {
        self.open.set(self.open.get() + 1);
        self.conn.enter(Phase::Busy);
        self.conn.count_request();
        self.account.begin();
    }

    /// A request has been answered, or was cancelled by its client.
    pub(crate) fn end(&self, cancelled: bool) {
        let open = self.open.get().saturating_sub(1);
        self.open.set(open);
        self.frame_budget.ended(cancelled);
        self.account.end();
        if open == 0 {
            self.complete.set(self.conn.received());
            // An HTTP/1 connection that is to end does so by itself; with HTTP/2 the client has a part in it.
            let last = self.is_multiplexed() && self.conn.is_draining();
            self.conn.enter(if last { Phase::Closing } else { Phase::Idle });
        }
    }

    /// Whether more than the request that asks is under way.
    pub(crate) fn has_others(&self) -> bool {
        self.open.get() > 1
    }

    /// Counts something small, if there is memory for it. To be [taken off](Self::take_off) at its end.
    #[must_use]
    pub(crate) fn add(&self, kind: Kind, bytes: u64) -> bool {
        self.tallies[kind as usize].borrow_mut().add(bytes, self.limit(kind))
    }

    pub(crate) fn take_off(&self, kind: Kind, bytes: u64) {
        if bytes > 0 {
            self.tallies[kind as usize].borrow_mut().take_off(bytes);
        }
    }

    /// Ends a poll of the task that drives it: writes out, and counts what waits. None: the peer is gone, or there is no
    /// memory for it.
    pub(crate) fn end_turn(&self, cx: &mut Context<'_>) -> Option<()> {
        if let Poll::Ready(Err(_gone)) = self.handle.poll_end_turn(cx) {
            return None;
        }
        self.has_room_to_wait().then_some(())
    }

    /// Counts what waits at the end of a turn: of a head, for its rest, and of answers, for the peer. False, and a fault is
    /// counted, if there is no memory for it.
    fn has_room_to_wait(&self) -> bool {
        let received = self.conn.received();
        if self.conn.phase() != Phase::Head || !self.unread.is_none() {
            self.complete.set(received);
        }
        let head = received - self.complete.get();
        let waits = [(Kind::Requests, head), (Kind::Answers, self.handle.untaken() as u64)];
        let has_room = waits.into_iter().all(|(kind, now)| {
            let before = self.waiting[kind as usize].get();
            let has_room = now == before
                || self.tallies[kind as usize].borrow_mut().change(before, now, self.limit(kind));
            if has_room {
                self.waiting[kind as usize].set(now);
            }
            has_room
        });
        if !has_room {
            self.count(Fault::NoMemory);
        }
        has_room
    }

    /// The limit of a kind.
    fn limit(&self, kind: Kind) -> u64 {
        let limits = self.limits();
        match kind {
            Kind::Requests => limits.request_bytes,
            Kind::Answers => limits.answer_bytes,
        }
    }

    pub(crate) fn frame_budget(&self) -> &FrameBudget {
        &self.frame_budget
    }

    /// Counts a fault of the client.
    pub(crate) fn count(&self, fault: Fault) {
        if let Some(server) = self.directory.current() {
            server.definition.counters.faults.count(fault);
        }
    }

    /// This is what came of a head that could not be read.
    pub(crate) fn note_unreadable(&self, head: &[u8]) {
        let line = head.split(|&b| b == b'\n').next().unwrap_or_default();
        let line = &line[..line.len().min(MAX_FIELD)];
        self.unreadable_line.set(Some(String::from_utf8_lossy(line).trim_end().into()));
    }

    /// Records a request that could not be read, so that it was never exchanged.
    pub(crate) fn record_unreadable(&self, status: StatusCode) {
        if let Some(server) = self.directory.current() {
            let line = self.unreadable_line.take().unwrap_or_default();
            recorder::unreadable(&server, self.peer, status, &line);
        }
    }

    /// Has `finish` told when the connection is to end.
    pub(crate) fn finish_early(&self, finish: &Rc<Notify>) {
        if self.conn.is_draining() {
            finish.notify_one();
            return;
        }
        let mut finishing = self.finishing.borrow_mut();
        finishing.retain(|other| other.strong_count() > 0);
        finishing.push(Rc::downgrade(finish));
    }

    /// The connection is to end: so is what would go on. A client that has nothing else under way and does not take the end
    /// of it holds nobody up.
    pub(crate) fn finish(&self) {
        let finishing: Vec<_> = self.finishing.take().iter().filter_map(Weak::upgrade).collect();
        if !finishing.is_empty() && finishing.len() == self.open.get() {
            self.conn.limit_write(LEAVING);
        }
        for finish in &finishing {
            finish.notify_one();
        }
    }
}

/// The other end, as records have it.
pub(crate) fn peer(conn: &Conn) -> Peer {
    match conn.peer() {
        medusa_net::Peer::Tcp(addr) => addr.ip().into(),
        medusa_net::Peer::Unix => Peer::Unix,
    }
}

/// The longest that a client may take nothing of a stream that is to end, as with `WebSockets`.
const LEAVING: Duration = Duration::from_secs(5);
