//! `medusa.handler.proxy`: which upstream is asked, over which connection, and again if it may be.

use std::any::Any;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode, Uri};
use hyper::body::Incoming;
use medusa_fetch::{Fetcher, Task};
use medusa_http::time_limit::within;
use medusa_http::{
    Handler, HandlerError, HandlerFuture, Head, PrepareFuture, Request, RequestBody, Response, Sessions,
};
use medusa_proto::status::Status;
use parking_lot::Mutex;

use crate::answer;
use crate::choose::UpstreamSet;
use crate::connect::connect;
use crate::connection::UpstreamConnection;
use crate::error::{Cause, Fault, ProxyError};
use crate::fields;
use crate::health;
use crate::options::{HostField, ProxyOptions};
use crate::pool;
use crate::repeat::{Attempt, Repeat, is_repeatable};
use crate::sent::{SendState, SentRequest};
use crate::shared::Shared;
use crate::tunnel::{self, Asked};
use crate::upstream::{ActiveRequest, Upstream, UpstreamUrl, UpstreamUrlError};
use crate::watch::watch;

/// Has other servers answer.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    name: String,
    watching: Mutex<Option<Task>>,
    /// It was part of a Site, and is no longer: what it knew is of no use if it is mounted again.
    was_retired: AtomicBool,
}

impl Proxy {
    /// Whether a proxy with these needs a [`Fetcher`].
    pub fn needs_fetcher(upstreams: &[UpstreamUrl], options: &ProxyOptions) -> bool {
        options.health.is_some() || upstreams.iter().any(|url| url.is_tls() || url.has_name())
    }

    /// Asks these, of which there is at least one and at most [`MOST_UPSTREAMS`](crate::MOST_UPSTREAMS).
    ///
    /// # Errors
    ///
    /// No certificate can be for the name of one.
    pub fn new(
        upstreams: &[UpstreamUrl],
        options: ProxyOptions,
        names: Option<Fetcher>,
    ) -> Result<Self, UpstreamUrlError> {
        let name = upstreams.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let upstreams = upstreams.iter().map(|url| Upstream::new(url, &options).map(Arc::new));
        let upstreams = upstreams.collect::<Result<_, _>>()?;
        let (sessions, chooser) = Default::default();
        let shared = Arc::new(Shared { upstreams, options, sessions, chooser, names });
        Ok(Self { shared, name, watching: Mutex::default(), was_retired: AtomicBool::new(false) })
    }

    async fn prepare_all(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let shared = &self.shared;
        if self.was_retired.swap(false, Relaxed) {
            for upstream in &shared.upstreams {
                upstream.forget();
            }
        }
        if let Some(names) = &shared.names {
            let missing =
                |upstream: &&Arc<Upstream>| upstream.server_name.is_some() && upstream.tls.get().is_none();
            if shared.upstreams.iter().any(|upstream| missing(&upstream)) {
                let tls = &shared.options.tls;
                if tls.insecure {
                    tracing::warn!(
                        "medusa.handler.proxy: {} is asked with `insecure = true`: whoever is on the way can read and change \
                         everything",
                        self.name
                    );
                }
                let config = Arc::new(names.tls(tls.ca.as_deref(), tls.insecure).await?);
                for upstream in shared.upstreams.iter().filter(missing) {
                    let _there = upstream.tls.set(Arc::clone(&config));
                }
            }
            if let Some(check) = &shared.options.health {
                let mut watching = self.watching.lock();
                if watching.is_none() {
                    *watching = Some(names.spawn(watch(Arc::clone(shared), check.clone(), names.clone())));
                }
            }
        }
        Ok(())
    }
}

