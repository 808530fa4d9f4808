//! What is right is gone through, what is not is refused where it begins not to be, and pieces make no difference.

use proptest::prelude::*;

use super::*;

/// Heads read, and what was wrong.
fn whole(bytes: &[u8]) -> (u64, Result<(), Violation>) {
    let mut framing = Framing::default();
    let read = framing.read(bytes);
    (framing.heads(), read)
}

/// The same, cut into pieces that long, over and over.
fn in_pieces(bytes: &[u8], pieces: &[usize]) -> (u64, Result<(), Violation>) {
    let (mut framing, mut at) = (Framing::default(), 0);
    for &len in pieces.iter().cycle() {
        let piece = &bytes[at..bytes.len().min(at + len)];
        if let Err(violation) = framing.read(piece) {
            let violation = Violation { allowed: at + violation.allowed, ..violation };
            return (framing.heads(), Err(violation));
        }
        at += piece.len();
        if at == bytes.len() {
            break;
        }
    }
    (framing.heads(), Ok(()))
}

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

#[track_caller]
fn refused(bytes: &str, in_body: bool) -> usize {
    match whole(bytes.as_bytes()).1 {
        Err(violation) if violation.in_body == in_body => violation.allowed,
        other => panic!("{bytes:?}: {other:?}"),
    }
}

#[test]
fn requests_are_counted_whatever_is_between_them() {
    for (bytes, heads) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        ("\r\n\nGET / HTTP/1.1\nHost: a\n\nGET / HTTP/1.0\r\n\r\n", 2),
        (
            "POST / HTTP/1.1\r\nContent-Length: 27\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            2,
        ),
        ("POST / HTTP/1.1\r\ncontent-LENGTH:\t0 \r\n\r\nGET / HTTP/1.1\r\n\r\n", 2),
        (
            "GET / HTTP/1.1\r\nCookie: Content-Length: 5\r\nTE: trailers\r\nC: d\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            2,
        ),
        ("GET / HTTP/1.1\r\nContent-Lengt", 0),
        ("G#T / HTTP/1.1\r\nA: #\r\n\r\n", 1),
    ] {
        assert_eq!(whole(bytes.as_bytes()), (heads, Ok(())), "{bytes:?}");
    }
}

#[test]
fn a_chunked_body_that_is_right_is_gone_through() {
    let behind = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for body in [
        "0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "5;a\r\nhello\r\n0;b=c\r\n\r\n",
        "5 ; a = \"x;\\\"y\\\\ \t\u{e9}\" ;b;c=d\r\nhello\r\n000\r\n\r\n",
        "A\r\n0123456789\r\n0\r\nTrailer: x\r\nEmpty:\r\n\r\n",
        "0000000000000005\r\n\r\n\r\n\r\n\r\n0\r\n\r\n",
    ] {
        let bytes = format!("{CHUNKED}{body}{behind}");
        let body_is_right = !body.contains("\r\n\r\n\r\n\r\n\r\n");
        assert_eq!(whole(bytes.as_bytes()).1.is_ok(), body_is_right, "{body:?}");
        if body_is_right {
            assert_eq!(whole(bytes.as_bytes()).0, 2, "{body:?}");
        }
    }
}

