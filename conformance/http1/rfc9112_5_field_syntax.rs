//! RFC 9112 §5, [Field Syntax](https://www.rfc-editor.org/rfc/rfc9112#section-5): a name, a colon right behind it, a
//! value in optional whitespace.

use crate::support::{Origin, get, message};

/// §5.1: "No whitespace is allowed between the field name and colon. [...] A server MUST reject, with a response
/// status code of 400 (Bad Request), any received request message that contains whitespace between a header field
/// name and colon."
#[test]
fn whitespace_before_the_colon_is_refused() {
    let origin = Origin::start();
    let fields = [
        "Name : value",
        "Name\t: value",
        "Name  \t : value",
        "Host : test",
        "Content-Length : 0",
        "Transfer-Encoding : chunked",
        " : value",
    ];
    origin.refuses_all(fields.map(|field| get("/n", field)), &[400]);
    origin.refuses("GET /n HTTP/1.1\r\nHost : test\r\n\r\n", &[400]);
}

/// §5.1: OWS around a value "is excluded by parsers when extracting the field line value".
#[test]
fn whitespace_around_a_value_is_no_part_of_it() {
    let origin = Origin::start();
    for line in ["Name: a b", "Name:a b", "Name:  a b", "Name: a b  ", "Name:\ta b\t", "Name: \t a b \t "] {
        assert_eq!(origin.answers(get("/field/name", line), 200).text(), "<a b>", "{line:?}");
    }
    for line in ["Name:", "Name: ", "Name:\t \t"] {
        assert_eq!(origin.answers(get("/field/name", line), 200).text(), "<>", "{line:?}");
    }
}

/// §5.2: "A server that receives an obs-fold in a request message that is not within a "message/http" container MUST
/// either reject the message by sending a 400 (Bad Request), [...] or replace each received obs-fold with one or more
/// SP". We reject.
#[test]
fn a_folded_line_is_refused() {
    let origin = Origin::start();
    let fields = [
        "Name: a\r\n b",
        "Name: a\r\n\tb",
        "Name:\r\n value",
        "Name: a\r\n ",
        "Name: a\r\n b\r\n c",
        "Content-Length: 1\r\n 0",
        "Transfer-Encoding:\r\n chunked",
        "Name: a\n b",
    ];
    origin.refuses_all(fields.map(|field| get("/n", field)), &[400]);
    origin.refuses("GET /n HTTP/1.1\r\nHost: te\r\n st\r\n\r\n", &[400]);
}

/// RFC 9110 §5.1: "field-name = token".
#[test]
fn a_name_is_a_token() {
    let origin = Origin::start();
    let mut fields: Vec<String> =
        "\"(),/;<=>?@[\\]{}\u{1}\u{7f}".chars().map(|c| format!("Na{c}me: value")).collect();
    fields.extend(["no colon", ": value", "Na me: value", "\u{fc}: value", "\0: value"].map(str::to_owned));
    origin.refuses_all(fields.iter().map(|field| get("/n", field)), &[400]);
    origin.answers(get("/n", "!#$%&'*+-.^_`|~0aZ: value"), 200);
}

/// RFC 9110 §5.1: "Field names are case-insensitive".
#[test]
fn a_name_has_no_case() {
    let origin = Origin::start();
    for name in ["name", "NAME", "Name", "nAmE"] {
        assert_eq!(origin.answers(get("/field/name", &format!("{name}: value")), 200).text(), "<value>");
    }
    let mut client = origin.connect();
    client.send("POST /echo HTTP/1.1\r\nhOsT: test\r\ncONTENT-lENGTH: 2\r\n\r\nhi");
    assert_eq!(client.response().text(), "hi");
}

/// RFC 9110 §5.5: "Field values containing CR, LF, or NUL characters are invalid and dangerous [...]; a recipient of
/// CR, LF, or NUL within a field value MUST either reject the message or replace each of those characters with SP".
#[test]
fn a_value_holds_no_control_characters() {
    let origin = Origin::start();
    let controls = ['\0', '\u{1}', '\u{8}', '\u{b}', '\u{c}', '\u{1b}', '\u{7f}'];
    origin.refuses_all(controls.map(|c| get("/n", &format!("Name: a{c}b"))), &[400]);
    origin.refuses_all(controls.map(|c| format!("GET /n HTTP/1.1\r\nHost: te{c}st\r\n\r\n")), &[400]);
}

/// RFC 9110 §5.4: "A server that receives a request header field line, field value, or set of fields larger than it
/// wishes to process MUST respond with an appropriate 4xx (Client Error) status code." RFC 6585 §5 has 431 for it.
#[test]
fn too_large_a_head_is_answered_431() {
    let origin = Origin::start();
    let value = |length: usize| get("/n", &format!("Name: {}", "x".repeat(length)));
    origin.answers_all([1000, 8000, 30_000].map(value), 200);
    origin.refuses_all([150_000, 300_000].map(value), &[431]);
    origin.refuses_all(
        [150_000, 300_000].map(|length| get("/n", &format!("{}: value", "x".repeat(length)))),
        &[431],
    );
    let lines = |count: usize| get("/n", &"Name: 0123456789\r\n".repeat(count));
    // Within 64 KiB or not, there are too many of them.
    origin.refuses_all(
        [200, 2000, 20_000].map(|count| lines(count).replace("\r\n\r\n\r\n", "\r\n\r\n")),
        &[431],
    );
}

/// As above; the limit is 64 KiB.
#[test]
fn a_head_has_64_kib() {
    let origin = Origin::start();
    let long = |length: usize| get("/n", &format!("Name: {}", "x".repeat(length)));
    origin.answers(long(64_000), 200);
    origin.refuses_all([65_536, 66_000, 100_000].map(long), &[431]);
}

/// As above; the limit is 100 fields.
#[test]
fn a_head_has_100_fields() {
    let origin = Origin::start();
    let fields = |count: usize| vec!["Name: value"; count - 1].join("\r\n"); // less `Host`
    origin.answers(get("/n", &fields(100)), 200);
    origin.refuses(get("/n", &fields(101)), &[431]);
    origin.refuses(message("POST", "/echo", &fields(150)), &[431]);
}
