//! One state of one file, with the response fields that describe it made ready.
//!
//! **Invariant:** an [`Entity`] never changes. What a file becomes later is another entity with another entity tag, so a
//! response never mixes the fields of one state with the content of another.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderValue;
use medusa_net::descriptors::SharedFile;
use medusa_proto::coding::Coding;

use crate::body::Body;
use crate::file_body::FileBody;
use crate::store::FileStamp;

/// The content of an entity, by where it is.
#[derive(Debug)]
pub(super) enum Content {
    /// In memory.
    Bytes(Bytes),
    /// In an open file.
    File(SharedFile),
}

/// Fields that describe content beside its stamp.
#[derive(Debug, Clone)]
pub(super) struct Metadata {
    pub(super) content_type: HeaderValue,
    pub(super) cache_control: Option<HeaderValue>,
    /// The coding of the content, if it has one.
    pub(super) coding: Option<Coding>,
    pub(super) trust: Trust,
}

/// The origin of content, which says what a browser may do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// The site's own.
    Ours,
    /// A stranger's, of a type that can be shown and does nothing.
    Shown,
    /// A stranger's: to be saved, never to be a page, a script or a style of the site.
    Saved,
}

/// One state of one file, or of what was made of it.
#[derive(Debug)]
pub(super) struct Entity {
    /// `None` if the file may have changed without a trace since: then it must be read anew.
    pub(super) stamp: Option<FileStamp>,
    pub(super) content: Content,
    pub(super) len: u64,
    pub(super) metadata: Metadata,
    pub(super) content_length: HeaderValue,
    pub(super) etag: HeaderValue,
    /// The date as a field has it, and in seconds since 1970.
    pub(super) last_modified: Option<(HeaderValue, u64)>,
}

impl Entity {
    /// `now` is the time just before the content was read; `is_whole` tells whether it was read while nothing changed.
    pub(super) fn new(
        stamp: FileStamp,
        (content, etag): (Content, HeaderValue),
        metadata: Metadata,
        now: SystemTime,
        is_whole: bool,
    ) -> Self {
        let len = match &content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File(_) => stamp.size(),
        };
        let stamp_is_sure = is_whole && stamp.is_settled(now);
        Self {
            stamp: stamp_is_sure.then_some(stamp),
            content,
            len,
            metadata,
            content_length: len.into(),
            etag,
            last_modified: stamp.modified(now).and_then(last_modified),
        }
    }

    /// The same, encoded by us. Its tag is weak: the next version of an encoder may make other bytes of the same file, so
    /// parts of two answers must not be put together ([RFC 9110 §8.8.1](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.1)).
    pub(super) fn encoded(&self, coding: Coding, content: Bytes) -> Self {
        let plain = self.etag.as_bytes();
        let opaque = plain.strip_prefix(b"W/").unwrap_or(plain).strip_suffix(b"\"").unwrap_or(plain);
        let tag = [b"W/", opaque, b"-", coding.name().as_bytes(), b"\""].concat();
        let len = content.len() as u64;
        Self {
            stamp: None,
            content: Content::Bytes(content),
            len,
            metadata: Metadata { coding: Some(coding), ..self.metadata.clone() },
            content_length: len.into(),
            etag: HeaderValue::from_bytes(&tag).unwrap_or(const { HeaderValue::from_static("W/\"0\"") }),
            last_modified: self.last_modified.clone(),
        }
    }

    /// Whether parts of it can be asked for. Not of what is encoded and may have other bytes the next time, even though
    /// its file is the same.
    pub(super) fn is_exact(&self) -> bool {
        self.etag.as_bytes().starts_with(b"\"") || self.metadata.coding.is_none()
    }

    /// The content from `start` on, `len` bytes.
    pub(super) fn body(&self, start: u64, len: u64) -> Body {
        match &self.content {
            Content::File(file) => Body::File(FileBody::new(Arc::clone(file), start, len)),
            Content::Bytes(bytes) => {
                // Within the bounds of memory that is there; the caller gives a range within `self.len`.
                let (start, end) = (start as usize, (start + len) as usize);
                bytes.slice(start.min(bytes.len())..end.min(bytes.len())).into()
            }
        }
    }
}

fn last_modified(modified: SystemTime) -> Option<(HeaderValue, u64)> {
    let seconds = modified.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    Some((HeaderValue::from_str(&httpdate::fmt_http_date(modified)).ok()?, seconds))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn stamp(modified: i64, changed: i64) -> FileStamp {
        FileStamp::of_times((modified, 5), (changed, 0), 4)
    }

    fn entity(stamp: FileStamp, now: u64) -> Entity {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
        let metadata = Metadata {
            content_type: HeaderValue::from_static("a/b"),
            cache_control: None,
            coding: None,
            trust: Trust::Ours,
        };
        let content = (Content::Bytes("four".into()), HeaderValue::from_static("\"tag\""));
        Entity::new(stamp, content, metadata, now, true)
    }

    #[test]
    fn the_fields_are_made_of_the_stamp() {
        let entity = entity(stamp(1_000_000_000, 1_000_000_001), 2_000_000_000);
        let (date, seconds) = entity.last_modified.unwrap();
        assert_eq!((date.to_str().unwrap(), seconds), ("Sun, 09 Sep 2001 01:46:40 GMT", 1_000_000_000));
        assert_eq!(entity.content_length, "4");
        assert_eq!(entity.stamp, Some(stamp(1_000_000_000, 1_000_000_001)));
    }

    #[test]
    fn a_file_that_changed_just_now_is_read_anew() {
        assert_eq!(entity(stamp(50, 100), 100).stamp, None);
    }

    #[test]
    fn a_date_in_the_future_or_before_1970_is_not_told() {
        assert!(entity(stamp(200, 50), 100).last_modified.is_none());
        assert!(entity(stamp(-5, 50), 100).last_modified.is_none());
        assert!(entity(stamp(i64::MAX, 50), 100).last_modified.is_none());
        assert!(entity(stamp(99, 50), 100).last_modified.is_some());
    }

    #[test]
    fn what_is_encoded_has_a_tag_of_its_own() {
        let plain = entity(stamp(1, 2), 100);
        let encoded = plain.encoded(Coding::Gzip, "zip".into());
        assert_eq!(encoded.etag, "W/\"tag-gzip\"");
        assert_eq!((encoded.len, encoded.metadata.coding), (3, Some(Coding::Gzip)));
        assert!(plain.is_exact() && !encoded.is_exact());
    }

    #[test]
    fn a_slice_stays_within_the_content() {
        let entity = entity(stamp(1, 2), 100);
        assert_eq!(entity.body(1, 2).len(), Some(2));
        assert_eq!(entity.body(3, 9).len(), Some(1));
    }
}
