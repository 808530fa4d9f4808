//! LOCK and UNLOCK ([RFC 4918 §9.10](https://www.rfc-editor.org/rfc/rfc4918#section-9.10), §9.11).

use std::fmt::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, StatusCode};
use medusa_http::store::{Entry, StoreError, on_pool};
use medusa_http::{HandlerError, Response};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::answer::{self, Answer, LOCK_TOKEN, MountPath, element};
use crate::asking::{Asking, Depth, Reach, text};
use crate::elements::LockInfo;
use crate::error::DavError;
use crate::locks::{Lock, LockRefusal};

const TIMEOUT: HeaderName = HeaderName::from_static("timeout");

/// The longest time of a lock: its client can refresh it.
const LONGEST: Duration = Duration::from_hours(1);
/// The time of one whose client does not say.
const UNSAID: Duration = Duration::from_mins(10);

/// Locks what is at a path, which is made where nothing is; or, without a body, has a lock last longer.
pub(crate) async fn lock(asking: Arc<Asking>, document: Bytes) -> Result<Response, DavError> {
    let timeout = timeout(&asking)?;
    if document.is_empty() {
        return Ok(on_pool(move || refresh(&asking, timeout)).await??.into());
    }
    let info = LockInfo::parse(&document)?;
    let is_deep = match asking.depth()? {
        None | Some(Depth::Infinity) => true,
        Some(Depth::Zero) => false,
        Some(Depth::One) => {
            return Err(DavError::client(StatusCode::BAD_REQUEST, "LOCK has a `Depth` of 0 or infinity"));
        }
    };
    let info = Arc::new(info);
    loop {
        let mut changed = pin!(asking.place.changed.notified());
        changed.as_mut().enable();
        let (of, info) = (Arc::clone(&asking), Arc::clone(&info));
        match on_pool(move || take(&of, &info, is_deep, timeout)).await?? {
            Some(answer) => return Ok(answer.into()),
            // Who began to change it before is done soon, or `limits.handler` ends this.
            None => changed.await,
        }
    }
}

/// Takes a lock; `None` while what it would be on is being changed.
fn take(
    asking: &Asking,
    info: &LockInfo,
    is_deep: bool,
    timeout: Duration,
) -> Result<Option<Answer>, DavError> {
    asking.conditions()?;
    let entry = asking.find()?;
    asking.preconditions(entry.as_ref())?;
    let now = Instant::now();
    let lock = Lock {
        token: token()?,
        path: asking.path.path().to_owned(),
        is_deep,
        is_directory: entry.as_ref().is_some_and(Entry::is_directory),
        is_exclusive: info.is_exclusive,
        owner: info.owner.clone(),
        holder: asking.holder.clone(),
        timeout,
        expires: now + timeout,
    };
    let (token, path) = (lock.token.clone(), lock.path.clone());
    let body = discovery(asking, &lock, now);
    {
        let mut locks = asking.place.locks.lock();
        let added = locks.check(&lock, now).map_err(|refusal| refused(asking, refusal));
        match added {
            Err(None) => return Ok(None),
            Err(Some(error)) => return Err(error),
            Ok(()) => {}
        }
        if entry.is_none() {
            asking.blocked(&locks, &asking.path, Reach { above: true, below: false })?;
        }
        if let Err(refusal) = locks.add(lock, now) {
            return refused(asking, refusal).map_or(Ok(None), Err);
        }
    }
    let mut status = StatusCode::OK;
    if entry.is_none() {
        match asking.place.store.create_empty(
            &asking.path,
            asking.holder.client,
            &asking.options(&asking.path),
        ) {
            Ok(()) => {
                status = StatusCode::CREATED;
                asking.place.properties.remove(&path)?;
            }
            // Somebody was faster.
            Err(StoreError::Exists) => {}
            Err(error) => {
                asking.place.locks.lock().remove(&token, &path);
                return Err(error.into());
            }
        }
    }
    Ok(Some(Answer::xml(status, body).with_lock(&token)))
}

/// The answer to that; none if it is worth another try.
fn refused(asking: &Asking, refusal: LockRefusal) -> Option<DavError> {
    Some(match refusal {
        LockRefusal::Covered { path, is_directory } => DavError::Precondition {
            status: StatusCode::LOCKED,
            code: "no-conflicting-lock",
            href: Some(asking.mount.href_of(&path, is_directory)),
        },
        LockRefusal::Below { path, is_directory } => {
            let mut out = String::new();
            answer::failure(&mut out, &asking.mount.href_of(&path, is_directory), StatusCode::LOCKED);
            answer::failure(&mut out, &asking.mount.href(&asking.path), StatusCode::FAILED_DEPENDENCY);
            DavError::Parts(out)
        }
        LockRefusal::Busy => return None,
        LockRefusal::TooMany => {
            DavError::client(StatusCode::INSUFFICIENT_STORAGE, "there are as many locks as there may be")
        }
    })
}

