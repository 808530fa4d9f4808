//! PROPFIND: what there is, and what is said of it ([RFC 4918 §9.1](https://www.rfc-editor.org/rfc/rfc4918#section-9.1)).
//!
//! A directory is read as fast as the client takes the answer, some names at a time; neither its names nor the answer are ever in memory
//! as a whole.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, StatusCode};
use medusa_http::handlers::files::content_type;
use medusa_http::store::{Entries, Entry, PagePath, Room, StoreError, on_pool};
use medusa_http::{Body, BodyError, Response};

use crate::answer::{self, element};
use crate::asking::{Asking, Depth};
use crate::elements::Wanted;
use crate::error::DavError;
use crate::locking::lock_discovery;
use crate::properties::DeadProperty;
use crate::xml::{DAV, XmlName, escape};

/// The most entries whose properties are looked up at a time.
const BATCH: usize = 16;
/// The bytes of an answer from which on it is sent.
const PIECE: usize = 64 * 1024;
/// The most bytes of files that are read in one request for their entity tags. Those that would take more are told by a GET.
const MOST_READ: u64 = 64 * 1024 * 1024;

/// The properties that this server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LiveProperty {
    CreationDate,
    DisplayName,
    ContentLength,
    ContentType,
    Tag,
    LastModified,
    LockDiscovery,
    ResourceType,
    SupportedLock,
    QuotaAvailable,
    QuotaUsed,
}

impl LiveProperty {
    const ALL: [(&'static str, Self); 11] = [
        ("creationdate", Self::CreationDate),
        ("displayname", Self::DisplayName),
        ("getcontentlength", Self::ContentLength),
        ("getcontenttype", Self::ContentType),
        ("getetag", Self::Tag),
        ("getlastmodified", Self::LastModified),
        ("lockdiscovery", Self::LockDiscovery),
        ("resourcetype", Self::ResourceType),
        ("supportedlock", Self::SupportedLock),
        ("quota-available-bytes", Self::QuotaAvailable),
        ("quota-used-bytes", Self::QuotaUsed),
    ];

    fn of(name: &XmlName) -> Option<Self> {
        let found = Self::ALL.iter().find(|(local, _)| name.is_dav(local));
        found.map(|(_, property)| *property)
    }

    /// Those that cost something, and are told only to who asks for them
    /// ([RFC 4331 §2](https://www.rfc-editor.org/rfc/rfc4331#section-2)).
    fn is_asked_for(self) -> bool {
        matches!(self, Self::QuotaAvailable | Self::QuotaUsed)
    }
}

/// Whether a property is this server's to say. The name that is shown is the client's.
pub(crate) fn is_protected(name: &XmlName) -> bool {
    LiveProperty::of(name).is_some_and(|property| property != LiveProperty::DisplayName)
}

/// What is known of a file or directory.
#[derive(Debug)]
struct Facts {
    path: PagePath,
    is_directory: bool,
    size: u64,
    modified: Option<u64>,
    created: Option<u64>,
    tag: Option<HeaderValue>,
}

/// A look at files, on its way.
struct Walk {
    asking: Arc<Asking>,
    wanted: Wanted,
    /// What may still be read for tags, in bytes.
    to_read: u64,
    /// Found out for the first directory that is asked for it.
    room: Option<Room>,
    /// What is left of the directory; none at the end.
    listing: Option<Entries>,
    /// What was looked at, and is to be told.
    pending: VecDeque<(Facts, Vec<DeadProperty>)>,
}

/// Answers with the properties of a file, or of a directory and what is in it.
pub(crate) async fn propfind(asking: Arc<Asking>, document: &[u8]) -> Result<Response, DavError> {
    let depth = asking.depth()?.unwrap_or(Depth::Infinity);
    if depth == Depth::Infinity {
        let (status, code) = (StatusCode::FORBIDDEN, "propfind-finite-depth");
        return Err(DavError::Precondition { status, code, href: None });
    }
    let wanted = Wanted::parse(document)?;
    let (first, walk) = on_pool(move || Walk::begin(asking, wanted, depth == Depth::One)).await??;
    if walk.listing.is_none() {
        return Ok(answer::multistatus(&first).into());
    }
    let first = Ok::<_, BodyError>(Bytes::from(format!("{}{first}", answer::BEGIN)));
    let rest = stream::unfold(Some(walk), |walk| async move {
        let mut walk = walk?;
        let piece = on_pool(move || {
            let piece = walk.piece()?;
            Ok::<_, DavError>((piece, walk))
        });
        let piece = piece.await;
        Some(match piece.map_err(DavError::from).flatten() {
            Ok((piece, walk)) if walk.is_done() => (Ok(Bytes::from(piece + answer::END)), None),
            Ok((piece, walk)) => (Ok(Bytes::from(piece)), Some(walk)),
            Err(error) => (Err(BodyError::Producer(failed(error))), None),
        })
    });
    let body = stream::StreamExt::chain(stream::once(std::future::ready(first)), rest);
    Ok(answer::xml(StatusCode::MULTI_STATUS, Body::Stream(Box::pin(body))))
}

fn failed(error: DavError) -> Box<dyn std::error::Error + Send + Sync> {
    match error {
        DavError::Store(error) => error.into(),
        DavError::Handler(error) => error.into(),
        DavError::Precondition { code, .. } => code.into(),
        DavError::Parts(_) => "a part of it failed".into(),
    }
}

impl Walk {
    /// Looks at the thing itself, and opens the directory that it may be.
    fn begin(asking: Arc<Asking>, wanted: Wanted, lists: bool) -> Result<(String, Self), DavError> {
        asking.conditions()?;
        let entry = asking.find()?.ok_or(StoreError::Missing)?;
        let listing = if lists && entry.is_directory() {
            Some(asking.place.store.list(&asking.path, asking.holder.client)?)
        } else {
            None
        };
        let path = asking.path.as_directory(entry.is_directory());
        let pending = VecDeque::new();
        let mut walk = Self { asking, wanted, to_read: MOST_READ, room: None, listing, pending };
        let facts = walk.look(path, entry);
        walk.gather(vec![facts])?;
        let mut out = String::new();
        walk.write(&mut out)?;
        Ok((out, walk))
    }

