//! One fetch, on the fetch thread: its turn, its redirects, its body, all under one deadline.
//!
//! It is a task of its own, aborted when nobody waits for it any more. A streamed body stays here too, and is handed out
//! piece by piece: a script that keeps a response and never reads it holds its connection until the deadline, not for ever.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{self, HeaderValue};
use reqwest::{Client, RequestBuilder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::Shared;
use crate::clients::MAX_HEAD;
use crate::error::{Fault, FetchError, Stage, place};
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

type Answer = oneshot::Sender<Result<Reply, FetchError>>;

impl Exchange {
    /// Runs it, and answers. Whoever asked may have left; then the answer goes nowhere, and the task is aborted anyway.
    pub(crate) async fn run(self, answer: Answer) {
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
                let error = FetchError::new(place(&hop.url), fault);
                drop((self.sent, self.admitted));
                drop(answer.send(Err(error)));
            }
        }
    }

    fn limits(&self) -> &Limits {
        &self.request.limits
    }

    /// `work`, unless the deadline comes first.
    async fn within<T>(&self, stage: Stage, work: impl Future<Output = T>) -> Result<T, Fault> {
        let done = timeout_at(self.deadline, work).await;
        done.map_err(|_elapsed| Fault::TimedOut { after: self.limits().timeout, stage })
    }

    /// The answer at the end of all redirects, which `hop` then has led to, and the permit to run.
    async fn head(&self, hop: &mut Hop) -> Result<(reqwest::Response, OwnedSemaphorePermit), Fault> {
        let turn = Arc::clone(&self.shared.running).acquire_owned();
        let turn = self.within(Stage::Turn, turn).await?.map_err(|_closed| Fault::Gone)?;
        let response = self.within(Stage::Answer, self.follow(hop)).await??;
        Ok((response, turn))
    }

    async fn follow(&self, hop: &mut Hop) -> Result<reqwest::Response, Fault> {
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
            // What of its body has come is thrown away, and its connection kept; of one whose body is on its way it is closed.
            drop(response);
            *hop = next;
        }
    }

    async fn send(&self, hop: &Hop) -> Result<reqwest::Response, Fault> {
        let client = self.shared.clients.get(&self.request, &hop.url).await?;
        let sent = build(client, hop).send().await;
        let response = sent.map_err(|error| Fault::of(error, self.limits().connect_timeout))?;
        if head_length(response.headers()) > MAX_HEAD {
            return Err(Fault::HeadTooLarge(MAX_HEAD));
        }
        Ok(response)
    }

    async fn whole(&self, response: reqwest::Response, hop: &Hop) -> Result<Reply, FetchError> {
        let (reply, response) = reply_head(response);
        let collected = self.within(Stage::Body, self.collect(response)).await;
        match collected.and_then(|collected| collected) {
            Ok(whole) => Ok(reply(ReplyBody::Whole(whole))),
            Err(fault) => Err(FetchError::new(place(&hop.url), fault)),
        }
    }

    async fn collect(&self, mut response: reqwest::Response) -> Result<Whole, Fault> {
        let mut body = Measured::new(self.limits().max_bytes, response.content_length())?;
        let mut bytes = BytesMut::new();
        let mut held: Option<OwnedSemaphorePermit> = None;
        while let Some(chunk) = body.next(&mut response, self.limits()).await? {
            if let Some(more) = hold(&self.shared.memory, chunk.len())? {
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
        response: reqwest::Response,
        hop: &Hop,
        running: OwnedSemaphorePermit,
        answer: Answer,
    ) {
        let (chunks, taken) = mpsc::channel(1);
        let (ended, end) = oneshot::channel();
        let (reply, response) = reply_head(response);
        let body = ReplyBody::Stream { place: place(&hop.url), chunks: taken, end };
        if answer.send(Ok(reply(body))).is_err() {
            return;
        }
        let result = self.within(Stage::Body, self.pump(response, &chunks)).await;
        let result = result.and_then(|result| result);
        drop((running, chunks));
        drop(ended.send(result.map_err(|fault| FetchError::new(place(&hop.url), fault))));
    }

    async fn pump(&self, mut response: reqwest::Response, chunks: &mpsc::Sender<Bytes>) -> Result<(), Fault> {
        let mut body = Measured::new(self.limits().max_bytes, response.content_length())?;
        while let Some(mut chunk) = body.next(&mut response, self.limits()).await? {
            while !chunk.is_empty() {
                let piece = chunk.split_to(chunk.len().min(MAX_CHUNK));
                chunks.send(piece).await.map_err(|_nobody| Fault::Gone)?;
            }
        }
        Ok(())
    }
}

/// Counts `bytes` of bodies in; none to count, none held.
pub(crate) fn hold(memory: &Arc<Semaphore>, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, Fault> {
    if bytes == 0 {
        return Ok(None);
    }
    let bytes = u32::try_from(bytes).map_err(|_huge| Fault::Memory)?;
    // To wait would be to wait for others that wait for the same.
    Arc::clone(memory).try_acquire_many_owned(bytes).map(Some).map_err(|_none_left| Fault::Memory)
}

/// A body that may be only so long.
struct Measured {
    limit: u64,
    seen: u64,
}

impl Measured {
    /// `length` is what the header says of it.
    fn new(limit: u64, length: Option<u64>) -> Result<Self, Fault> {
        if length.is_some_and(|length| length > limit) {
            return Err(Fault::BodyTooLarge(limit));
        }
        Ok(Self { limit, seen: 0 })
    }

    async fn next(
        &mut self,
        response: &mut reqwest::Response,
        limits: &Limits,
    ) -> Result<Option<Bytes>, Fault> {
        let chunk = response.chunk().await.map_err(|error| Fault::of(error, limits.connect_timeout))?;
        self.seen += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.seen > self.limit { Err(Fault::BodyTooLarge(self.limit)) } else { Ok(chunk) }
    }
}

fn build(client: Client, hop: &Hop) -> RequestBuilder {
    let mut request = reqwest::Request::new(hop.method.clone(), hop.url.clone());
    *request.headers_mut() = hop.headers.clone();
    if hop.headers.contains_key(header::RANGE) {
        // A part of a compressed body cannot be decompressed.
        request.headers_mut().entry(header::ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
    }
    if !hop.body.is_empty() {
        *request.body_mut() = Some(hop.body.clone().into());
    }
    let request = RequestBuilder::from_parts(client, request);
    match &hop.auth {
        Auth::None => request,
        Auth::Basic { user, pass } => request.basic_auth(user, Some(pass)),
        Auth::Bearer(token) => request.bearer_auth(token),
    }
}

fn head_length(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// The head of an answer, which waits for a body.
fn reply_head(mut response: reqwest::Response) -> (impl FnOnce(ReplyBody) -> Reply, reqwest::Response) {
    let status = response.status();
    let headers = std::mem::take(response.headers_mut());
    let url = response.url().to_string();
    (move |body| Reply { status, headers, url, body }, response)
}
