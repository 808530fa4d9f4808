//! Serves the files below a directory.
//!
//! A request passes these steps:
//!
//! 1. [`target`]: what is left of the path below the mount becomes a relative path, or nothing at all.
//! 2. [`cache`]: a small file this worker has looked at lately is answered right away, without a system call.
//! 3. [`load`], on the blocking pool: the path is opened *below the root* ([`root`]), and becomes a file, a directory's
//!    index file, a listing ([`listing`]), a redirect to the directory's path with a slash, or nothing.
//! 4. [`respond`]: preconditions and ranges decide how much of the file is sent.
//!
//! **Invariants:** nothing outside of the root is ever opened, whatever the path says and whatever is renamed or linked
//! meanwhile: the kernel itself resolves every path beneath the root. And no worker ever waits for a disk.

mod cache;
mod entity;
mod listing;
mod load;
mod mime;
mod respond;
mod root;
mod target;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use http::{Method, StatusCode};
use medusa_proto::status::{Status, Value};
use rustix::io::Errno;

use crate::handler::{Handler, HandlerError, HandlerFuture};
use crate::request::{Head, Request};
use crate::response::{HTML, Response};
use crate::router::with_slash;

use cache::{Cache, Lookup};
use load::{Loaded, Place};
use root::Root;
use target::Target;

/// How [`Files`] serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The names of index files: the first that exists in a directory is its page. Default `index.html`.
    pub index: Vec<String>,
    /// Whether a directory without an index file is answered with a list of what is in it. Default no: then it is
    /// answered 404, so that nothing is shown that nobody meant to show.
    pub listing: bool,
    /// Whether files and directories whose names begin with a dot are served and listed. Default no: they hold
    /// repositories, editors' leftovers, passwords. `/.well-known/` ([RFC 8615](https://www.rfc-editor.org/rfc/rfc8615))
    /// is always served.
    pub dotfiles: bool,
    /// How many bytes of small files are kept in memory, in all workers together. Default 32 MiB. 0 keeps none.
    pub cache: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            index: vec!["index.html".to_owned()],
            listing: false,
            dotfiles: false,
            cache: 32 * 1024 * 1024,
        }
    }
}

/// Why a directory cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// There is nothing at this path.
    #[error("there is no directory `{}` to serve files from; create it, or correct the path", .0.display())]
    Missing(PathBuf),
    /// There is something, but no directory.
    #[error("`{}` is not a directory; name the directory that holds the files", .0.display())]
    NotDirectory(PathBuf),
    /// The system does not let us in.
    #[error("cannot serve files from `{}`: {source}; let the server's user read and enter it", .path.display())]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel cannot keep a path within a directory.
    #[error(
        "cannot serve files safely: the system call `openat2` (Linux 5.6 or newer) does not work here: {0}"
    )]
    Unsupported(io::Error),
    /// An index file's name is not one.
    #[error("`{0}` is not the name of an index file; give a name without `/`, as `index.html`")]
    Index(String),
}

/// The handler: GET and HEAD for the files below a directory.
///
/// The directory is looked up anew for every file that is opened, so that it can be replaced as a whole (`mv`, or a
/// symbolic link that is switched) while the server runs. Changes to small files are seen within 50 ms.
#[derive(Debug)]
pub struct Files {
    place: Arc<Place>,
    cache: Cache,
}

impl Files {
    /// Serves the files below `root`. Relative paths start at the process's current directory.
    ///
    /// # Errors
    ///
    /// `root` is not a directory that can be entered, or an option makes no sense.
    pub fn open(root: &Path, options: Options) -> Result<Self, FilesError> {
        if let Some(name) = options.index.iter().find(|name| !is_file_name(name)) {
            return Err(FilesError::Index(name.clone()));
        }
        let root = Root::open(root)?;
        let cache = Cache::new(options.cache);
        Ok(Self { place: Arc::new(Place { root, options }), cache })
    }

    /// The directory that is served, as an absolute path.
    pub fn root(&self) -> &Path {
        self.place.root.path()
    }

    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.place.options
    }

    /// What needs no waiting: refusals, and files in the cache.
    fn at_once(&self, head: &Head) -> Result<Response, Pending<'_>> {
        if !matches!(head.method, Method::GET | Method::HEAD) {
            return Ok(Response::method_not_allowed(["GET", "HEAD"]));
        }
        let Some(target) = Target::parse(head.tail(), self.place.options.dotfiles) else {
            return Ok(Response::page(StatusCode::NOT_FOUND));
        };
        match self.cache.slot().look_up(&target.path, Instant::now()) {
            Lookup::Fresh(entity) => Ok(respond::to(head, &entity)),
            Lookup::Stale(check) => Err(Pending { target: target.into_owned(), check: Some(check) }),
            Lookup::Miss => Err(Pending { target: target.into_owned(), check: None }),
        }
    }

    async fn load(&self, head: Head, pending: Pending<'_>) -> Result<Response, HandlerError> {
        let Pending { target, check } = pending;
        let place = Arc::clone(&self.place);
        let known = check.as_ref().map(|check| Arc::clone(check.entity()));
        let task = tokio::task::spawn_blocking(move || (load::load(&place, &target, known), target));
        let (loaded, target) = task.await.map_err(HandlerError::internal)?;
        let loaded = loaded.map_err(to_handler_error)?;
        let slot = self.cache.slot();
        if let Loaded::File(entity) = loaded {
            slot.put(&target.path, &entity, Instant::now());
            return Ok(respond::to(&head, &entity));
        }
        slot.remove(&target.path);
        Ok(match loaded {
            Loaded::Directory => to_directory(&head),
            Loaded::Listing(listing) => Response::new(HTML, listing.page(head.path(), head.tail())),
            Loaded::Denied => Response::page(StatusCode::FORBIDDEN),
            Loaded::Nothing | Loaded::File(_) => Response::page(StatusCode::NOT_FOUND),
        })
    }
}

impl Handler for Files {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        match self.at_once(&request.head) {
            Ok(response) => Box::pin(std::future::ready(Ok(response))),
            Err(pending) => Box::pin(self.load(request.head, pending)),
        }
    }

    fn status(&self) -> Status {
        let cached = self.cache.usage();
        Status::new("handler.files", self.root().to_string_lossy())
            .field("cached_files", cached.files)
            .field("cached", Value::Bytes(cached.bytes))
            .field("cache_hits", cached.hits)
            .field("loads", cached.loads)
    }
}

/// A request that the blocking pool must look into.
struct Pending<'f> {
    target: Target<'static>,
    /// Set when the file is in the cache but must be looked at again.
    check: Option<cache::Check<'f>>,
}

/// Relative links in an index page only work below a path that ends with a slash.
fn to_directory(head: &Head) -> Response {
    let mut location = with_slash(head.path());
    if let Some(query) = head.uri.query() {
        location.push('?');
        location.push_str(query);
    }
    Response::redirect(&head.method, &location)
}

/// Running out of file descriptors or memory passes; anything else, such as a disk that fails, is the server's fault.
fn to_handler_error(error: io::Error) -> HandlerError {
    match Errno::from_io_error(&error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN) => HandlerError::unavailable(error),
        _ => HandlerError::internal(error),
    }
}

fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}
