//! RFC 9112 §6, [Message Body](https://www.rfc-editor.org/rfc/rfc9112#section-6): where a request ends.
//!
//! The one thing both sides must agree about: what one of them takes for content, the other may take for a request.

use crate::support::{Origin, chunked, get, message, post};

/// §6.1: "A recipient MUST be able to parse the chunked transfer coding"; "All transfer-coding names are
/// case-insensitive" (§7).
#[test]
fn chunked_content_is_read() {
    let origin = Origin::start();
    for coding in ["chunked", "Chunked", "CHUNKED", "  chunked\t"] {
        let request = post("/echo", &format!("Transfer-Encoding:{coding}"), "2\r\nhi\r\n0\r\n\r\n");
        assert_eq!(origin.answers(request, 200).text(), "hi", "{coding:?}");
    }
}

/// §6.3 4.: "If a Transfer-Encoding header field is present in a request and the chunked transfer coding is not the
/// final encoding, the message body length cannot be determined reliably; the server MUST respond with the 400 (Bad
/// Request) status code and then close the connection."
#[test]
fn a_coding_without_an_end_is_refused() {
    let origin = Origin::start();
    let codings = [
        "gzip",
        "identity",
        "chunked, gzip",
        "chunked, identity",
        "chunked;q=1, x",
        "x-chunked",
        "chunkedx",
        "chunke",
        "deflate, gzip",
        "\"chunked\"",
        "chunked\r\nTransfer-Encoding: gzip",
    ];
    origin.refuses_all(
        codings.map(|coding| post("/n", &format!("Transfer-Encoding: {coding}"), "0\r\n\r\n")),
        &[400, 501],
    );
}

/// §6.1: "A server that receives a request message with a transfer coding it does not understand SHOULD respond with
/// 501 (Not Implemented)", and "A sender MUST NOT apply the chunked transfer coding more than once to a message
/// body".
#[test]
fn a_coding_nobody_knows_is_refused() {
    let origin = Origin::start();
    let codings = [
        "gzip, chunked",
        "identity, chunked",
        "x, chunked",
        "chunked, chunked",
        "chunked\r\nTransfer-Encoding: chunked",
        "gzip\r\nTransfer-Encoding: chunked",
        "identity\r\nTransfer-Encoding: chunked",
    ];
    origin.refuses_all(
        codings.map(|coding| post("/n", &format!("Transfer-Encoding: {coding}"), "0\r\n\r\n")),
        &[400, 501],
    );
}

/// What is not quite `chunked` is not chunked: an intermediary that takes it for something else must not find us of
/// another mind.
#[test]
fn a_coding_that_is_only_nearly_chunked_is_refused() {
    let origin = Origin::start();
    let codings = [
        "",
        ",",
        "chunked,",
        ",chunked",
        "chunked;",
        "chunked; a=b",
        "chun\tked",
        "\u{b}chunked",
        "chunked\u{b}",
        "chunked\u{a0}",
    ];
    origin.refuses_all(
        codings.map(|coding| post("/n", &format!("Transfer-Encoding: {coding}"), "0\r\n\r\n")),
        &[400, 501],
    );
}

/// §6.1: "A server or client that receives an HTTP/1.0 message containing a Transfer-Encoding header field MUST treat
/// the message as if the framing is faulty, even if a Content-Length is present, and close the connection after
/// processing the message."
#[test]
fn http_1_0_has_no_codings() {
    let origin = Origin::start();
    for fields in [
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nConnection: keep-alive",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\nConnection: keep-alive",
        "Transfer-Encoding: identity\r\nContent-Length: 5",
    ] {
        origin.refuses(format!("POST /n HTTP/1.0\r\nHost: test\r\n{fields}\r\n\r\n0\r\n\r\n"), &[400]);
    }
}

/// §6.3 3.: a message with both a Transfer-Encoding and a Content-Length "might indicate an attempt to perform request
/// smuggling" and "ought to be handled as an error"; §6.1: a server "MAY reject" it, and "MUST close the connection after
/// responding".
#[test]
fn a_coding_and_a_length_are_refused() {
    let origin = Origin::start();
    for fields in
        ["Transfer-Encoding: chunked\r\nContent-Length: 5", "Content-Length: 5\r\nTransfer-Encoding: chunked"]
    {
        let mut client = origin.connect();
        client.send(post("/n", fields, "0\r\n\r\n") + &get("/n?n=smuggled", ""));
        assert_eq!(client.response().status, 400);
        client.expect_close();
    }
}

