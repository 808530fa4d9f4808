//! RFC 9112 §11, [Security Considerations](https://www.rfc-editor.org/rfc/rfc9112#section-11): request smuggling, by
//! the ways in which servers have been smuggled through. Here it does not matter how something is answered, only that
//! the request hidden in another one is not.

use crate::support::{Origin, expect_all, get, post};

const HIDDEN: &str = "GET /n?n=smuggled HTTP/1.1\r\nHost: test\r\n\r\n";

/// Sends it all, and says what is wrong if the hidden request is answered.
fn smuggle(origin: &Origin, request: &str) -> Result<(), String> {
    let mut client = origin.connect();
    let _cut_off = client.try_send(request);
    client.finish_sending();
    let mut all = Vec::new();
    loop {
        match client.try_response("POST") {
            Ok(Some(answer)) if answer.text().contains("smuggled") => {
                return Err(format!("the hidden request in {request:?} is answered"));
            }
            Ok(Some(answer)) => all.push(answer.status),
            // A connection that is cut off answers no more.
            Ok(None) | Err(_) => break,
        }
    }
    if all.is_empty() { Err(format!("{request:?} is not answered at all")) } else { Ok(()) }
}

/// §11.2: CL.TE and TE.CL: two framings of which each side believes another one.
#[test]
fn two_framings() {
    let origin = Origin::start();
    let chunk = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    let codings = [
        "Transfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\tchunked",
        "Transfer-Encoding:\u{b}chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "X: y\nTransfer-Encoding: chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked\u{0}",
        "TRANSFER-ENCODING: CHUNKED",
    ];
    let mut cases = Vec::new();
    for coding in codings {
        for target in ["/n", "/echo", "/gone"] {
            // The hidden request is content by the length.
            let length = format!("Content-Length: {}", HIDDEN.len() + 5);
            let hidden = format!("0\r\n\r\n{HIDDEN}");
            cases.push(post(target, &format!("{length}\r\n{coding}"), &hidden));
            cases.push(post(target, &format!("{coding}\r\n{length}"), &hidden));
            // The hidden request is content by the coding.
            for length in [4, 0] {
                cases.push(post(target, &format!("Content-Length: {length}\r\n{coding}"), &chunk));
            }
        }
    }
    // By what each of these says, echoing what it holds is right; it is a request of its own that must not be answered.
    expect_all(cases.iter().filter(|case| !case.contains(" /echo ")), |case| smuggle(&origin, case));
    expect_all(cases.iter().filter(|case| case.contains(" /echo ")), |case| {
        smuggle(&origin, &case.replace("/n?n=smuggled", "/n?n=smug%67led"))
    });
}

/// Content of a request that nobody thought would have any (CL.0), in every way of not reading it.
#[test]
fn content_where_nobody_expects_it() {
    let origin = Origin::start();
    let mut cases = Vec::new();
    for target in
        ["/n", "/gone", "/some", "/files/ten.txt", "/files", "/fails", "/status/204", "/stream", "/%zz", "*"]
    {
        for method in ["GET", "POST", "DELETE", "OPTIONS", "TRACE", "X"] {
            let head = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n");
            cases.push(format!("{head}Content-Length: {}\r\n\r\n{HIDDEN}", HIDDEN.len()));
            cases.push(format!(
                "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{HIDDEN}\r\n0\r\n\r\n",
                HIDDEN.len()
            ));
            cases.push(format!(
                "{head}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n{HIDDEN}",
                HIDDEN.len()
            ));
        }
    }
    expect_all(&cases, |case| smuggle(&origin, case));
}

/// Content of which the rest comes long after the answer: it is still content, however long the connection has been idle.
#[test]
fn content_that_pauses_is_still_content() {
    let origin = Origin::with(
        "web = medusa.http.server { listen = '127.0.0.1:0', limits = { first_byte = 4 } }
        web:mount('/n', function(req) return req:arg('n') or 'n' end)",
    );
    // Closed by the server when it has been silent for four seconds.
    let mut clock = origin.connect();
    let mut clients: Vec<_> = [
        post("/n", "Content-Length: 50000", "hello"),
        post("/n", "Content-Length: 50000", ""),
        post("/n", "Transfer-Encoding: chunked", "5\r\nhello\r\n"),
        post("/gone", "Content-Length: 50000", "hello"),
    ]
    .into_iter()
    .map(|half| {
        let mut client = origin.connect();
        client.send(&half);
        assert!(matches!(client.response().status, 200 | 404), "{half:?}");
        (client, half)
    })
    .collect();
    clock.expect_close();
    for (client, half) in &mut clients {
        let _closed = client.try_send(HIDDEN);
        let answer = client.try_response("GET");
        assert!(!matches!(&answer, Ok(Some(answer)) if answer.text() == "smuggled"), "{half:?}: {answer:?}");
    }
}

