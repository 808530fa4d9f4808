//! The page of a file: text in an editor with a preview, an image as it looks, and of anything else what there is to know; and the file
//! itself.

use std::fmt::Write as _;
use std::time::SystemTime;

use http::header::{self, HeaderValue};
use medusa_net::descriptors::OpenFile;

use super::assets::EDITOR;
use super::frame::{Notice, begin, end, facts, on_site, rename_and_delete};
use super::place::link;
use super::text::{LineEnds, MAX_TEXT, Text, area};
use super::{Asked, NOSNIFF, NOTHING, diff, on_pool};
use crate::admission::holder;
use crate::body::Body;
use crate::escaped::Escaped;
use crate::file_body::FileBody;
use crate::handler::HandlerError;
use crate::handlers::files::listing::HumanSize;
use crate::handlers::files::mime;
use crate::response::Response;
use crate::store::{FileStamp, StoreError, StoredContent, tag};

/// The mark of an editor for what is not there yet.
pub(super) const NEW: &str = "new";

/// An editor: what is in it, and what it is to take the place of.
#[derive(Debug)]
struct Edited<'t> {
    text: &'t str,
    ends: LineEnds,
    /// The entity tag of what is there, or [`NEW`].
    replaces: String,
    /// Whether it is what is there.
    is_saved: bool,
}

/// The page.
pub(super) fn page(asked: &Asked) -> Result<String, StoreError> {
    let content = match asked.store.content(&asked.place.path) {
        Ok(content) => content,
        Err(StoreError::Missing) if asked.query().action() == "edit" => return Ok(new(asked)),
        Err(error) => return Err(error),
    };
    let mut page = begin(&asked.place, asked.user(), Notice::of(asked).as_ref(), Some(&EDITOR));
    about(&mut page, asked, &content)?;
    match Text::read(&content)? {
        Some(Text { text, ends }) => {
            editor(&mut page, asked, &Edited { text: &text, ends, replaces: tag_of(&text), is_saved: true });
        }
        None => look(&mut page, asked, &content),
    }
    rename_and_delete(&mut page, asked);
    Ok(end(page))
}

/// The editor of a file that is not there yet.
fn new(asked: &Asked) -> String {
    let mut page = begin(&asked.place, asked.user(), None, Some(&EDITOR));
    page.push_str("<p class=\"facts\">A new file. It is there once it is saved.</p>\n");
    editor(
        &mut page,
        asked,
        &Edited { text: "", ends: LineEnds::Lf, replaces: NEW.to_owned(), is_saved: false },
    );
    end(page)
}

/// The page of one who has edited what another has changed, or removed, meanwhile: both, to decide.
pub(super) fn conflict(asked: &Asked, mine: &str, ends: LineEnds) -> Result<String, StoreError> {
    let content = match asked.store.content(&asked.place.path) {
        Ok(content) => Some(content),
        Err(StoreError::Missing) => None,
        Err(error) => return Err(error),
    };
    let told = match &content {
        Some(_) => "Nothing is saved yet: the file has been changed since you opened it.",
        None => {
            "Nothing is saved yet: the file has been deleted since you opened it. To save it makes it anew."
        }
    };
    let mut page = begin(&asked.place, asked.user(), Some(&Notice::Problem(told.to_owned())), Some(&EDITOR));
    let mut replaces = NEW.to_owned();
    if let Some(content) = &content {
        about(&mut page, asked, content)?;
        page.push_str("<h2>From what is there to what you have written</h2>\n");
        replaces = if let Some(theirs) = Text::read(content)? {
            diff::show(&mut page, &theirs.text, mine);
            tag_of(&theirs.text)
        } else {
            page.push_str("<p>What is there is no text any more, so it cannot be compared.</p>\n");
            let tag = tag::of_current(&content.file, &FileStamp::from(&content.stat))?;
            tag.to_str().unwrap_or(NEW).to_owned()
        };
        page.push_str(
            "<p>Change your text until it has what you want of both, and save it; or \
             <a href=\"?\">take what is there</a> and lose what you have written.</p>\n",
        );
    }
    page.push_str("<h2>What you have written</h2>\n");
    editor(&mut page, asked, &Edited { text: mine, ends, replaces, is_saved: false });
    Ok(end(page))
}

