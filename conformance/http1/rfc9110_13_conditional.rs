//! RFC 9110 §13, [Conditional Requests](https://www.rfc-editor.org/rfc/rfc9110#section-13).

use crate::support::{Origin, expect_all, get, message};

const FILE: &str = "/files/ten.txt";
const PAST: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const FUTURE: &str = "Fri, 01 Jan 2100 00:00:00 GMT";

/// A value of a field, and what the field says of the file: that the request goes on (`true`), that it does not, or
/// nothing at all.
type Case<'v> = (Option<&'v str>, Option<bool>);

/// What the steps of §13.2.2 make of what each field says.
fn expected(
    if_match: Option<bool>,
    unmodified: Option<bool>,
    none_match: Option<bool>,
    modified: Option<bool>,
) -> u16 {
    // 1. "When recipient is the origin server and If-Match is present, evaluate the If-Match precondition: [...] if
    //    false, respond 412". 2. "When recipient is the origin server, If-Match is not present, and
    //    If-Unmodified-Since is present, evaluate the If-Unmodified-Since precondition: [...] if false, respond 412".
    if if_match.or(unmodified) == Some(false) {
        return 412;
    }
    // 3. "When If-None-Match is present, evaluate the If-None-Match precondition: [...] if false for GET/HEAD, respond
    //    304". 4. "When the method is GET or HEAD, If-None-Match is not present, and If-Modified-Since is present,
    //    evaluate the If-Modified-Since precondition: [...] if false, respond 304".
    if none_match.or(modified) == Some(false) { 304 } else { 200 }
}

/// §13.2.2, "Precedence of Preconditions": every combination of the four fields.
#[test]
fn preconditions_are_evaluated_in_their_order() {
    let origin = Origin::with_settled_files();
    let etag = origin.etag(FILE);
    let modified = origin.server.get(FILE).header("last-modified").expect("a file has one").to_owned();
    let matches: [Case; 4] =
        [(None, None), (Some(&etag), Some(true)), (Some("*"), Some(true)), (Some("\"x\""), Some(false))];
    let unmodified: [Case; 5] = [
        (None, None),
        (Some(FUTURE), Some(true)),
        (Some(&modified), Some(true)),
        (Some(PAST), Some(false)),
        (Some("yesterday"), None),
    ];
    let none_matches: [Case; 4] =
        [(None, None), (Some(&etag), Some(false)), (Some("*"), Some(false)), (Some("\"x\""), Some(true))];
    let modifieds: [Case; 5] = [
        (None, None),
        (Some(FUTURE), Some(false)),
        (Some(&modified), Some(false)),
        (Some(PAST), Some(true)),
        (Some("yesterday"), None),
    ];
    let mut client = origin.connect();
    let mut cases = Vec::new();
    for im in matches {
        for ius in unmodified {
            for inm in none_matches {
                cases.extend(modifieds.map(|ims| [im, ius, inm, ims]));
            }
        }
    }
    expect_all(cases, |case| {
        let names = ["If-Match", "If-Unmodified-Since", "If-None-Match", "If-Modified-Since"];
        let fields: Vec<(&str, &str)> =
            names.iter().zip(case).filter_map(|(name, (value, _))| Some((*name, value?))).collect();
        let [im, ius, inm, ims] = case.map(|(_, says)| says);
        let expected = expected(im, ius, inm, ims);
        for method in ["GET", "HEAD"] {
            let status = client.request(method, FILE, &fields).status;
            if status != expected {
                return Err(format!("{method} with {fields:?} is answered with {status}, not {expected}"));
            }
        }
        Ok(())
    });
}

/// §13.1.1: "An origin server MUST use the strong comparison function when comparing entity tags for If-Match".
#[test]
fn if_match_compares_strongly() {
    let origin = Origin::with_settled_files();
    let etag = origin.etag(FILE);
    for list in [
        format!("W/{etag}"),
        format!("W/{etag}, \"x\""),
        etag.trim_matches('"').to_owned(),
        etag.to_uppercase() + "x",
        "\"\"".to_owned(),
    ] {
        origin.answers(get(FILE, &format!("If-Match: {list}")), 412);
    }
    for list in [
        format!("\"x\", {etag}"),
        format!("{etag} , \"x\""),
        format!("W/{etag}, {etag}"),
        format!("\"a,b\", {etag}"),
    ] {
        origin.answers(get(FILE, &format!("If-Match: {list}")), 200);
    }
}

