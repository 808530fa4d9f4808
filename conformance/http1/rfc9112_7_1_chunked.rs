//! RFC 9112 §7.1, [Chunked Transfer Coding](https://www.rfc-editor.org/rfc/rfc9112#section-7.1): sizes, extensions,
//! trailers.

use crate::support::{Origin, chunked, get, post};

/// §7.1: "chunk-size = 1*HEXDIG", in either case, with as many zeros in front as anyone likes.
#[test]
fn a_size_is_hexadecimal() {
    let origin = Origin::start();
    let ten = "0123456789";
    for size in ["a", "A", "0a", "0A", "000000000A"] {
        assert_eq!(
            origin.answers(chunked(&format!("{size}\r\n{ten}\r\n0\r\n\r\n")), 200).text(),
            ten,
            "{size}"
        );
    }
    for last in ["0", "00", "0000000000"] {
        assert_eq!(
            origin.answers(chunked(&format!("a\r\n{ten}\r\n{last}\r\n\r\n")), 200).text(),
            ten,
            "{last}"
        );
    }
    assert_eq!(origin.answers(chunked("0\r\n\r\n"), 200).text(), "");
}

/// Chunks of any number and size are one content.
#[test]
fn chunks_are_put_together() {
    let origin = Origin::start();
    let content = "0123456789abcdef".repeat(1000);
    for size in [1, 2, 7, 4095, 16_000] {
        let chunks = content
            .as_bytes()
            .chunks(size)
            .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), chunk.escape_ascii()));
        let chunks: String = chunks.collect();
        assert_eq!(origin.answers(chunked(&(chunks + "0\r\n\r\n")), 200).text(), content, "chunks of {size}");
    }
    // What looks like the end of a chunk in one is none.
    assert_eq!(
        origin.answers(chunked("b\r\n\r\n0\r\n\r\nGET \r\n0\r\n\r\n"), 200).text(),
        "\r\n0\r\n\r\nGET "
    );
}

/// §7.1: "recipients MUST anticipate potentially large hexadecimal numerals and prevent parsing errors due to integer
/// conversion overflows or precision loss due to integer representation." Each of these would be 5 if it overflowed.
#[test]
fn a_size_that_overflows_is_refused() {
    let origin = Origin::start();
    let sizes = [
        "10000000000000005",
        "100000000000000000000005",
        "ffffffffffffffff5",
        "fffffffffffffffffffffffffffffffb",
        "8000000000000000000000000000005",
    ];
    origin.refuses_content_all(
        sizes.map(|size| chunked(&format!("{size}\r\nhello\r\n0\r\n\r\n"))),
        &[400, 413],
    );
}

/// What is no size.
#[test]
fn a_size_that_is_none_is_refused() {
    let origin = Origin::start();
    let sizes = [
        "", "x", "g", "0x5", "-5", "+5", " 5", "\t5", "5 5", "5.0", "5,", "5h", "\u{b}5", "5\u{b}", "5\0",
        "\0", "_5", "\u{0665}", "\"5\"",
    ];
    origin.refuses_content_all(sizes.map(|size| chunked(&format!("{size}\r\nhello\r\n0\r\n\r\n"))), &[400]);
}

/// §7.1: "chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF". LF alone ends lines in a head, not here: a chunk's
/// lines were never written by hand, and proxies differ about them.
#[test]
fn the_lines_of_a_chunk_end_with_crlf() {
    let origin = Origin::start();
    let chunks = [
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\rhello\r\n0\r\n\r\n",
        "5;a=b\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello \r\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhel\r\n0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
    ];
    origin.refuses_content_all(chunks.map(chunked), &[400]);
}

/// §7.1.1: "A recipient MUST ignore unrecognized chunk extensions."
#[test]
fn extensions_are_ignored() {
    let origin = Origin::start();
    for extension in [
        ";a",
        ";a=b",
        ";a=b;c=d",
        ";a=\"b c\"",
        ";a=\"b;c\"",
        ";a=\"\\\"\"",
        " ;a=b",
        "; a=b",
        " ; a = b",
        "\t;a",
        ";A=\"\u{fc}\"",
        ";5",
        ";a=\"0\"",
    ] {
        let chunks = format!("5{extension}\r\nhello\r\n0{extension}\r\n\r\n");
        assert_eq!(origin.answers(chunked(&chunks), 200).text(), "hello", "{extension:?}");
    }
}

/// §7.1.1: "chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )": what nobody takes for one,
/// somebody takes for a part of the line's end.
#[test]
fn an_extension_that_is_none_is_refused() {
    let origin = Origin::start();
    let extensions = [
        " ",
        "\t",
        ";",
        "; ",
        ";;a",
        ";a;",
        ";a=",
        ";a= ;b",
        ";=b",
        ";a ",
        ";a=b ",
        ";a b",
        ";bad[=x",
        ";a=[",
        ";a\0",
        ";a=\"b",
        ";a=\"b\"c",
        ";a=\"\0\"",
        ";\"a\"",
        ";\u{fc}",
    ];
    origin.refuses_content_all(
        extensions.map(|extension| chunked(&format!("5{extension}\r\nhello\r\n0\r\n\r\n"))),
        &[400],
    );
    origin.refuses_content_all(
        extensions.map(|extension| chunked(&format!("5\r\nhello\r\n0{extension}\r\n\r\n"))),
        &[400],
    );
}

