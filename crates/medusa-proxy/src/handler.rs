//! `medusa.handler.proxy`: which upstream is asked, over which connection, and again if it may be.

use std::any::Any;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use http::header::{self, HeaderValue};
use http::{Method, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use medusa_fetch::{Fetcher, Task};
use medusa_http::time_limit::within;
use medusa_http::{Handler, HandlerError, HandlerFuture, Head, PrepareFuture, Request, Response, Sessions};
use medusa_proto::status::Status;
use parking_lot::Mutex;

use crate::answer;
use crate::carrier::Carrier;
use crate::choose::UpstreamSet;
use crate::connect::connect;
use crate::connection::UpstreamConnection;
use crate::error::{Cause, Fault, Progress, ProxyError};
use crate::fields;
use crate::health;
use crate::http2::{self, UpstreamStream};
use crate::multiplex::{self, Opened, StreamNeeds};
use crate::options::{HostField, HttpVersion, ProxyOptions};
use crate::pool;
use crate::repeat::{Attempt, Repeat, is_repeatable};
use crate::sent::{BodySource, SentRequest};
use crate::shared::Shared;
use crate::tunnel::{self, Asked};
use crate::upstream::{ActiveRequest, Upstream, UpstreamTls, UpstreamUrl, UpstreamUrlError};
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
        let (sessions, chooser, repeats) = Default::default();
        let shared = Arc::new(Shared { upstreams, options, sessions, chooser, repeats, names });
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
                let config = names.tls(tls.ca.as_deref(), tls.insecure).await?;
                for upstream in shared.upstreams.iter().filter(missing) {
                    let _there = upstream.tls.set(UpstreamTls::new(&config, upstream.version));
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
    sent: Rc<BodySource>,
    asked: Asked,
    /// It may be carried out twice, and was sent once at most.
    is_repeatable: bool,
    /// It was to be sent again, since when: not over a connection that was there before.
    again: Option<(Repeat, Instant)>,
    tried: UpstreamSet,
    /// It goes by HTTP/1.1, for the protocol that it asks for, to an upstream that others are sent to by HTTP/2.
    is_aside: bool,
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
        let sent = Rc::new(BodySource::new(body));
        let is_repeatable = is_repeatable(&head.method, sent.length(), asked.is_any());
        let (again, tried) = (None, UpstreamSet::default());
        Self { shared, head, sent, asked, is_repeatable, again, tried, is_aside: false }
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
                    let is_second = self.again.replace((repeat, Instant::now())).is_some();
                    if repeat == Repeat::Elsewhere || is_second {
                        self.count_failure(upstream, &error.fault);
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

    /// A connection or a stream for it.
    async fn carrier(&mut self, upstream: &Arc<Upstream>) -> Result<Carrier, Fault> {
        let Shared { options, names, .. } = &**self.shared;
        let names = names.as_ref();
        let opened_after = match self.again {
            Some((Repeat::Anywhere, failed_at)) => Some(failed_at),
            _ => None,
        };
        let needs = StreamNeeds { opened_after, young: !self.is_repeatable };
        let fits = |stream: &UpstreamStream| !self.asked.is_any() || stream.takes_websockets();
        let mut only_http1 = !upstream.may_speak_http2() || self.asked.needs_http1();
        self.is_aside = only_http1 && upstream.may_speak_http2();
        if !only_http1 && let Some(stream) = multiplex::take(upstream, needs) {
            if fits(&stream) {
                return Ok(Carrier::Stream(stream));
            }
            only_http1 = true;
            self.is_aside = true;
        }
        let idle = if self.again.is_some() { None } else { pool::take(upstream, !self.is_repeatable) };
        if let Some(idle) = idle {
            self.is_aside |= upstream.version == HttpVersion::Http2;
            return Ok(Carrier::Connection(idle));
        }
        let mut io = None;
        if !only_http1 {
            match multiplex::open(upstream, names, options, needs).await? {
                Opened::Stream(stream) if fits(&stream) => return Ok(Carrier::Stream(stream)),
                Opened::Stream(_) => self.is_aside = true,
                Opened::Http1(opened) => io = Some(opened),
            }
        }
        let io = match io {
            Some(io) => io,
            None => connect(upstream, names, options.connect_timeout, true).await?,
        };
        upstream.state().counts.connections.fetch_add(1, Relaxed);
        let connection = UpstreamConnection::new(io, upstream, options.keep_alive).await;
        connection.map(Carrier::Connection).map_err(|broken| Fault::Ended(Cause::innermost(&broken)))
    }

    /// Counts that an upstream has failed, and not against its health where it may speak HTTP/2 alone: anybody could take it down by
    /// asking for what it does not do.
    fn count_failure(&self, upstream: &Upstream, fault: &Fault) {
        if self.is_aside {
            upstream.failed_aside();
        } else {
            upstream.failed(&self.shared.options, health::now(), fault);
        }
    }

    /// Asks one of them.
    async fn try_at(&mut self, upstream: &Arc<Upstream>) -> Result<Outcome, HandlerError> {
        let options = &self.shared.options;
        let error = |fault| ProxyError::new(&upstream.name, fault);
        let mut carrier = match Box::pin(self.carrier(upstream)).await {
            Ok(carrier) => carrier,
            // Others would be as short of them.
            Err(fault @ Fault::Descriptors) => return Err(error(fault).into()),
            // Whoever answers there is not who was meant, and somebody should hear of it.
            Err(fault @ Fault::Tls(_)) => {
                self.count_failure(upstream, &fault);
                return Err(error(fault).into());
            }
            // Nothing was sent.
            Err(fault) => return Ok(Outcome::Again(Repeat::Elsewhere, error(fault))),
        };
        let active = ActiveRequest::begin(upstream);
        let request = self.request(upstream, carrier.is_http2());
        let answered = self.in_time(pin!(carrier.send(request))).await;
        let result = match answered {
            None => {
                carrier.waited_in_vain();
                Err(Fault::TimedOut(options.timeout))
            }
            // Nobody has looked at it.
            Some(Ok(answer))
                if answer.status() == StatusCode::MISDIRECTED_REQUEST
                    && carrier.is_http2()
                    && self.sent.is_replayable()
                    && upstream.leave_http2() =>
            {
                let cause = Cause::new("421 by HTTP/2");
                return Ok(Outcome::Again(Repeat::Anywhere, error(Fault::NotTaken(cause))));
            }
            Some(Ok(answer)) => {
                self.sent.forget();
                self.read(carrier, answer, active).await
            }
            Some(Err(failure)) => {
                if let Some(fault) = self.sent.take_fault() {
                    return Err(fault.into());
                }
                let attempt = Attempt {
                    progress: failure.progress,
                    is_repeatable: self.is_repeatable,
                    is_replayable: self.sent.is_replayable(),
                    is_reused: carrier.is_reused(),
                };
                match attempt.repeat() {
                    Repeat::No => Err(failure.into_fault()),
                    repeat if attempt.progress == Progress::Unseen => {
                        return Ok(Outcome::Again(repeat, error(failure.into_fault())));
                    }
                    repeat => {
                        self.is_repeatable = false;
                        if !self.shared.may_repeat() {
                            let fault = Fault::RepeatBudget(failure.cause);
                            self.count_failure(upstream, &fault);
                            return Err(error(fault).into());
                        }
                        upstream.state().counts.repeated.fetch_add(1, Relaxed);
                        return Ok(Outcome::Again(repeat, error(failure.into_fault())));
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
                self.count_failure(upstream, &fault);
                Err(error(fault).into())
            }
        }
    }

    /// The request as the upstream gets it.
    fn request(&self, upstream: &Upstream, is_http2: bool) -> http::Request<SentRequest> {
        let (head, options) = (&self.head, &self.shared.options);
        let host = match &options.host {
            HostField::Client => head.authority().and_then(|host| HeaderValue::from_str(host).ok()),
            HostField::Upstream => None,
            HostField::Fixed(host) => HeaderValue::from_str(host).ok(),
        };
        let mut headers = fields::of_request(head, host.as_ref().unwrap_or(&upstream.host_field));
        if !is_http2 {
            self.asked.ask(&mut headers);
        }
        // These are taken to have one (RFC 9110 §8.6).
        if self.sent.length() == Some(0) && matches!(head.method, Method::POST | Method::PUT | Method::PATCH)
        {
            headers.insert(header::CONTENT_LENGTH, const { HeaderValue::from_static("0") });
        }
        // Of HTTP/2, an upstream may say that it has not looked at a request, whatever that is.
        let mut request = http::Request::new(self.sent.send(self.is_repeatable || is_http2, is_http2));
        // A `WebSocket` over HTTP/2 is a GET already.
        request.method_mut().clone_from(&head.method);
        *request.uri_mut() = head.uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
        *request.headers_mut() = headers;
        if is_http2 {
            let takes_trailers = fields::takes_trailers(&head.headers);
            http2::shape(&mut request, upstream, (takes_trailers, self.asked.is_any()));
        }
        request
    }

    /// What comes of `work` within the time that an answer may take, counted anew whenever the client has sent some of a body.
    async fn in_time<T>(&self, work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        within(work, self.shared.options.timeout, Some(self.sent.read())).await
    }

    async fn read(
        &self,
        carrier: Carrier,
        mut answer: http::Response<Incoming>,
        active: ActiveRequest,
    ) -> Result<Response, Fault> {
        let carrier = match carrier {
            Carrier::Connection(connection) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return tunnel::switch(self.shared, &self.asked, connection, answer, active);
            }
            Carrier::Stream(stream) if self.asked.is_any() => {
                // hyper has one where CONNECT was agreed to.
                match answer.extensions_mut().remove::<OnUpgrade>() {
                    Some(agreed) => {
                        let going_on = (stream, agreed, active);
                        return Ok(tunnel::switch_stream(self.shared, &self.asked, going_on, answer));
                    }
                    None => Carrier::Stream(stream),
                }
            }
            // Over HTTP/2 there is none (RFC 9113 §8.6).
            _ if answer.status() == StatusCode::SWITCHING_PROTOCOLS => return Err(Fault::UnaskedUpgrade),
            carrier => carrier,
        };
        let passed = answer::pass_on(self.shared, &self.head.method, carrier, answer, active);
        let limit: Duration = self.shared.options.timeout;
        self.in_time(pin!(passed)).await.unwrap_or(Err(Fault::TimedOut(limit)))
    }
}