impl Handler for Proxy {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(ProxiedRequest::new(&self.shared, request).answer())
    }

    fn prepare(&self) -> PrepareFuture<'_> {
        Box::pin(self.prepare_all())
    }

    fn take_over(&self, before: &dyn Handler) -> bool {
        let before: &dyn Any = before;
        let Some(before) = before.downcast_ref::<Self>() else { return false };
        for upstream in &self.shared.upstreams {
            let mut known = before.shared.upstreams.iter().filter(|known| known.key == upstream.key);
            if let Some(known) = known.next() {
                upstream.take_over(known);
            } else if self.was_retired.load(Relaxed) {
                upstream.forget();
            }
        }
        self.was_retired.store(false, Relaxed);
        true
    }

    fn sessions(&self) -> Option<&Sessions> {
        Some(&self.shared.sessions)
    }

    fn retire(&self) {
        drop(self.watching.lock().take());
        self.was_retired.store(true, Relaxed);
    }

    fn status(&self) -> Status {
        let status = Status::new("handler.proxy", self.name.as_str());
        let status = self.shared.sessions.describe(status);
        status.children(self.shared.upstreams.iter().map(|upstream| upstream.status()))
    }
}

/// A request that is to be answered by an upstream.
struct ProxiedRequest<'p> {
    shared: &'p Arc<Shared>,
    head: Arc<Head>,
    /// Not there while it is sent.
    body: Option<RequestBody>,
    sent: Rc<SendState>,
    asked: Asked,
    /// It may be sent once more.
    is_repeatable: bool,
    /// It is not to be sent over a connection that was used before.
    needs_new: bool,
    tried: UpstreamSet,
}

/// What came of asking an upstream.
enum Outcome {
    Answer(Response),
    /// It is to be sent again, as this happened.
    Again(Repeat, ProxyError),
}

impl<'p> ProxiedRequest<'p> {
    fn new(shared: &'p Arc<Shared>, request: Request) -> Self {
        let Request { head, body } = request;
        let asked = Asked::of(&head, !body.is_empty());
        let is_repeatable = is_repeatable(&head.method, !body.is_empty(), asked.is_any());
        let (sent, needs_new, tried) = Default::default();
        Self { shared, head, body: Some(body), sent, asked, is_repeatable, needs_new, tried }
    }

    async fn answer(mut self) -> Result<Response, HandlerError> {
        if self.head.method == Method::CONNECT {
            // This is no way to anywhere else (RFC 9110 §9.3.6).
            return Ok(Response::page(StatusCode::NOT_IMPLEMENTED));
        }
        let shared = self.shared;
        let mut failed = None;
        while let Some(at) = self.choose() {
            let upstream = &shared.upstreams[at];
            match self.try_at(upstream).await? {
                Outcome::Answer(response) => return Ok(response),
                Outcome::Again(repeat, error) => {
                    self.needs_new = true;
                    if repeat == Repeat::Elsewhere {
                        upstream.failed(&shared.options, health::now(), &error.fault);
                        self.tried.add(at);
                    }
                    failed = Some(error);
                }
            }
        }
        let failed = failed.map(HandlerError::from);
        Err(failed.unwrap_or_else(|| HandlerError::unavailable("there is no upstream")))
    }

    fn choose(&self) -> Option<usize> {
        let Shared { upstreams, options, chooser, .. } = &**self.shared;
        let pause = options.retry_after.as_millis().try_into().unwrap_or(u64::MAX);
        // Where somebody asks besides, no request is to find out.
        let pause = options.health.is_none().then_some(pause);
        // The time is of interest only where there is a choice.
        let now = if upstreams.len() > 1 { health::now() } else { 0 };
        chooser.choose(upstreams, options.balance, &self.head, self.tried, (now, pause))
    }

