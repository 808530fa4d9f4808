//! RFC 9110 §14, [Range Requests](https://www.rfc-editor.org/rfc/rfc9110#section-14), and `If-Range` (§13.1.5).

use medusa_testkit::Response;

use crate::support::{Origin, TEN, expect_all, get, message};

const FILE: &str = "/files/ten.txt";

fn ranged(range: &str) -> String {
    get(FILE, &format!("Range: {range}"))
}

/// §14.1.2, "Byte Ranges": first and last are counted from 0, and both belong to it; what reaches beyond the end is
/// cut there.
#[test]
fn one_range_is_one_part() {
    let origin = Origin::start();
    for (range, part, content_range) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=0-4", "01234", "bytes 0-4/10"),
        ("bytes=5-", "56789", "bytes 5-9/10"),
        ("bytes=9-9", "9", "bytes 9-9/10"),
        ("bytes=0-", TEN, "bytes 0-9/10"),
        ("bytes=0-9", TEN, "bytes 0-9/10"),
        ("bytes=8-100", "89", "bytes 8-9/10"),
        ("bytes=8-99999999999999999999999999", "89", "bytes 8-9/10"),
        ("bytes=-1", "9", "bytes 9-9/10"),
        ("bytes=-10", TEN, "bytes 0-9/10"),
        ("bytes=-100", TEN, "bytes 0-9/10"),
        ("bytes=-99999999999999999999999999", TEN, "bytes 0-9/10"),
        ("Bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=00-01", "01", "bytes 0-1/10"),
    ] {
        let answer = origin.answers(ranged(range), 206);
        assert_eq!(answer.text(), part, "{range}");
        // §15.3.7.1: "the server generating the 206 response MUST generate a Content-Range header field".
        assert_eq!(answer.header("content-range"), Some(content_range), "{range}");
        assert_eq!(answer.header("content-length"), Some(part.len().to_string().as_str()), "{range}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"), "{range}");
    }
}

/// §15.3.7: "The server that generates a 206 response MUST generate [...] `Date`, `Cache-Control`, `ETag`, `Expires`,
/// Content-Location, and Vary" as in a 200.
#[test]
fn a_part_has_the_fields_of_the_whole() {
    let origin = Origin::with_settled_files();
    let whole = origin.server.get(FILE);
    let part = origin.answers(ranged("bytes=1-2"), 206);
    for name in ["cache-control", "etag", "expires", "content-location", "vary", "last-modified"] {
        assert_eq!(part.header(name), whole.header(name), "{name}");
    }
    assert!(part.header("date").is_some());
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
}

/// §14.2: "If all of the preconditions are true, the server supports the Range header field for the target resource,
/// the received Range field-value contains a valid ranges-specifier with a range-unit supported for that target
/// resource, and that ranges-specifier is not satisfiable with respect to the selected representation, the server
/// SHOULD send a 416"; §15.5.17: it "SHOULD generate a Content-Range".
#[test]
fn what_is_beyond_the_end_is_answered_416() {
    let origin = Origin::start();
    for range in [
        "bytes=10-",
        "bytes=10-20",
        "bytes=99999999999999999999999999-",
        "bytes=-0",
        "bytes=10-,20-30",
        "bytes=100-200, 300-",
    ] {
        let answer = origin.answers(ranged(range), 416);
        assert_eq!(answer.header("content-range"), Some("bytes */10"), "{range}");
    }
}

/// §14.2: "An origin server MUST ignore a Range header field that contains a range unit it does not understand." What
/// is no range is ignored with it.
#[test]
fn what_is_not_understood_is_ignored() {
    let origin = Origin::start();
    let ranges = [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=--1",
        "bytes=a-b",
        "bytes=1-a",
        "bytes=5-2",
        "bytes 0-1",
        "bytes:0-1",
        "0-1",
        "=0-1",
        "lines=0-1",
        "bytes=0-1-2",
        "bytes=+1-2",
        "bytes=0x0-1",
        "bytes=0-1;",
        "bytes=1",
        "octets=0-1",
        "bytes=0-1, a",
        "bytes= 0 - 1",
        "bytes =0-1",
    ];
    expect_all(ranges, |range| {
        let answer = origin.server.send(ranged(range));
        let whole = answer.status == 200 && answer.text() == TEN && answer.header("content-range").is_none();
        whole.then_some(()).ok_or_else(|| format!("{range:?}: {answer:?}"))
    });
}