    fn is_done(&self) -> bool {
        self.listing.is_none() && self.pending.is_empty()
    }

    /// Some of what is in the directory.
    fn piece(&mut self) -> Result<String, DavError> {
        let mut out = String::with_capacity(PIECE + PIECE / 4);
        while out.len() < PIECE && !self.is_done() {
            if self.write(&mut out)? {
                continue;
            }
            let mut batch = Vec::with_capacity(BATCH);
            while batch.len() < BATCH {
                let Some(listing) = &mut self.listing else { break };
                match listing.next_entry()? {
                    Some((path, _)) if !self.asking.shows(&path) => {}
                    Some((path, entry)) => batch.push(self.look(path, entry)),
                    None => self.listing = None,
                }
            }
            self.gather(batch)?;
        }
        Ok(out)
    }

    fn look(&mut self, path: PagePath, entry: Entry) -> Facts {
        let costs = if self.wants_tags() { entry.tag_costs() } else { u64::MAX };
        let tag = match self.to_read.checked_sub(costs) {
            Some(left) => {
                self.to_read = left;
                // What cannot be read has no tag.
                entry.tag().ok().flatten()
            }
            None => None,
        };
        Facts {
            is_directory: entry.is_directory(),
            size: entry.size(),
            modified: entry.modified(),
            created: entry.created(),
            path,
            tag,
        }
    }

    fn wants_tags(&self) -> bool {
        match &self.wanted {
            Wanted::All(_) => true,
            Wanted::Names => false,
            Wanted::These(names) => {
                names.iter().any(|name| LiveProperty::of(name) == Some(LiveProperty::Tag))
            }
        }
    }

    /// Looks up what is said of these.
    fn gather(&mut self, batch: Vec<Facts>) -> Result<(), DavError> {
        let paths: Vec<_> = batch.iter().map(|facts| facts.path.path()).collect();
        let dead = self.asking.place.properties.of(&paths)?;
        self.pending.extend(batch.into_iter().zip(dead));
        Ok(())
    }

