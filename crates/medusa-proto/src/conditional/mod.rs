//! Preconditions: whether the `If-*` fields of a request let it go ahead ([RFC 9110 §13]).
//!
//! Dates come parsed, as seconds since 1970; a date that cannot be parsed is `None`, as if the field were absent, which
//! is what the RFC asks for. Entity tags come as the bytes of the field.
//!
//! [RFC 9110 §13]: https://www.rfc-editor.org/rfc/rfc9110#section-13

mod etag;

pub use etag::ETag;

/// The precondition fields of a request.
///
/// Where a request repeats `If-Match` or `If-None-Match`, the values are joined with a comma.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConditionalFields<'a> {
    /// `If-Match`, as sent.
    pub if_match: Option<&'a [u8]>,
    /// `If-None-Match`, as sent.
    pub if_none_match: Option<&'a [u8]>,
    /// `If-Modified-Since`, in seconds since 1970.
    pub if_modified_since: Option<u64>,
    /// `If-Unmodified-Since`, in seconds since 1970.
    pub if_unmodified_since: Option<u64>,
}

/// Validators, which tell one state of a representation from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validators<'a> {
    /// Its entity tag.
    pub etag: Option<ETag<'a>>,
    /// Its modification date, in seconds since 1970.
    pub last_modified: Option<u64>,
}

/// The outcome of the preconditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answer the request as if there had been none.
    Proceed,
    /// Answer 304: the client has it already. Only for GET and HEAD.
    NotModified,
    /// Answer 412 and change nothing.
    Failed,
}

/// Decides what the preconditions of a request mean for the selected representation `current`; `None` if there is none
/// (a PUT that would create it).
///
/// `get_or_head` is whether the method is one of these two. Ask only for requests whose answer without preconditions
/// would be a 2xx ([§13.2.1]). The precedence is that of [§13.2.2]:
///
/// 1. `If-Match`, when present: no match is a 412;
/// 2. else `If-Unmodified-Since`: a later modification is a 412;
/// 3. `If-None-Match`, when present: a match is a 304 for GET and HEAD, a 412 for the others;
/// 4. else `If-Modified-Since`, for GET and HEAD: no later modification is a 304;
/// 5. `If-Range` is for [`if_range`], after this has said [`Proceed`](Outcome::Proceed).
///
/// [§13.2.1]: https://www.rfc-editor.org/rfc/rfc9110#section-13.2.1
/// [§13.2.2]: https://www.rfc-editor.org/rfc/rfc9110#section-13.2.2
#[must_use]
pub fn evaluate(
    get_or_head: bool,
    fields: &ConditionalFields<'_>,
    current: Option<&Validators<'_>>,
) -> Outcome {
    let etag = current.and_then(|current| current.etag);
    let last_modified = current.and_then(|current| current.last_modified);

    if let Some(list) = fields.if_match {
        if !names(list, current.is_some(), etag, ETag::strong_eq) {
            return Outcome::Failed;
        }
    } else if let (Some(date), Some(modified)) = (fields.if_unmodified_since, last_modified)
        && modified > date
    {
        return Outcome::Failed;
    }

    if let Some(list) = fields.if_none_match {
        if names(list, current.is_some(), etag, ETag::weak_eq) {
            return if get_or_head { Outcome::NotModified } else { Outcome::Failed };
        }
    } else if let (true, Some(date), Some(modified)) = (get_or_head, fields.if_modified_since, last_modified)
        && modified <= date
    {
        return Outcome::NotModified;
    }
    Outcome::Proceed
}

/// Whether `list` names the current representation: `*` names any there is, a tag the one it equals.
fn names<'a>(
    list: &'a [u8],
    exists: bool,
    etag: Option<ETag<'_>>,
    equal: fn(ETag<'a>, ETag<'_>) -> bool,
) -> bool {
    if list.trim_ascii() == b"*" {
        return exists;
    }
    etag.is_some_and(|etag| etag::list(list).any(|named| equal(named, etag)))
}

/// Whether an `If-Range` field lets the `Range` field beside it count ([RFC 9110 §13.1.5]); if not, the whole is sent.
///
/// `field` is the value as sent, `date` the same value as a date if it is one, in seconds since 1970. An entity tag
/// must match strongly, a date exactly.
///
/// The RFC trusts a date only if the file is known not to have changed twice within its second. Nobody knows that; like
/// other servers we take an equal date as proof. Clients that were given an entity tag send that.
///
/// [RFC 9110 §13.1.5]: https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5
#[must_use]
pub fn if_range(field: &[u8], date: Option<u64>, current: &Validators<'_>) -> bool {
    match ETag::parse(field.trim_ascii()) {
        Some(named) => current.etag.is_some_and(|etag| named.strong_eq(etag)),
        None => date.is_some() && date == current.last_modified,
    }
}

#[cfg(test)]
mod tests;