/// §14.2: "A server MUST ignore a Range header field received with a request method that is unrecognized or for which
/// range handling is not defined. For this specification, GET is the only method for which range handling is
/// defined."
#[test]
fn ranges_are_for_get() {
    let origin = Origin::start();
    for range in ["bytes=0-1", "bytes=20-", "bytes=0-1, 3-4"] {
        let head = origin.answers(message("HEAD", FILE, &format!("Range: {range}")), 200);
        assert_eq!(
            (head.header("content-length"), head.header("content-range")),
            (Some("10"), None),
            "{range}"
        );
    }
    // Nor does a handler that knows nothing of them send a part.
    assert_eq!(origin.answers(get("/n?n=hello", "Range: bytes=0-1"), 200).text(), "hello");
    assert_eq!(origin.answers(get("/files/gone", "Range: bytes=0-1"), 404).header("content-range"), None);
}

/// §14.2: several ranges get several parts, "MUST" be in a `multipart/byteranges`, each with its `Content-Range`, and
/// none in front (§15.3.7.2); or the whole, as "A server MAY ignore the Range header field".
#[test]
fn several_ranges_are_several_parts_or_the_whole() {
    let origin = Origin::start();
    for (ranges, parts) in [
        ("bytes=0-1,4-5", &["01", "45"] as &[&str]),
        ("bytes=0-1, -2", &["01", "89"]),
        ("bytes=8-9,0-0,4-4", &["89", "0", "4"]),
        ("bytes=0-0, 20-30, 9-9", &["0", "9"]),
    ] {
        let answer = origin.server.send(ranged(ranges));
        match answer.status {
            200 => {
                assert_eq!((answer.text().as_str(), answer.header("content-range")), (TEN, None), "{ranges}");
            }
            206 => assert_eq!(multipart(&answer), parts, "{ranges}"),
            other => panic!("{ranges} is answered with {other}"),
        }
    }
}

/// §15.3.7.2: "A server MUST NOT generate a multipart response to a request for a single range"; of several of which
/// one is satisfiable, "MAY" be one part.
#[test]
fn one_range_is_no_multipart() {
    let origin = Origin::start();
    for range in ["bytes=0-1", "bytes=0-1,", "bytes=,0-1"] {
        let answer = origin.answers(ranged(range), 206);
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"), "{range}");
    }
    let answer = origin.server.send(ranged("bytes=0-1, 20-30"));
    match answer.header("content-range") {
        Some(range) => {
            assert_eq!((answer.status, range, answer.text().as_str()), (206, "bytes 0-1/10", "01"));
        }
        None if answer.status == 206 => assert_eq!(multipart(&answer), ["01"]),
        None => assert_eq!((answer.status, answer.text().as_str()), (200, TEN)),
    }
}

/// The parts of a `multipart/byteranges` ([§14.6](https://www.rfc-editor.org/rfc/rfc9110#section-14.6)), taken apart
/// strictly.
#[track_caller]
fn multipart(answer: &Response) -> Vec<String> {
    assert_eq!(answer.header("content-range"), None, "in front of parts that have their own");
    let boundary =
        answer.header("content-type").and_then(|value| value.strip_prefix("multipart/byteranges; boundary="));
    let boundary =
        boundary.unwrap_or_else(|| panic!("no multipart: {answer:?}")).trim_matches('"').to_owned();
    let text = answer.text();
    let (start, end) = (format!("--{boundary}\r\n"), format!("\r\n--{boundary}--"));
    let parts = text
        .trim_start_matches("\r\n")
        .strip_prefix(&start)
        .and_then(|rest| rest.trim_end().strip_suffix(&end));
    let parts = parts.unwrap_or_else(|| panic!("not between boundaries: {text:?}"));
    let part = |part: &str| {
        let (head, content) = part.split_once("\r\n\r\n").expect("a part has a head");
        let fields: Vec<(String, &str)> = head
            .split("\r\n")
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value))
            .collect();
        let field = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
        assert_eq!(field("content-type"), Some("text/plain; charset=utf-8"), "{head:?}");
        let first = TEN.find(content).expect("a part of the file");
        assert_eq!(
            field("content-range"),
            Some(format!("bytes {first}-{}/10", first + content.len() - 1).as_str())
        );
        content.to_owned()
    };
    parts.split(&format!("\r\n--{boundary}\r\n")).map(part).collect()
}

