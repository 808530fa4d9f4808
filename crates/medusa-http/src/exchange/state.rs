//! One exchange while it goes on, and what it leaves behind: counts, the connection's phase, and the access record, all at
//! the moment the response's last byte is handed over (or the connection is lost).

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, StatusCode, Uri};
use medusa_log::Sink;
use medusa_proto::with_causes;
use tokio::sync::Notify;
use tracing::field;

use crate::body::{Body, BodyError};
use crate::budget::{Allowance, Kind, LEAST};
use crate::client::Client;
use crate::connection::Connection;
use crate::counters::{Counters, ServerCounters};
use crate::end_hook::{Delivery, EndHook};
use crate::fault::Fault;
use crate::latency;
use crate::record::PendingRecord;
use crate::recorder;
use crate::request::Head;
use crate::request_id::{self, RequestId};
use crate::response::Response;
use crate::router::Pattern;
use crate::server::PinnedServer;
use crate::trace::TraceNotes;
use crate::under_way::{LongLived, Stage, UnderWay};

/// One exchange, from its head to its last byte.
#[derive(Debug)]
pub(crate) struct Exchange {
    connection: Rc<Connection>,
    server: Option<PinnedServer>,
    /// Its place among the server's mounts.
    mount: Option<u32>,
    /// What it is at, once it has a mount.
    stage: Option<Stage>,
    /// Of one that goes on for long.
    long_lived: Option<Rc<LongLived>>,
    /// In place of the server, once that was let go of.
    retained: Option<Box<RetainedServer>>,
    /// What it is counted for among what is small of its connection.
    counted: [u64; 2],
    status: StatusCode,
    pub(crate) sent: u64,
    /// Nothing of the response is still to be handed over.
    pub(crate) is_whole: bool,
    end_hook: EndHook,
    record: Option<PendingRecord>,
    /// In the place of the server's log, once a handler has said so: another, or none. In a box, as few have it.
    own_log: Option<Box<Option<Arc<dyn Sink>>>>,
    /// What is noted for those who look on.
    trace: Option<Arc<TraceNotes>>,
    /// Somebody wants to know how long requests take.
    is_timed: bool,
    /// What is told of the request if its response breaks off: of those that may.
    asked: Option<Box<RequestSummary>>,
}

/// A request, for the server's own log.
#[derive(Debug)]
pub(super) struct RequestSummary {
    pub(crate) id: RequestId,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
}

/// The pieces of a server that the end of an exchange needs.
#[derive(Debug)]
struct RetainedServer {
    mount: Option<RetainedMount>,
    counters: Arc<ServerCounters>,
    log: Option<Arc<dyn Sink>>,
    name: Arc<str>,
}

/// The same of a mount.
#[derive(Debug)]
struct RetainedMount {
    pattern: Pattern,
    counters: Arc<Counters>,
    under_way: Arc<UnderWay>,
}

/// The status recorded for an exchange that ends before there is a response: nginx's 499.
fn client_left() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or_default()
}

impl Exchange {
    pub(super) fn begin(
        connection: Rc<Connection>,
        server: PinnedServer,
        client: &Client,
        request: &http::request::Parts,
        trace: Option<Arc<TraceNotes>>,
    ) -> Self {
        let mut exchange = Self::unrouted(connection);
        exchange.is_timed = latency::is_watched();
        let is_recorded = server.has_log || trace.is_some() || exchange.is_timed;
        exchange.record = is_recorded.then(|| PendingRecord::new(client, request));
        exchange.trace = trace;
        exchange.server = Some(server);
        exchange
    }

    /// An exchange that no server takes.
    pub(super) fn unrouted(connection: Rc<Connection>) -> Self {
        connection.begin();
        Self {
            connection,
            server: None,
            mount: None,
            stage: None,
            long_lived: None,
            retained: None,
            counted: [0; 2],
            status: client_left(),
            sent: 0,
            is_whole: false,
            end_hook: EndHook::default(),
            record: None,
            own_log: None,
            trace: None,
            is_timed: false,
            asked: None,
        }
    }

    pub(crate) fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    pub(super) fn mounted(&mut self, mount: u32) {
        self.mount = Some(mount);
        self.stage = Some(Stage::Request);
        if let Some(under_way) = self.under_way() {
            under_way.enter(Stage::Request);
        }
    }

    /// What is under way on its handler.
    fn under_way(&self) -> Option<&Arc<UnderWay>> {
        match (&self.server, &self.retained) {
            (Some(server), _) => Some(&server.definition.mount_at(self.mount?)?.under_way),
            (None, Some(retained)) => Some(&retained.mount.as_ref()?.under_way),
            (None, None) => None,
        }
    }

    /// It goes on for long, as a stream or a `WebSocket`.
    pub(super) fn goes_on(&mut self, stage: Stage) {
        let (Some(before), Some(under_way)) = (self.stage, self.under_way()) else { return };
        under_way.leave(before);
        under_way.enter(stage);
        let long_lived = LongLived::begin(Arc::clone(under_way), stage);
        (self.stage, self.long_lived) = (Some(stage), Some(long_lived));
    }

    /// Has `finish` tell it to end, should its handler's be ended.
    pub(crate) fn finish_by(&self, finish: &Rc<Notify>) {
        if let Some(long_lived) = &self.long_lived {
            long_lived.finish_by(finish);
        }
    }

    /// Shows it to those who look on, as far as it has come.
    pub(super) fn show(&mut self, goes_on: bool) {
        let server = self.server.as_ref().map(|server| &server.definition.name);
        let server = server.or_else(|| Some(&self.retained.as_ref()?.name));
        if let (Some(trace), Some(pending), Some(server)) = (self.trace.take(), &self.record, server) {
            let mut id = request_id::Buffer::default();
            trace.end(&pending.record(self.status, self.sent, server, &mut id), goes_on);
        }
    }