    /// Writes the response for the next one that was looked at; whether there was one.
    fn write(&mut self, out: &mut String) -> Result<bool, DavError> {
        let Some((facts, dead)) = self.pending.pop_front() else { return Ok(false) };
        out.push_str("<D:response>");
        element(out, "href", &self.asking.mount.href(&facts.path));
        self.write_properties(out, &facts, &dead)?;
        out.push_str("</D:response>\n");
        Ok(true)
    }

    fn write_properties(
        &mut self,
        out: &mut String,
        facts: &Facts,
        dead: &[DeadProperty],
    ) -> Result<(), DavError> {
        let is_dead = |name: &XmlName| dead.iter().any(|property| property.name == *name);
        let mut found = String::new();
        let mut missing = String::new();
        let wanted = std::mem::replace(&mut self.wanted, Wanted::Names);
        match &wanted {
            Wanted::Names => {
                for (local, property) in LiveProperty::ALL {
                    if !is_dead(&dav(local)) && applies(property, facts) {
                        let _written = write!(found, "<D:{local}/>");
                    }
                }
                for property in dead {
                    write_empty(&mut found, &property.name);
                }
            }
            Wanted::All(more) => {
                for (local, property) in LiveProperty::ALL {
                    if !property.is_asked_for() && !is_dead(&dav(local)) {
                        self.write_live(&mut found, property, facts)?;
                    }
                }
                for property in dead {
                    found.push_str(&property.value);
                }
                for name in more {
                    match LiveProperty::of(name) {
                        Some(property) if property.is_asked_for() => {
                            self.write_live(&mut found, property, facts)?;
                        }
                        Some(_) => {}
                        None if is_dead(name) => {}
                        None => write_empty(&mut missing, name),
                    }
                }
            }
            Wanted::These(names) => {
                for name in names {
                    if let Some(property) = dead.iter().find(|property| property.name == *name) {
                        found.push_str(&property.value);
                        continue;
                    }
                    let is_written = match LiveProperty::of(name) {
                        Some(property) => self.write_live(&mut found, property, facts)?,
                        None => false,
                    };
                    if !is_written {
                        write_empty(&mut missing, name);
                    }
                }
            }
        }
        self.wanted = wanted;
        if !found.is_empty() || missing.is_empty() {
            propstat(out, &found, StatusCode::OK, "");
        }
        if !missing.is_empty() {
            propstat(out, &missing, StatusCode::NOT_FOUND, "");
        }
        Ok(())
    }

    /// Writes a property, if the thing has it.
    fn write_live(
        &mut self,
        out: &mut String,
        property: LiveProperty,
        facts: &Facts,
    ) -> Result<bool, DavError> {
        if !applies(property, facts) {
            return Ok(false);
        }
        let number = |out: &mut String, local: &str, number: u64| element(out, local, &number.to_string());
        match property {
            LiveProperty::CreationDate => {
                let Some(created) = facts.created.and_then(iso) else { return Ok(false) };
                element(out, "creationdate", &created);
            }
            LiveProperty::DisplayName => element(out, "displayname", facts.path.split().1),
            LiveProperty::ContentLength => number(out, "getcontentlength", facts.size),
            LiveProperty::ContentType => {
                let content_type = content_type(facts.path.path().as_bytes());
                element(out, "getcontenttype", content_type.to_str().unwrap_or_default());
            }
            LiveProperty::Tag => {
                let Some(tag) = facts.tag.as_ref().and_then(|tag| tag.to_str().ok()) else {
                    return Ok(false);
                };
                element(out, "getetag", tag);
            }
            LiveProperty::LastModified => {
                let Some(modified) = facts.modified else { return Ok(false) };
                let Some(modified) = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(modified)) else {
                    return Ok(false);
                };
                element(out, "getlastmodified", &httpdate::fmt_http_date(modified));
            }
            LiveProperty::LockDiscovery => {
                let locks = self.asking.place.locks.lock();
                let now = Instant::now();
                lock_discovery(out, &self.asking.mount, locks.covering(facts.path.path(), now), now);
            }
            LiveProperty::ResourceType if facts.is_directory => {
                out.push_str("<D:resourcetype><D:collection/></D:resourcetype>");
            }
            LiveProperty::ResourceType => out.push_str("<D:resourcetype/>"),
            LiveProperty::SupportedLock => out.push_str(SUPPORTED_LOCK),
            LiveProperty::QuotaAvailable => number(out, "quota-available-bytes", self.room()?.available),
            LiveProperty::QuotaUsed => number(out, "quota-used-bytes", self.room()?.used),
        }
        Ok(true)
    }

