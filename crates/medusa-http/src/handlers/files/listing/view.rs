//! The way to list a directory that a request asks for: `?sort=size&order=desc`, `?page=2`, `?format=json`, `Accept: application/json`.
//!
//! What is not understood counts as not said: a listing is never an error because of its query.

use http::HeaderValue;
use http::header::{self, HeaderMap};
use medusa_proto::coding::Coding;
use percent_encoding::percent_decode_str;

use super::super::options::FilesOptions;
use crate::handlers::compress;
use crate::request::Head;

/// A way to list a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::handlers) struct View {
    /// The path that was asked for, decoded: however it was spelled, it is the same page.
    pub(in crate::handlers) path: String,
    /// The beginning in it of what lies below the mount.
    pub(in crate::handlers) tail: usize,
    pub(super) order: Order,
    pub(super) format: Format,
    /// The page, from 1 on; the last if there are not so many.
    pub(super) page: usize,
    /// The coding that the client likes best.
    pub(in super::super) coding: Option<Coding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Html,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) by: SortKey,
    pub(super) is_descending: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SortKey {
    Name,
    Size,
    Modified,
}

impl SortKey {
    pub(super) const ALL: [Self; 3] = [Self::Name, Self::Size, Self::Modified];

    /// As the query has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Size => "size",
            Self::Modified => "modified",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    /// Whether the large and the late come first unless told otherwise: they are what people look for.
    pub(super) fn starts_descending(self) -> bool {
        self != Self::Name
    }
}

impl Order {
    pub(super) const DEFAULT: Self = Self { by: SortKey::Name, is_descending: false };
}

impl View {
    /// Reads the view from a request, as far as `options` allow it.
    pub(in crate::handlers) fn of(head: &Head, options: &FilesOptions) -> Self {
        let query = head.uri.query().unwrap_or_default();
        let format = match parameter(query, "format") {
            Some("json") => Format::Json,
            Some("html") => Format::Html,
            _ if likes_json(&head.headers) => Format::Json,
            _ => Format::Html,
        };
        let forbidden = compress::is_transform_forbidden(&head.headers);
        let coding =
            compress::live(compress::accepts(&head.headers)).filter(|_| options.compress && !forbidden);
        let mount = decoded(head.path().strip_suffix(head.tail()).unwrap_or_default());
        Self {
            tail: mount.len(),
            path: mount + &decoded(head.tail()),
            order: order(query),
            format,
            page: page(query),
            coding,
        }
    }

    /// The query that asks for another page of the same.
    pub(super) fn query(&self, page: usize) -> String {
        let order = if self.order.is_descending { "desc" } else { "asc" };
        let format = match self.format {
            Format::Html => "",
            Format::Json => "&format=json",
        };
        format!("?sort={}&order={order}{format}&page={page}", self.order.by.name())
    }

    /// Its size beside its own fields, in bytes.
    pub(super) fn cost(&self) -> usize {
        self.path.len()
    }
}

fn decoded(raw: &str) -> String {
    String::from_utf8_lossy(&percent_decode_str(raw).collect::<Vec<u8>>()).into_owned()
}

fn page(query: &str) -> usize {
    parameter(query, "page").and_then(|page| page.parse().ok()).unwrap_or(1).max(1)
}

fn order(query: &str) -> Order {
    let by = parameter(query, "sort").and_then(SortKey::named).unwrap_or(Order::DEFAULT.by);
    let is_descending = match parameter(query, "order") {
        Some("asc") => false,
        Some("desc") => true,
        _ => by.starts_descending(),
    };
    Order { by, is_descending }
}

/// The first value of a parameter. All that mean anything here need no escaping.
fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Whether `Accept` names JSON, and puts it above HTML. Browsers name HTML, and JSON by `*/*` only.
fn likes_json(headers: &HeaderMap) -> bool {
    let (mut json, mut html) = (0, 0);
    let lines = headers.get_all(header::ACCEPT).iter().map(HeaderValue::as_bytes);
    for range in lines.flat_map(|line| line.split(|&byte| byte == b',')) {
        let mut parts = range.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let weigh = match parts.next() {
            Some(range) if range.eq_ignore_ascii_case(b"application/json") => &mut json,
            Some(range) if range.eq_ignore_ascii_case(b"text/html") => &mut html,
            _ => continue,
        };
        *weigh = parts.find_map(weight).unwrap_or(1000);
    }
    json > html
}

/// `q=0.5` in thousandths; `None` for another parameter, or what is no number from 0 to 1.
fn weight(parameter: &[u8]) -> Option<u16> {
    let [b'q' | b'Q', b'=', value @ ..] = parameter else { return None };
    let weight: f32 = std::str::from_utf8(value).ok()?.parse().ok()?;
    (0.0..=1.0).contains(&weight).then_some((weight * 1000.0) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let asc = |by| Order { by, is_descending: false };
        let desc = |by| Order { by, is_descending: true };
        for (query, expected) in [
            ("", asc(SortKey::Name)),
            ("sort=name", asc(SortKey::Name)),
            ("sort=size", desc(SortKey::Size)),
            ("sort=size&order=asc", asc(SortKey::Size)),
            ("order=desc", desc(SortKey::Name)),
            ("a&order=asc&sort=modified", asc(SortKey::Modified)),
            ("sort=nonsense&order=nonsense", asc(SortKey::Name)),
            ("sort=size&sort=name", desc(SortKey::Size)),
        ] {
            assert_eq!(order(query), expected, "{query}");
        }
    }

    #[test]
    fn pages() {
        for (query, expected) in [
            ("", 1),
            ("page=7", 7),
            ("page=0", 1),
            ("page=-1", 1),
            ("page=99999999999999999999", 1),
            ("page=", 1),
        ] {
            assert_eq!(page(query), expected, "{query}");
        }
    }

    #[test]
    fn json_for_those_who_ask_for_it() {
        for (accept, json) in [
            ("application/json", true),
            ("application/json, text/plain, */*", true),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false),
            ("text/html;q=0.5, application/json;q=0.9", true),
            ("text/html, application/json", false),
            ("application/json;q=0", false),
            ("application/json;q=NaN", true),
            ("*/*", false),
            ("", false),
        ] {
            let headers = [(header::ACCEPT, HeaderValue::from_static(accept))].into_iter().collect();
            assert_eq!(likes_json(&headers), json, "{accept}");
        }
    }
}
