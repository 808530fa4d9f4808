//! A listing for people: on a phone or a wide screen, in light or dark, sorted by links, without a script.

use std::fmt::{self, Display, Formatter, Write as _};

use super::entry::{Civil, ListingEntry, Shown};
use super::view::{Order, SortKey, View};
use crate::escaped::Escaped;
use crate::router::encode_segment;

/// The beginning of a page.
pub(in crate::handlers) const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">";

/// The look of pages about directories: of a listing, and of [`Publish`](crate::handlers::publish::Publish). Rows are tall enough for a
/// thumb, names break before they make the page wider than the screen, and a narrow screen leaves out the time of day. Columns keep
/// their places whichever is sorted by.
pub(in crate::handlers) const STYLE: &str = include_str!("style.css");

/// The page.
pub(super) fn page(listing: &Shown<'_>, view: &View) -> String {
    let mut page = format!("{HEAD}<title>{}</title>\n<style>{STYLE}</style>\n", Escaped(&view.path));
    breadcrumb(&mut page, &view.path, view.tail, Query(view.order));
    table(&mut page, listing, view);
    page.push_str("</html>\n");
    page
}

/// The entries, and the ways to the other pages of them.
pub(in crate::handlers) fn table(page: &mut String, listing: &Shown<'_>, view: &View) {
    page.push_str("<table>\n<thead><tr>");
    for key in SortKey::ALL {
        column(page, key, view.order);
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for entry in &listing.entries {
        row(page, entry, view.order);
    }
    page.push_str("</tbody>\n</table>\n");
    if listing.entries.is_empty() {
        page.push_str("<p>There is nothing here.</p>\n");
    }
    pages(page, listing, view);
    if listing.is_cut_off {
        page.push_str("<p>There is more here than can be listed.</p>\n");
    }
}

/// The way from the mount down to `path`, of which what is below the mount begins at `tail`. Above the mount is not ours. `query` is
/// kept on the way to another directory.
pub(in crate::handlers) fn breadcrumb(page: &mut String, path: &str, tail: usize, query: impl Display) {
    let (mount, below) = path.split_at_checked(tail).unwrap_or((path, ""));
    let names: Vec<&str> = below.split('/').filter(|name| !name.is_empty()).collect();
    // A file's address begins with that of its directory.
    let is_file = !names.is_empty() && !below.ends_with('/');
    page.push_str("<nav aria-label=\"Path\">");
    crumb(page, mount, names.len(), is_file, &query);
    for (at, name) in names.iter().enumerate() {
        page.push_str(if at == 0 { " " } else { "<i>/</i>" });
        crumb(page, name, names.len() - 1 - at, is_file, &query);
    }
    page.push_str("</nav>\n");
}

/// What is `up` levels above this one.
fn crumb(page: &mut String, name: &str, up: usize, is_file: bool, query: &impl Display) {
    let name = Escaped(name);
    let _infallible = match up {
        0 => write!(page, "<span aria-current=\"page\">{name}</span>"),
        up if is_file => write!(page, "<a href=\"./{}{query}\">{name}</a>", "../".repeat(up - 1)),
        up => write!(page, "<a href=\"{}{query}\">{name}</a>", "../".repeat(up)),
    };
}

/// The ways to the other pages, if there are any.
fn pages(page: &mut String, listing: &Shown<'_>, view: &View) {
    if listing.pages == 1 {
        return;
    }
    page.push_str("<nav class=\"pages\" aria-label=\"Pages\">");
    turn(page, listing.before(), "prev", "\u{2190} Previous", view);
    let _infallible = write!(page, "<span>Page {} of {}</span>", listing.page, listing.pages);
    turn(page, listing.after(), "next", "Next \u{2192}", view);
    page.push_str("</nav>\n");
}

fn turn(page: &mut String, to: Option<usize>, relation: &str, text: &str, view: &View) {
    let _infallible = match to {
        Some(to) => write!(page, "<a rel=\"{relation}\" href=\"{}\">{text}</a>", Escaped(&view.query(to))),
        None => write!(page, "<span></span>"),
    };
}

/// The head of a column: a link that sorts by it, or the other way round.
fn column(page: &mut String, key: SortKey, now: Order) {
    let (sorted, arrow, is_descending) = match (now.by == key, now.is_descending) {
        (false, _) => ("", "", key.starts_descending()),
        (true, false) => (" aria-sort=\"ascending\"", " \u{2191}", true),
        (true, true) => (" aria-sort=\"descending\"", " \u{2193}", false),
    };
    let title = match key {
        SortKey::Name => "Name",
        SortKey::Size => "Size",
        SortKey::Modified => "Modified",
    };
    let (key, order) = (key.name(), if is_descending { "desc" } else { "asc" });
    let _infallible = write!(
        page,
        "<th scope=\"col\"{sorted}><a href=\"?sort={key}&amp;order={order}\">{title}{arrow}</a></th>"
    );
}

fn row(page: &mut String, entry: &ListingEntry, order: Order) {
    // `./` keeps a name such as `a:b` from being read as a scheme.
    let (link, text) = (encode_segment(&entry.name), String::from_utf8_lossy(&entry.name));
    let (link, text) = (Escaped(&link.to_string()).to_string(), Escaped(&text));
    let time = Civil::at(entry.modified);
    let Civil { year, month, day, hour, minute, .. } = time;
    let _infallible = match entry.size {
        None => {
            write!(page, "<tr><td><a href=\"./{link}/{}\"><bdi>{text}</bdi>/</a></td><td></td>", Query(order))
        }
        Some(size) => {
            write!(
                page,
                "<tr><td><a href=\"./{link}\"><bdi>{text}</bdi></a></td><td>{}</td>",
                HumanSize(size)
            )
        }
    };
    let _infallible = writeln!(
        page,
        "<td><time datetime=\"{time}\">{year:04}-{month:02}-{day:02}<span> {hour:02}:{minute:02}</span></time></td></tr>"
    );
}

/// The query that keeps the order on the way to another directory.
struct Query(Order);

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0 == Order::DEFAULT {
            return Ok(());
        }
        let order = if self.0.is_descending { "desc" } else { "asc" };
        write!(f, "?sort={}&amp;order={order}", self.0.by.name())
    }
}

/// A size for people: three digits are enough.
pub(in crate::handlers) struct HumanSize(pub(in crate::handlers) u64);

impl Display for HumanSize {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut size = self.0 as f64 / 1024.0;
        let mut unit = 0;
        while size >= 1000.0 && unit + 1 < UNITS.len() {
            (size, unit) = (size / 1024.0, unit + 1);
        }
        let precision = usize::from(size < 9.95);
        write!(f, "{size:.precision$} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::HumanSize;

    #[test]
    fn sizes_have_three_digits_at_most() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10_200, "10 KiB"),
            (1_023_000, "999 KiB"),
            (1_024_000, "1.0 MiB"),
            (5_000_000_000, "4.7 GiB"),
            (u64::MAX, "16 EiB"),
        ];
        for (size, shown) in table {
            assert_eq!(HumanSize(size).to_string(), shown);
        }
    }
}
