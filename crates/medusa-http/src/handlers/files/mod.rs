//! Serves the files below a directory.
//!
//! A request passes these steps:
//!
//! 1. [`Target`]: what is left of the path below the mount becomes a relative path, or nothing at all.
//! 2. [`cache`]: a small file this worker has looked at lately is answered right away, without a system call; so is a path
//!    where nothing was.
//! 3. [`load`]: the path is opened *below the root* ([`Root`]), and becomes a file, a directory's index file, a listing
//!    ([`listing`]), a redirect to another spelling of the path ([`clean`]), or nothing. On the worker, as long as the
//!    kernel answers from its caches; else on the blocking pool. What is too large to be read at once stays open while
//!    it is sent, once for all who want it ([`shared`]).
//! 4. [`offers`]: of the forms that the file has (plain, compressed beside it, compressed on demand), the one that the
//!    client likes best.
//! 5. [`respond`]: preconditions and ranges decide how much of it is sent.
//!
//! **Invariants:** nothing outside of the root is ever opened, whatever the path says and whatever is renamed or linked
//! meanwhile: the kernel itself resolves every path beneath the root. And no worker ever waits for a disk.

mod cache;
mod clean;
mod entity;
pub(super) mod listing;
mod load;
pub(super) mod mime;
mod multipart;
mod offers;
mod options;
mod respond;
mod shared;
#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use http::{Method, StatusCode};
use medusa_net::descriptors::FilesExhausted;
use medusa_proto::coding::Coding;
use medusa_proto::status::{Status, Value};
use rustix::io::Errno;

use crate::admission;
use crate::handler::{Handler, HandlerError, HandlerFuture};
use crate::request::{Head, Request};
use crate::response::Response;
use crate::router::{encode_segment, with_slash};
use crate::store::{Edition, Root, Target, Wait};

pub(crate) use cache::LARGEST;
pub use mime::of as content_type;
pub use options::{CacheRule, FilesError, FilesOptions};

use cache::{Cache, CompressionJob, Form, Lookup, Revalidation};
use entity::Entity;
use listing::{AT_ONCE, Listings, Page, View};
use load::{Loaded, Place, Requester};
use offers::{Found, Offer};

/// The handler: GET and HEAD for the files below a directory.
///
/// The directory can be replaced as a whole (`mv`, or a symbolic link that is switched) while the server runs. That is seen
/// within 50 ms, and so are changes to small files, and files that were asked for before they were there; without a cache, at
/// once, as is what the server itself publishes.
#[derive(Debug)]
pub struct Files {
    place: Arc<Place>,
    cache: Arc<Cache>,
}

impl Files {
    /// Serves the files below `root`. Relative paths start at the process's current directory.
    ///
    /// # Errors
    ///
    /// `root` is not a directory that can be entered, or an option makes no sense.
    pub fn open(root: &Path, options: FilesOptions) -> Result<Self, FilesError> {
        options.check()?;
        let root = Root::open(root, options.cache > 0)?.asked(&options.serve);
        let cache = Arc::new(Cache::new(options.cache));
        let listings = Listings::default();
        let place = Arc::new(Place { root, options, listings, longest_live: cache.capacity() });
        place.check_stand_ins()?;
        Ok(Self { place, cache })
    }

    /// Serves what belongs to the user `owner` in the directory at `path` below `home`, as long as it is there. `options` were
    /// [checked](FilesOptions::check).
    pub(crate) fn of_user(home: &Path, path: &Path, owner: u32, options: FilesOptions) -> Self {
        let root = Root::of_user(home, path, owner, options.cache > 0).asked(&options.serve);
        let cache = Arc::new(Cache::new(options.cache));
        let place = Place { root, options, listings: Listings::default(), longest_live: cache.capacity() };
        Self { place: Arc::new(place), cache }
    }

    /// The directory that is served, as an absolute path.
    pub fn root(&self) -> &Path {
        self.place.root.path()
    }

