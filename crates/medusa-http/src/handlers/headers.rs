//! Changes the fields of what another handler answers.
//!
//! Whatever the status, as nginx's `add_header ... always`, also of a page that the server sends because the handler has failed.
//! First some are removed, then some set, in place of what the handler says, then some added, beside it.
//!
//! **Invariant:** what frames a response, and what the server writes into each, is not the author's to change: a
//! [`Changes`] has no such field.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use medusa_proto::hex;
use medusa_proto::status::Status;

use crate::handler::{Handler, HandlerFuture, OverdueFuture};
use crate::pass::answer;
use crate::request::{Head, Request};
use crate::response::Response;

/// Changes that a wrapper makes to the fields of a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    removed: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
    added: Vec<(HeaderName, HeaderValue)>,
}

/// The reason why a field cannot be changed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChangeError {
    /// Not the name of a field.
    #[error("{0:?} is not the name of a field")]
    Name(String),
    /// Framing, or written by the server.
    #[error("`{0}` is the server's to write")]
    Ours(HeaderName),
    /// No text of one line.
    #[error("the value of `{0}` cannot be sent; give one line of text")]
    Value(HeaderName),
    /// One would take the other's place.
    #[error("`{0}` is set twice")]
    Twice(HeaderName),
    /// They are in every response.
    #[error("there are more than {MOST} changes")]
    TooMany,
    /// The same.
    #[error("the fields are longer than {} KiB together", MOST_BYTES >> 10)]
    TooLong,
}

/// The most changes of one wrapper, and the most bytes of what it sets and adds: they are in every response.
pub const MOST: usize = 64;
const MOST_BYTES: usize = 16 * 1024;

/// Fields of the connection or the framing ([RFC 9110 §7.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1)), and
/// those that the server writes into every response.
const OURS: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::DATE,
    header::SERVER,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
/// The same, without a constant.
const OURS_BY_NAME: [&str; 2] = ["keep-alive", "proxy-connection"];

impl Changes {
    /// Removes a field.
    ///
    /// # Errors
    ///
    /// See [`ChangeError`].
    pub fn remove(&mut self, name: &[u8]) -> Result<(), ChangeError> {
        let name = name_of(name)?;
        self.removed.push(name);
        self.check()
    }

    /// Sets a field, in place of all of that name.
    ///
    /// # Errors
    ///
    /// See [`ChangeError`].
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), ChangeError> {
        let (name, value) = field(name, value)?;
        if self.set.iter().any(|(known, _)| *known == name) {
            return Err(ChangeError::Twice(name));
        }
        self.set.push((name, value));
        self.check()
    }

    /// Adds a field beside those of that name.
    ///
    /// # Errors
    ///
    /// See [`ChangeError`].
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), ChangeError> {
        self.added.push(field(name, value)?);
        self.check()
    }

    /// Sorts them by name, those of one name as they came: the same changes are equal, whoever lists them.
    pub fn sort(&mut self) {
        self.removed.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        for fields in [&mut self.set, &mut self.added] {
            fields.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        }
    }

    /// The same text for the same changes, and another for others.
    pub fn key(&self) -> String {
        let field =
            |(name, value): &(HeaderName, HeaderValue)| format!("{name}:{}", hex::lower(value.as_bytes()));
        let fields = |fields: &[_]| fields.iter().map(field).collect::<Vec<_>>().join(";");
        format!("{:?}\0{}\0{}", self.removed, fields(&self.set), fields(&self.added))
    }

    fn check(&self) -> Result<(), ChangeError> {
        if self.removed.len() + self.set.len() + self.added.len() > MOST {
            return Err(ChangeError::TooMany);
        }
        let fields = self.set.iter().chain(&self.added);
        let bytes: usize = fields.map(|(name, value)| name.as_str().len() + value.len()).sum();
        if bytes > MOST_BYTES { Err(ChangeError::TooLong) } else { Ok(()) }
    }

    fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.removed {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.added {
            // There is room: an answer has far fewer fields than fit.
            let _full = headers.try_append(name.clone(), value.clone());
        }
    }

    /// The changes, for the status: `-server-timing =cache-control +link`.
    fn shown(&self) -> String {
        let removed = self.removed.iter().map(|name| format!("-{name}"));
        let set = self.set.iter().map(|(name, _)| format!("={name}"));
        let added = self.added.iter().map(|(name, _)| format!("+{name}"));
        removed.chain(set).chain(added).collect::<Vec<_>>().join(" ")
    }
}