/// §6.2: "a valid Content-Length field value"; RFC 9110 §8.6: "Content-Length = 1*DIGIT".
#[test]
fn a_length_is_read() {
    let origin = Origin::start();
    for (length, content) in [
        ("0", ""),
        ("1", "a"),
        ("5", "hello"),
        ("05", "hello"),
        ("  5\t", "hello"),
        ("0000000000000000000005", "hello"),
    ] {
        let request = post("/echo", &format!("Content-Length:{length}"), content);
        assert_eq!(origin.answers(request, 200).text(), content, "{length:?}");
    }
}

/// §6.3 5.: "If a message is received without Transfer-Encoding and with an invalid Content-Length header field, then
/// the message framing is invalid and the recipient MUST treat it as an unrecoverable error [...] the server MUST
/// respond with a 400 (Bad Request) status code and then close the connection." RFC 9110 §8.6: "a recipient MUST
/// anticipate potentially large decimal numerals and prevent parsing errors due to integer conversion overflows".
#[test]
fn an_invalid_length_is_refused() {
    let origin = Origin::start();
    let lengths = [
        "",
        "x",
        "-1",
        "+1",
        "-0",
        "1x",
        "x1",
        "0x1",
        "1e1",
        "1.0",
        "1 0",
        "1_0",
        "1;",
        "\"1\"",
        "1\u{b}",
        "\u{b}1",
        "\u{0661}",
        "18446744073709551616",
        "18446744073709551621",
        "99999999999999999999999999999999",
    ];
    origin
        .refuses_all(lengths.map(|length| post("/n", &format!("Content-Length: {length}"), "hello")), &[400]);
}

/// As above, of a length that an integer only just holds: nobody would wait for it.
#[test]
fn too_large_a_length_is_refused() {
    let origin = Origin::start();
    for length in ["9223372036854775808", "18446744073709551614", "18446744073709551615"] {
        let answer = origin.server.send(post("/echo", &format!("Content-Length: {length}"), "hello"));
        assert!(matches!(answer.status, 400 | 413 | 431), "{length}: {answer:?}");
    }
}

/// RFC 9110 §8.6: a list of several equal lengths may be replaced by one of them; a list of different ones is
/// invalid.
#[test]
fn several_different_lengths_are_refused() {
    let origin = Origin::start();
    let fields = [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 6\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 0",
        "Content-Length: 0\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length:",
        "Content-Length: 5, 6",
        "Content-Length: 5, x",
        "Content-Length: 5,",
        "Content-Length: ,5",
    ];
    origin.refuses_all(fields.map(|fields| post("/n", fields, "hello")), &[400]);
}

/// §6.3 5.: "unless the field value can be successfully parsed as a comma-separated list, all values in the list are
/// valid, and all values in the list are the same (in which case, the message is processed with that single value
/// used)". We do not: nobody sends it in good faith.
#[test]
fn several_equal_lengths_in_one_field_are_refused() {
    let origin = Origin::start();
    origin.refuses_all(
        ["5, 5", "5,5", "5 , 5", "5, 5, 5"]
            .map(|list| post("/n", &format!("Content-Length: {list}"), "hello")),
        &[400],
    );
}

/// As above, in several fields: RFC 9110 §8.6 has the recipient "either reject the message as invalid or replace the
/// duplicated field values with a single valid Content-Length".
#[test]
fn several_equal_lengths_are_one_or_none() {
    let origin = Origin::start();
    let fields = [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nX: y\r\ncontent-length: 5",
        "Content-Length: 5\r\nContent-Length: 05",
    ];
    for fields in fields {
        let request = post("/echo", fields, "hello");
        match origin.server.send(&request).status {
            400 => origin.refuses(&request, &[400]),
            _ => assert_eq!(origin.answers(&request, 200).text(), "hello", "{fields:?}"),
        }
    }
}

/// §6.3 7.: "If this is a request message and none of the above are true, then the message body length is zero".
#[test]
fn a_request_without_a_length_has_no_content() {
    let origin = Origin::start();
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
        assert_eq!(origin.answers(message(method, "/echo", ""), 200).text(), "", "{method}");
    }
}