    /// The options it was made with.
    pub fn options(&self) -> &FilesOptions {
        &self.place.options
    }

    /// Answers what needs no waiting: refusals, files in the cache, and what the kernel has in its own.
    fn at_once(&self, head: &Head) -> Result<Response, Waits<'_>> {
        if head.method == Method::OPTIONS {
            return Ok(Response::status(StatusCode::NO_CONTENT).allow(["GET", "HEAD", "OPTIONS"]));
        }
        if !matches!(head.method, Method::GET | Method::HEAD) {
            return Ok(Response::method_not_allowed(["GET", "HEAD"]));
        }
        let FilesOptions { dotfiles, serve, .. } = &self.place.options;
        let Some(target) = Target::parse(head.tail(), *dotfiles, serve) else {
            return self.nothing(head);
        };
        self.look_up(head, &target, Goal::Asked)
    }

    /// What is served where nothing is, or 404, with the page that there may be for it.
    fn nothing(&self, head: &Head) -> Result<Response, Waits<'_>> {
        let options = &self.place.options;
        if let Some(file) = options.fallback() {
            return self.look_up(head, &file, Goal::Fallback);
        }
        match options.not_found() {
            Some(page) => self.look_up(head, &page, Goal::NotFound),
            None => Ok(Response::page(StatusCode::NOT_FOUND)),
        }
    }

    fn look_up(&self, head: &Head, target: &Target<'_>, goal: Goal) -> Result<Response, Waits<'_>> {
        let edition = Edition::now();
        let check = match self.cache.slot().look_up(&target.path, Instant::now()) {
            Lookup::Fresh(found) => return self.answer(head, &found, goal),
            Lookup::Stale(check) => Some(check),
            Lookup::Nothing if goal == Goal::Asked => return self.nothing(head),
            Lookup::Nothing | Lookup::Miss => None,
        };
        if let Some(page) = self.listed(head, target) {
            return Ok(respond::listing(page));
        }
        // An error is left to the blocking pool, too: it has it again, and tells.
        let known = check.as_ref().map(Revalidation::found);
        match goal.load(&self.place, target, known, by(head, Wait::Never)) {
            Ok(loaded) => self.loaded(head, target, (loaded, edition), goal),
            Err(_would_block) => Err(Waits::Load { target: target.to_owned(), check, goal }),
        }
    }

    /// The page of a directory, if it was made a moment ago.
    fn listed(&self, head: &Head, target: &Target<'_>) -> Option<Page> {
        let may_be = self.place.options.listing && target.is_directory();
        let page = |view| self.place.listings.page(&target.path, view, Instant::now());
        may_be.then(|| View::of(head, &self.place.options)).and_then(page)
    }

    /// Answers with what was found, when at least that edition was there, and keeps it.
    fn loaded(
        &self,
        head: &Head,
        target: &Target<'_>,
        (loaded, edition): (Loaded, Edition),
        goal: Goal,
    ) -> Result<Response, Waits<'_>> {
        let slot = self.cache.slot();
        if let Loaded::File(found) = loaded {
            slot.put(&target.path, &found, Instant::now(), edition);
            return self.answer(head, &found, goal);
        }
        match (&loaded, goal) {
            (Loaded::Nothing, Goal::Asked) => slot.put_nothing(&target.path, Instant::now(), edition),
            _ => slot.remove(&target.path),
        }
        match (loaded, goal) {
            (Loaded::Directory, Goal::Asked) => Ok(to_path(head, with_slash(head.path()))),
            (Loaded::Shorter(path), _) => Ok(to_path(head, shorter(head.path(), &path))),
            (Loaded::ToList, _) => {
                let view = Box::new(View::of(head, &self.place.options));
                Err(Waits::List { target: target.to_owned(), view })
            }
            (Loaded::Listing(page), _) => Ok(respond::listing(page)),
            (Loaded::Denied, Goal::Asked) => Ok(Response::page(StatusCode::FORBIDDEN)),
            (_, Goal::Asked) => self.nothing(head),
            (_, Goal::NotFound | Goal::Fallback) => Ok(Response::page(StatusCode::NOT_FOUND)),
        }
    }

    /// Answers with the form of a file that the client likes best.
    fn answer(&self, head: &Head, found: &Arc<Found>, goal: Goal) -> Result<Response, Waits<'_>> {
        let Some((coding, offer)) = found.offers.choose(&head.headers) else {
            return Ok(goal.respond(head, found, &found.entity));
        };
        let key = cache::key(&found.path, coding);
        let plain = || Ok(goal.respond(head, found, &found.entity));
        match offer {
            Offer::Nothing => plain(),
            Offer::Sibling(stamp) | Offer::Live(stamp)
                if let Some(form) = self.cache.slot().coded(&key, &stamp) =>
            {
                Ok(goal.respond_with(head, found, &form))
            }
            Offer::Sibling(_) => match self.place.sibling(found, coding, by(head, Wait::Never)) {
                Ok(sibling) => Ok(self.with_sibling(head, found, coding, sibling, goal)),
                Err(_would_block) => Err(Waits::Sibling { found: Arc::clone(found), coding, goal }),
            },
            Offer::Live(stamp) => match self.cache.begin(key, stamp) {
                Some(job) => Err(Waits::Encode { found: Arc::clone(found), coding, job, goal }),
                None => plain(),
            },
        }
    }

    fn with_sibling(
        &self,
        head: &Head,
        found: &Found,
        coding: Coding,
        sibling: Option<Arc<Entity>>,
        goal: Goal,
    ) -> Response {
        let Some(sibling) = sibling else { return goal.respond(head, found, &found.entity) };
        if let Some(stamp) = sibling.stamp {
            let key = cache::key(&found.path, coding);
            self.cache.slot().put_coded(&key, stamp, Form::Encoded(Arc::clone(&sibling)));
        }
        goal.respond(head, found, &sibling)
    }

    /// Waits as long as there is something to wait for: a file, then perhaps the page for 404, then perhaps its form.
    async fn wait(&self, head: Arc<Head>, mut waits: Waits<'_>) -> Result<Response, HandlerError> {
        loop {
            let answer = match waits {
                Waits::Load { target, check, goal } => {
                    let place = Arc::clone(&self.place);
                    let known = check.as_ref().map(|check| Arc::clone(check.found()));
                    let by = by(&head, Wait::ForDisk);
                    let edition = Edition::now();
                    let (loaded, target) = on_pool(move || {
                        let loaded = goal.load(&place, &target, known.as_ref(), by)?;
                        Ok((loaded, target))
                    })
                    .await?;
                    self.loaded(&head, &target, (loaded, edition), goal)
                }
                Waits::List { target, view } => {
                    // Never closed.
                    let permit = AT_ONCE.acquire().await;
                    // Whoever had it before may have made the very same.
                    if let Some(page) = self.listed(&head, &target) {
                        return Ok(respond::listing(page));
                    }
                    let place = Arc::clone(&self.place);
                    let edition = Edition::now();
                    let (loaded, target) = on_pool(move || {
                        // It is read to its end, though nobody may wait for it any more.
                        let _permit = permit;
                        Ok((place.list(&target, *view)?, target))
                    })
                    .await?;
                    self.loaded(&head, &target, (loaded, edition), Goal::Asked)
                }
                Waits::Sibling { found, coding, goal } => {
                    let (place, of) = (Arc::clone(&self.place), Arc::clone(&found));
                    let by = by(&head, Wait::ForDisk);
                    let sibling = on_pool(move || place.sibling(&of, coding, by)).await?;
                    Ok(self.with_sibling(&head, &found, coding, sibling, goal))
                }
                Waits::Encode { found, coding, job, goal } => {
                    let of = Arc::clone(&found);
                    let form = on_pool(move || {
                        let form = load::encode(&of, coding)?;
                        job.done(form.clone());
                        Ok(form)
                    })
                    .await?;
                    Ok(goal.respond_with(&head, &found, &form))
                }
            };
            match answer {
                Ok(response) => return Ok(response),
                Err(more) => waits = more,
            }
        }
    }
}