/// §13.1.2: "A recipient MUST use the weak comparison function when comparing entity tags for If-None-Match".
#[test]
fn if_none_match_compares_weakly() {
    let origin = Origin::with_settled_files();
    let etag = origin.etag(FILE);
    for list in [
        format!("W/{etag}"),
        format!("\"x\", W/{etag}"),
        format!("\"a,b\", {etag}"),
        format!("W/\"x\",{etag}"),
        " * ".to_owned(),
    ] {
        origin.answers(get(FILE, &format!("If-None-Match: {list}")), 304);
    }
    // No case in the tag, none in `W`.
    for list in [
        format!("w/{etag}"),
        etag.trim_matches('"').to_owned(),
        format!("\"{etag}\""),
        "\"*\"".to_owned(),
        String::new(),
    ] {
        origin.answers(get(FILE, &format!("If-None-Match: {list}")), 200);
    }
}

/// §13.1.3: "A recipient MUST ignore the If-Modified-Since header field if the received field value is not a valid
/// HTTP-date, the field value has more than one member"; §13.1.4 says the same of If-Unmodified-Since.
#[test]
fn what_is_no_date_is_ignored() {
    let origin = Origin::start();
    for value in [
        "",
        "0",
        "now",
        "2100-01-01",
        "Fri, 01 Jan 2100 00:00:00",
        "Fri, 32 Jan 2100 00:00:00 GMT",
        "Fri, 01 Jan 2100 24:00:61 GMT",
        "Fri, 01 Jan 2100 00:00:00 CET",
    ] {
        for name in ["If-Modified-Since", "If-Unmodified-Since"] {
            origin.answers(get(FILE, &format!("{name}: {value}")), 200);
        }
    }
    origin.answers(get(FILE, &format!("If-Modified-Since: {FUTURE}, {FUTURE}")), 200);
}

/// §13.2.1: "A server MUST ignore all received preconditions if its response to the same request without those
/// conditions, prior to processing the request content, would have been a status code other than a 2xx (Successful)
/// or 412 (Precondition Failed)."
#[test]
fn what_is_not_there_has_no_preconditions() {
    let origin = Origin::start();
    for fields in [
        "If-Match: *",
        "If-Match: \"x\"",
        "If-None-Match: *",
        "If-None-Match: \"x\"",
        &format!("If-Modified-Since: {FUTURE}"),
        &format!("If-Unmodified-Since: {PAST}"),
    ] {
        origin.answers(get("/files/gone", fields), 404);
        origin.answers(get("/gone", fields), 404);
        origin.answers(message("POST", FILE, fields), 405);
        origin.answers(get("/files", fields), 301);
    }
}

/// §15.4.5: "The server generating a 304 response MUST generate any of the following header fields that would have
/// been sent in a 200 (OK) response to the same request: Content-Location, Date, `ETag`, and Vary; Cache-Control and
/// Expires".
#[test]
fn not_modified_has_the_fields_that_caches_need() {
    let origin = Origin::with_settled_files();
    let etag = origin.etag(FILE);
    let whole = origin.server.get(FILE);
    for fields in [format!("If-None-Match: {etag}"), format!("If-Modified-Since: {FUTURE}")] {
        let answer = origin.answers(get(FILE, &fields), 304);
        for name in ["content-location", "etag", "vary", "cache-control", "expires"] {
            assert_eq!(answer.header(name), whole.header(name), "{name}");
        }
        assert!(answer.header("date").is_some());
        assert!(answer.body.is_empty());
        // "a sender SHOULD NOT generate representation metadata other than the above listed fields"
        assert_eq!((answer.header("content-type"), answer.header("content-encoding")), (None, None));
    }
}

/// §13.2.1 and §14.2: "If all of the preconditions are true, the server supports the Range header field for the
/// target resource, [...]": the range comes last.
#[test]
fn preconditions_come_before_ranges() {
    let origin = Origin::with_settled_files();
    let etag = origin.etag(FILE);
    origin.answers(get(FILE, &format!("Range: bytes=0-1\r\nIf-None-Match: {etag}")), 304);
    origin.answers(get(FILE, "Range: bytes=0-1\r\nIf-Match: \"x\""), 412);
    origin.answers(get(FILE, &format!("Range: bytes=0-1\r\nIf-Match: {etag}")), 206);
    origin.answers(get(FILE, "Range: bytes=20-\r\nIf-Match: \"x\""), 412);
    origin.answers(get(FILE, &format!("Range: bytes=20-\r\nIf-None-Match: {etag}")), 304);
}
