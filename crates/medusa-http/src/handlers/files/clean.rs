//! Clean URLs: pages without `.html` in their addresses.
//!
//! `/about` is answered with the file `about`, else with `about.html`, else as the directory `about/`. That a page has
//! one address only, its longer ones redirect to the shortest: `/about.html` to `/about`, `/index.html` to `/`.
//!
//! **Invariant:** a redirect goes only to an address that is answered with that very page. Otherwise two could point to
//! each other for ever.

use std::io;

use crate::store::{OpenedPath, RootDirectory};

const HTML: &[u8] = b".html";

/// The path of the page that `path` is short for.
pub(super) fn page(path: &[u8]) -> Vec<u8> {
    [path, HTML].concat()
}

/// The shorter path by which the file at `path` is served, if there is one; a directory's is that of its file of one of the
/// names in `index`.
pub(super) fn shorter(root: &RootDirectory, index: &[String], path: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let at = memchr::memrchr(b'/', path).map_or(0, |slash| slash + 1);
    let (directory, name) = path.split_at(at);
    if index.iter().any(|index| index.as_bytes() == name)
        && root.index(directory, index)?.is_some_and(|(index, _)| index == path)
    {
        return Ok(Some(directory.to_owned()));
    }
    let Some(stem) = name.strip_suffix(HTML).filter(|stem| !stem.is_empty()) else { return Ok(None) };
    let short = [directory, stem].concat();
    Ok(match root.look_up(&short)? {
        OpenedPath::File(..) | OpenedPath::Denied => None,
        OpenedPath::Directory(_) | OpenedPath::Nothing => Some(short),
    })
}
