//! From a file and a request's fields to a response: preconditions first, then ranges
//! ([RFC 9110 §13.2.2](https://www.rfc-editor.org/rfc/rfc9110#section-13.2.2)).

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use medusa_proto::conditional::{self, ETag, Outcome, Validators};
use medusa_proto::range::{self, Range, Ranges};

use super::entity::{Entity, Trust};
use super::listing::Page;
use super::multipart::Multipart;
use crate::budget::LEAST;
use crate::preconditions::{self, date};
use crate::request::Head;
use crate::response::Response;

const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const ATTACHMENT: HeaderValue = HeaderValue::from_static("attachment");
/// A stranger's file has an origin of its own, runs nothing and loads nothing.
const SANDBOX: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox",
);
/// A listing is text and links: whatever the names in it are, it runs and loads nothing.
const TEXT_AND_LINKS: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
);

const BYTES: HeaderValue = HeaderValue::from_static("bytes");
const ACCEPT_ENCODING: HeaderValue = HeaderValue::from_static("accept-encoding");

/// The fields that make a response depend on more than its file.
const ASKING: [HeaderName; 5] = [
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::RANGE,
    header::IF_MATCH,
    header::IF_UNMODIFIED_SINCE,
];

/// Answers GET or HEAD with a file. HEAD gets the very same response; the server leaves out its content. `varies` tells
/// whether another client might have got another form of the file.
pub(super) fn to(head: &Head, entity: &Entity, varies: bool) -> Response {
    let response = answer(head, entity);
    if varies { response.with(header::VARY, ACCEPT_ENCODING) } else { response }
}

/// The file as the page of an answer that has no file, such as 404: neither preconditions nor ranges mean it.
pub(super) fn page(status: StatusCode, entity: &Entity, varies: bool) -> Response {
    let mut response = Response { status, ..Response::default() }
        .with(header::CONTENT_TYPE, entity.metadata.content_type.clone())
        .with(header::CONTENT_LENGTH, entity.content_length.clone())
        .body(entity.body(0, entity.len));
    encoding(&mut response.headers, entity);
    guard(&mut response.headers, entity);
    if varies { response.with(header::VARY, ACCEPT_ENCODING) } else { response }
}

