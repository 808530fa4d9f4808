//! A request, with what it names here, and what it must know of that to change it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use medusa_http::store::{Entry, PagePath, StoreError, StoreOptions};
use medusa_http::{Head, holder, preconditions};

use crate::answer::MountPath;
use crate::destination;
use crate::error::DavError;
use crate::if_header::{Condition, IfHeader};
use crate::locks::{Lock, LockHolder, LockTable};
use crate::names::{NameRules, is_litter};
use crate::place::Place;

const IF: HeaderName = HeaderName::from_static("if");
const DEPTH: HeaderName = HeaderName::from_static("depth");
const DESTINATION: HeaderName = HeaderName::from_static("destination");

/// A request.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) head: Arc<Head>,
    pub(crate) path: PagePath,
    pub(crate) mount: MountPath,
    pub(crate) place: Arc<Place>,
    pub(crate) holder: LockHolder,
    rules: NameRules,
    options: StoreOptions,
    if_header: Option<IfHeader>,
}

/// How far it goes what a request means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    Zero,
    One,
    Infinity,
}

/// What a request changes beside the thing itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach {
    /// Which names are in the directory above.
    pub(crate) above: bool,
    /// What is below.
    pub(crate) below: bool,
}

impl Asking {
    /// Reads what a request names; `None` for a name that is not taken.
    pub(crate) fn new(
        head: Arc<Head>,
        place: &Arc<Place>,
        rules: NameRules,
        options: &StoreOptions,
    ) -> Result<Option<Self>, DavError> {
        let Some(path) = rules.parse(head.tail()) else { return Ok(None) };
        let mount = MountPath::new(head.path().get(..head.tail).unwrap_or_default());
        let if_header = text(&head.headers, &IF)?.map(|value| IfHeader::parse(&value)).transpose()?;
        let holder = LockHolder { user: head.user.get().cloned(), client: holder(head.client) };
        let (place, options) = (Arc::clone(place), options.clone());
        Ok(Some(Self { head, path, mount, place, holder, rules, options, if_header }))
    }

    /// The options for something that is published at a path: of what systems leave everywhere no versions are kept.
    pub(crate) fn options(&self, path: &PagePath) -> StoreOptions {
        let versions = if is_litter(path.split().1) { 0 } else { self.options.versions };
        StoreOptions { versions, ..self.options.clone() }
    }

    /// Whether a path is shown.
    pub(crate) fn shows(&self, path: &PagePath) -> bool {
        self.rules.allow(path)
    }

    /// A path that is written in full, if it is shown.
    pub(crate) fn shown(&self, path: &str) -> Option<PagePath> {
        let root = PagePath::parse("")?;
        path.split('/').try_fold(root, |above, name| above.join(name)).filter(|path| self.rules.allow(path))
    }

    /// What is at the path. Blocks.
    pub(crate) fn find(&self) -> Result<Option<Entry>, StoreError> {
        let found = self.place.store.find(&self.path)?;
        Ok(found.filter(|entry| entry.is_directory() || !self.path.is_directory()))
    }

    /// The depth; `None` if none is told.
    pub(crate) fn depth(&self) -> Result<Option<Depth>, DavError> {
        let Some(value) = self.head.headers.get(DEPTH) else { return Ok(None) };
        match value.as_bytes().trim_ascii() {
            b"0" => Ok(Some(Depth::Zero)),
            b"1" => Ok(Some(Depth::One)),
            word if word.eq_ignore_ascii_case(b"infinity") => Ok(Some(Depth::Infinity)),
            _ => Err(DavError::client(StatusCode::BAD_REQUEST, "`Depth` is 0, 1 or infinity")),
        }
    }

    /// The path that `Destination` names.
    pub(crate) fn destination(&self) -> Result<PagePath, DavError> {
        let Some(address) = text(&self.head.headers, &DESTINATION)? else {
            return Err(DavError::client(StatusCode::BAD_REQUEST, "`Destination` is missing"));
        };
        let tail = destination::tail(&address, self.mount.as_str())?;
        self.rules.parse(&tail).ok_or_else(|| {
            DavError::client(StatusCode::FORBIDDEN, "`Destination` has a name that is not taken here")
        })
    }

    /// Whether an address in a field means this very path.
    fn resolve(&self, address: &str) -> Option<PagePath> {
        self.rules.parse(&destination::tail(address, self.mount.as_str()).ok()?)
    }

