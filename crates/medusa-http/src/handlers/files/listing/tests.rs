//! Listings of made-up entries.

use super::entry::Civil;
use super::view::{Order, SortKey};
use super::*;

fn listing(names: &[(&[u8], Option<u64>, i64)]) -> Listing {
    let entry = |(name, size, modified): &(&[u8], _, _)| ListingEntry {
        name: (*name).into(),
        size: *size,
        modified: *modified,
    };
    of(names.iter().map(entry).collect())
}

pub(super) fn of(entries: Vec<ListingEntry>) -> Listing {
    let (read, edition) = (Instant::now(), Edition::now());
    Listing { entries, is_cut_off: false, stamp: None, read, edition, took: Duration::ZERO }
}

pub(super) fn view(order: Order, format: Format) -> View {
    View { path: "/m t/a b/<c/".to_owned(), tail: 5, order, format, page: 1, coding: None }
}

fn shown(listing: &Listing, view: &View) -> String {
    String::from_utf8(listing.page(view).unwrap().content.to_vec()).unwrap()
}

#[test]
fn names_are_text_and_links_are_single_segments() {
    let entries = listing(&[
        (b"<script>.txt", Some(1), 0),
        (b"a:b?c#d\"'&%", Some(1), 0),
        (b"sub", None, 0),
        (b"\xff\xfe", Some(1), 0),
        ("exe.\u{202e}gpj".as_bytes(), Some(1), 0),
    ]);
    let page = shown(&entries, &view(Order::DEFAULT, Format::Html));
    for expected in [
        "<title>/m t/a b/&lt;c/</title>",
        "<a href=\"../../\">/m t/</a> <a href=\"../\">a b</a><i>/</i><span aria-current=\"page\">&lt;c</span>",
        "<a href=\"./%3Cscript%3E.txt\"><bdi>&lt;script&gt;.txt</bdi></a>",
        "<a href=\"./a:b%3Fc%23d%22&#39;&amp;%25\"><bdi>a:b?c#d&quot;&#39;&amp;%</bdi></a>",
        "<a href=\"./sub/\"><bdi>sub</bdi>/</a></td><td></td><td><time datetime=\"1970-01-01T00:00:00Z\">1970-01-01",
        "<a href=\"./%FF%FE\"><bdi>\u{fffd}\u{fffd}</bdi></a>",
        "<bdi>exe.\u{fffd}gpj</bdi>",
    ] {
        assert!(page.contains(expected), "{expected}\n{page}");
    }
    assert!(!page.contains("<script"));
}

#[test]
fn columns_sort_and_directories_stay_first() {
    let entries = || {
        listing(&[
            (b"b", Some(1), 30),
            (b"z", None, 10),
            (b"a", Some(3), 20),
            (b"c", Some(1), 5),
            (b"y", None, 40),
        ])
    };
    for (by, is_descending, expected) in [
        (SortKey::Name, false, "yzabc"),
        (SortKey::Name, true, "zycba"),
        (SortKey::Size, false, "yzbca"),
        (SortKey::Size, true, "yzabc"),
        (SortKey::Modified, false, "zycab"),
        (SortKey::Modified, true, "yzbac"),
    ] {
        let order = Order { by, is_descending };
        let page = shown(&entries(), &view(order, Format::Html));
        let names: String =
            page.split("<a href=\"./").skip(1).filter_map(|link| link.chars().next()).collect();
        assert_eq!(names, expected, "{order:?}");
        let (sorted, other) = if is_descending { ("descending", "asc") } else { ("ascending", "desc") };
        let link = format!("aria-sort=\"{sorted}\"><a href=\"?sort={}&amp;order={other}\">", by.name());
        assert!(page.contains(&link), "{link}\n{page}");
        assert_eq!(page.matches("aria-sort").count(), 1);
    }
}

#[test]
fn an_order_is_kept_on_the_way_down_and_up() {
    let order = Order { by: SortKey::Size, is_descending: true };
    let page = shown(&listing(&[(b"sub", None, 0)]), &view(order, Format::Html));
    assert!(page.contains("<a href=\"./sub/?sort=size&amp;order=desc\">"), "{page}");
    assert!(page.contains("<a href=\"../?sort=size&amp;order=desc\">"), "{page}");
    assert!(page.contains(">Size \u{2193}</a>"), "{page}");
}

#[test]
fn json_is_for_programs() {
    let entries =
        listing(&[(b"say \"hi\"\\\n\x7f", Some(5), 1_772_323_199), (b"\xff", Some(0), -1), (b"d", None, 0)]);
    assert_eq!(
        shown(&entries, &view(Order::DEFAULT, Format::Json)),
        "[\n{\"name\":\"d\",\"type\":\"directory\",\"modified\":\"1970-01-01T00:00:00Z\"},\n\
         {\"name\":\"say \\\"hi\\\"\\\\\\u000a\\u007f\",\"type\":\"file\",\"size\":5,\
         \"modified\":\"2026-02-28T23:59:59Z\"},\n\
         {\"name\":\"\u{fffd}\",\"type\":\"file\",\"size\":0,\"modified\":\"1969-12-31T23:59:59Z\"}\n]\n"
    );
    assert_eq!(shown(&listing(&[]), &view(Order::DEFAULT, Format::Json)), "[\n]\n");
}

#[test]
fn many_names_are_on_pages() {
    let name = |n: usize| ListingEntry {
        name: format!("{n:04}").into_bytes().into(),
        size: Some(n as u64),
        modified: 0,
    };
    let listing = of((0..2 * ON_A_PAGE + 5).rev().map(name).collect());
    for (format, page, first, count, link) in [
        (Format::Html, 1, "0000", ON_A_PAGE, "<?sort=name&order=asc&page=2>; rel=\"next\""),
        (
            Format::Json,
            2,
            "1000",
            ON_A_PAGE,
            "<?sort=name&order=asc&format=json&page=1>; rel=\"prev\", \
             <?sort=name&order=asc&format=json&page=3>; rel=\"next\"",
        ),
        (Format::Html, 9, "2000", 5, "<?sort=name&order=asc&page=2>; rel=\"prev\""),
    ] {
        let made = listing.page(&View { page, ..view(Order::DEFAULT, format) }).unwrap();
        let text = String::from_utf8(made.content.to_vec()).unwrap();
        let (row, name) = match format {
            Format::Html => ("<tr><td>", format!("<bdi>{first}</bdi>")),
            Format::Json => ("{\"name\"", format!("\"{first}\"")),
        };
        assert_eq!(text.matches(row).count(), count, "page {page}");
        let first_row = text.split(row).nth(1).unwrap();
        assert!(first_row.contains(&name), "{first_row}");
        assert_eq!(made.link.unwrap(), link);
    }
    let few = of(vec![name(1)]).page(&view(Order::DEFAULT, Format::Html)).unwrap();
    assert!(few.link.is_none() && !String::from_utf8_lossy(&few.content).contains("Pages"));
}

#[test]
fn times_are_those_of_the_calendar() {
    for (time, shown) in [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"),
        (951_786_061, "2000-02-29T01:01:01Z"),
        (1_767_225_599, "2025-12-31T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
    ] {
        assert_eq!(Civil::at(time).to_string(), shown);
    }
}
