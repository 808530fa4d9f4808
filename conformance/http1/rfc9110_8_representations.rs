//! RFC 9110 §8, [Representation Data and Metadata](https://www.rfc-editor.org/rfc/rfc9110#section-8): lengths, types,
//! validators.

use std::fs::File;
use std::time::{Duration, SystemTime};

use medusa_testkit::wait;

use crate::support::{Origin, TEN, get, message};

/// §8.3: "a sender that generates a message containing content SHOULD generate a Content-Type header field".
#[test]
fn content_has_a_type() {
    let origin = Origin::start();
    for (target, content_type) in [
        ("/n", "text/plain; charset=utf-8"),
        ("/stream", "text/plain; charset=utf-8"),
        ("/files/ten.txt", "text/plain; charset=utf-8"),
        ("/files/page.html", "text/html; charset=utf-8"),
        ("/gone", "text/html; charset=utf-8"),
        ("/fails", "text/html; charset=utf-8"),
    ] {
        assert_eq!(origin.server.get(target).header("content-type"), Some(content_type), "{target}");
    }
}

/// §8.6: "A server MAY send a Content-Length header field in a response to a HEAD request [...]; a server MUST NOT
/// send Content-Length in such a response unless its field value equals the decimal number of octets that would have
/// been sent in the content of a response if the same request had used the GET method."
#[test]
fn the_length_for_head_is_that_for_get() {
    let origin = Origin::start();
    for target in [
        "/n?n=hello",
        "/stream",
        "/files/ten.txt",
        "/files/page.html",
        "/files/gone",
        "/files",
        "/gone",
        "/fails",
        "/status/404",
    ] {
        let (get, head) = (
            origin.server.get(target),
            origin.answers(message("HEAD", target, ""), origin.server.get(target).status),
        );
        if let Some(length) = head.header("content-length") {
            assert_eq!(length, get.body.len().to_string(), "{target}");
            assert_eq!(get.header("content-length"), Some(length), "{target}");
        }
    }
}

/// §8.6: "A server MUST NOT send a Content-Length header field in any response with a status code of 1xx
/// (Informational) or 204 (No Content)"; and in a 304 only the length "that would have been sent in the content of a
/// 200 (OK) response to the same request".
#[test]
fn what_has_no_content_has_no_length() {
    let origin = Origin::with_settled_files();
    let etag = origin.etag("/files/ten.txt");
    assert_eq!(origin.answers(get("/status/204", ""), 204).header("content-length"), None);
    assert_eq!(origin.answers(message("OPTIONS", "*", ""), 204).header("content-length"), None);
    let not_modified = origin.answers(get("/files/ten.txt", &format!("If-None-Match: {etag}")), 304);
    assert!(matches!(not_modified.header("content-length"), None | Some("10")), "{not_modified:?}");
    assert_eq!(origin.answers(get("/status/304", ""), 304).header("content-length"), None);
}

/// §8.8.2.1: "An origin server with a clock MUST NOT generate a Last-Modified date that is later than the server's
/// time of message origination (Date, Section 6.6.1)."
#[test]
fn nothing_was_modified_in_the_future() {
    let origin = Origin::start();
    origin.site.write("public/future.txt", TEN);
    let file = File::options().write(true).open(origin.site.at("public/future.txt")).expect("it is there");
    file.set_modified(SystemTime::now() + Duration::from_secs(1_000_000)).expect("our own file");
    let answer = origin.server.get("/files/future.txt");
    assert_eq!(answer.text(), TEN);
    assert!(
        answer.header("last-modified").is_none() || answer.header("last-modified") == answer.header("date"),
        "{answer:?}"
    );
}

/// §8.8.3: `entity-tag = [ weak ] opaque-tag`, and one names one state: "the entity tag [...] changes whenever a
/// change occurs to the representation data", also within a second and at the same length (§8.8.1).
#[test]
fn a_change_gives_another_entity_tag() {
    let origin = Origin::start();
    let mut seen = Vec::new();
    for round in 0..10 {
        let content = format!("content {round}");
        origin.site.write("public/changes.txt", &content);
        // Within the time for which a worker believes what it has seen.
        let etag = wait::until("the change is seen", || {
            let answer = origin.server.get("/files/changes.txt");
            let etag = answer.header("etag").expect("a file has one").to_owned();
            let opaque = etag.strip_prefix("W/").unwrap_or(&etag);
            assert!(opaque.len() >= 2 && opaque.starts_with('"') && opaque.ends_with('"'), "{etag}");
            assert!(
                opaque[1..opaque.len() - 1].bytes().all(|b| b == 0x21 || (0x23..=0x7e).contains(&b)),
                "{etag}"
            );
            (answer.text() == content).then_some(etag)
        });
        let opaque = etag.trim_start_matches("W/").to_owned();
        assert!(!seen.contains(&opaque), "{etag} was used before");
        seen.push(opaque);
    }
}

/// §8.8.1: a validator is the same for the same state, whoever is asked and however.
#[test]
fn the_same_content_has_the_same_validators() {
    let origin = Origin::with_settled_files();
    let etag = origin.etag("/files/ten.txt");
    for _ in 0..10 {
        let answer = origin.server.get("/files/ten.txt");
        assert_eq!(answer.header("etag"), Some(etag.as_str()));
        let head = origin.answers(message("HEAD", "/files/ten.txt", ""), 200);
        assert_eq!(
            (head.header("etag"), head.header("last-modified")),
            (Some(etag.as_str()), answer.header("last-modified"))
        );
        let part = origin.answers(get("/files/ten.txt", "Range: bytes=1-2"), 206);
        assert_eq!(part.header("etag"), Some(etag.as_str()));
    }
}
