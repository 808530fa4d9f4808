//! Publishes files below a directory: PUT puts one there, DELETE removes it
//! ([RFC 9110 §9.3.4](https://www.rfc-editor.org/rfc/rfc9110#section-9.3.4)).
//!
//! What a request may do is found out before its content is taken, so that a client that waits to be asked for it
//! (`Expect: 100-continue`) keeps it. The content goes to a file without a name, piece by piece, as it comes; when all of it is on the disk
//! it takes the place of what was there ([`Store`]).
//!
//! **Invariants:** what a reader gets is the old file or the new one. What is answered to PUT is so: the next GET of
//! [`Files`](super::files::Files) has the new content, with the entity tag that was told.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use medusa_proto::status::{Status, Value};

use super::files::LARGEST;
use crate::admission;
use crate::handler::{Handler, HandlerError, HandlerFuture};
use crate::preconditions;
use crate::request::{Head, Request, RequestBodyError};
use crate::response::Response;
use crate::store::{Current, Draft, PagePath, Store, StoreError, StoreOptions, on_pool};

/// The size of a piece that is written, in bytes, where so much has come: each is a hop to another thread.
pub(super) const PIECE: usize = 128 * 1024;

/// The time after which a later change is sure to give a file another stamp.
const SETTLED: Duration = Duration::from_millis(25);

/// The length that Finder tells of a body that it sends in chunks.
const EXPECTED_LENGTH: HeaderName = HeaderName::from_static("x-expected-entity-length");

const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// The options of a [`Put`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutOptions {
    /// The longest file, in bytes; in place of the server's limit for bodies, which is about what is kept in memory. Default 100 MiB.
    pub max_size: u64,
    /// What holds for all that is published there.
    pub store: StoreOptions,
}

impl Default for PutOptions {
    fn default() -> Self {
        Self { max_size: 100 * 1024 * 1024, store: StoreOptions::default() }
    }
}

/// Judges whether what is there may be replaced: `None` where nothing is.
pub type Judge = Arc<dyn Fn(Option<&Current<'_>>) -> Result<(), StoreError> + Send + Sync>;

/// The handler: PUT and DELETE for the files below a directory.
#[derive(Debug)]
pub struct Put {
    store: Arc<Store>,
    options: PutOptions,
    published: AtomicU64,
    removed: AtomicU64,
    bytes: AtomicU64,
}

/// The reason why a request is not for this handler to do.
#[derive(Debug, thiserror::Error)]
enum PutError {
    #[error(
        "nothing can be published under this name: names are UTF-8 without control characters, backslashes and `%` escapes, do not begin \
         with a dot, and are no scripts"
    )]
    Name,
    #[error("a part of a file cannot be published: `Content-Range` means nothing in a PUT")]
    Part,
    #[error("the length that `X-Expected-Entity-Length` tells is not that of the body")]
    Length,
}

impl Put {
    /// Publishes in `store`.
    pub fn new(store: Arc<Store>, options: PutOptions) -> Self {
        let [published, removed, bytes] = [const { AtomicU64::new(0) }; 3];
        Self { store, options, published, removed, bytes }
    }

