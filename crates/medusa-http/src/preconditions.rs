//! The fields of a request that make it depend on what is there ([RFC 9110 §13](https://www.rfc-editor.org/rfc/rfc9110#section-13)), read
//! for [`medusa_proto::conditional`].

use std::borrow::Cow;
use std::time::SystemTime;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use medusa_proto::conditional::{self, ConditionalFields, ETag, Outcome, Validators};

/// Whether they allow that something is changed which has this entity tag, where they [name](name_tags) one, and this time at which it
/// was modified; `None`: nothing is there.
pub fn allow(headers: &HeaderMap, current: Option<(Option<&HeaderValue>, Option<u64>)>) -> bool {
    let validators = current.map(|(etag, last_modified)| Validators {
        etag: etag.and_then(|etag| ETag::parse(etag.as_bytes())),
        last_modified,
    });
    matches!(evaluate(headers, false, validators.as_ref()), Outcome::Proceed)
}

/// What they say of the file that is there, if there is one. `get_or_head`: whether the method is one of these.
pub(crate) fn evaluate(headers: &HeaderMap, get_or_head: bool, current: Option<&Validators<'_>>) -> Outcome {
    let (if_match, if_none_match) =
        (joined(headers, header::IF_MATCH), joined(headers, header::IF_NONE_MATCH));
    let fields = ConditionalFields {
        if_match: if_match.as_deref(),
        if_none_match: if_none_match.as_deref(),
        if_modified_since: date(headers.get(header::IF_MODIFIED_SINCE)),
        if_unmodified_since: date(headers.get(header::IF_UNMODIFIED_SINCE)),
    };
    conditional::evaluate(get_or_head, &fields, current)
}

/// Whether an entity tag is named by one of them: then that of the file is needed.
pub fn name_tags(headers: &HeaderMap) -> bool {
    let names_one =
        |name: HeaderName| headers.get_all(name).iter().any(|value| value.as_bytes().trim_ascii() != b"*");
    names_one(header::IF_MATCH) || names_one(header::IF_NONE_MATCH)
}

/// The value of a list field; several lines of one field are one list
/// ([RFC 9110 §5.3](https://www.rfc-editor.org/rfc/rfc9110#section-5.3)).
fn joined(headers: &HeaderMap, name: HeaderName) -> Option<Cow<'_, [u8]>> {
    let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let first = values.next()?;
    Some(values.fold(first.into(), |list, value| [&list, &b", "[..], value].concat().into()))
}

/// A date in seconds since 1970; `None` for what is none, which the RFC has ignored.
pub(crate) fn date(field: Option<&HeaderValue>) -> Option<u64> {
    let date = httpdate::parse_http_date(field?.to_str().ok()?).ok()?;
    Some(date.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())
}