    /// Finds out whether `If` holds. Blocks.
    ///
    /// # Errors
    ///
    /// [`StoreError::Changed`] if it does not.
    pub(crate) fn conditions(&self) -> Result<(), DavError> {
        let Some(if_header) = &self.if_header else { return Ok(()) };
        // Each file is read once, however often its tag is named.
        let mut tags: Vec<(PagePath, Option<HeaderValue>)> = Vec::new();
        let holds = |address: Option<&str>, condition: &Condition| -> Result<bool, StoreError> {
            let path = match address {
                None => Cow::Borrowed(&self.path),
                Some(address) => match self.resolve(address) {
                    Some(path) => Cow::Owned(path),
                    None => return Ok(false),
                },
            };
            match condition {
                Condition::Token(token) => {
                    let locks = self.place.locks.lock();
                    Ok(locks.covering(path.path(), Instant::now()).any(|lock| lock.token == *token))
                }
                Condition::Tag(tag) => {
                    let known = tags.iter().find(|(of, _)| *of == *path);
                    let found = if let Some((_, found)) = known {
                        found.clone()
                    } else {
                        let found = self.place.store.find(&path)?;
                        let found = found.map(|entry| entry.tag()).transpose()?.flatten();
                        tags.push((path.into_owned(), found.clone()));
                        found
                    };
                    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
                    Ok(found
                        .is_some_and(|found| found.to_str().is_ok_and(|found| opaque(found) == opaque(tag))))
                }
            }
        };
        if if_header.evaluate(holds)? { Ok(()) } else { Err(StoreError::Changed.into()) }
    }

    /// Finds out whether the preconditions hold for what is there, as for any method. Blocks.
    ///
    /// # Errors
    ///
    /// [`StoreError::Changed`] if they do not.
    pub(crate) fn preconditions(&self, entry: Option<&Entry>) -> Result<(), DavError> {
        let headers = &self.head.headers;
        let tag = match entry {
            Some(entry) if preconditions::name_tags(headers) => entry.tag()?,
            _ => None,
        };
        let current = entry.map(|entry| (tag.as_ref(), entry.modified()));
        if preconditions::allow(headers, current) { Ok(()) } else { Err(StoreError::Changed.into()) }
    }

    /// The tokens of locks that the request knows of.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &str> {
        self.if_header.iter().flat_map(IfHeader::tokens)
    }

    /// Finds out whether no lock stands against a change of what is at a path: each that does, the request must name, and its user have.
    /// Until what this returns is dropped, nobody gets another lock there.
    ///
    /// # Errors
    ///
    /// The answer to that.
    pub(crate) fn free(&self, path: &PagePath, reach: Reach) -> Result<Changing, DavError> {
        let mut locks = self.place.locks.lock();
        self.blocked(&locks, path, reach)?;
        let number = locks.begin_change(path.path(), reach.below);
        Ok(Changing { place: Arc::clone(&self.place), number })
    }

    /// Finds out whether a lock stands against such a change.
    ///
    /// # Errors
    ///
    /// The answer to that.
    pub(crate) fn blocked(&self, locks: &LockTable, path: &PagePath, reach: Reach) -> Result<(), DavError> {
        let now = Instant::now();
        let has =
            |lock: &Lock| lock.holder.may_be(&self.holder) && self.tokens().any(|token| token == lock.token);
        let refused = |lock: &Lock| Err(DavError::locked(self.mount.href_of(&lock.path, lock.is_directory)));
        // Of several that are shared, one will do.
        if let Some(first) = locks.covering(path.path(), now).next()
            && !locks.covering(path.path(), now).any(has)
        {
            return refused(first);
        }
        let (above, name) = path.split();
        if reach.above
            && !name.is_empty()
            && let Some(first) = locks.on(above, now).next()
            && !locks.on(above, now).any(has)
        {
            return refused(first);
        }
        if reach.below {
            for lock in locks.below(path.path(), now) {
                if !has(lock) && !locks.on(&lock.path, now).any(has) {
                    return refused(lock);
                }
            }
        }
        Ok(())
    }
}

/// A change that is under way. Dropped, it no longer is.
#[derive(Debug)]
pub(crate) struct Changing {
    place: Arc<Place>,
    number: u64,
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.place.locks.lock().end_change(self.number);
        self.place.changed.notify_waiters();
    }
}

/// The text of a field; lines of one name are one list.
pub(crate) fn text(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, DavError> {
    let mut lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let Some(first) = lines.next() else { return Ok(None) };
    let all = lines.fold(first.to_vec(), |all, line| [&all, &b" "[..], line].concat());
    let text = String::from_utf8(all);
    text.map(Some).map_err(|_invalid| DavError::client(StatusCode::BAD_REQUEST, "a field is not UTF-8"))
}

/// Whether the client is one of Microsoft's.
pub(crate) fn is_microsoft(head: &Head) -> bool {
    let agent = head.headers.get(header::USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default();
    agent.windows(9).any(|part| part == b"Microsoft")
}