    fn room(&mut self) -> Result<Room, DavError> {
        if let Some(room) = self.room {
            return Ok(room);
        }
        let room = self.asking.place.store.room(&self.asking.options(&self.asking.path))?;
        Ok(*self.room.insert(room))
    }
}

const SUPPORTED_LOCK: &str = "<D:supportedlock>\
    <D:lockentry><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>\
    <D:lockentry><D:lockscope><D:shared/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>\
    </D:supportedlock>";

/// Whether a file, or a directory, has it.
fn applies(property: LiveProperty, facts: &Facts) -> bool {
    match property {
        LiveProperty::ContentLength | LiveProperty::ContentType | LiveProperty::Tag => !facts.is_directory,
        LiveProperty::QuotaAvailable | LiveProperty::QuotaUsed => facts.is_directory,
        _ => true,
    }
}

fn dav(local: &str) -> XmlName {
    XmlName { namespace: DAV.to_owned(), local: local.to_owned() }
}

/// Writes an element without content.
pub(crate) fn write_empty(out: &mut String, name: &XmlName) {
    if name.namespace == DAV {
        let _written = write!(out, "<D:{}/>", name.local);
        return;
    }
    let _written = write!(out, "<{} xmlns=\"", name.local);
    escape(out, &name.namespace);
    out.push_str("\"/>");
}

/// Writes properties that have a status.
pub(crate) fn propstat(out: &mut String, properties: &str, status: StatusCode, error: &str) {
    let _written = write!(out, "<D:propstat><D:prop>{properties}</D:prop>");
    answer::status(out, status);
    let _written = write!(out, "{error}</D:propstat>");
}

/// A time as `creationdate` has it.
fn iso(seconds: u64) -> Option<String> {
    let time = jiff::Timestamp::from_second(seconds.try_into().ok()?).ok()?;
    Some(time.to_string())
}

/// The answer for a file that is not there, and is said to be, with nothing in it.
pub(crate) fn of_empty_file(href: &str) -> Response {
    let mut out = "<D:response>".to_owned();
    element(&mut out, "href", href);
    propstat(&mut out, "<D:resourcetype/><D:getcontentlength>0</D:getcontentlength>", StatusCode::OK, "");
    out.push_str("</D:response>\n");
    answer::multistatus(&out).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_is_not_the_clients_to_say() {
        assert!(is_protected(&dav("getetag")) && is_protected(&dav("resourcetype")));
        assert!(!is_protected(&dav("displayname")) && !is_protected(&dav("other")));
        assert!(!is_protected(&XmlName { namespace: "n".to_owned(), local: "getetag".to_owned() }));
    }

    #[test]
    fn a_time_is_told_in_utc() {
        assert_eq!(iso(1_764_590_809).as_deref(), Some("2025-12-01T12:06:49Z"));
    }

    #[test]
    fn an_element_without_namespace_has_none() {
        let mut out = String::new();
        write_empty(&mut out, &dav("a"));
        write_empty(&mut out, &XmlName { namespace: String::new(), local: "b".to_owned() });
        write_empty(&mut out, &XmlName { namespace: "\"&".to_owned(), local: "c".to_owned() });
        assert_eq!(out, "<D:a/><b xmlns=\"\"/><c xmlns=\"&quot;&amp;\"/>");
    }
}