/// The page of one whose text could not be saved: with the text, and why.
pub(super) fn unsaved(asked: &Asked, mine: &str, ends: LineEnds, replaces: String, why: String) -> String {
    let mut page = begin(&asked.place, asked.user(), Some(&Notice::Problem(why)), Some(&EDITOR));
    editor(&mut page, asked, &Edited { text: mine, ends, replaces, is_saved: false });
    end(page)
}

/// What there is to know of a file, and where else it is.
fn about(page: &mut String, asked: &Asked, content: &StoredContent) -> Result<(), StoreError> {
    let size = u64::try_from(content.stat.st_size).unwrap_or(0);
    let modified = FileStamp::from(&content.stat).modified(SystemTime::now());
    page.push_str("<p class=\"facts\">");
    facts(page, size, modified.unwrap_or(SystemTime::UNIX_EPOCH), content.user.as_deref());
    let versions = asked.store.versions(&asked.place.path)?.len();
    let _infallible = write!(
        page,
        "</p>\n<p class=\"ways\"><a href=\"?history\">History ({versions})</a> <a href=\"?raw\" download>Download</a>"
    );
    if let Some(site) = on_site(asked, asked.place.path.path()) {
        let _infallible = write!(page, " <a href=\"{}\">See it on the site</a>", Escaped(&site));
    }
    page.push_str("</p>\n");
    Ok(())
}

fn editor(page: &mut String, asked: &Asked, draft: &Edited<'_>) {
    let Edited { text, ends, replaces, is_saved } = draft;
    let has_preview = previewed(asked).is_some();
    let _infallible = write!(
        page,
        "<form id=\"editor\" method=\"post\" enctype=\"multipart/form-data\" action=\"?save\">\n\
         <input type=\"hidden\" name=\"match\" value=\"{}\"><input type=\"hidden\" name=\"newlines\" value=\"{}\">\n\
         <label for=\"text\">Content</label>\n",
        Escaped(replaces),
        ends.name()
    );
    area(page, text);
    page.push_str("\n<p class=\"buttons\"><button>Save</button>");
    if has_preview {
        page.push_str(
            " <button class=\"plain\" formaction=\"?preview\" formtarget=\"preview\">Preview</button>",
        );
    }
    page.push_str(" <span id=\"state\" role=\"status\"></span></p>\n</form>\n");
    if has_preview {
        let from = if *is_saved { " src=\"?preview\"" } else { "" };
        let _infallible = writeln!(
            page,
            "<h2>Preview</h2>\n<iframe name=\"preview\" title=\"Preview\" sandbox=\"\"{from}></iframe>"
        );
    }
}

/// A file that is not edited.
fn look(page: &mut String, asked: &Asked, content: &StoredContent) {
    let name = asked.place.name();
    let is_image = mime::of(name.as_bytes()).to_str().is_ok_and(|kind| kind.starts_with("image/"));
    if is_image {
        let _infallible =
            writeln!(page, "<p><img class=\"look\" src=\"?raw\" alt=\"{}\"></p>", Escaped(name));
    } else if u64::try_from(content.stat.st_size).unwrap_or(0) > MAX_TEXT {
        let _infallible = writeln!(
            page,
            "<p>It is longer than the {} that can be edited here. Download it, and upload it when it is changed.</p>",
            HumanSize(MAX_TEXT)
        );
    } else {
        page.push_str(
            "<p>It is no text that can be edited here. Download it, and upload it when it is changed.</p>\n",
        );
    }
}

/// The tag of a text that is there: as short as it is, that is a hash of it.
fn tag_of(text: &str) -> String {
    tag::of_bytes(text.as_bytes()).to_str().unwrap_or(NEW).to_owned()
}

/// The type that a preview of a file has, if there is one.
fn previewed(asked: &Asked) -> Option<HeaderValue> {
    let kind = mime::of(asked.place.name().as_bytes());
    let is_shown = |kind: &str| kind.starts_with("text/html") || kind == "image/svg+xml";
    kind.to_str().is_ok_and(is_shown).then_some(kind)
}

