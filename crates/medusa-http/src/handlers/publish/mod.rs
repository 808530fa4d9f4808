//! The page by which people publish: what is there, uploads, an editor, versions and what differs between them.
//!
//! Files are shown at their paths below the mount, and what is done with them is a query: `blog/?upload`, `blog/a.html?save`,
//! `blog/a.html?diff=ID`. All links are relative, so that it works below any prefix and behind a proxy. It works without scripts: they add
//! the progress of uploads, and looks at what is being written.
//!
//! - [`list`], [`file`](mod@file) and [`history`]: the pages; [`frame`]: what they have in common; [`diff`]: two texts beside each other;
//!   [`assets`]: style and scripts.
//! - [`actions`] and [`upload`]: what is changed, all of it by the [`Store`]; [`form`]: how forms are read; [`text`]: which files can be edited.
//!
//! **Invariants:** nothing is changed but by a POST that a page of this origin has sent ([`csrf::may`]), and no page of another site
//! shows this one in a frame. What authors write is shown in a sandbox, where it neither runs nor acts with the login of who looks at it.
//! Who saves has seen what is replaced by it, or is shown it first.

mod actions;
mod assets;
mod diff;
mod file;
mod form;
mod frame;
mod history;
mod list;
mod place;
mod text;
mod upload;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use medusa_proto::status::{Status, Value};

use super::csrf;
use super::origin_list::OriginList;
use super::put::PutOptions;
use crate::handler::{Handler, HandlerError, HandlerFuture};
use crate::request::{Head, Request};
use crate::response::{HTML, Response};
use crate::store::{self, Store, StoreError};

use place::{PagePlace, PageQuery, link};

/// What a page may load: its style, its scripts and what it shows, all from here; and who may show it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; frame-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
/// The same for a file: nothing at all.
const NOTHING: HeaderValue = HeaderValue::from_static("sandbox; default-src 'none'; frame-ancestors 'none'");

const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const NO_CACHE: HeaderValue = HeaderValue::from_static("private, no-cache");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
const DENY: HeaderValue = HeaderValue::from_static("DENY");
const ALLOWED: [&str; 4] = ["GET", "HEAD", "POST", "OPTIONS"];

/// The options of a [`Publish`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublishOptions {
    /// Where what is published is seen, for links: a path or an address that ends with a slash. Default none.
    pub site: Option<String>,
    /// What holds for all that is published there.
    pub put: PutOptions,
}

/// The handler: pages and forms.
#[derive(Debug)]
pub struct Publish {
    store: Arc<Store>,
    options: Arc<PublishOptions>,
    counts: Arc<Counts>,
    refused: AtomicU64,
}

/// What was done.
#[derive(Debug, Default)]
struct Counts {
    published: AtomicU64,
    removed: AtomicU64,
    bytes: AtomicU64,
}

/// A request for something below the directory.
#[derive(Debug, Clone)]
struct Asked {
    store: Arc<Store>,
    options: Arc<PublishOptions>,
    counts: Arc<Counts>,
    head: Arc<Head>,
    place: Arc<PagePlace>,
}

impl Asked {
    fn query(&self) -> PageQuery<'_> {
        PageQuery::of(&self.head)
    }

    fn user(&self) -> Option<&str> {
        self.head.user.get().map(|user| &**user)
    }
}

impl Publish {
    /// Publishes in `store`.
    pub fn new(store: Arc<Store>, options: PublishOptions) -> Self {
        Self { store, options: options.into(), counts: Arc::default(), refused: AtomicU64::new(0) }
    }

    async fn answer(&self, request: Request) -> Result<Response, HandlerError> {
        if !csrf::may(&request.head, &OriginList::default()) {
            self.refused.fetch_add(1, Relaxed);
            return Ok(csrf::refusal());
        }
        match request.head.method {
            Method::GET | Method::HEAD => self.show(&request.head).await,
            Method::POST => {
                let asked = self.asked(&request.head)?;
                let done = actions::act(&asked, request.body).await;
                done.or_else(|error| actions::failed(&asked, error))
            }
            Method::OPTIONS => Ok(Response::status(StatusCode::NO_CONTENT).allow(ALLOWED)),
            _ => Ok(Response::method_not_allowed(ALLOWED)),
        }
    }

    fn asked(&self, head: &Arc<Head>) -> Result<Asked, HandlerError> {
        Ok(Asked {
            store: Arc::clone(&self.store),
            options: Arc::clone(&self.options),
            counts: Arc::clone(&self.counts),
            head: Arc::clone(head),
            place: Arc::new(PagePlace::of(head)?),
        })
    }

    async fn show(&self, head: &Arc<Head>) -> Result<Response, HandlerError> {
        let query = PageQuery::of(head);
        if let Some(name) = query.get("asset") {
            return Ok(assets::answer(head, &name));
        }
        let missing = |_| HandlerError::client(StatusCode::NOT_FOUND, StoreError::Missing);
        let asked = self.asked(head).map_err(missing)?;
        let shown: fn(&Asked) -> Result<String, StoreError> = match query.action() {
            "new" if asked.place.is_directory() => return actions::begin(&asked),
            "deleted" if asked.place.is_directory() => list::removed,
            _ if asked.place.is_directory() => list::page,
            "raw" => return file::raw(&asked).await,
            "preview" => return file::saved_preview(&asked).await,
            "history" => history::page,
            "diff" => history::diff,
            _ => return file_page(asked).await,
        };
        on_pool(move || shown(&asked)).await.map(page)
    }
}

/// The page of a file; of a directory it is at the address with a slash.
async fn file_page(asked: Asked) -> Result<Response, HandlerError> {
    let name = link(asked.place.name());
    let shown = on_pool(move || match file::page(&asked) {
        Err(StoreError::Directory) => Ok(None),
        shown => shown.map(Some),
    });
    Ok(shown.await?.map_or_else(|| see_other(&format!("./{name}/")), page))
}

/// The answer with a page of ours.
fn page(content: String) -> Response {
    let mut response = Response::new(HTML, content);
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, DENY),
        (header::X_CONTENT_TYPE_OPTIONS, NOSNIFF),
        // With no referrer at all, forms would come from no origin.
        (header::REFERRER_POLICY, SAME_ORIGIN),
        (header::CACHE_CONTROL, NO_CACHE),
    ] {
        response.headers.insert(name, value);
    }
    response
}

/// Sends the browser to a page by a GET, so that loading that anew does nothing again.
fn see_other(location: &str) -> Response {
    match HeaderValue::from_str(location) {
        Ok(location) => Response::redirect_page(StatusCode::SEE_OTHER, location),
        Err(_invalid) => Response::page(StatusCode::BAD_REQUEST),
    }
}

impl Handler for Publish {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(self.answer(request))
    }

    fn status(&self) -> Status {
        let quota = self.options.put.store.quota;
        Status::new("handler.publish", self.store.path().to_string_lossy())
            .counter("published", self.counts.published.load(Relaxed))
            .counter("removed", self.counts.removed.load(Relaxed))
            .counter("received", Value::Bytes(self.counts.bytes.load(Relaxed)))
            .counter("refused", self.refused.load(Relaxed))
            .maybe("quota", quota.map(Value::Bytes))
            .maybe_gauge("used", quota.and_then(|_| self.store.used()).map(Value::Bytes))
    }
}

/// Has work on the store done, which blocks.
async fn on_pool<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, HandlerError> {
    Ok(store::on_pool(work).await??)
}