/// Whatever an extension holds, the line ends with CRLF, also within quotes.
#[test]
fn an_extension_hides_no_line() {
    let origin = Origin::start();
    let extensions = [";a\nhello", ";a=\"\n\"", ";a=b\rc", ";a=\"\r\""];
    origin.refuses_content_all(
        extensions.map(|extension| chunked(&format!("5{extension}\r\nhello\r\n0\r\n\r\n"))),
        &[400],
    );
}

/// §7.1.1: "A server ought to limit the total length of chunk extensions received in a request to an amount
/// reasonable for the services provided [...] and generate an appropriate 4xx (Client Error) response if that amount
/// is exceeded."
#[test]
fn extensions_have_a_limit() {
    let origin = Origin::start();
    let long = chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(100_000)));
    let many = chunked(&("1;0123456789abcdef\r\n-\r\n".repeat(20_000) + "0\r\n\r\n"));
    origin.refuses_content_all([long, many], &[400, 413, 431]);
}

/// §7.1.2: a recipient reads a trailer section to its end; it belongs to no other request.
#[test]
fn trailers_are_read() {
    let origin = Origin::start();
    for trailers in [
        "A: b\r\n",
        "A: b\r\nC: d\r\n",
        "A:\r\n",
        "Expires: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
        "a: \u{fc}\r\n",
    ] {
        let chunks = format!("5\r\nhello\r\n0\r\n{trailers}\r\n");
        assert_eq!(origin.answers(chunked(&chunks), 200).text(), "hello", "{trailers:?}");
        // Whether anybody reads the content or not.
        origin.answers(post("/n", "Transfer-Encoding: chunked", &chunks), 200);
    }
}

/// RFC 9110 §6.5.1: "a recipient MUST NOT merge a trailer field into the header section" of fields that do not permit
/// it: what frames, routes, authenticates or modifies a request is none of the trailers' business.
#[test]
fn trailers_are_no_header_fields() {
    let origin = Origin::start();
    for name in ["name", "host", "authorization", "content-type", "cookie"] {
        let request = post(
            &format!("/field/{name}"),
            &format!("Transfer-Encoding: chunked\r\nTrailer: {name}"),
            &format!("5\r\nhello\r\n0\r\n{name}: forged\r\n\r\n"),
        );
        assert!(!origin.answers(request, 200).text().contains("forged"), "{name}");
    }
    // Nor do they frame what comes behind them.
    for field in ["Content-Length: 40", "Transfer-Encoding: chunked", "Connection: close"] {
        origin.answers(chunked(&format!("5\r\nhello\r\n0\r\n{field}\r\n\r\n")), 200);
    }
}

/// §7.1.2: "trailer-section = *( field-line CRLF )": trailers are fields, and no more lenient than those in front.
#[test]
fn a_trailer_that_is_no_field_is_refused() {
    let origin = Origin::start();
    let trailers = [
        "A : b",
        "no colon",
        " A: b",
        ": b",
        "A: b\r\n c",
        "A: b\0",
        "A b: c",
        "A: b\rC: d",
        "A: b\nC: d",
        "A: b\n",
        "\n",
        "A",
    ];
    origin.refuses_content_all(
        trailers.map(|trailer| chunked(&format!("5\r\nhello\r\n0\r\n{trailer}\r\n\r\n"))),
        &[400],
    );
}

/// §7.1.2 by RFC 9110 §5.4: trailers have a limit as header fields have.
#[test]
fn trailers_have_a_limit() {
    let origin = Origin::start();
    let long = chunked(&format!("5\r\nhello\r\n0\r\nA: {}\r\n\r\n", "x".repeat(100_000)));
    let many = chunked(&format!("5\r\nhello\r\n0\r\n{}\r\n", "A: b\r\n".repeat(20_000)));
    origin.refuses_content_all([long, many], &[400, 413, 431]);
}

/// §7.1: "last-chunk = 1*("0") [ chunk-ext ] CRLF": a handler that writes nothing has not come to its end.
#[test]
fn an_empty_part_is_not_the_last_chunk() {
    let origin = Origin::start();
    let mut client = origin.connect();
    client.send(get("/stream/200", "") + &get("/n?n=after", ""));
    assert_eq!(client.response().text(), "onetwo");
    assert_eq!(client.response().text(), "after");
}

/// §7.4: "TE: [...] A sender of TE" tells what it takes; we never send a coding beside `chunked`, whatever it takes.
#[test]
fn an_answer_has_no_coding_but_chunked() {
    let origin = Origin::start();
    for te in ["gzip", "trailers, deflate;q=0.5", "gzip;q=1", "", "chunked;q=0", "identity"] {
        let answer = origin.answers(get("/stream", &format!("TE: {te}\r\nConnection: TE")), 200);
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"), "TE: {te}");
        assert_eq!(answer.text(), "part 1\npart 2\npart 3\n");
    }
}
