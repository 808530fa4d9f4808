//! From a file and a request's fields to a response: preconditions first, then ranges
//! ([RFC 9110 §13.2.2](https://www.rfc-editor.org/rfc/rfc9110#section-13.2.2)).

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use medusa_proto::conditional::{self, ETag, Fields, Outcome, Validators};
use medusa_proto::range::{self, Range, Ranges};

use super::entity::Entity;
use crate::request::Head;
use crate::response::Response;

const BYTES: HeaderValue = HeaderValue::from_static("bytes");

/// The fields that make a response depend on more than its file.
const ASKING: [HeaderName; 5] = [
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::RANGE,
    header::IF_MATCH,
    header::IF_UNMODIFIED_SINCE,
];

/// Answers GET or HEAD with a file. HEAD gets the very same response; the server leaves out its content.
pub(super) fn to(head: &Head, entity: &Entity) -> Response {
    if !ASKING.iter().any(|name| head.headers.contains_key(name)) {
        return whole(entity);
    }
    let etag = ETag::parse(entity.etag.as_bytes());
    let current =
        Validators { etag, last_modified: entity.last_modified.as_ref().map(|(_, seconds)| *seconds) };
    match preconditions(&head.headers, &current) {
        Outcome::NotModified => validators(Response::status(StatusCode::NOT_MODIFIED), entity),
        Outcome::Failed => Response::page(StatusCode::PRECONDITION_FAILED),
        Outcome::Proceed => match ranges(head, &current, entity.len) {
            // Several ranges are answered with the whole, as any server may (RFC 9110 §14.2).
            Ranges::Whole | Ranges::Many(_) => whole(entity),
            Ranges::One(range) => part(entity, range),
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

fn described(status: StatusCode, entity: &Entity) -> Response {
    // Room for one field of the server's own, so that the map does not grow.
    let headers = HeaderMap::with_capacity(6);
    validators(Response { status, headers, ..Response::default() }, entity)
        .with(header::CONTENT_TYPE, entity.content_type.clone())
        .with(header::ACCEPT_RANGES, BYTES)
}

fn validators(response: Response, entity: &Entity) -> Response {
    let response = response.with(header::ETAG, entity.etag.clone());
    match &entity.last_modified {
        Some((date, _)) => response.with(header::LAST_MODIFIED, date.clone()),
        None => response,
    }
}

fn with_content_range(mut response: Response, range: &str) -> Response {
    if let Ok(range) = HeaderValue::from_str(range) {
        response.headers.insert(header::CONTENT_RANGE, range);
    }
    response
}

fn preconditions(headers: &HeaderMap, current: &Validators<'_>) -> Outcome {
    let (if_match, if_none_match) =
        (joined(headers, header::IF_MATCH), joined(headers, header::IF_NONE_MATCH));
    let fields = Fields {
        if_match: if_match.as_deref(),
        if_none_match: if_none_match.as_deref(),
        if_modified_since: date(headers.get(header::IF_MODIFIED_SINCE)),
        if_unmodified_since: date(headers.get(header::IF_UNMODIFIED_SINCE)),
    };
    conditional::evaluate(true, &fields, Some(current))
}

/// What of a file of `len` bytes is asked for. Ranges are for GET only
/// ([RFC 9110 §14.2](https://www.rfc-editor.org/rfc/rfc9110#section-14.2)).
fn ranges(head: &Head, current: &Validators<'_>, len: u64) -> Ranges {
    let counts = match head.headers.get(header::IF_RANGE) {
        Some(field) => conditional::if_range(field.as_bytes(), date(Some(field)), current),
        None => true,
    };
    match head.headers.get(header::RANGE) {
        Some(field) if counts && head.method == Method::GET => range::parse(Some(field.as_bytes()), len),
        _ => Ranges::Whole,
    }
}

/// The value of a list field; several lines of one field are one list
/// ([RFC 9110 §5.3](https://www.rfc-editor.org/rfc/rfc9110#section-5.3)).
fn joined(headers: &HeaderMap, name: HeaderName) -> Option<Cow<'_, [u8]>> {
    let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let first = values.next()?;
    Some(values.fold(first.into(), |list, value| [&list, &b", "[..], value].concat().into()))
}

/// A date in seconds since 1970; `None` for what is none, which the RFC has ignored.
fn date(field: Option<&HeaderValue>) -> Option<u64> {
    let date = httpdate::parse_http_date(field?.to_str().ok()?).ok()?;
    Some(date.duration_since(std::time::SystemTime::UNIX_EPOCH).ok()?.as_secs())
}