    async fn answer(&self, request: Request) -> Result<Response, HandlerError> {
        match request.head.method {
            Method::PUT => {
                let path = page_path(&request.head)?;
                let head = Arc::clone(&request.head);
                let judge: Judge = Arc::new(move |current: Option<&Current<'_>>| allowed(&head, current));
                self.put(request, path, judge, self.options.store.clone()).await
            }
            Method::DELETE => self.delete(&request.head).await,
            Method::OPTIONS => {
                Ok(Response::status(StatusCode::NO_CONTENT).allow(["PUT", "DELETE", "OPTIONS"]))
            }
            _ => Ok(Response::method_not_allowed(["PUT", "DELETE"])),
        }
    }

    /// Publishes the content of a request at `path`, unless `judge` says no: it is asked before the content is taken, and again when
    /// that takes its place.
    ///
    /// # Errors
    ///
    /// What `judge` says; see [`StoreError`]; the body cannot be read.
    pub async fn put(
        &self,
        request: Request,
        path: PagePath,
        judge: Judge,
        options: StoreOptions,
    ) -> Result<Response, HandlerError> {
        let Request { head, mut body } = request;
        let path = Arc::new(path);
        let Lengths { known, expected } = lengths(&head.headers)?;
        if let Some(coding) = head.headers.get(header::CONTENT_ENCODING).filter(|coding| *coding != IDENTITY)
        {
            tracing::debug!(?coding, path = %head.path(), "content in a coding is not published");
            let refused = Response::page(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            return Ok(refused.with(header::ACCEPT_ENCODING, IDENTITY));
        }
        body.set_limit(self.options.max_size);
        if known.or(expected).is_some_and(|len| len > self.options.max_size) {
            return Err(not_read(RequestBodyError::TooLarge { limit: self.options.max_size }));
        }
        let mut draft = {
            let (store, judge) = (Arc::clone(&self.store), Arc::clone(&judge));
            let (path, options) = (Arc::clone(&path), options.clone());
            let holder = admission::holder(head.client);
            on_pool(move || store.begin(&path, known.or(expected), holder, &options, &*judge)).await??
        };
        let mut is_whole = false;
        while !is_whole {
            let mut pieces: Vec<Bytes> = Vec::new();
            let mut gathered = 0;
            // What has come already is written at once.
            while gathered < PIECE {
                let chunk =
                    if gathered == 0 { Some(body.chunk().await) } else { body.chunk().now_or_never() };
                match chunk {
                    Some(Ok(Some(piece))) => {
                        gathered += piece.len();
                        pieces.push(piece);
                    }
                    Some(Ok(None)) => {
                        is_whole = true;
                        break;
                    }
                    Some(Err(error)) => return Err(not_read(error)),
                    None => break,
                }
            }
            if gathered > 0 {
                draft = write(&self.store, draft, pieces).await?;
            }
        }
        if expected.is_some_and(|expected| expected != draft.len()) {
            return Err(HandlerError::client(StatusCode::BAD_REQUEST, PutError::Length));
        }
        self.publish(&head, path, draft, judge, options).await
    }

    async fn publish(
        &self,
        head: &Head,
        path: Arc<PagePath>,
        draft: Draft,
        judge: Judge,
        options: StoreOptions,
    ) -> Result<Response, HandlerError> {
        let len = draft.len();
        let store = Arc::clone(&self.store);
        let user = head.user.get().cloned();
        let published = on_pool(move || {
            draft.set_user(user.as_deref());
            store.publish(&path, draft, &options, &*judge)
        })
        .await??;
        self.published.fetch_add(1, Relaxed);
        self.bytes.fetch_add(len, Relaxed);
        let is_new = published.is_new;
        if len > LARGEST {
            // Until then its tag is weak for whoever asks for it, and no weak one is right for `If-Match`.
            tokio::time::sleep(SETTLED).await;
        }
        let tag = on_pool(move || published.tag()).await??;
        let mut response = Response::status(StatusCode::NO_CONTENT).with(header::ETAG, tag);
        if is_new {
            response.status = StatusCode::CREATED;
            if let Ok(location) = HeaderValue::from_str(head.path()) {
                response.headers.insert(header::LOCATION, location);
            }
        }
        Ok(response)
    }

    async fn delete(&self, head: &Arc<Head>) -> Result<Response, HandlerError> {
        let path = page_path(head)?;
        let (store, options, of) = (Arc::clone(&self.store), self.options.store.clone(), Arc::clone(head));
        on_pool(move || store.remove(&path, &options, &|current| allowed(&of, current))).await??;
        self.removed.fetch_add(1, Relaxed);
        Ok(Response::status(StatusCode::NO_CONTENT))
    }
}

impl Handler for Put {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(self.answer(request))
    }

    fn directory(&self) -> Option<&Path> {
        Some(self.store.path())
    }

    fn status(&self) -> Status {
        let quota = self.options.store.quota;
        Status::new("handler.put", self.store.path().to_string_lossy())
            .counter("published", self.published.load(Relaxed))
            .counter("removed", self.removed.load(Relaxed))
            .counter("received", Value::Bytes(self.bytes.load(Relaxed)))
            .maybe("quota", quota.map(Value::Bytes))
            .maybe_gauge("used", quota.and_then(|_| self.store.used()).map(Value::Bytes))
    }
}

/// What a request's path names.
pub(super) fn page_path(head: &Head) -> Result<PagePath, HandlerError> {
    named(PagePath::parse(head.tail()))
}

/// A path that something may be published at.
pub(super) fn named(path: Option<PagePath>) -> Result<PagePath, HandlerError> {
    path.ok_or_else(|| HandlerError::client(StatusCode::FORBIDDEN, PutError::Name))
}

/// The lengths that a request tells of its body.
struct Lengths {
    known: Option<u64>,
    expected: Option<u64>,
}

fn lengths(headers: &HeaderMap) -> Result<Lengths, HandlerError> {
    let bad = |error| HandlerError::client(StatusCode::BAD_REQUEST, error);
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err(bad(PutError::Part));
    }
    let number = |field: &HeaderValue| field.to_str().ok()?.trim().parse::<u64>().ok();
    let expected = match headers.get(EXPECTED_LENGTH) {
        Some(field) => Some(number(field).ok_or_else(|| bad(PutError::Length))?),
        None => None,
    };
    // If it is none, the server has refused the request.
    Ok(Lengths { known: headers.get(header::CONTENT_LENGTH).and_then(number), expected })
}

/// Whether the preconditions of a request allow that what is there is replaced or removed.
///
/// # Errors
///
/// [`StoreError::Changed`] if they do not.
pub fn allowed(head: &Head, current: Option<&Current<'_>>) -> Result<(), StoreError> {
    let etag = match current {
        Some(current) if preconditions::name_tags(&head.headers) => Some(current.tag()?),
        _ => None,
    };
    let current = current.map(|current| (etag.as_ref(), current.modified()));
    if preconditions::allow(&head.headers, current) { Ok(()) } else { Err(StoreError::Changed) }
}

/// Adds pieces to a draft.
pub(super) async fn write(
    store: &Arc<Store>,
    mut draft: Draft,
    pieces: Vec<Bytes>,
) -> Result<Draft, HandlerError> {
    let store = Arc::clone(store);
    on_pool(move || {
        for piece in &pieces {
            draft.write(piece, store.root())?;
        }
        Ok::<_, StoreError>(draft)
    })
    .await?
    .map_err(Into::into)
}

fn not_read(error: RequestBodyError) -> HandlerError {
    let is_ours = matches!(error, RequestBodyError::TooLarge { .. });
    let error = HandlerError::from(error);
    if is_ours { error.by_option(Some("max_size")) } else { error }
}

#[cfg(test)]
mod tests;
