//! RFC 9110 §12, [Content Negotiation](https://www.rfc-editor.org/rfc/rfc9110#section-12): what a client takes, and
//! what it is told about the choice.

use medusa_testkit::{Response, wait};

use crate::support::{Origin, get, message};

/// Text that every coding makes shorter, long enough to be worth it.
fn start() -> Origin {
    let origin = Origin::start();
    origin.site.write("public/long.txt", "the same again and again\n".repeat(400));
    origin
}

/// Asks until the server has settled on a variant: one that has to be made first may come with a later request.
fn settled(origin: &Origin, accept: &str) -> Response {
    let fields = if accept == "(none)" { String::new() } else { format!("Accept-Encoding: {accept}") };
    origin.answers(get("/files/long.txt", &fields), 200);
    origin.answers(get("/files/long.txt", &fields), 200)
}

/// §12.5.3: a coding is applied only if the field has it, with a weight other than 0: "a qvalue of 0 means "not
/// acceptable"".
#[test]
fn a_coding_is_one_that_the_client_takes() {
    let origin = start();
    for (accept, taken) in [
        ("(none)", &[] as &[&str]), // anything is acceptable, but nobody counts on it
        ("", &[]),
        ("identity", &[]),
        ("gzip", &["gzip"]),
        ("x-unknown", &[]),
        ("gzip;q=0", &[]),
        ("gzip;q=0.000", &[]),
        ("gzip;q=0, zstd;q=0, br;q=0", &[]),
        ("*;q=0", &[]),
        ("*", &["gzip", "zstd", "br", "deflate", "compress"]),
        ("*, gzip;q=0", &["zstd", "br", "deflate", "compress"]),
        ("GZIP;Q=1", &["gzip"]),
        ("gzip ; q=1 , br ; q=0", &["gzip"]),
        ("gzip;q=0.1, identity;q=1", &["gzip"]),
    ] {
        let answer = settled(&origin, accept);
        if let Some(coding) = answer.header("content-encoding") {
            assert!(taken.contains(&coding), "Accept-Encoding: {accept} is answered in {coding}");
        }
    }
}

/// §12.5.5: "An origin server SHOULD generate a Vary header field on a cacheable response when it wishes that
/// response to be selectively reused", which it must wish as soon as another client would get something else: on
/// every variant, also on the plain one.
#[test]
fn who_chooses_says_so() {
    let origin = start();
    let answers = ["(none)", "gzip", "zstd", "br", "identity"].map(|accept| settled(&origin, accept));
    let chooses = answers.iter().any(|answer| answer.header("content-encoding").is_some());
    for answer in &answers {
        let varies = answer.headers.iter().any(|(name, value)| {
            name == "vary"
                && value.to_ascii_lowercase().split(',').any(|field| field.trim() == "accept-encoding")
        });
        assert!(!chooses || varies, "{:?}", answer.headers);
    }
}

/// §8.8.3: entity tags of variants differ: "a strong validator is unique across all representations of a given
/// resource", or a range of one would be put together with a range of another.
#[test]
fn variants_have_their_own_entity_tags() {
    let origin = start();
    let answers = ["identity", "gzip", "zstd", "br"].map(|accept| settled(&origin, accept));
    for one in &answers {
        for other in &answers {
            if one.header("content-encoding") != other.header("content-encoding") {
                assert_ne!(one.header("etag"), other.header("etag"));
            }
        }
    }
}

/// §9.3.2 once more: HEAD is answered with the variant that GET would have been.
#[test]
fn head_chooses_as_get_does() {
    let origin = start();
    for accept in ["gzip", "zstd", "identity"] {
        let ask = |method| {
            let answer = origin
                .answers(message(method, "/files/long.txt", &format!("Accept-Encoding: {accept}")), 200);
            ["content-encoding", "content-length", "content-type", "etag", "vary"]
                .map(|name| answer.header(name).map(str::to_owned))
        };
        // A variant is ready with one worker sooner than with the next.
        wait::until(&format!("GET and HEAD are alike for {accept}"), || {
            (ask("GET") == ask("HEAD")).then_some(())
        });
    }
}

/// §12.5.1: a server that has nothing of a type asked for may disregard the field, and so we do: 406 helps nobody.
#[test]
fn what_nobody_can_meet_is_disregarded() {
    let origin = Origin::start();
    for fields in [
        "Accept: image/x-unknown",
        "Accept-Language: tlh",
        "Accept-Charset: ebcdic",
        "Accept: */*;q=0",
        "Accept: nonsense;;;",
    ] {
        origin.answers_all(["/n", "/files/ten.txt"].map(|target| get(target, fields)), 200);
    }
}