/// Chunks that two parsers read differently, before content that nobody reads.
#[test]
fn chunks_that_are_none() {
    let origin = Origin::start();
    let chunks = [
        format!("0\n\n{HIDDEN}"),
        format!("0\r\n{HIDDEN}"),
        format!("0\r\r\n{HIDDEN}"),
        format!("x\r\n\r\n{HIDDEN}"),
        format!("0x0\r\n\r\n{HIDDEN}"),
        format!("-0\r\n\r\n{HIDDEN}"),
        format!("+0\r\n\r\n{HIDDEN}"),
        format!("10000000000000000\r\n\r\n{HIDDEN}"),
        format!("5;\n\r\nhello\r\n0\r\n\r\n{HIDDEN}"),
        format!("2\r\nxx0\r\n\r\n{HIDDEN}"),
        format!("2\r\nxxx\r\n0\r\n\r\n{HIDDEN}"),
        format!("0;\"\r\n{HIDDEN}"),
    ];
    let mut cases = Vec::new();
    for target in ["/n", "/echo", "/gone"] {
        cases.extend(chunks.iter().map(|chunks| post(target, "Transfer-Encoding: chunked", chunks)));
    }
    expect_all(&cases, |case| smuggle(&origin, case));
}

/// Lengths that two parsers read differently.
#[test]
fn lengths_that_are_none() {
    let origin = Origin::start();
    let length = HIDDEN.len();
    let fields = [
        format!("Content-Length: 0\r\nContent-Length: {length}"),
        format!("Content-Length: {length}\r\nContent-Length: 0"),
        format!("Content-Length: 0, {length}"),
        format!("Content-Length: {length}, 0"),
        format!("Content-Length : {length}"),
        format!("Content-Length:\u{b}{length}"),
        format!("Content-Length: +{length}"),
        format!("Content-Length: {length}.0"),
        format!("Content-Length: {length}\0"),
        format!("Content-Length:\r\n {length}"),
        format!("Content-Length: {length}e0"),
        format!("Content-Length: 0x{length:x}"),
        format!("Content\rLength: {length}"),
    ];
    expect_all(&fields, |fields| smuggle(&origin, &post("/n", fields, HIDDEN)));
}

/// §11.2, the other side of it: what only looks like a framing field frames nothing, and what stands behind is a
/// request.
#[test]
fn fields_that_only_look_like_framing() {
    let origin = Origin::start();
    for fields in [
        "Content_Length: 5",
        "X-Content-Length: 5",
        "Transfer_Encoding: chunked",
        "Content-Lengthy: 5",
        "Transfer-Encodings: chunked",
        "Te: chunked",
    ] {
        origin.answers(get("/n", fields), 200);
    }
}

/// §11.1: a request that asks for a split response gets an error, however it is encoded. (More in
/// `rfc9110_5_fields`.)
#[test]
fn a_redirect_cannot_be_split() {
    let origin = Origin::start();
    for target in ["/files?a=%0d%0aSet-Cookie:%20b", "/files?%0d%0a%0d%0acontent"] {
        let answer = origin.answers(get(target, ""), 301);
        assert!(answer.header("set-cookie").is_none(), "{answer:?}");
    }
}

/// What is refused is not written to the log as it came: one request, one line.
#[test]
fn nothing_breaks_a_line_of_the_log() {
    let origin = Origin::with(
        "web = medusa.http.server { listen = '127.0.0.1:0', log = medusa.log.file('access.log') }
        web:mount('/n', function(req) return req:arg('n') or 'n' end)",
    );
    let requests = ["/n?a=%0aforged", "/n?\u{fc}", "/%0d%0aforged", "/n?\"forged\""];
    for target in requests {
        origin.server.send(get(target, "User-Agent: a\"b\u{fc}\r\nReferer: \\\""));
    }
    origin.server.terminate();
    let log = origin.site.read("access.log");
    assert_eq!(log.lines().count(), requests.len(), "{log}");
    assert!(log.lines().all(|line| !line.starts_with("forged")), "{log}");
}
