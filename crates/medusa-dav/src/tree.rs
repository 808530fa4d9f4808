//! The methods that change which files and directories there are: MKCOL, DELETE, COPY and MOVE
//! ([RFC 4918 §9.3](https://www.rfc-editor.org/rfc/rfc4918#section-9.3), §9.6, §9.8, §9.9).
//!
//! What is changed of a directory is changed file by file, each as a whole; of what could not be done, the answer tells (207). A move of a
//! directory is one step. Before anything is removed for something else, all is asked that may refuse.

use std::sync::Arc;

use http::{HeaderName, StatusCode};
use medusa_http::Response;
use medusa_http::store::{Entry, PagePath, StoreError, on_pool};

use crate::answer::{self, Answer};
use crate::asking::{Asking, Changing, Depth, Reach, text};
use crate::error::DavError;
use crate::locks::is_below;

/// The most files and directories that one request copies or removes.
const MOST: usize = 100_000;
/// How deep below one another they may be.
const MOST_DEPTH: usize = 64;

const OVERWRITE: HeaderName = HeaderName::from_static("overwrite");

const ALL: Reach = Reach { above: true, below: true };

/// Makes a directory.
pub(crate) async fn make_directory(asking: Arc<Asking>) -> Result<Response, DavError> {
    Ok(on_pool(move || make(&asking)).await??.into())
}

fn make(asking: &Asking) -> Result<Answer, DavError> {
    asking.conditions()?;
    let entry = asking.find()?;
    asking.preconditions(entry.as_ref())?;
    let _changing = asking.free(&asking.path, Reach { above: entry.is_none(), below: false })?;
    match asking.place.store.make_directory(&asking.path) {
        // RFC 4918 §9.3.1.
        Err(StoreError::Exists) => {
            return Err(DavError::client(
                StatusCode::METHOD_NOT_ALLOWED,
                "there is something of that name already",
            ));
        }
        made => made?,
    }
    asking.place.properties.remove(asking.path.path())?;
    Ok(Answer::status(StatusCode::CREATED))
}

/// Removes a file, or a directory and all that is in it.
pub(crate) async fn delete(asking: Arc<Asking>) -> Result<Response, DavError> {
    let depth = asking.depth()?;
    Ok(on_pool(move || delete_all(&asking, depth)).await??.into())
}

fn delete_all(asking: &Asking, depth: Option<Depth>) -> Result<Answer, DavError> {
    asking.conditions()?;
    let entry = asking.find()?.ok_or(StoreError::Missing)?;
    if asking.path.path().is_empty() {
        return Err(DavError::client(StatusCode::FORBIDDEN, "the directory itself stays"));
    }
    if entry.is_directory() && depth.is_some_and(|depth| depth != Depth::Infinity) {
        return Err(DavError::client(
            StatusCode::BAD_REQUEST,
            "DELETE of a directory is of all that is in it",
        ));
    }
    asking.preconditions(Some(&entry))?;
    let _changing = asking.free(&asking.path, ALL)?;
    remove(asking, &asking.path, entry.is_directory())?;
    asking.place.locks.lock().forget(asking.path.path());
    Ok(Answer::status(StatusCode::NO_CONTENT))
}

/// Copies a file or a directory.
pub(crate) async fn copy(asking: Arc<Asking>) -> Result<Response, DavError> {
    let depth = asking.depth()?.unwrap_or(Depth::Infinity);
    if depth == Depth::One {
        return Err(DavError::client(StatusCode::BAD_REQUEST, "COPY has a `Depth` of 0 or infinity"));
    }
    let (to, overwrites) = (asking.destination()?, overwrites(&asking)?);
    Ok(on_pool(move || copy_all(&asking, &to, overwrites, depth == Depth::Infinity)).await??.into())
}

fn copy_all(asking: &Asking, to: &PagePath, overwrites: bool, is_deep: bool) -> Result<Answer, DavError> {
    let Moving { entry, there, .. } = &begin(asking, to, overwrites)?;
    let (from, to) = (asking.path.as_directory(false), to.as_directory(false));
    let mut copying = TreeWork::new(asking);
    if let Some(there) = in_the_way(entry, there.as_ref()) {
        let goes = check_removal(asking, &to, there.is_directory())?;
        let mut trial = TreeWork::trial(asking);
        trial.copy(&from, &to, entry.is_directory(), is_deep, 0);
        let wanted = trial.bytes;
        trial.finish(&to)?;
        asking.place.store.check_room(wanted, goes, &asking.options(&to))?;
        make_way(asking, &to, there.is_directory())?;
        copying.has_changed = true;
    }
    copying.copy(&from, &to, entry.is_directory(), is_deep, 0);
    let properties = &asking.place.properties;
    properties.copy(from.path(), to.path(), is_deep)?;
    if !copying.failures.is_empty() {
        properties.sweep(to.path(), |path| is_there(asking, path))?;
    }
    copying.finish(&to)?;
    Ok(done(there.is_none()))
}

