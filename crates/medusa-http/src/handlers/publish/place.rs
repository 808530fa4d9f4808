//! Where a request leads: the file or directory below the mount, the way to others from there, and what is asked of it.

use std::borrow::Cow;

use medusa_proto::query;

use crate::handler::HandlerError;
use crate::handlers::put::page_path;
use crate::request::Head;
use crate::router::encode_segment;
use crate::store::PagePath;

/// The file or directory that a request leads to.
#[derive(Debug)]
pub(super) struct PagePlace {
    pub(super) path: PagePath,
    /// All of the path, decoded, with what stands before the mount.
    pub(super) whole: String,
    /// The beginning in it of what is below the mount.
    pub(super) tail: usize,
    /// The way to the mount: `./../`.
    up: String,
}

impl PagePlace {
    /// Reads it from a request.
    pub(super) fn of(head: &Head) -> Result<Self, HandlerError> {
        let path = page_path(head)?;
        let mount = head.path().strip_suffix(head.tail()).unwrap_or_default();
        let decoded = |raw: &str| String::from_utf8_lossy(&query::decode(raw.as_bytes())).into_owned();
        let mount = decoded(mount);
        let up = format!("./{}", "../".repeat(head.tail().matches('/').count()));
        Ok(Self { tail: mount.len(), whole: mount + &decoded(head.tail()), path, up })
    }

    /// Whether it is a directory.
    pub(super) fn is_directory(&self) -> bool {
        self.path.is_directory()
    }

    /// Whether it is what the mount stands for.
    pub(super) fn is_root(&self) -> bool {
        self.path.path().is_empty()
    }

    /// Its name; empty for the root.
    pub(super) fn name(&self) -> &str {
        self.path.split().1
    }

    /// The relative address of a path below the mount.
    pub(super) fn way_to(&self, path: &str) -> String {
        format!("{}{}", self.up, link(path))
    }

    /// The path of a name in it, as people write it; none that nothing may be published at.
    pub(super) fn join(&self, name: &str) -> Option<PagePath> {
        let path = self.path.path();
        PagePath::plain(&if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") })
    }
}

/// A path as a link has it.
pub(super) fn link(path: &str) -> String {
    path.split('/').map(|name| encode_segment(name.as_bytes()).to_string()).collect::<Vec<_>>().join("/")
}

/// What is asked of a file or directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageQuery<'h>(&'h str);

impl<'h> PageQuery<'h> {
    pub(super) fn of(head: &'h Head) -> Self {
        Self(head.uri.query().unwrap_or_default())
    }

    /// The name of the first parameter. All that mean anything here need no escaping.
    pub(super) fn action(self) -> &'h str {
        self.0.split(['&', '=']).next().unwrap_or_default()
    }

    /// The value of a parameter.
    pub(super) fn get(self, name: &str) -> Option<Cow<'h, str>> {
        Some(match query::first(self.0.as_bytes(), name.as_bytes())? {
            Cow::Borrowed(value) => String::from_utf8_lossy(value),
            Cow::Owned(value) => String::from_utf8_lossy(&value).into_owned().into(),
        })
    }
}
