//! What all pages have in common: their head, the way to where one is, what has just been done, and how a time is written.

use std::fmt::{self, Display, Formatter, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Asked;
use super::assets::{Asset, STYLESHEET};
use super::place::PagePlace;
use crate::escaped::Escaped;
use crate::handlers::files::listing::{Civil, HEAD, HumanSize, breadcrumb};

/// Something to be told at the top of a page.
#[derive(Debug)]
pub(super) enum Notice {
    Done(String),
    Problem(String),
}

impl Notice {
    /// What the query says was done: one of a few sentences, whoever made the link.
    pub(super) fn of(asked: &Asked) -> Option<Self> {
        let done = match asked.query().action() {
            "saved" => "It is saved and published.",
            "restored" => "It is restored. What was there before is a version now.",
            "renamed" => "It has its new name. Links to the old one lead nowhere now.",
            "uploaded" => "The upload is published.",
            "made" => "The folder is made.",
            _ => return None,
        };
        Some(Self::Done(done.to_owned()))
    }
}

/// Begins a page.
pub(super) fn begin(
    place: &PagePlace,
    user: Option<&str>,
    notice: Option<&Notice>,
    script: Option<&Asset>,
) -> String {
    let title = if place.is_root() { "Publish" } else { place.name() };
    let mut page = format!("{HEAD}<title>{}</title>\n", Escaped(title));
    let _infallible = writeln!(page, "<link rel=\"stylesheet\" href=\"{}\">", STYLESHEET.address(place));
    if let Some(script) = script {
        let _infallible =
            writeln!(page, "<script type=\"module\" src=\"{}\"></script>", script.address(place));
    }
    page.push_str("<header>");
    breadcrumb(&mut page, &place.whole, place.tail, "");
    if let Some(user) = user {
        let _infallible = write!(page, "<p class=\"user\">Logged in as <bdi>{}</bdi></p>", Escaped(user));
    }
    page.push_str("</header>\n<main>\n");
    match notice {
        Some(Notice::Done(text)) => {
            let _infallible = writeln!(page, "<p class=\"notice\" role=\"status\">{}</p>", Escaped(text));
        }
        Some(Notice::Problem(text)) => {
            let _infallible =
                writeln!(page, "<p class=\"notice problem\" role=\"alert\">{}</p>", Escaped(text));
        }
        None => {}
    }
    page
}

/// Ends it.
pub(super) fn end(mut page: String) -> String {
    page.push_str("</main>\n</html>\n");
    page
}

/// A moment as a `time` element.
pub(super) struct Moment(pub(super) SystemTime);

impl Display for Moment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let seconds = self.0.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let time = Civil::at(seconds.try_into().unwrap_or(i64::MAX));
        let Civil { year, month, day, hour, minute, .. } = time;
        write!(f, "<time datetime=\"{time}\">{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC</time>")
    }
}

/// How large something is, when it was published, and by whom.
pub(super) fn facts(page: &mut String, size: u64, modified: SystemTime, user: Option<&str>) {
    let _infallible = write!(page, "{} · {}", HumanSize(size), Moment(modified));
    if let Some(user) = user {
        let _infallible = write!(page, " by <bdi>{}</bdi>", Escaped(user));
    }
}

/// Where what is at a path is seen, if that is known.
pub(super) fn on_site(asked: &Asked, path: &str) -> Option<String> {
    let slash = if asked.place.is_directory() && !path.is_empty() { "/" } else { "" };
    asked.options.site.as_ref().map(|site| format!("{site}{}{slash}", super::link(path)))
}

/// The forms that give what is there another path, and remove it.
pub(super) fn rename_and_delete(page: &mut String, asked: &Asked) {
    let (place, what) = (&asked.place, if asked.place.is_directory() { "folder" } else { "file" });
    let (path, name) = (Escaped(place.path.path()), Escaped(place.name()));
    let hint = if place.is_directory() {
        "Only an empty folder can be deleted."
    } else {
        "It can be brought back from its versions."
    };
    let _infallible = write!(
        page,
        "<details><summary>Rename or move this {what}</summary>\n\
         <form method=\"post\" enctype=\"multipart/form-data\" action=\"?rename\">\n\
         <label>New path <input name=\"to\" value=\"{path}\" required autocomplete=\"off\" autocapitalize=\"off\" spellcheck=\"false\"></label>\n\
         <button>Rename</button></form></details>\n\
         <details><summary>Delete this {what}</summary>\n\
         <form method=\"post\" enctype=\"multipart/form-data\" action=\"?delete\">\n\
         <p>{hint}</p>\n<button class=\"danger\">Delete <bdi>{name}</bdi></button></form></details>\n"
    );
}
