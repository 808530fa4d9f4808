//! One fetch, on the fetch thread: its turn, its redirects, its body, all under one deadline.
//!
//! It is a task of its own, aborted when nobody waits for it any more. A streamed body stays here too, and is handed
//! out piece by piece: a script that keeps a response and never reads it holds its connection until the deadline, not
//! for ever.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderValue};
use http::{HeaderMap, StatusCode, Uri};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, timeout_at};

use crate::Shared;
use crate::bounds::{MAX_HEAD, head_length};
use crate::clients::{MAX_STALE, RequestBody};
use crate::connect::is_reused;
use crate::decode::{self, Decoder, Piece};
use crate::error::{Cause, Fault, FetchError, FetchStage, Http2Fault, is_lost, redacted};
use crate::interim::Interim;
use crate::redirect::{self, Auth, Hop};
use crate::request::{Limits, Request};
use crate::response::{MAX_CHUNK, Reply, ReplyBody, Whole};

/// A fetch to be run.
pub(crate) struct Exchange {
    pub(crate) request: Request,
    pub(crate) shared: Arc<Shared>,
    /// One of those that run or wait; `sent` is for the bytes of the request's body.
    pub(crate) admitted: OwnedSemaphorePermit,
    pub(crate) sent: Option<OwnedSemaphorePermit>,
    pub(crate) deadline: Instant,
}

type ReplySender = oneshot::Sender<Result<Reply, FetchError>>;

impl Exchange {
    /// Runs it, and answers. Whoever asked may have left; then the answer goes nowhere, and the task is aborted anyway.
    pub(crate) async fn run(self, answer: ReplySender) {
        let mut hop = self.request.hop.clone();
        match self.head(&mut hop).await {
            Ok((response, running)) if self.request.stream => {
                self.stream(response, &hop, running, answer).await;
            }
            Ok((response, running)) => {
                let reply = self.whole(response, &hop).await;
                // Others may run as soon as the asker learns of this.
                drop((running, self.sent, self.admitted));
                drop(answer.send(reply));
            }
            Err(fault) => {
                let error = FetchError::new(redacted(&hop.url), fault);
                drop((self.sent, self.admitted));
                drop(answer.send(Err(error)));
            }
        }
    }

    fn limits(&self) -> &Limits {
        &self.request.limits
    }

    /// `work`, unless the deadline comes first.
    async fn within<T>(&self, stage: FetchStage, work: impl Future<Output = T>) -> Result<T, Fault> {
        let done = timeout_at(self.deadline, work).await;
        done.map_err(|_elapsed| Fault::TimedOut { after: self.limits().timeout, stage })
    }

    /// The answer at the end of all redirects, which `hop` then has led to, and the permit to run.
    async fn head(&self, hop: &mut Hop) -> Result<(http::Response<Incoming>, OwnedSemaphorePermit), Fault> {
        let turn = Arc::clone(&self.shared.running).acquire_owned();
        let turn = self.within(FetchStage::Queue, turn).await?.map_err(|_closed| Fault::Gone)?;
        let response = self.within(FetchStage::Answer, self.follow(hop)).await??;
        Ok((response, turn))
    }

    async fn follow(&self, hop: &mut Hop) -> Result<http::Response<Incoming>, Fault> {
        let mut redirects = 0;
        loop {
            let response = self.send(hop).await?;
            if self.limits().redirects == 0 {
                return Ok(response);
            }
            let location = response.headers().get(header::LOCATION);
            let Some(next) = redirect::next(hop, response.status(), location)? else { return Ok(response) };
            redirects += 1;
            if redirects > self.limits().redirects {
                return Err(Fault::Redirects(self.limits().redirects));
            }
            // What of its body has come is thrown away, and its connection kept; of one whose body is on its way it is
            // closed.
            drop(response);
            *hop = next;
        }
    }

