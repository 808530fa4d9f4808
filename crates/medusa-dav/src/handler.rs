//! The handler: which method does what.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use medusa_http::handlers::files::{Files, FilesError, FilesOptions};
use medusa_http::handlers::put::{Judge, Put, PutOptions, allowed};
use medusa_http::store::{Current, Store, on_pool};
use medusa_http::{Body, Handler, HandlerError, HandlerFuture, Head, Request, RequestBody, Response};
use medusa_proto::status::Status;
use parking_lot::Mutex;

use crate::asking::{Asking, Reach, is_microsoft};
use crate::error::DavError;
use crate::names::NameRules;
use crate::place::Place;
use crate::xml::MOST_BYTES;
use crate::{locking, propfind, proppatch, tree};

const METHODS: HeaderValue = HeaderValue::from_static(
    "OPTIONS, GET, HEAD, PUT, DELETE, PROPFIND, PROPPATCH, MKCOL, COPY, MOVE, LOCK, UNLOCK",
);
const CLASSES: HeaderValue = HeaderValue::from_static("1, 2, 3");
const DAV: HeaderName = HeaderName::from_static("dav");
/// Office opens what has not this read-only.
const AUTHOR_VIA: HeaderName = HeaderName::from_static("ms-author-via");

/// The options of a [`Dav`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DavOptions {
    /// What holds for files.
    pub put: PutOptions,
    /// Whether names may begin with a dot. Default no: `.git` and `.htpasswd` are somebody else's.
    pub dotfiles: bool,
    /// Whether the files are taken that systems put everywhere (`._*`, `.DS_Store`, `Thumbs.db`, `desktop.ini`, `.~lock.*#`). Default
    /// yes: Finder fails to copy what has attributes where it may not write them.
    pub litter: bool,
}

impl Default for DavOptions {
    fn default() -> Self {
        Self { put: PutOptions::default(), dotfiles: false, litter: true }
    }
}

/// The handler: a directory that can be mounted by WebDAV.
#[derive(Debug)]
pub struct Dav {
    /// As it was found last.
    place: Mutex<Arc<Place>>,
    put: Put,
    files: Files,
    /// For directories: their lists do not have names that are not taken.
    lists: Files,
    rules: NameRules,
    options: PutOptions,
    changed: AtomicU64,
}

impl Dav {
    /// Serves `store`.
    ///
    /// # Errors
    ///
    /// The directory cannot be served.
    pub fn new(store: Store, options: DavOptions) -> Result<Self, FilesError> {
        let DavOptions { put: options, dotfiles, litter } = options;
        // A tag is of the file as it is, whoever asks; what strangers put here runs nowhere.
        let files = |dotfiles| {
            let plain = FilesOptions {
                index: Vec::new(),
                listing: true,
                dotfiles,
                cache: 0,
                ..FilesOptions::default()
            };
            let plain = FilesOptions { precompressed: false, compress: false, untrusted: true, ..plain };
            Files::open(store.path(), plain)
        };
        let (files, lists) = (files(true)?, files(dotfiles)?);
        let store = Arc::new(store);
        let put = Put::new(Arc::clone(&store), options.clone());
        let rules = NameRules { dotfiles, litter };
        let place = Mutex::new(Arc::new(Place::of(store)));
        Ok(Self { place, put, files, lists, rules, options, changed: AtomicU64::new(0) })
    }

    async fn answer(&self, request: Request) -> Result<Response, HandlerError> {
        let head = Arc::clone(&request.head);
        let answered = match self.dispatch(request).await {
            Ok(response) => Ok(response),
            Err(error) => error.answer(),
        };
        if !is_microsoft(&head) {
            return answered;
        }
        // Explorer remembers for a minute what is not there, whatever the case of its letters.
        let mut response = answered.unwrap_or_else(Response::failed);
        if response.status == StatusCode::NOT_FOUND {
            response.headers.insert(header::CACHE_CONTROL, const { HeaderValue::from_static("no-store") });
            response.headers.insert(header::VARY, const { HeaderValue::from_static("*") });
        }
        Ok(response)
    }

    /// The directory that is there now. Where there is none, that is told by whatever looks for something in it.
    async fn place_now(&self) -> Result<Arc<Place>, DavError> {
        let place = Arc::clone(&self.place.lock());
        let known = Arc::clone(&place);
        let now = on_pool(move || known.now()).await?.unwrap_or(place);
        *self.place.lock() = Arc::clone(&now);
        Ok(now)
    }

