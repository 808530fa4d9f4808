//! The preconditions, clause by clause.

use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_000_000;

fn current() -> Validators<'static> {
    Validators { etag: ETag::parse(b"\"a\""), last_modified: Some(NOW) }
}

fn get(fields: ConditionalFields<'_>) -> Outcome {
    evaluate(true, &fields, Some(&current()))
}

fn put(fields: ConditionalFields<'_>) -> Outcome {
    evaluate(false, &fields, Some(&current()))
}

fn if_match(list: &str) -> ConditionalFields<'_> {
    ConditionalFields { if_match: Some(list.as_bytes()), ..ConditionalFields::default() }
}

fn if_none_match(list: &str) -> ConditionalFields<'_> {
    ConditionalFields { if_none_match: Some(list.as_bytes()), ..ConditionalFields::default() }
}

#[test]
fn without_fields_all_proceeds() {
    assert_eq!(get(ConditionalFields::default()), Outcome::Proceed);
    assert_eq!(evaluate(false, &ConditionalFields::default(), None), Outcome::Proceed);
}

#[test]
fn if_match_wants_a_strong_match() {
    assert_eq!(put(if_match(r#""b", "a""#)), Outcome::Proceed);
    assert_eq!(put(if_match(r#"W/"a""#)), Outcome::Failed);
    assert_eq!(put(if_match(r#""b""#)), Outcome::Failed);
    assert_eq!(get(if_match("a")), Outcome::Failed, "a malformed list matches nothing");
}

#[test]
fn a_star_asks_whether_there_is_one() {
    assert_eq!(put(if_match(" * ")), Outcome::Proceed);
    assert_eq!(put(if_none_match("*")), Outcome::Failed);
    assert_eq!(get(if_none_match("*")), Outcome::NotModified);
    assert_eq!(evaluate(false, &if_match("*"), None), Outcome::Failed);
    assert_eq!(evaluate(false, &if_none_match("*"), None), Outcome::Proceed, "create, but never overwrite");
}

#[test]
fn if_none_match_is_weak_and_means_304_only_for_reads() {
    assert_eq!(get(if_none_match(r#"W/"a""#)), Outcome::NotModified);
    assert_eq!(put(if_none_match(r#"W/"a""#)), Outcome::Failed);
    assert_eq!(get(if_none_match(r#""b""#)), Outcome::Proceed);
}

#[test]
fn dates_compare_to_the_second() {
    let since = |date| ConditionalFields { if_modified_since: Some(date), ..ConditionalFields::default() };
    assert_eq!(get(since(NOW)), Outcome::NotModified);
    assert_eq!(get(since(NOW - 1)), Outcome::Proceed);
    assert_eq!(put(since(NOW)), Outcome::Proceed, "If-Modified-Since is for GET and HEAD");

    let unmodified =
        |date| ConditionalFields { if_unmodified_since: Some(date), ..ConditionalFields::default() };
    assert_eq!(put(unmodified(NOW)), Outcome::Proceed);
    assert_eq!(put(unmodified(NOW - 1)), Outcome::Failed);
}

#[test]
fn a_representation_without_a_date_has_no_date_conditions() {
    let fields = ConditionalFields {
        if_modified_since: Some(0),
        if_unmodified_since: Some(0),
        ..ConditionalFields::default()
    };
    let dateless = Validators { last_modified: None, ..current() };
    assert_eq!(evaluate(true, &fields, Some(&dateless)), Outcome::Proceed);
}

#[test]
fn a_tag_takes_precedence_over_its_date() {
    let stale = ConditionalFields { if_unmodified_since: Some(NOW - 1), ..if_match(r#""a""#) };
    assert_eq!(put(stale), Outcome::Proceed);
    let fresh = ConditionalFields { if_modified_since: Some(NOW), ..if_none_match(r#""b""#) };
    assert_eq!(get(fresh), Outcome::Proceed);
}

#[test]
fn failure_takes_precedence_over_not_modified() {
    let both = ConditionalFields { if_none_match: Some(b"\"a\""), ..if_match(r#""b""#) };
    assert_eq!(get(both), Outcome::Failed);
}

/// Every combination of the four fields, each absent, true or false of the current state, against the numbered steps of
/// RFC 9110 §13.2.2.
#[test]
fn precedence_is_that_of_the_rfc() {
    const STATES: [Option<bool>; 3] = [None, Some(true), Some(false)];
    let tag = |holds: bool| if holds { &b"\"a\""[..] } else { b"\"b\"" };
    for read in [true, false] {
        for matches in STATES {
            for unmodified in STATES {
                for none_match in STATES {
                    for modified in STATES {
                        let fields = ConditionalFields {
                            if_match: matches.map(tag),
                            if_unmodified_since: unmodified.map(|holds| if holds { NOW } else { NOW - 1 }),
                            if_none_match: none_match.map(|holds| tag(!holds)),
                            if_modified_since: modified.map(|holds| if holds { NOW - 1 } else { NOW }),
                        };
                        // Steps 1 and 2.
                        let expected = if matches.or(unmodified) == Some(false) {
                            Outcome::Failed
                        } else {
                            match (none_match, modified, read) {
                                // Step 3.
                                (Some(false), _, false) => Outcome::Failed,
                                // Steps 3 and 4.
                                (Some(false), _, true) | (None, Some(false), true) => Outcome::NotModified,
                                _ => Outcome::Proceed,
                            }
                        };
                        assert_eq!(evaluate(read, &fields, Some(&current())), expected, "{read} {fields:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn if_range_takes_a_strong_tag_or_the_exact_date() {
    assert!(if_range(b"\"a\"", None, &current()));
    assert!(!if_range(b"W/\"a\"", None, &current()));
    assert!(!if_range(b"\"b\"", Some(NOW), &current()));
    assert!(if_range(b"a date", Some(NOW), &current()));
    assert!(!if_range(b"a date", Some(NOW + 1), &current()));
    assert!(!if_range(b"nonsense", None, &Validators::default()));
}

proptest! {
    #[test]
    fn the_validator_that_was_given_always_matches(opaque in "[!#-~]{0,12}", others in "(\"[a-z]{0,3}\",){0,3}") {
        let tag = format!("\"{opaque}\"");
        let current = Validators { etag: ETag::parse(tag.as_bytes()), last_modified: None };
        let list = format!("{others}{tag}");
        prop_assert_eq!(evaluate(true, &if_none_match(&list), Some(&current)), Outcome::NotModified);
        prop_assert_eq!(evaluate(false, &if_match(&list), Some(&current)), Outcome::Proceed);
        prop_assert!(if_range(tag.as_bytes(), None, &current));
    }

    #[test]
    fn only_reads_are_answered_304(
        (if_match, if_none_match) in any::<(Option<Vec<u8>>, Option<Vec<u8>>)>(),
        (if_modified_since, if_unmodified_since) in any::<(Option<u64>, Option<u64>)>(),
    ) {
        let fields = ConditionalFields {
            if_match: if_match.as_deref(),
            if_none_match: if_none_match.as_deref(),
            if_modified_since,
            if_unmodified_since,
        };
        prop_assert_ne!(put(fields), Outcome::NotModified);
    }
}
