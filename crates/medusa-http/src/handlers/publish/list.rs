//! The page of a directory: what is in it, and the forms to put more there; and what was removed from it.

use std::fmt::Write as _;

use super::Asked;
use super::assets::UPLOADER;
use super::frame::{Moment, Notice, begin, end, on_site, rename_and_delete};
use super::place::link;
use crate::escaped::Escaped;
use crate::handlers::files::FilesOptions;
use crate::handlers::files::listing::{HumanSize, Listing, View, table};
use crate::store::{OpenedPath, StoreError, Wait};

/// The form for uploads. What holds for files stands before them, as they are read in their order.
const UPLOAD: &str = "<form id=\"upload\" class=\"drop\" method=\"post\" enctype=\"multipart/form-data\" action=\"?upload\">\n\
    <label for=\"files\">Upload files</label>\n\
    <p id=\"hint\" hidden>Choose files, or drop files and folders here.</p>\n\
    <label class=\"check\"><input type=\"checkbox\" name=\"replace\" value=\"yes\"> Replace files of the same name; their versions are kept</label>\n\
    <input id=\"files\" type=\"file\" name=\"file\" multiple required>\n\
    <button>Upload</button>\n\
    </form>\n\
    <ul id=\"uploads\" class=\"uploads\" aria-label=\"Uploads\"></ul>\n";

const MAKE: &str = "<div class=\"side\"><details><summary>New file</summary><form method=\"get\">\n\
    <label>Name <input name=\"new\" required autocomplete=\"off\" autocapitalize=\"off\" spellcheck=\"false\" placeholder=\"page.html\"></label>\n\
    <button>Write it</button></form></details>\n\
    <details><summary>New folder</summary>\
    <form method=\"post\" enctype=\"multipart/form-data\" action=\"?folder\">\n\
    <label>Name <input name=\"name\" required autocomplete=\"off\" autocapitalize=\"off\" spellcheck=\"false\"></label>\n\
    <button>Make it</button></form></details></div>\n";

/// The page.
pub(super) fn page(asked: &Asked) -> Result<String, StoreError> {
    let place = &asked.place;
    let root = asked.store.root().enter(Wait::ForDisk)?.map_err(|_nothing| StoreError::Missing)?;
    let mut path = place.path.path().as_bytes().to_vec();
    if !path.is_empty() {
        path.push(b'/');
    }
    let found = match root.look_up(&path)? {
        OpenedPath::Directory(found) => found,
        OpenedPath::Denied => return Err(StoreError::Denied(std::io::ErrorKind::PermissionDenied.into())),
        OpenedPath::File(..) | OpenedPath::Nothing => return Err(StoreError::Missing),
    };
    let options = FilesOptions::default();
    let listing = Listing::read(&root, &path, found, &options)?;
    let view = View::of(&asked.head, &options);
    let mut page = begin(place, asked.user(), Notice::of(asked).as_ref(), Some(&UPLOADER));
    undo(&mut page, asked)?;
    page.push_str(UPLOAD);
    page.push_str(MAKE);
    table(&mut page, &listing.shown(&view), &view);
    page.push_str("<p class=\"ways\">");
    if let Some(site) = on_site(asked, place.path.path()) {
        let _infallible = write!(page, "<a href=\"{}\">See it on the site</a> ", Escaped(&site));
    }
    page.push_str("<a href=\"?deleted\">Deleted files</a></p>\n");
    if !place.is_root() {
        rename_and_delete(&mut page, asked);
    }
    Ok(end(page))
}

/// What was deleted just now can be brought back at once, if it is told truly.
fn undo(page: &mut String, asked: &Asked) -> Result<(), StoreError> {
    let query = asked.query();
    let Some(name) = query.get("removed").filter(|_| query.action() == "removed") else { return Ok(()) };
    let Some(path) = asked.place.join(&name) else { return Ok(()) };
    let is_gone = matches!(asked.store.content(&path), Err(StoreError::Missing));
    let latest = asked.store.versions(&path)?.into_iter().next();
    if let Some(version) = latest.filter(|_| is_gone) {
        let _infallible = write!(
            page,
            "<form class=\"notice\" role=\"status\" method=\"post\" enctype=\"multipart/form-data\" action=\"./{}?restore\">\n\
             <span><bdi>{}</bdi> is deleted.</span> <input type=\"hidden\" name=\"version\" value=\"{}\">\
             <button class=\"plain\">Bring it back</button></form>\n",
            link(&name),
            Escaped(&name),
            version.id
        );
    }
    Ok(())
}

/// The page of what was removed from a directory.
pub(super) fn removed(asked: &Asked) -> Result<String, StoreError> {
    let place = &asked.place;
    let mut page = begin(place, asked.user(), None, None);
    page.push_str("<h1>Deleted files</h1>\n");
    let names = asked.store.removed(&place.path)?;
    if names.is_empty() {
        page.push_str("<p>There are none of which a version is kept.</p>\n");
    } else {
        page.push_str("<ul class=\"versions\">\n");
    }
    for (name, version) in &names {
        let _infallible = writeln!(
            page,
            "<li><span><a href=\"./{link}?history\"><bdi>{}</bdi></a> {} · deleted {}</span>\
             <form method=\"post\" enctype=\"multipart/form-data\" action=\"./{link}?restore\">\
             <input type=\"hidden\" name=\"version\" value=\"{}\"><button class=\"plain\">Bring it back</button></form></li>",
            Escaped(name),
            HumanSize(version.size),
            Moment(version.replaced),
            version.id,
            link = link(name),
        );
    }
    if !names.is_empty() {
        page.push_str("</ul>\n");
    }
    page.push_str("<p class=\"ways\"><a href=\"./\">Back to the folder</a></p>\n");
    Ok(end(page))
}