/// What is saved, as a preview.
pub(super) async fn saved_preview(asked: &Asked) -> Result<Response, HandlerError> {
    let of = asked.clone();
    let text = on_pool(move || match of.store.content(&of.place.path) {
        Ok(content) => Text::read(&content),
        Err(error) => Err(error),
    });
    let text = text.await?.map_or_else(String::new, |text| text.text);
    Ok(preview(asked, text))
}

/// What somebody writes as it would look. It can do nothing: it is in a sandbox, as if it were of another origin, and no script runs.
pub(super) fn preview(asked: &Asked, text: String) -> Response {
    let Some(kind) = previewed(asked) else {
        return Response::text(text).with(header::CONTENT_SECURITY_POLICY, NOTHING);
    };
    let site = asked.options.site.as_deref();
    // Where what it names is, if that is on another host.
    let host = site.filter(|site| site.starts_with("http")).unwrap_or_default();
    let policy = format!(
        "sandbox; default-src 'none'; img-src 'self' data: {host}; style-src 'self' 'unsafe-inline' {host}; \
         font-src 'self' data: {host}; media-src 'self' {host}; base-uri 'self' {host}; form-action 'none'; frame-ancestors 'self'"
    );
    let policy = HeaderValue::from_str(&policy).unwrap_or(NOTHING);
    let is_html = kind.as_bytes().starts_with(b"text/html");
    let text = match on_site(asked, asked.place.path.path()).filter(|_| is_html) {
        Some(address) => with_base(&text, &address),
        None => text,
    };
    Response::new(kind, text)
        .with(header::CONTENT_SECURITY_POLICY, policy)
        .with(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF)
        .with(header::CACHE_CONTROL, super::NO_CACHE)
}

/// A page that finds what it names relatively as if it were at `address`. The doctype stays in front, or it would look otherwise.
fn with_base(text: &str, address: &str) -> String {
    let begin = text.len() - text.trim_start().len();
    let is_doctype = text.get(begin..begin + 9).is_some_and(|it| it.eq_ignore_ascii_case("<!doctype"));
    let end = if is_doctype { text.find('>').map_or(0, |at| at + 1) } else { 0 };
    let (before, behind) = text.split_at(end);
    format!("{before}<base href=\"{}\">{behind}", Escaped(address))
}

/// The file as it is, or a version of it, to be saved: nothing of it is shown by a browser that comes to it.
pub(super) async fn raw(asked: &Asked) -> Result<Response, HandlerError> {
    let of = asked.clone();
    let (file, stat) = on_pool(move || {
        let version = of.query().get("raw").filter(|id| !id.is_empty());
        let content = match version {
            Some(id) => of.store.version(&of.place.path, &id)?,
            None => of.store.content(&of.place.path)?,
        };
        let file = OpenFile::new(content.file, holder(of.head.client)).map_err(std::io::Error::from)?;
        Ok((file, content.stat))
    })
    .await?;
    let len = u64::try_from(stat.st_size).unwrap_or(0);
    let name = asked.place.name();
    let disposition = HeaderValue::from_str(&format!("attachment; filename*=utf-8''{}", link(name)));
    Ok(Response::new(mime::of(name.as_bytes()), Body::File(FileBody::new(file.into(), 0, len)))
        .with(
            header::CONTENT_DISPOSITION,
            disposition.unwrap_or(const { HeaderValue::from_static("attachment") }),
        )
        .with(header::CONTENT_SECURITY_POLICY, NOTHING)
        .with(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF)
        .with(header::CACHE_CONTROL, super::NO_CACHE))
}

#[cfg(test)]
mod tests {
    use super::with_base;

    #[test]
    fn a_base_stands_behind_the_doctype() {
        assert_eq!(with_base(" <!DocType html><p>", "/a"), " <!DocType html><base href=\"/a\"><p>");
        assert_eq!(with_base("<p>", "/\"a"), "<base href=\"/&quot;a\"><p>");
        assert_eq!(with_base("é", "/"), "<base href=\"/\">é");
        assert_eq!(with_base("<!doctype", "/"), "<base href=\"/\"><!doctype");
    }
}