/// §6: "The presence of a message body in a request is signaled by a Content-Length or Transfer-Encoding header
/// field", whatever the method.
#[test]
fn content_has_nothing_to_do_with_the_method() {
    let origin = Origin::start();
    for method in ["GET", "DELETE", "OPTIONS", "PUT", "PATCH"] {
        let sized = message(method, "/echo", "Content-Length: 5") + "hello";
        assert_eq!(origin.answers(sized, 200).text(), "hello", "{method}");
        let coded = message(method, "/echo", "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n";
        assert_eq!(origin.answers(coded, 200).text(), "hello", "{method}");
    }
    origin.answers(message("HEAD", "/echo", "Content-Length: 5") + "hello", 200);
}

/// §6.1: "A server MUST NOT send a response containing Transfer-Encoding unless the corresponding request indicates
/// HTTP/1.1 (or later minor revisions)."
#[test]
fn http_1_0_is_answered_without_a_coding() {
    let origin = Origin::start();
    for fields in ["", "Connection: keep-alive\r\n", "TE: chunked\r\n"] {
        let mut client = origin.connect();
        client.send(format!("GET /stream HTTP/1.0\r\nHost: test\r\n{fields}\r\n"));
        let answer = client.response();
        assert_eq!(
            (answer.header("transfer-encoding"), answer.text().as_str()),
            (None, "part 1\npart 2\npart 3\n")
        );
        client.expect_close();
    }
}

/// §6.1: "A server MUST NOT send a Transfer-Encoding header field in any response with a status code of 1xx
/// (Informational) or 204 (No Content)." §6.2: "A sender MUST NOT send a Content-Length header field in any message
/// that contains a Transfer-Encoding header field."
#[test]
fn an_answer_has_one_framing() {
    let origin = Origin::start();
    for (target, coded, sized) in [
        ("/n", false, true),
        ("/stream", true, false),
        ("/files/ten.txt", false, true),
        ("/gone", false, true),
        ("/fails", false, true),
        ("/status/204", false, false),
        ("/status/304", false, false),
    ] {
        let answer = origin.server.get(target);
        assert_eq!(answer.header("transfer-encoding").is_some(), coded, "{target}: {answer:?}");
        assert_eq!(answer.header("content-length").is_some(), sized, "{target}: {answer:?}");
    }
}

/// As above, of content that a handler streams where there is none.
#[test]
fn where_there_is_no_content_none_is_streamed() {
    let origin = Origin::start();
    for code in [204, 304] {
        let answer = origin.answers(get(&format!("/stream/{code}"), ""), code);
        assert_eq!(
            (answer.header("transfer-encoding"), answer.header("content-length")),
            (None, None),
            "{answer:?}"
        );
    }
    origin.answers(message("HEAD", "/stream/200", ""), 200);
}

/// §6.3: the rules are those of HTTP/1.0 as well.
#[test]
fn http_1_0_has_lengths() {
    let origin = Origin::start();
    for (fields, content) in [("Content-Length: 5\r\n", "hello"), ("Content-Length: 0\r\n", ""), ("", "")] {
        let mut client = origin.connect();
        client.send(format!("POST /echo HTTP/1.0\r\nHost: test\r\n{fields}\r\n{content}"));
        assert_eq!(client.response().text(), content, "{fields:?}");
        client.expect_close();
    }
}

/// §6.3 8.: "a server SHOULD generate encoding or length-delimited messages whenever possible"; a handler cannot
/// break that.
#[test]
fn a_handler_does_not_decide_about_the_framing() {
    let origin = Origin::start();
    for (name, value) in [
        ("Content-Length", "3"),
        ("Content-Length", "300"),
        ("Transfer-Encoding", "chunked"),
        ("Transfer-Encoding", "gzip"),
    ] {
        let answer = origin.answers(get(&format!("/set?name={name}&value={value}"), ""), 200);
        assert_eq!(answer.text(), "content", "{name}: {value}");
    }
}

/// §6: content that nobody asked for is not taken for the next request: it is read, or the connection closed.
#[test]
fn content_that_nobody_reads_is_no_request() {
    let origin = Origin::start();
    let smuggled = get("/n?n=smuggled", "");
    origin.answers(post("/n", &format!("Content-Length: {}", smuggled.len()), &smuggled), 200);
    origin.answers(post("/gone", &format!("Content-Length: {}", smuggled.len()), &smuggled), 404);
    origin.answers(post("/some", &format!("Content-Length: {}", smuggled.len()), &smuggled), 405);
    let chunk = format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len());
    origin.answers(post("/n", "Transfer-Encoding: chunked", &chunk), 200);
    assert_eq!(origin.answers(chunked(&chunk), 200).text(), smuggled);
}