    async fn dispatch(&self, request: Request) -> Result<Response, DavError> {
        let Request { head, mut body } = request;
        if head.method == Method::OPTIONS {
            return Ok(options());
        }
        if let Some(response) = probe(&head) {
            return Ok(response);
        }
        let method = head.method.clone();
        let place = match method.as_str() {
            "GET" | "HEAD" => Arc::clone(&self.place.lock()),
            _ => self.place_now().await?,
        };
        let asking = Asking::new(Arc::clone(&head), &place, self.rules, &self.options.store)?;
        let Some(asking) = asking.map(Arc::new) else {
            return Err(match method.as_str() {
                "GET" | "HEAD" | "PROPFIND" => {
                    DavError::client(StatusCode::NOT_FOUND, "there is nothing at this path")
                }
                _ => DavError::client(StatusCode::FORBIDDEN, "this name is not taken here"),
            });
        };
        match method.as_str() {
            "GET" | "HEAD" => {
                let files = if asking.path.is_directory() { &self.lists } else { &self.files };
                return Ok(files.handle(Request { head, body }).await?);
            }
            "PUT" => return self.put(Request { head, body }, asking).await,
            "PROPFIND" => {
                let document = document(&mut body).await?;
                return propfind::propfind(asking, &document).await;
            }
            _ => {}
        }
        let answered = match method.as_str() {
            "PROPPATCH" => {
                let document = document(&mut body).await?;
                proppatch::proppatch(asking, document).await
            }
            "LOCK" => {
                let document = document(&mut body).await?;
                locking::lock(asking, document).await
            }
            "MKCOL" if !body.is_empty() => {
                Err(DavError::client(StatusCode::UNSUPPORTED_MEDIA_TYPE, "MKCOL takes no body"))
            }
            "MKCOL" => tree::make_directory(asking).await,
            "DELETE" => tree::delete(asking).await,
            "COPY" => tree::copy(asking).await,
            "MOVE" => tree::rename(asking).await,
            "UNLOCK" => locking::unlock(asking).await,
            _ => return Ok(Response::page(StatusCode::METHOD_NOT_ALLOWED).with(header::ALLOW, METHODS)),
        };
        if answered.is_ok() {
            self.changed.fetch_add(1, Relaxed);
        }
        answered
    }

    async fn put(&self, request: Request, asking: Arc<Asking>) -> Result<Response, DavError> {
        let path = asking.path.clone();
        // Asked twice, it is before the content is taken and when it takes its place: then no lock comes between.
        let (asked, changing) = (AtomicBool::new(false), Arc::new(Mutex::new(None)));
        let judge: Judge = {
            let (asking, changing) = (Arc::clone(&asking), Arc::clone(&changing));
            Arc::new(move |current: Option<&Current<'_>>| {
                allowed(&asking.head, current)?;
                asking.conditions().map_err(DavError::into_store)?;
                let reach = Reach { above: current.is_none(), below: false };
                let free = asking.free(&asking.path, reach).map_err(DavError::into_store)?;
                if asked.swap(true, Relaxed) {
                    *changing.lock() = Some(free);
                }
                Ok(())
            })
        };
        match self.put.put(request, path.clone(), judge, asking.options(&path)).await {
            Ok(response) => {
                if response.status == StatusCode::CREATED {
                    // What is said of it there is of something that has gone.
                    on_pool(move || asking.place.properties.remove(asking.path.path())).await??;
                }
                Ok(response)
            }
            Err(error) if error.status() == StatusCode::LOCKED => {
                Err(DavError::locked(asking.mount.href(&path)))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Handler for Dav {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(self.answer(request))
    }

    fn status(&self) -> Status {
        let locks = self.place.lock().locks.try_lock().map(|locks| locks.len() as u64);
        let status = Status { kind: "handler.dav", ..self.put.status() };
        status.counter("changed", self.changed.load(Relaxed)).maybe_gauge("locks", locks)
    }
}

fn options() -> Response {
    Response::status(StatusCode::OK)
        .with(DAV, CLASSES)
        .with(AUTHOR_VIA, const { HeaderValue::from_static("DAV") })
        .with(header::ALLOW, METHODS)
}

/// The answer to a look for files by which Finder is told not to search a volume and make pictures of it: they are there.
fn probe(head: &Head) -> Option<Response> {
    if !matches!(head.tail(), ".metadata_never_index" | ".ql_disablethumbnails") {
        return None;
    }
    match head.method.as_str() {
        "GET" | "HEAD" => Some(Response::text(Body::Empty)),
        "PROPFIND" => Some(propfind::of_empty_file(head.path())),
        _ => None,
    }
}

/// The XML that a request brings.
async fn document(body: &mut RequestBody) -> Result<Bytes, DavError> {
    body.set_limit(MOST_BYTES as u64);
    Ok(body.collect().await?)
}