#[test]
fn what_is_announced_of_a_chunked_body_is_the_sizes_of_its_chunks() {
    for (body, announced) in [
        ("", 0),
        ("5", 0),
        ("5;a=b\r", 0),
        ("5;a=b\r\n", 5),
        ("5\r\nhello\r\na\r\n", 15),
        ("5\r\nhello\r\n0\r\n\r\n", 5),
        ("5\r\nhello\r\nffffffffffffffff\r\n", u64::MAX),
        ("5\r\nhello\r\n0\r\n\r\nPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 0),
    ] {
        let mut framing = Framing::default();
        assert_eq!(framing.read(format!("{CHUNKED}{body}").as_bytes()), Ok(()), "{body:?}");
        assert_eq!(framing.announced(), announced, "{body:?}");
    }
}

#[test]
fn a_line_of_a_chunked_body_is_what_the_grammar_says() {
    for (body, allowed) in [
        ("5 \r\nhello", 2),
        ("5\t\r\nhello", 2),
        ("5;\r\nhello", 2),
        ("5;bad[=x\r\nhello", 5),
        ("5;a\0b\r\nhello", 3),
        ("5;a=\r\nhello", 4),
        ("5;a=\"b\0\"\r\nhello", 6),
        ("5;a=\"b\"c\r\nhello", 7),
        ("5;a=\"b\n", 6),
        ("5;a \r\nhello", 4),
        ("5;a=b \r\nhello", 6),
        ("5;;a\r\nhello", 2),
        ("5;=a\r\nhello", 2),
        ("5\nhello", 1),
        ("5;a\nhello", 3),
        ("5\r\r\nhello", 2),
        ("5\rhello", 2),
        (" 5\r\nhello", 0),
        ("+5\r\nhello", 0),
        ("0x5\r\nhello", 1),
        ("\r\n", 0),
        (";a\r\n", 0),
        ("00000000000000005\r\nhello", 16),
        ("5\r\nhello\n0\r\n\r\n", 8),
        ("5\r\nhello!\r\n0\r\n\r\n", 8),
        ("5\r\nhello\r0\r\n\r\n", 9),
        ("0\r\n\n", 3),
        ("0\r\nA: b\n\r\n", 7),
        ("0\r\nA: b\r\r\n", 8),
        ("0\r\nA: b\r\n c\r\n\r\n", 9),
        ("0\r\nA : b\r\n\r\n", 4),
        ("0\r\n: b\r\n\r\n", 3),
        ("0\r\nA\r\n\r\n", 4),
        ("0\r\nA: \0\r\n\r\n", 6),
        ("0\r\nA: b\r\n\rGET", 10),
    ] {
        let at = refused(&format!("{CHUNKED}{body}"), true);
        assert_eq!(at - CHUNKED.len(), allowed, "{body:?}");
    }
}

#[test]
fn a_head_says_once_how_long_its_body_is() {
    for fields in [
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "content-length: 5\r\nTRANSFER-ENCODING: gzip",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: +5",
        "Content-Length: 5, 5",
        "Content-Length: 5 5",
        "Content-Length:",
        "Content-Length: 99999999999999999999",
        "A: b\r\n\rGET / HTTP/1.1",
    ] {
        refused(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"), false);
    }
}

#[test]
fn an_empty_line_before_a_request_ends_as_lines_do() {
    assert_eq!(refused("\rGET / HTTP/1.1\r\n\r\n", false), 1);
    assert_eq!(refused("\r\n\r\r\nGET / HTTP/1.1\r\n\r\n", false), 3);
}

#[test]
fn a_target_has_no_fragment() {
    for target in ["/#a", "#", "http://a/?b#", "/a#b?c"] {
        let at = refused(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), false);
        assert_eq!(at, 4 + target.find('#').unwrap());
    }
}

#[test]
fn a_coding_that_is_not_ours_is_left_to_the_parser() {
    for coding in
        ["gzip", "gzip, chunked", "xchunked", "chunkedx", "chunk ed", "chunked, chunked", "", ",chunked"]
    {
        let bytes =
            format!("POST / HTTP/1.1\r\nTransfer-Encoding: {coding}\r\n\r\nno size\r\n\r\nGET /#\r\n");
        assert_eq!(whole(bytes.as_bytes()), (1, Ok(())), "{coding:?}");
    }
    for coding in ["chunked", "CHUNKED", "\tchunked \t"] {
        refused(&format!("POST / HTTP/1.1\r\nTransfer-Encoding:{coding}\r\n\r\nno size\r\n"), true);
    }
}

#[test]
fn what_was_refused_stays_refused() {
    let mut framing = Framing::default();
    assert!(framing.read(b"GET /#").is_err());
    assert_eq!(framing.read(b"GET / HTTP/1.1\r\n\r\n"), Err(Violation { allowed: 0, in_body: false }));
    assert_eq!(framing.read(b""), Ok(()));
}

/// The pieces that requests are made of, right and not.
fn part() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /a?b HTTP/1.1\r\n",
        "Host: a\r\n",
        "Content-Length: 3\r\n",
        "\r\n",
        "\n",
        "\r",
        "abc",
        "Transfer-Encoding: chunked\r\n",
        "transfer-encoding:\tgzip\r\n",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "5;a=\"b\"\r\n",
        "0\r\n",
        "3 \r\n",
        "A: b\r\n",
        "A: b\n",
        "#",
        ";",
        "=",
        "\"",
        " ",
        "\0",
        "5",
        "GET /#a HTTP/1.1\r\n",
        CHUNKED,
    ])
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        parts in prop::collection::vec(part(), 0..24),
        pieces in prop::collection::vec(1_usize..9, 1..6),
    ) {
        let bytes = parts.concat();
        prop_assert_eq!(whole(bytes.as_bytes()), in_pieces(bytes.as_bytes(), &pieces));
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..64), pieces in prop::collection::vec(1_usize..9, 1..6)) {
        let bytes = [CHUNKED.as_bytes(), &bytes].concat();
        let read = whole(&bytes);
        prop_assert_eq!(read, in_pieces(&bytes, &pieces));
        if let Err(violation) = read.1 {
            prop_assert!(violation.allowed < bytes.len());
            // What is allowed is right by itself.
            prop_assert!(whole(&bytes[..violation.allowed]).1.is_ok());
        }
    }
}
