//! The page of a file's versions, and what differs between two of them.

use std::fmt::Write as _;
use std::time::SystemTime;

use super::frame::{Notice, begin, end, facts};
use super::text::{MAX_TEXT, Text};
use super::{Asked, diff as lines};
use crate::handlers::files::listing::HumanSize;
use crate::store::{FileStamp, StoreError, StoredContent, Version};

/// The page of the versions of a file, also of one that is not there any more.
pub(super) fn page(asked: &Asked) -> Result<String, StoreError> {
    let current = current(asked)?;
    let versions = asked.store.versions(&asked.place.path)?;
    if current.is_none() && versions.is_empty() {
        return Err(StoreError::Missing);
    }
    let mut page = begin(&asked.place, asked.user(), Notice::of(asked).as_ref(), None);
    page.push_str("<h1>History</h1>\n<ul class=\"versions\">\n");
    match &current {
        Some(content) => {
            page.push_str("<li><span><strong>Now</strong> ");
            facts_of(&mut page, content);
            page.push_str("</span><span class=\"ways\"><a href=\"?\">Open</a> <a href=\"?raw\" download>Download</a></span></li>\n");
        }
        None => page.push_str("<li><span><strong>Now</strong> it is deleted.</span></li>\n"),
    }
    let mut next: Option<&Version> = None;
    for version in &versions {
        let id = &version.id;
        page.push_str("<li><span>");
        facts(&mut page, version.size, version.modified, version.user.as_deref());
        page.push_str("</span><span class=\"ways\">");
        if current.is_some() {
            let _infallible = write!(page, "<a href=\"?diff={id}\">Compare with now</a> ");
        }
        if let Some(next) = next {
            let _infallible =
                write!(page, "<a href=\"?diff={id}&amp;to={}\">Compare with the next</a> ", next.id);
        }
        let _infallible = write!(page, "<a href=\"?raw={id}\" download>Download</a></span>");
        restore(&mut page, id);
        page.push_str("</li>\n");
        next = Some(version);
    }
    page.push_str("</ul>\n");
    if versions.is_empty() {
        page.push_str(
            "<p>There are no versions from before: one is kept when it is replaced or deleted.</p>\n",
        );
    }
    let back = if current.is_some() { ("?", "Back to the file") } else { ("./", "Back to the folder") };
    let _infallible = writeln!(page, "<p class=\"ways\"><a href=\"{}\">{}</a></p>", back.0, back.1);
    Ok(end(page))
}

/// The page of what differs between a version and a later one, or what is there.
pub(super) fn diff(asked: &Asked) -> Result<String, StoreError> {
    let (store, path, query) = (&asked.store, &asked.place.path, asked.query());
    let id = query.get("diff").unwrap_or_default();
    let old = store.version(path, &id)?;
    let to = query.get("to");
    let new = match &to {
        Some(id) => store.version(path, id)?,
        None => store.content(path)?,
    };
    let mut page = begin(&asked.place, asked.user(), None, None);
    page.push_str("<h1>What differs</h1>\n<p class=\"facts\">From ");
    facts_of(&mut page, &old);
    page.push_str(if to.is_some() { "<br>to " } else { "<br>to what is there now, " });
    facts_of(&mut page, &new);
    page.push_str("</p>\n");
    match (Text::read(&old)?, Text::read(&new)?) {
        (Some(old), Some(new)) => lines::show(&mut page, &old.text, &new.text),
        _ => {
            let _infallible = writeln!(
                page,
                "<p>They cannot be compared: one of them is no text, or longer than {}.</p>",
                HumanSize(MAX_TEXT)
            );
        }
    }
    restore(&mut page, &id);
    page.push_str("<p class=\"ways\"><a href=\"?history\">Back to the history</a></p>\n");
    Ok(end(page))
}

fn current(asked: &Asked) -> Result<Option<StoredContent>, StoreError> {
    match asked.store.content(&asked.place.path) {
        Ok(content) => Ok(Some(content)),
        // Somebody has made a directory of that name since.
        Err(StoreError::Missing | StoreError::Directory) => Ok(None),
        Err(error) => Err(error),
    }
}

fn facts_of(page: &mut String, content: &StoredContent) {
    let size = u64::try_from(content.stat.st_size).unwrap_or(0);
    let modified = FileStamp::from(&content.stat).modified(SystemTime::now());
    facts(page, size, modified.unwrap_or(SystemTime::UNIX_EPOCH), content.user.as_deref());
}

/// The form that publishes a version anew; `id` is one that there is.
fn restore(page: &mut String, id: &str) {
    let _infallible = write!(
        page,
        "<form method=\"post\" enctype=\"multipart/form-data\" action=\"?restore\">\
         <input type=\"hidden\" name=\"version\" value=\"{id}\"><button class=\"plain\">Restore</button></form>"
    );
}