    async fn send(&self, hop: &Hop) -> Result<http::Response<Incoming>, Fault> {
        let client = self.shared.clients.get(&self.request, &hop.url).await?;
        let mut stale = 0;
        let response = loop {
            let mut request = build(hop)?;
            let interim = Interim::watch(&mut request);
            let sending = async {
                tokio::select! {
                    biased;
                    () = interim.exceeded() => Err(Fault::Interim),
                    sent = client.request(request) => Ok(sent),
                }
            };
            let (sent, reused) = is_reused(sending).await;
            match sent? {
                // The server has closed it while nothing was asked, as it may. What does no more when it comes twice is
                // sent again (RFC 9110 §9.2.2); the rest may have been carried out, unless the server says otherwise.
                Err(error)
                    if stale < MAX_STALE
                        && (Http2Fault::of(&error) == Some(Http2Fault::Unprocessed)
                            || reused && hop.method.is_idempotent() && is_lost(&error)) =>
                {
                    stale += 1;
                }
                sent => break sent.map_err(|error| Fault::of(&error, self.limits().connect_timeout))?,
            }
        };
        if head_length(response.headers()) > MAX_HEAD {
            return Err(Fault::HeadTooLarge(MAX_HEAD));
        }
        Ok(response)
    }

    async fn whole(&self, response: http::Response<Incoming>, hop: &Hop) -> Result<Reply, FetchError> {
        let failed = |fault| FetchError::new(redacted(&hop.url), fault);
        let (reply, body) = self.open(response, hop).map_err(failed)?;
        let collected = self.within(FetchStage::Body, self.collect(body)).await;
        let whole = collected.and_then(|collected| collected).map_err(failed)?;
        Ok(reply.with(ReplyBody::Whole(whole)))
    }

    /// The head of an answer, and its body, as it is to be read.
    fn open(&self, response: http::Response<Incoming>, hop: &Hop) -> Result<(Head, BodyReader), Fault> {
        let (parts, body) = response.into_parts();
        let (status, mut headers, url) = (parts.status, parts.headers, hop.url.to_string());
        let decoder = Decoder::take(&hop.method, status, &mut headers);
        let decoder = decoder.map_err(|error| Fault::Body(Cause::innermost(&error)))?;
        // Of a coded body the length says nothing.
        let length = body.size_hint().exact().filter(|_| decoder.is_none());
        let limits = *self.limits();
        if length.is_some_and(|length| length > limits.max_bytes) {
            return Err(Fault::BodyTooLarge(limits.max_bytes));
        }
        Ok((Head { status, headers, url }, BodyReader { body, decoder, limits, seen: 0 }))
    }