    /// Ready once it is to end at once.
    pub(crate) fn poll_cut(&self, cx: &Context<'_>) -> Poll<()> {
        self.long_lived.as_ref().map_or(Poll::Pending, |long_lived| long_lived.poll_cut(cx))
    }

    /// Takes down what handlers have found out of the request.
    pub(super) fn found_out(&mut self, head: &Head) {
        if let (Some(record), Some(user)) = (&mut self.record, head.user.get()) {
            record.set_user(user);
        }
        if let Some(log) = head.log.get() {
            self.own_log = Some(Box::new(log.lock().clone()));
        }
    }

    /// There is a response, with a body or without one.
    pub(super) fn answered(&mut self, status: StatusCode, end_hook: EndHook, is_bare: bool) {
        self.status = status;
        self.end_hook = end_hook;
        self.is_whole = is_bare;
    }

    /// The response may break off, which is told of this request then.
    pub(super) fn may_break_off(&mut self, asked: RequestSummary) {
        self.asked = Some(Box::new(asked));
    }

    /// Counts something small until its end, if there is memory for it.
    #[must_use]
    pub(super) fn add(&mut self, kind: Kind, bytes: u64) -> bool {
        let has_room = self.connection.add(kind, bytes);
        if has_room {
            self.counted[kind as usize] += bytes;
        }
        has_room
    }

    /// The response, if there is memory for its body until the client has taken it.
    pub(super) fn afford(&mut self, mut response: Response) -> Response {
        let Body::Bytes(bytes) = &mut response.body else { return response };
        let len = bytes.len() as u64;
        let limit = self.connection.limits().answer_bytes;
        if len < LEAST {
            // What others have, too, costs nothing.
            if len == 0 || !bytes.is_unique() || self.add(Kind::Answers, len) {
                return response;
            }
        } else if let Some(counted) =
            Allowance::new(&self.connection.account, limit).afford(std::mem::take(bytes))
        {
            *bytes = counted;
            return response;
        }
        self.connection.count(Fault::NoMemory);
        Response::busy()
    }

    /// Lets go of the server as it was, with all its handlers and what they hold: for an exchange that may last for
    /// hours.
    pub(super) fn release_server(&mut self) {
        let Some(server) = self.server.take() else { return };
        let definition = &server.definition;
        let mount = self.mount.and_then(|at| definition.mount_at(at));
        self.retained = Some(Box::new(RetainedServer {
            mount: mount.map(|mount| {
                mount.under_way.keep_text(|| mount.text());
                RetainedMount {
                    pattern: mount.pattern.clone(),
                    counters: Arc::clone(&mount.counters),
                    under_way: Arc::clone(&mount.under_way),
                }
            }),
            counters: Arc::clone(&definition.counters),
            log: definition.log.clone(),
            name: Arc::clone(&definition.name),
        }));
    }

    /// Says so, and of which request.
    pub(super) fn broke_off(&self, error: &BodyError) {
        if let Some(trace) = &self.trace {
            trace.failed(&with_causes(error));
        }
        let asked = self.asked.as_deref();
        let request = asked.map(|asked| field::display(&asked.id));
        let method = asked.map(|asked| field::display(&asked.method));
        let path = asked.map(|asked| field::display(asked.uri.path()));
        let here = self.server.as_ref().and_then(|server| server.definition.mount_at(self.mount?));
        let retained = || Some(&self.retained.as_ref()?.mount.as_ref()?.pattern);
        let mount = here.map(|mount| &mount.pattern).or_else(retained).map(field::display);
        tracing::warn!(request, method, path, mount, "a response broke off: {}", with_causes(error));
    }

    fn end(
        &self,
        mount: Option<&Counters>,
        counters: &ServerCounters,
        log: Option<&Arc<dyn Sink>>,
        name: &str,
    ) {
        if let Some(mount) = mount {
            mount.count(self.status);
        }
        if let Some(record) = self.record.as_ref().filter(|_| self.is_timed)
            && !matches!(self.stage, Some(Stage::Stream | Stage::WebSocket))
            && self.status != client_left()
        {
            latency::ended(record.started(), mount);
        }
        counters.requests.count(self.status);
        let log = self.own_log.as_deref().map_or(log, Option::as_ref);
        if let (Some(pending), Some(sink)) = (&self.record, log) {
            recorder::write(
                sink,
                &pending.record(self.status, self.sent, name, &mut request_id::Buffer::default()),
            );
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        for kind in [Kind::Requests, Kind::Answers] {
            self.connection.take_off(kind, self.counted[kind as usize]);
        }
        self.connection.end(self.status == client_left());
        if self.trace.is_some() {
            self.show(false);
        }
        if let (Some(stage), Some(under_way)) = (self.stage, self.under_way()) {
            under_way.leave(stage);
        }
        if let Some(server) = &self.server {
            let definition = &server.definition;
            let mount = self.mount.and_then(|at| definition.mount_at(at)).map(|mount| &*mount.counters);
            self.end(mount, &definition.counters, definition.log.as_ref(), &definition.name);
        } else if let Some(retained) = &self.retained {
            self.end(
                retained.mount.as_ref().map(|mount| &*mount.counters),
                &retained.counters,
                retained.log.as_ref(),
                &retained.name,
            );
        }
        self.end_hook.call(Delivery { bytes: self.sent, is_whole: self.is_whole });
    }
}
