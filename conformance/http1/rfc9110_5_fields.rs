//! RFC 9110 §5, [Fields](https://www.rfc-editor.org/rfc/rfc9110#section-5): several lines of one name, lists, dates.
//! (The syntax of a line is in `rfc9112_5_field_syntax`.)

use crate::support::{Origin, get};

/// §5.3: "A recipient MAY combine multiple field lines within a field section that have the same field name into one
/// field line, [...] by appending each subsequent field line value to the initial field line value in order,
/// separated by a comma". The order counts.
#[test]
fn lines_of_one_name_are_a_list_in_their_order() {
    let origin = Origin::start();
    let value = |fields: &str| origin.answers(get("/field/name", fields), 200).text().replace(' ', "");
    assert_eq!(value("Name: a\r\nName: b"), "<a,b>");
    assert_eq!(value("Name: b\r\nOther: x\r\nNAME: a\r\nname: c"), "<b,a,c>");
    assert_eq!(value("Name: a, b\r\nName: c"), "<a,b,c>");
}

/// §5.3: of `Set-Cookie`, which "often appears in a response message across multiple field lines and does not use the
/// list syntax", each line stays one.
#[test]
fn cookies_are_not_joined() {
    let origin = Origin::start();
    let answer = origin.answers(get("/cookies", ""), 200);
    let cookies: Vec<&str> = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
}

/// §5.6.1.2: "A recipient MUST parse and ignore a reasonable number of empty list elements".
#[test]
fn empty_elements_of_a_list_are_ignored() {
    let origin = Origin::with_settled_files();
    let etag = origin.etag("/files/ten.txt");
    for list in
        [format!(",{etag}"), format!("{etag},"), format!(", ,\t,{etag} , ,"), format!("\"x\",,{etag}")]
    {
        origin.answers(get("/files/ten.txt", &format!("If-None-Match: {list}")), 304);
    }
    for list in ["bytes=,0-1", "bytes=0-1,", "bytes= , ,0-1"] {
        assert_eq!(
            origin.answers(get("/files/ten.txt", &format!("Range: {list}")), 206).text(),
            "01",
            "{list}"
        );
    }
}

/// As above, with a list in several lines.
#[test]
fn a_list_may_stand_in_several_lines() {
    let origin = Origin::with_settled_files();
    let etag = origin.etag("/files/ten.txt");
    let fields = format!("If-None-Match: \"x\"\r\nIf-None-Match: {etag}");
    origin.answers(get("/files/ten.txt", &fields), 304);
    let fields = format!("If-Match: \"x\"\r\nIf-Match: {etag}");
    origin.answers(get("/files/ten.txt", &fields), 200);
}

/// §5.6.7: "A recipient that parses a timestamp value in an HTTP field MUST accept all three HTTP-date formats."
#[test]
fn a_date_has_three_formats() {
    let origin = Origin::start();
    for date in [
        "Fri, 01 Jan 2100 00:00:00 GMT",
        "Sun, 06 Nov 2050 08:49:37 GMT",
        "Sunday, 06-Nov-50 08:49:37 GMT", // less than 50 years away, until 2100
        "Sun Nov  6 08:49:37 2050",
    ] {
        origin.answers(get("/files/ten.txt", &format!("If-Modified-Since: {date}")), 304);
        origin.answers(get("/files/ten.txt", &format!("If-Unmodified-Since: {date}")), 200);
    }
    for date in
        ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
    {
        origin.answers(get("/files/ten.txt", &format!("If-Modified-Since: {date}")), 200);
        origin.answers(get("/files/ten.txt", &format!("If-Unmodified-Since: {date}")), 412);
    }
}

/// §5.6.7: "Recipients of a timestamp value in rfc850-date format, which uses a two-digit year, MUST interpret a
/// timestamp that appears to be more than 50 years in the future as representing the most recent year in the past
/// that had the same last two digits."
#[test]
fn a_year_of_two_digits_is_no_more_than_50_years_ahead() {
    let origin = Origin::start();
    origin.answers(get("/files/ten.txt", "If-Modified-Since: Wednesday, 06-Nov-99 08:49:37 GMT"), 200);
}

/// §5.5: a field that a script gives must not become two: "a recipient of CR, LF, or NUL within a field value" is any
/// client, and RFC 9112 §11.1 calls it response splitting.
#[test]
fn a_handler_cannot_split_a_response() {
    let origin = Origin::start();
    for value in [
        "a%0d%0aSet-Cookie:%20b",
        "a%0aSet-Cookie:%20b",
        "a%0dSet-Cookie:%20b",
        "a%00b",
        "a%0d%0a%0d%0acontent",
    ] {
        let answer = origin.answers(get(&format!("/set?name=X-Name&value={value}"), ""), 500);
        assert!(
            answer.header("set-cookie").is_none() && answer.header("x-name").is_none(),
            "{value}: {answer:?}"
        );
    }
    for name in ["X%0d%0aSet-Cookie", "X:", "X%20", "", "X%00", "%c3%bc"] {
        let answer = origin.answers(get(&format!("/set?name={name}&value=a"), ""), 500);
        assert!(answer.header("set-cookie").is_none(), "{name}: {answer:?}");
    }
    assert_eq!(origin.answers(get("/set?name=X-Name&value=a", ""), 200).header("x-name"), Some("a"));
}