/// A directory's listing. One that is large is a copy: only what nobody else holds is counted for the client, and the
/// cache may forget the page long before a slow client has taken it.
pub(super) fn listing(mut page: Page) -> Response {
    const VARY: HeaderValue = HeaderValue::from_static("accept, accept-encoding");
    if page.content.len() as u64 >= LEAST {
        page.content = Bytes::copy_from_slice(&page.content);
    }
    let mut response = Response::new(page.content_type, page.content)
        .with(header::VARY, VARY)
        .with(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF)
        .with(header::CONTENT_SECURITY_POLICY, TEXT_AND_LINKS);
    if let Some(coding) = page.coding {
        response.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    if let Some(link) = page.link {
        response.headers.insert(header::LINK, link);
    }
    response
}

fn answer(head: &Head, entity: &Entity) -> Response {
    if !ASKING.iter().any(|name| head.headers.contains_key(name)) {
        return whole(entity);
    }
    let etag = ETag::parse(entity.etag.as_bytes());
    let current =
        Validators { etag, last_modified: entity.last_modified.as_ref().map(|(_, seconds)| *seconds) };
    match preconditions::evaluate(&head.headers, true, Some(&current)) {
        Outcome::NotModified => not_modified(entity),
        Outcome::Failed => Response::page(StatusCode::PRECONDITION_FAILED),
        Outcome::Proceed => match ranges(head, &current, entity) {
            Ranges::Whole => whole(entity),
            // `Content-Encoding` would be read as that of the multipart. Any server may answer with the whole (§14.2).
            Ranges::Many(_) if entity.metadata.coding.is_some() => whole(entity),
            Ranges::One(range) => part(entity, range),
            Ranges::Many(ranges) => parts(entity, &ranges),
            Ranges::Unsatisfiable => with_content_range(
                Response::page(StatusCode::RANGE_NOT_SATISFIABLE),
                &range::unsatisfied(entity.len),
            ),
        },
    }
}

fn whole(entity: &Entity) -> Response {
    let mut response = described(StatusCode::OK, entity);
    response.headers.insert(header::CONTENT_LENGTH, entity.content_length.clone());
    response.body(entity.body(0, entity.len))
}

fn part(entity: &Entity, range: Range) -> Response {
    let response = described(StatusCode::PARTIAL_CONTENT, entity).body(entity.body(range.start, range.len));
    with_content_range(response, &range.content_range(entity.len))
}

/// Several parts. No `Content-Range` of its own: each part has one
/// ([RFC 9110 §15.3.7.2](https://www.rfc-editor.org/rfc/rfc9110#section-15.3.7.2)).
fn parts(entity: &Entity, ranges: &[Range]) -> Response {
    let Multipart { content_type, len, body } = Multipart::new(entity, ranges);
    described(StatusCode::PARTIAL_CONTENT, entity)
        .with(header::CONTENT_TYPE, content_type)
        .with(header::CONTENT_LENGTH, len.into())
        .body(body)
}

fn described(status: StatusCode, entity: &Entity) -> Response {
    // Room for fields of the server's own, so that the map does not grow: it doubles.
    let is_plain = entity.metadata.cache_control.is_none() && entity.metadata.coding.is_none();
    let headers = HeaderMap::with_capacity(if is_plain { 7 } else { 12 });
    let mut response = Response { status, headers, ..Response::default() };
    validators(&mut response.headers, entity);
    encoding(&mut response.headers, entity);
    guard(&mut response.headers, entity);
    let response = response.with(header::CONTENT_TYPE, entity.metadata.content_type.clone());
    if entity.is_exact() { response.with(header::ACCEPT_RANGES, BYTES) } else { response }
}

/// 304 with the fields that a 200 would have had, as far as they are about caching
/// ([RFC 9110 §15.4.5](https://www.rfc-editor.org/rfc/rfc9110#section-15.4.5)).
fn not_modified(entity: &Entity) -> Response {
    let mut response = Response::status(StatusCode::NOT_MODIFIED);
    validators(&mut response.headers, entity);
    response
}

fn validators(headers: &mut HeaderMap, entity: &Entity) {
    headers.insert(header::ETAG, entity.etag.clone());
    if let Some((date, _)) = &entity.last_modified {
        headers.insert(header::LAST_MODIFIED, date.clone());
    }
    if let Some(value) = &entity.metadata.cache_control {
        headers.insert(header::CACHE_CONTROL, value.clone());
    }
}

fn encoding(headers: &mut HeaderMap, entity: &Entity) {
    if let Some(coding) = entity.metadata.coding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
}

/// Adds the fields that keep a browser from taking the content for something else than it is said to be.
fn guard(headers: &mut HeaderMap, entity: &Entity) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    if entity.metadata.trust != Trust::Ours {
        headers.insert(header::CONTENT_SECURITY_POLICY, SANDBOX);
    }
    if entity.metadata.trust == Trust::Saved {
        headers.insert(header::CONTENT_DISPOSITION, ATTACHMENT);
    }
}

fn with_content_range(mut response: Response, range: &str) -> Response {
    if let Ok(range) = HeaderValue::from_str(range) {
        response.headers.insert(header::CONTENT_RANGE, range);
    }
    response
}

/// The ranges of a file that are asked for. Ranges are for GET only
/// ([RFC 9110 §14.2](https://www.rfc-editor.org/rfc/rfc9110#section-14.2)).
fn ranges(head: &Head, current: &Validators<'_>, entity: &Entity) -> Ranges {
    let counts = match head.headers.get(header::IF_RANGE) {
        // A date is no proof while the file may change without a trace.
        Some(field) => {
            let date = date(Some(field)).filter(|_| entity.stamp.is_some());
            conditional::if_range(field.as_bytes(), date, current)
        }
        None => true,
    };
    match head.headers.get(header::RANGE) {
        Some(field) if counts && head.method == Method::GET && entity.is_exact() => {
            range::parse(Some(field.as_bytes()), entity.len)
        }
        _ => Ranges::Whole,
    }
}