/// Moves a file or a directory.
pub(crate) async fn rename(asking: Arc<Asking>) -> Result<Response, DavError> {
    let depth = asking.depth()?;
    let (to, overwrites) = (asking.destination()?, overwrites(&asking)?);
    Ok(on_pool(move || rename_all(&asking, &to, overwrites, depth)).await??.into())
}

fn rename_all(
    asking: &Asking,
    to: &PagePath,
    overwrites: bool,
    depth: Option<Depth>,
) -> Result<Answer, DavError> {
    let Moving { entry, there, .. } = &begin(asking, to, overwrites)?;
    if entry.is_directory() && depth.is_some_and(|depth| depth != Depth::Infinity) {
        return Err(DavError::client(StatusCode::BAD_REQUEST, "MOVE of a directory is of all that is in it"));
    }
    let _changing = asking.free(&asking.path, ALL)?;
    let (from, to) = (asking.path.as_directory(false), to.as_directory(false));
    if let Some(there) = in_the_way(entry, there.as_ref()) {
        asking.place.store.check_move(&from.as_directory(entry.is_directory()), &to)?;
        check_removal(asking, &to, there.is_directory())?;
        make_way(asking, &to, there.is_directory())?;
    }
    asking.place.store.rename(&from, &to, &asking.options(&to), true)?;
    asking.place.locks.lock().forget(from.path());
    asking.place.properties.rename(from.path(), to.path())?;
    Ok(done(there.is_none()))
}

/// What must be removed from where something is to go: anything but a file that is replaced by one.
fn in_the_way<'e>(entry: &Entry, there: Option<&'e Entry>) -> Option<&'e Entry> {
    there.filter(|there| there.is_directory() || entry.is_directory())
}

/// Finds out whether a file, or a directory and all that is in it, may be removed, and the room that it takes.
fn check_removal(asking: &Asking, path: &PagePath, is_directory: bool) -> Result<u64, DavError> {
    let mut trial = TreeWork::trial(asking);
    trial.remove(&path.as_directory(is_directory), is_directory, 0);
    let bytes = trial.bytes;
    trial.finish(path)?;
    Ok(bytes)
}

/// Removes what is where something is to go.
fn make_way(asking: &Asking, to: &PagePath, is_directory: bool) -> Result<(), DavError> {
    remove(asking, to, is_directory)?;
    asking.place.locks.lock().forget_below(to.path());
    Ok(())
}

fn done(is_new: bool) -> Answer {
    Answer::status(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}

fn overwrites(asking: &Asking) -> Result<bool, DavError> {
    match text(&asking.head.headers, &OVERWRITE)?.as_deref().map(str::trim) {
        None | Some("T" | "t") => Ok(true),
        Some("F" | "f") => Ok(false),
        Some(_) => Err(DavError::client(StatusCode::BAD_REQUEST, "`Overwrite` is T or F")),
    }
}

/// What is to be copied or moved.
struct Moving {
    entry: Entry,
    /// What is where it is to go.
    there: Option<Entry>,
    _changing: Changing,
}

/// Finds out whether something may be copied or moved to where it is to go.
fn begin(asking: &Asking, to: &PagePath, overwrites: bool) -> Result<Moving, DavError> {
    asking.conditions()?;
    let store = &asking.place.store;
    let entry = asking.find()?.ok_or(StoreError::Missing)?;
    asking.preconditions(Some(&entry))?;
    let (from_path, to_path) = (asking.path.path(), to.path());
    if from_path == to_path {
        return Err(DavError::client(StatusCode::FORBIDDEN, "it is to go where it is"));
    }
    if is_below(to_path, from_path) || is_below(from_path, to_path) {
        return Err(DavError::client(StatusCode::FORBIDDEN, "one of the two is in the other"));
    }
    // Nothing is removed for something that cannot be moved, nor by way of a link.
    store.check_own(&asking.path)?;
    match store.check_own(to) {
        Ok(()) | Err(StoreError::Missing) => {}
        Err(error) => return Err(error.into()),
    }
    let there = store.find(to)?;
    if there.is_some() && !overwrites {
        return Err(StoreError::Changed.into());
    }
    let changing = asking.free(to, Reach { above: there.is_none(), below: there.is_some() })?;
    Ok(Moving { entry, there, _changing: changing })
}

/// Removes a file, or a directory and all that is in it, and what is said of them.
fn remove(asking: &Asking, path: &PagePath, is_directory: bool) -> Result<(), DavError> {
    let mut removing = TreeWork::new(asking);
    removing.remove(&path.as_directory(is_directory), is_directory, 0);
    let properties = &asking.place.properties;
    if removing.failures.is_empty() {
        properties.remove(path.path())?;
        return Ok(());
    }
    properties.sweep(path.path(), |path| is_there(asking, path))?;
    let locked = asking.place.locks.lock().paths_from(path.path());
    for gone in locked.iter().filter(|path| !is_there(asking, path)) {
        asking.place.locks.lock().forget(gone);
    }
    removing.finish(path)
}

fn is_there(asking: &Asking, path: &str) -> bool {
    asking.shown(path).is_some_and(|path| asking.place.store.find(&path).is_ok_and(|found| found.is_some()))
}

/// Work on all that is in a directory.
struct TreeWork<'a> {
    asking: &'a Asking,
    /// Whether it is only found out what would come of it.
    is_trial: bool,
    seen: usize,
    /// The room of the files that would be copied or removed.
    bytes: u64,
    /// Whether something is done already.
    has_changed: bool,
    /// What could not be done: where, whether there is a directory, and why.
    failures: Vec<(PagePath, StoreError)>,
}