/// §14.2 and §17.15: a server "MAY ignore or reject a Range header field that contains [...] more than two
/// overlapping ranges, or a set of many small ranges", so that no request gets more than the whole is.
#[test]
fn many_ranges_are_no_way_to_get_more_than_the_whole() {
    let origin = Origin::start();
    origin.site.write("public/big.bin", "x".repeat(100_000));
    for ranges in ["0-,".repeat(1000), "0-99999,".repeat(10), "0-0,".repeat(5000), "-99999,".repeat(3)] {
        let answer = origin
            .server
            .send(get("/files/big.bin", &format!("Range: bytes={}", ranges.trim_end_matches(','))));
        assert!(matches!(answer.status, 200 | 206 | 416), "{:?}", answer.status);
        assert!(answer.body.len() < 110_000, "{} bytes", answer.body.len());
    }
}

/// §13.1.5: "A recipient of an If-Range header field MUST ignore the Range header field if the If-Range condition
/// evaluates as false", and entity tags are compared strongly.
#[test]
fn if_range_decides_about_the_range() {
    let origin = Origin::with_settled_files();
    let etag = origin.etag(FILE);
    let modified = origin.server.get(FILE).header("last-modified").expect("a file has one").to_owned();
    origin.answers(get(FILE, &format!("Range: bytes=0-1\r\nIf-Range: {etag}")), 206);
    for validator in [
        format!("W/{etag}"),
        "\"x\"".to_owned(),
        "*".to_owned(),
        String::new(),
        format!("{etag}, {etag}"),
        "Sun, 06 Nov 1994 08:49:37 GMT".to_owned(),
        // Exactly the date, and not a later one: "the HTTP-date validator provided exactly matches the Last-Modified".
        "Fri, 01 Jan 2100 00:00:00 GMT".to_owned(),
        "yesterday".to_owned(),
    ] {
        let answer = origin.answers(get(FILE, &format!("Range: bytes=0-1\r\nIf-Range: {validator}")), 200);
        assert_eq!(answer.text(), TEN, "If-Range: {validator}");
        // Also if the range could not be satisfied: the whole is the answer then.
        origin.answers(get(FILE, &format!("Range: bytes=20-\r\nIf-Range: {validator}")), 200);
    }
    // A date of this very second is no strong validator (§8.8.2.2), so that either is right here.
    let answer = origin.server.send(get(FILE, &format!("Range: bytes=0-1\r\nIf-Range: {modified}")));
    assert!(matches!(answer.status, 200 | 206));
}

/// §13.1.5: "A server MUST ignore an If-Range header field received in a request that does not contain a Range header
/// field."
#[test]
fn if_range_alone_means_nothing() {
    let origin = Origin::start();
    for validator in ["\"x\"", "W/\"x\"", "*", "Sun, 06 Nov 1994 08:49:37 GMT"] {
        assert_eq!(origin.answers(get(FILE, &format!("If-Range: {validator}")), 200).text(), TEN);
    }
}

/// §14.2: "A server that supports range requests" of a file of no bytes has none to send.
#[test]
fn nothing_has_no_range() {
    let origin = Origin::start();
    origin.site.write("public/empty.txt", "");
    for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
        let answer = origin.server.send(get("/files/empty.txt", &format!("Range: {range}")));
        let content_range = answer.header("content-range");
        assert!(
            matches!((answer.status, content_range), (200, None) | (416, Some("bytes */0")))
                && (answer.status == 416 || answer.body.is_empty()),
            "{range}: {answer:?}"
        );
    }
}