/// The name of a field that may be changed on its way through a server.
///
/// # Errors
///
/// It is no name, or one of the framing or the connection.
pub fn name_of(name: &[u8]) -> Result<HeaderName, ChangeError> {
    let parsed = HeaderName::from_bytes(name);
    let parsed = parsed.map_err(|_invalid| ChangeError::Name(String::from_utf8_lossy(name).into_owned()))?;
    if OURS.contains(&parsed) || OURS_BY_NAME.contains(&parsed.as_str()) {
        return Err(ChangeError::Ours(parsed));
    }
    Ok(parsed)
}

fn field(name: &[u8], value: &[u8]) -> Result<(HeaderName, HeaderValue), ChangeError> {
    let name = name_of(name)?;
    match HeaderValue::from_bytes(value) {
        Ok(value) => Ok((name, value)),
        Err(_invalid) => Err(ChangeError::Value(name)),
    }
}

/// A wrapper that changes the fields of what the handler in it answers.
#[derive(Debug)]
pub struct Headers {
    inner: Arc<dyn Handler>,
    changes: Changes,
}

impl Headers {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Handler>, changes: Changes) -> Self {
        Self { inner, changes }
    }

    fn changed(&self, mut response: Response) -> Response {
        self.changes.apply(&mut response.headers);
        response
    }
}

impl Handler for Headers {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(async move { Ok(self.changed(answer(&self.inner, request).await)) })
    }

    fn overdue<'a>(&'a self, head: &'a Arc<Head>, page: Response) -> OverdueFuture<'a> {
        Box::pin(async move { self.changed(self.inner.overdue(head, page).await) })
    }

    fn inner(&self) -> &[Arc<dyn Handler>] {
        std::slice::from_ref(&self.inner)
    }

    fn around(&self, inner: Arc<dyn Handler>) -> Option<Arc<dyn Handler>> {
        Some(Arc::new(Self::new(inner, self.changes.clone())))
    }

    fn status(&self) -> Status {
        Status::new("handler.headers", self.changes.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_removed_some_set_and_some_added() {
        let mut changes = Changes::default();
        changes.add(b"Link", b"</b>").expect("a field");
        changes.set(b"Cache-Control", b"no-store").expect("a field");
        changes.remove(b"X-Powered-By").expect("a name");
        let given =
            [("cache-control", "max-age=1"), ("x-powered-by", "x"), ("link", "</a>"), ("etag", "\"e\"")];
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.insert(name, HeaderValue::from_static(value));
        }
        changes.apply(&mut headers);
        let mut all: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
            .collect();
        all.sort();
        assert_eq!(all, ["cache-control: no-store", "etag: \"e\"", "link: </a>", "link: </b>"]);
        assert_eq!(changes.shown(), "-x-powered-by =cache-control +link");
    }

    #[test]
    fn what_is_removed_can_be_set() {
        let mut changes = Changes::default();
        changes.set(b"link", b"</b>").expect("a field");
        changes.remove(b"link").expect("a name");
        let mut headers = HeaderMap::new();
        headers.insert(header::LINK, HeaderValue::from_static("</a>"));
        changes.apply(&mut headers);
        assert_eq!(headers[header::LINK], "</b>");
    }

    #[test]
    fn what_is_the_servers_or_cannot_be_sent_is_refused() {
        let mut changes = Changes::default();
        for ours in ["Content-Length", "connection", "Keep-Alive", "transfer-encoding", "date", "server"] {
            assert!(matches!(changes.set(ours.as_bytes(), b"1"), Err(ChangeError::Ours(_))), "{ours}");
            assert!(matches!(changes.remove(ours.as_bytes()), Err(ChangeError::Ours(_))), "{ours}");
        }
        changes.set(b"x-a", b"1").expect("a field");
        assert!(matches!(changes.set(b"X-A", b"2"), Err(ChangeError::Twice(_))));
        assert_eq!(changes.add(b"a b", b"1"), Err(ChangeError::Name("a b".to_owned())));
        assert!(matches!(changes.add(b"a", b"1\r\nb: 2"), Err(ChangeError::Value(_))));
        assert_eq!(changes.set(b"a", &[b'v'; MOST_BYTES]), Err(ChangeError::TooLong));
        let mut changes = Changes::default();
        let last = (0..=MOST).map(|_| changes.add(b"a", b"1")).last();
        assert_eq!(last, Some(Err(ChangeError::TooMany)));
    }

    #[test]
    fn the_order_of_a_table_does_not_matter() {
        let changes = |names: [&str; 2]| {
            let mut changes = Changes::default();
            for name in names {
                changes.set(name.as_bytes(), b"1").expect("a field");
                changes.remove(name.as_bytes()).expect("a name");
            }
            changes.sort();
            changes
        };
        assert_eq!(changes(["a", "b"]), changes(["b", "a"]));
    }
}