impl<'a> TreeWork<'a> {
    fn new(asking: &'a Asking) -> Self {
        Self { asking, is_trial: false, seen: 0, bytes: 0, has_changed: false, failures: Vec::new() }
    }

    fn trial(asking: &'a Asking) -> Self {
        Self { is_trial: true, ..Self::new(asking) }
    }

    /// Notes that something of so many bytes is done, or could be.
    fn succeeds(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.has_changed |= !self.is_trial;
    }

    /// Counts one more; whether that is too many, or too deep.
    fn is_too_much(&mut self, depth: usize) -> bool {
        self.seen += 1;
        self.seen > MOST || depth > MOST_DEPTH
    }

    fn fails(&mut self, path: &PagePath, error: StoreError) -> bool {
        // Nobody reads a hundred thousand of them.
        if self.failures.len() < 1000 {
            self.failures.push((path.clone(), error));
        }
        false
    }

    /// Whether it has gone.
    fn remove(&mut self, path: &PagePath, is_directory: bool, depth: usize) -> bool {
        if self.is_too_much(depth) {
            return self.fails(path, StoreError::TooMany { most: MOST });
        }
        let store = &self.asking.place.store;
        if is_directory {
            let inside =
                match store.list(path, self.asking.holder.client).and_then(|listing| listing.all(MOST)) {
                    Ok(inside) => inside,
                    Err(error) => return self.fails(path, error),
                };
            let (mut is_empty, mut has_others) = (true, false);
            for one in inside {
                is_empty &= match one {
                    Some((inner, is_directory)) if self.asking.shows(&inner) => {
                        self.remove(&inner, is_directory, depth + 1)
                    }
                    // What has a name that is not taken is not this client's to remove.
                    _ => {
                        has_others = true;
                        false
                    }
                };
            }
            if has_others {
                return self.fails(path, StoreError::NotEmpty);
            }
            if !is_empty {
                return false;
            }
        }
        let removed = if self.is_trial {
            store.check_removal(path)
        } else {
            store.remove(path, &self.asking.options(path), &|_| Ok(())).map(|()| 0)
        };
        match removed {
            Ok(bytes) => {
                self.succeeds(bytes);
                true
            }
            Err(StoreError::Missing) => true,
            Err(error) => self.fails(path, error),
        }
    }

    /// Copies what is there, and all that is in it if `is_deep`.
    fn copy(&mut self, from: &PagePath, to: &PagePath, is_directory: bool, is_deep: bool, depth: usize) {
        if self.is_too_much(depth) {
            self.fails(to, StoreError::TooMany { most: MOST });
            return;
        }
        let store = &self.asking.place.store;
        if !is_directory {
            let copied = if self.is_trial {
                store.check_copy(from)
            } else {
                store.copy(from, to, self.asking.holder.client, &self.asking.options(to)).map(|_is_new| 0)
            };
            match copied {
                Ok(bytes) => self.succeeds(bytes),
                Err(error) => {
                    self.fails(to, error);
                }
            }
            return;
        }
        let made = if self.is_trial { Ok(()) } else { store.make_directory(to) };
        if let Err(error) = made {
            self.fails(to, error);
            return;
        }
        self.succeeds(0);
        if !is_deep {
            return;
        }
        let inside = match store.list(from, self.asking.holder.client).and_then(|listing| listing.all(MOST)) {
            Ok(inside) => inside,
            Err(error) => {
                self.fails(from, error);
                return;
            }
        };
        for (inner, is_directory) in inside.into_iter().flatten() {
            // What has a name that is not taken is not this client's to copy.
            if self.asking.shows(&inner)
                && let Some(target) = to.join(inner.split().1)
            {
                self.copy(&inner, &target, is_directory, true, depth + 1);
            }
        }
    }

    /// What came of it, at `path`.
    fn finish(mut self, path: &PagePath) -> Result<(), DavError> {
        match self.failures.as_slice() {
            [] => Ok(()),
            // If it is the thing itself, and nothing is done, that is the answer (RFC 4918 §9.6.1).
            [(failed, _)] if !self.has_changed && failed.path() == path.path() => match self.failures.pop() {
                Some((_, error)) => Err(error.into()),
                None => Ok(()),
            },
            failures => {
                let mut out = String::new();
                for (path, error) in failures {
                    answer::failure(&mut out, &self.asking.mount.href(path), error.status());
                }
                Err(DavError::Parts(out))
            }
        }
    }
}