    /// Asks one of them.
    async fn try_at(&mut self, upstream: &Arc<Upstream>) -> Result<Outcome, HandlerError> {
        let Shared { options, names, .. } = &**self.shared;
        let error = |fault| ProxyError::new(&upstream.name, fault);
        let idle = if self.needs_new { None } else { pool::take(upstream, !self.is_repeatable) };
        let mut connection = match idle {
            Some(idle) => idle,
            None => match Box::pin(connect(upstream, names.as_ref(), options.connect_timeout)).await {
                Ok(io) => {
                    upstream.state().counts.connections.fetch_add(1, Relaxed);
                    let connection = UpstreamConnection::new(io, upstream, options.keep_alive);
                    Box::pin(connection)
                        .await
                        .map_err(|broken| error(Fault::Ended(Cause::innermost(&broken))))?
                }
                // Others would be as short of them.
                Err(fault @ Fault::Descriptors) => return Err(error(fault).into()),
                // Nothing was sent.
                Err(fault) => return Ok(Outcome::Again(Repeat::Elsewhere, error(fault))),
            },
        };
        let active = ActiveRequest::begin(upstream);
        let request = self.request(upstream);
        let answered = self.in_time(pin!(connection.send(request))).await;
        let result = match answered {
            None => Err(Fault::TimedOut(options.timeout)),
            Some(Ok(answer)) => self.read(connection, answer, active).await,
            Some(Err(mut failure)) => {
                if let Some(fault) = self.sent.fault.take() {
                    return Err(fault.into());
                }
                let unsent = failure.take_message().and_then(|request| request.into_body().take_back());
                let cause = Cause::innermost(failure.error());
                if let Some(body) = unsent {
                    self.body = Some(body);
                    let repeat = if connection.is_reused { Repeat::Anywhere } else { Repeat::Elsewhere };
                    return Ok(Outcome::Again(repeat, error(Fault::Ended(cause))));
                }
                let attempt = Attempt {
                    is_repeatable: std::mem::take(&mut self.is_repeatable),
                    is_unanswered: !connection.has_answered(),
                    is_reused: connection.is_reused,
                };
                let fault = if attempt.is_unanswered { Fault::Ended(cause) } else { Fault::Malformed(cause) };
                match attempt.repeat() {
                    Repeat::No => Err(fault),
                    repeat => {
                        upstream.state().counts.repeated.fetch_add(1, Relaxed);
                        return Ok(Outcome::Again(repeat, error(fault)));
                    }
                }
            }
        };
        match result {
            Ok(response) => {
                upstream.answered(options);
                Ok(Outcome::Answer(response))
            }
            Err(fault) => {
                upstream.failed(options, health::now(), &fault);
                Err(error(fault).into())
            }
        }
    }

    /// The request as the upstream gets it.
    fn request(&mut self, upstream: &Upstream) -> http::Request<SentRequest> {
        let (head, options) = (&self.head, &self.shared.options);
        let host = match &options.host {
            HostField::Client => head.authority().and_then(|host| HeaderValue::from_str(host).ok()),
            HostField::Upstream => None,
            HostField::Fixed(host) => HeaderValue::from_str(host).ok(),
        };
        let mut headers = fields::of_request(head, host.as_ref().unwrap_or(&upstream.host_field));
        self.asked.ask(&mut headers);
        // One that was sent and may be sent again had none.
        let body = self.body.take().unwrap_or_else(|| RequestBody::from_bytes(Bytes::new()));
        // These are taken to have one (RFC 9110 §8.6).
        if body.length() == Some(0) && matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
            headers.insert(header::CONTENT_LENGTH, const { HeaderValue::from_static("0") });
        }
        let mut request = http::Request::new(SentRequest::new(body, Rc::clone(&self.sent)));
        // A `WebSocket` over HTTP/2 is a GET already.
        request.method_mut().clone_from(&head.method);
        *request.uri_mut() = head.uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
        *request.headers_mut() = headers;
        request
    }

    /// What comes of `work` within the time that an answer may take, counted anew whenever the client has sent some of a body.
    async fn in_time<T>(&self, work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        within(work, self.shared.options.timeout, Some(&self.sent.read)).await
    }

    async fn read(
        &self,
        connection: Box<UpstreamConnection>,
        answer: http::Response<Incoming>,
        active: ActiveRequest,
    ) -> Result<Response, Fault> {
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return tunnel::switch(self.shared, &self.asked, connection, answer, active);
        }
        let passed = answer::pass_on(self.shared, &self.head.method, connection, answer, active);
        let limit: Duration = self.shared.options.timeout;
        self.in_time(pin!(passed)).await.unwrap_or(Err(Fault::TimedOut(limit)))
    }
}