fn refresh(asking: &Asking, timeout: Duration) -> Result<Answer, DavError> {
    if asking.tokens().next().is_none() {
        return Err(DavError::client(
            StatusCode::BAD_REQUEST,
            "LOCK has a body that says which lock, or `If` with the token of one that is to last longer",
        ));
    }
    asking.conditions()?;
    let now = Instant::now();
    let mut locks = asking.place.locks.lock();
    let refreshed = asking
        .tokens()
        .find_map(|token| locks.refresh(token, asking.path.path(), &asking.holder, (timeout, now)));
    drop(locks);
    match refreshed {
        Some(lock) => Ok(Answer::xml(StatusCode::OK, discovery(asking, &lock, now))),
        None => Err(DavError::Precondition {
            status: StatusCode::PRECONDITION_FAILED,
            code: "lock-token-matches-request-uri",
            href: None,
        }),
    }
}

/// The document that tells of a lock.
fn discovery(asking: &Asking, lock: &Lock, now: Instant) -> String {
    let mut body = format!("{}<D:prop xmlns:D=\"DAV:\">", answer::DECLARATION);
    lock_discovery(&mut body, &asking.mount, std::iter::once(lock), now);
    body.push_str("</D:prop>\n");
    body
}

/// Takes a lock away.
pub(crate) async fn unlock(asking: Arc<Asking>) -> Result<Response, DavError> {
    let Some(token) = text(&asking.head.headers, &LOCK_TOKEN)? else {
        return Err(DavError::client(StatusCode::BAD_REQUEST, "`Lock-Token` is missing"));
    };
    let answer = on_pool(move || {
        asking.conditions()?;
        let token = token.trim();
        // Explorer sends it without brackets.
        let token = token.strip_prefix('<').and_then(|token| token.strip_suffix('>')).unwrap_or(token);
        let mut locks = asking.place.locks.lock();
        let found = locks.covering(asking.path.path(), Instant::now()).find(|lock| lock.token == token);
        let Some(lock) = found else {
            return Err(DavError::Precondition {
                status: StatusCode::CONFLICT,
                code: "lock-token-matches-request-uri",
                href: None,
            });
        };
        if !lock.holder.may_be(&asking.holder) {
            return Err(DavError::client(StatusCode::FORBIDDEN, "the lock is another user's"));
        }
        let path = lock.path.clone();
        locks.remove(token, &path);
        Ok(Answer::status(StatusCode::NO_CONTENT))
    });
    Ok(answer.await??.into())
}

/// Writes the locks of something.
pub(crate) fn lock_discovery<'l>(
    out: &mut String,
    mount: &MountPath,
    locks: impl Iterator<Item = &'l Lock>,
    now: Instant,
) {
    out.push_str("<D:lockdiscovery>");
    for lock in locks {
        let scope = if lock.is_exclusive { "exclusive" } else { "shared" };
        let depth = if lock.is_deep { "infinity" } else { "0" };
        let _written = write!(
            out,
            "<D:activelock><D:locktype><D:write/></D:locktype><D:lockscope><D:{scope}/></D:lockscope><D:depth>{depth}</D:depth>"
        );
        if !lock.owner.is_empty() {
            let _written = write!(out, "<D:owner>{}</D:owner>", lock.owner);
        }
        let left = lock.expires.saturating_duration_since(now).as_secs();
        let _written = write!(out, "<D:timeout>Second-{left}</D:timeout><D:locktoken>");
        element(out, "href", &lock.token);
        out.push_str("</D:locktoken><D:lockroot>");
        element(out, "href", &mount.href_of(&lock.path, lock.is_directory));
        out.push_str("</D:lockroot></D:activelock>");
    }
    out.push_str("</D:lockdiscovery>");
}

/// The time that a client asks for, as far as it may have it: the first of those it names that is understood.
fn timeout(asking: &Asking) -> Result<Duration, DavError> {
    let asked = text(&asking.head.headers, &TIMEOUT)?.unwrap_or_default();
    Ok(asked.split(',').find_map(|one| seconds(one.trim())).unwrap_or(UNSAID))
}

fn seconds(text: &str) -> Option<Duration> {
    if text.eq_ignore_ascii_case("infinite") {
        return Some(LONGEST);
    }
    let (unit, number) = text.split_once('-')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if !unit.eq_ignore_ascii_case("second") || !is_number {
        return None;
    }
    let seconds = number.parse().unwrap_or(u64::MAX).max(1);
    Some(Duration::from_secs(seconds).min(LONGEST))
}

/// A new token: a random UUID.
fn token() -> Result<String, HandlerError> {
    let mut random = [0; 16];
    let filled = getrandom(&mut random, GetRandomFlags::empty());
    if filled.map_err(|errno| HandlerError::internal(std::io::Error::from(errno)))? < random.len() {
        return Err(HandlerError::internal("the system has no random numbers"));
    }
    let number = u128::from_be_bytes(random);
    // Version 4, variant 1 (RFC 9562 §5.4).
    let number = (number & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{number:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    Ok(format!("urn:uuid:{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_bounded() {
        for (text, expected) in [
            ("Second-60", Some(60)),
            ("second-0", Some(1)),
            ("Infinite", Some(3600)),
            ("Second-4100000000", Some(3600)),
            ("Second-99999999999999999999999", Some(3600)),
            ("Second-", None),
            ("Second--1", None),
            ("Minute-1", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn a_token_is_a_random_uuid() {
        let token = token().unwrap();
        let parts: Vec<_> = token.strip_prefix("urn:uuid:").expect("a URN").split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']), "{token}");
        assert_ne!(token, self::token().unwrap());
    }
}