impl Handler for Files {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        match self.at_once(&request.head) {
            Ok(response) => Box::pin(std::future::ready(Ok(response))),
            Err(waits) => Box::pin(self.wait(request.head, waits)),
        }
    }

    fn directory(&self) -> Option<&Path> {
        (!self.place.options.for_pages).then(|| self.root())
    }

    fn status(&self) -> Status {
        let cached = self.cache.usage();
        Status::new("handler.files", self.root().to_string_lossy())
            .gauge("cached_files", cached.files)
            .gauge("cached", Value::Bytes(cached.bytes))
            .counter("cache_hits", cached.hits)
            .counter("loads", cached.loads)
            .counter("listings_read", self.place.listings.read())
    }
}

/// The purpose that a file is loaded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// The request asks for it.
    Asked,
    /// It is the page of a 404 answer.
    NotFound,
    /// It is served where nothing is.
    Fallback,
}

impl Goal {
    fn load(
        self,
        place: &Place,
        target: &Target<'_>,
        known: Option<&Arc<Found>>,
        by: Requester,
    ) -> io::Result<Loaded> {
        match self {
            Self::Asked => place.load(target, known, by),
            Self::NotFound | Self::Fallback => place.load_exactly(target, known, by),
        }
    }

    fn respond(self, head: &Head, found: &Found, entity: &Entity) -> Response {
        match self {
            Self::Asked | Self::Fallback => respond::to(head, entity, found.offers.any()),
            Self::NotFound => respond::page(StatusCode::NOT_FOUND, entity, found.offers.any()),
        }
    }