    async fn collect(&self, mut body: BodyReader) -> Result<Whole, Fault> {
        let mut bytes = BytesMut::new();
        let mut held: Option<OwnedSemaphorePermit> = None;
        while let Some(chunk) = body.next().await? {
            if let Some(more) = reserve(&self.shared.memory, chunk.len())? {
                match &mut held {
                    Some(held) => held.merge(more),
                    None => held = Some(more),
                }
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Whole { bytes: bytes.freeze(), _held: held })
    }

    /// Answers with the head, then hands the body out as it is taken.
    async fn stream(
        &self,
        response: http::Response<Incoming>,
        hop: &Hop,
        running: OwnedSemaphorePermit,
        answer: ReplySender,
    ) {
        let (chunks, taken) = mpsc::channel(1);
        let (ended, end) = oneshot::channel();
        let (reply, body) = match self.open(response, hop) {
            Ok(opened) => opened,
            Err(fault) => return drop(answer.send(Err(FetchError::new(redacted(&hop.url), fault)))),
        };
        let stream = ReplyBody::Stream { place: redacted(&hop.url), chunks: taken, end };
        if answer.send(Ok(reply.with(stream))).is_err() {
            return;
        }
        let result = self.within(FetchStage::Body, pump(body, &chunks)).await;
        let result = result.and_then(|result| result);
        drop((running, chunks));
        drop(ended.send(result.map_err(|fault| FetchError::new(redacted(&hop.url), fault))));
    }
}

async fn pump(mut body: BodyReader, chunks: &mpsc::Sender<Bytes>) -> Result<(), Fault> {
    while let Some(mut chunk) = body.next().await? {
        while !chunk.is_empty() {
            let piece = chunk.split_to(chunk.len().min(MAX_CHUNK));
            chunks.send(piece).await.map_err(|_nobody| Fault::Gone)?;
        }
    }
    Ok(())
}

/// Counts `bytes` of bodies in; none to count, none held.
pub(crate) fn reserve(memory: &Arc<Semaphore>, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, Fault> {
    if bytes == 0 {
        return Ok(None);
    }
    let bytes = u32::try_from(bytes).map_err(|_huge| Fault::Memory)?;
    // To wait would be to wait for others that wait for the same.
    Arc::clone(memory).try_acquire_many_owned(bytes).map(Some).map_err(|_none_left| Fault::Memory)
}

/// A body on its way, decoded, which may be only so long.
struct BodyReader {
    body: Incoming,
    decoder: Option<Decoder>,
    limits: Limits,
    seen: u64,
}

impl BodyReader {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let chunk = self.decoded().await?;
        self.seen += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.seen > self.limits.max_bytes {
            return Err(Fault::BodyTooLarge(self.limits.max_bytes));
        }
        Ok(chunk)
    }

    async fn decoded(&mut self) -> Result<Option<Bytes>, Fault> {
        let body = &mut self.body;
        let mut chunk = async || chunk(body).await.map_err(|error| Fault::of_body(&error));
        let Some(decoder) = &mut self.decoder else { return chunk().await };
        loop {
            // A short body can be a long one when it is decoded, and there are others on this thread.
            consume_budget().await;
            match decoder.next().map_err(|error| Fault::Body(Cause::innermost(&error)))? {
                Piece::Decoded(piece) => return Ok(Some(piece)),
                Piece::NeedsInput => decoder.feed(chunk().await?),
                Piece::End => return Ok(None),
            }
        }
    }
}

/// The next chunk of a body, fields behind it left out.
async fn chunk(body: &mut Incoming) -> Result<Option<Bytes>, hyper::Error> {
    loop {
        let frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut *body).poll_frame(cx)).await;
        match frame.transpose()?.map(http_body::Frame::into_data) {
            Some(Ok(data)) => return Ok(Some(data)),
            Some(Err(_fields)) => {}
            None => return Ok(None),
        }
    }
}

/// Our name and version.
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("medusa/", env!("CARGO_PKG_VERSION")));

fn build(hop: &Hop) -> Result<http::Request<RequestBody>, Fault> {
    let uri = Uri::try_from(hop.url.as_str()).map_err(|error| Fault::Answer(Cause::innermost(&error)))?;
    let mut request = http::Request::new(RequestBody(hop.body.clone()));
    *request.method_mut() = hop.method.clone();
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.clone_from(&hop.headers);
    // A part of a compressed body cannot be decompressed.
    let ranged = headers.contains_key(header::RANGE);
    let accepted = if ranged { HeaderValue::from_static("identity") } else { decode::ACCEPTED };
    headers.entry(header::ACCEPT_ENCODING).or_insert(accepted);
    headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
    let login = match &hop.auth {
        Auth::None => return Ok(request),
        Auth::Basic { user, pass } => format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{pass}"))),
        Auth::Bearer(token) => format!("Bearer {token}"),
    };
    let mut login = HeaderValue::try_from(login).map_err(|error| Fault::Answer(Cause::innermost(&error)))?;
    // Not to be remembered by HTTP/2's compression.
    login.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, login);
    Ok(request)
}

/// The head of an answer, which waits for a body.
struct Head {
    status: StatusCode,
    headers: HeaderMap,
    url: String,
}

impl Head {
    fn with(self, body: ReplyBody) -> Reply {
        Reply { status: self.status, headers: self.headers, url: self.url, body }
    }
}