    fn respond_with(self, head: &Head, found: &Found, form: &Form) -> Response {
        match form {
            Form::Encoded(entity) => self.respond(head, found, entity),
            Form::Plain => self.respond(head, found, &found.entity),
        }
    }
}

/// Work on the blocking pool that a request waits for.
enum Waits<'f> {
    /// What a path leads to.
    Load {
        target: Target<'static>,
        /// Set when the file is in the cache but must be looked at again.
        check: Option<Revalidation<'f>>,
        goal: Goal,
    },
    /// A directory's listing.
    List { target: Target<'static>, view: Box<View> },
    /// The compressed file beside a file.
    Sibling { found: Arc<Found>, coding: Coding, goal: Goal },
    /// A file's compression, which is this request's to do.
    Encode { found: Arc<Found>, coding: Coding, job: Box<CompressionJob>, goal: Goal },
}

fn by(head: &Head, wait: Wait) -> Requester {
    Requester { holder: admission::holder(head.client), wait }
}

async fn on_pool<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, HandlerError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(HandlerError::internal)?;
    done.map_err(to_handler_error)
}

/// A redirect to another path, with the same query: relative links in an index page only work below a path that ends
/// with a slash, and a page has one address.
fn to_path(head: &Head, mut location: String) -> Response {
    if let Some(query) = head.uri.query() {
        location.push('?');
        location.push_str(query);
    }
    Response::redirect(&head.method, &location)
}

/// The raw path `path` with what is after its last slash replaced by what is there in `short`.
fn shorter(path: &str, short: &[u8]) -> String {
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    let name = short.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    format!("{}{}", with_slash(directory), encode_segment(name))
}

/// Running out of file descriptors or memory passes; anything else, such as a disk that fails, is the server's fault.
fn to_handler_error(error: io::Error) -> HandlerError {
    if FilesExhausted::is(&error) {
        return HandlerError::unavailable(error);
    }
    match Errno::from_io_error(&error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN) => HandlerError::unavailable(error),
        _ => HandlerError::internal(error),
    }
}
