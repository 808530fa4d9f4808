//! What is not HTTP, or too much of it: a 4xx that the client can read, and a closed connection; never a panic.

use medusa_testkit::{Server, Site, wait};

use super::support::start;

/// A server whose clients have one second for a head.
fn server() -> (Site, Server) {
    let site = Site::script(
        "web = medusa.http.server { listen = '127.0.0.1:0', limits = { head = 1 } }
        web:mount('/ok', function() return 'ok' end)",
    );
    let server = start(&site);
    (site, server)
}

/// Sends `request` as the first and as the third of a connection, and expects `status` and a closed connection.
#[track_caller]
fn expect_refusal(server: &Server, request: impl AsRef<[u8]>, status: u16) {
    let request = request.as_ref();
    let shown = String::from_utf8_lossy(&request[..request.len().min(80)]).into_owned();
    for before in [0, 2] {
        let mut client = server.connect();
        for _ in 0..before {
            assert_eq!(client.get("/ok").status, 200);
        }
        let _cut_off = client.try_send(request);
        let answer = client.response();
        assert_eq!(answer.status, status, "to {shown:?} after {before} requests");
        let closed = client.closed();
        assert_eq!(closed, Ok(()), "after the refusal of {shown:?} after {before} requests");
    }
    assert_eq!(server.get("/ok").status, 200, "after {shown:?}");
}

#[test]
fn a_host_must_be_there_once_and_be_one() {
    let (_site, server) = server();
    expect_refusal(&server, "GET /ok HTTP/1.1\r\n\r\n", 400);
    expect_refusal(&server, "GET /ok HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400);
    expect_refusal(&server, "GET /ok HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400);
    for host in ["a b", "a/b", "user@a", "a,b c", "a?b", "<a>", "a\\b"] {
        expect_refusal(&server, format!("GET /ok HTTP/1.1\r\nHost: {host}\r\n\r\n"), 400);
    }
}

#[test]
fn a_request_line_must_be_one() {
    let (_site, server) = server();
    for line in [
        "GET",
        "GET /ok",
        "GET  /ok  HTTP/1.1",
        "GET /ok HTTP/1.1 more",
        "GET /ok http/1.1",
        "G\u{e9}T /ok HTTP/1.1",
        "GET /o k HTTP/1.1",
        "GET ok HTTP/1.1",
        " GET /ok HTTP/1.1",
        "\rGET /ok HTTP/1.1",
        "\u{16}\u{3}\u{1}\u{2}",
    ] {
        expect_refusal(&server, format!("{line}\r\nHost: t\r\n\r\n"), 400);
    }
    for line in ["GET /ok HTTP/9.9", "PRI * HTTP/2.0"] {
        expect_refusal(&server, format!("{line}\r\nHost: t\r\n\r\n"), 505);
    }
}

#[test]
fn a_field_must_be_one() {
    let (_site, server) = server();
    for field in [
        "Name : value",
        "Name\t: value",
        "no colon",
        ": no name",
        "Na me: value",
        "Name: a\0b",
        "Name: a\rb",
        " folded: from the start",
        "Name: a\r\n folded",
    ] {
        expect_refusal(&server, format!("GET /ok HTTP/1.1\r\nHost: t\r\n{field}\r\n\r\n"), 400);
    }
}

#[test]
fn a_length_must_be_one() {
    let (_site, server) = server();
    for fields in [
        "Content-Length: x",
        "Content-Length: -1",
        "Content-Length: +1",
        "Content-Length: 1, 2",
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 99999999999999999999999",
        "Content-Length: 0x1",
        "Content-Length: ",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: xchunked",
    ] {
        let request = format!("POST /ok HTTP/1.1\r\nHost: t\r\n{fields}\r\n\r\n0\r\n\r\n");
        expect_refusal(&server, request, 400);
    }
}

#[test]
fn a_body_in_an_unknown_coding_is_not_taken_for_a_plain_one() {
    let (_site, server) = server();
    for (coding, expected) in [
        ("chunked, chunked", 400),
        ("gzip, chunked", 501),
        ("GZip ,chunked", 501),
        ("gzip, chunked, chunked", 400),
        (", chunked", 400),
        ("chunked\r\nTransfer-Encoding: chunked", 400),
        ("gzip\r\nTransfer-Encoding: chunked", 400),
    ] {
        let mut client = server.connect();
        client.send(format!("POST /ok HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n"));
        assert_eq!(client.response().status, expected, "{coding}");
        client.expect_close();
    }
}

#[test]
fn of_two_framings_none_smuggles_a_request() {
    let (_site, server) = server();
    let smuggled = "GET /ok HTTP/1.1\r\nHost: smuggled\r\n\r\n";
    for fields in
        ["Transfer-Encoding: chunked\r\nContent-Length: 5", "Content-Length: 5\r\nTransfer-Encoding: chunked"]
    {
        for before in [0, 2] {
            let mut client = server.connect();
            for _ in 0..before {
                client.get("/ok");
            }
            client.send(format!("POST /ok HTTP/1.1\r\nHost: t\r\n{fields}\r\n\r\n0\r\n\r\n{smuggled}"));
            assert_eq!(client.response().status, 400, "{fields:?}");
            assert_eq!(client.closed(), Ok(()), "after {fields:?}");
        }
    }
    // HTTP/1.0 has no codings: one in it is a fault of somebody on the way.
    expect_refusal(&server, "POST /ok HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
}

/// Bodies in chunks, each with something in it that is not right.
const LOOSE: [&str; 20] = [
    "5 \r\nhello\r\n0\r\n\r\n",
    "5\t\r\nhello\r\n0\r\n\r\n",
    "5;\r\nhello\r\n0\r\n\r\n",
    "5;bad[=x\r\nhello\r\n0\r\n\r\n",
    "5;a\0b\r\nhello\r\n0\r\n\r\n",
    "5;a=\r\nhello\r\n0\r\n\r\n",
    "5;a=\"b\r\nhello\r\n0\r\n\r\n",
    "5;a \r\nhello\r\n0\r\n\r\n",
    "5;a\rb\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhelloX\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "0\r\n\n",
    "0\r\nName: value\n\r\n",
    "0\r\nName: value\n\n",
    "0\r\nName: a\r\n folded\r\n\r\n",
    "0\r\nName : value\r\n\r\n",
    "0\r\nName: a\0b\r\n\r\n",
    "0\r\nno colon\r\n\r\n",
];

#[test]
fn a_chunked_body_that_is_not_to_the_letter_is_refused_and_nothing_behind_it_read() {
    let (_site, server) = server();
    server.eval("web:mount('POST /read', function(req) return tostring(#req:body()) end)");
    server.eval("hidden = 0 web:mount('/hidden', function() hidden += 1 return 'hidden' end)");
    for body in LOOSE {
        // The end of one request is taken for the beginning of another, or a whole one for a part of the body.
        let behind = "GET /hidden HTTP/1.1\r\nHost: t\r\n\r\nGET /hidden HTTP/1.1\r\nHost: t\r\n\r\n";
        for path in ["/read", "/ok"] {
            let mut client = server.connect();
            client.send(format!(
                "GET /ok HTTP/1.1\r\nHost: t\r\n\r\nPOST {path} HTTP/1.1\r\nHost: t\r\n\
                Transfer-Encoding: chunked\r\n\r\n{body}{behind}"
            ));
            assert_eq!(client.response().text(), "ok", "before {body:?}");
            let answer = client.response();
            assert_eq!((answer.status, answer.says_close()), (400, true), "{path} {body:?}");
            assert_eq!(client.closed(), Ok(()), "after {path} {body:?}");
        }
        // The same in the smallest of pieces, each read by itself.
        let mut client = server.connect();
        client.send("POST /read HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
        for byte in body.bytes() {
            let _cut_off = client.try_send([byte]);
        }
        let _cut_off = client.try_send(behind);
        assert_eq!(client.response().status, 400, "{body:?} byte by byte");
        assert_eq!(client.closed(), Ok(()), "after {body:?} byte by byte");
    }
    assert_eq!(server.eval("return hidden"), "0");
}

#[test]
fn a_target_with_a_fragment_is_refused_after_what_was_asked_before() {
    let (_site, server) = server();
    for target in ["/ok#top", "/#", "http://t/ok#top", "/ok?a#b"] {
        expect_refusal(&server, format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n"), 400);
        let mut client = server.connect();
        client.send(format!(
            "GET /ok HTTP/1.1\r\nHost: t\r\n\r\nGET {target} HTTP/1.1\r\nHost: t\r\n\r\nGET /ok HTTP/1.1\r\n"
        ));
        assert_eq!(client.response().text(), "ok", "before {target}");
        assert_eq!(client.response().status, 400, "{target}");
        assert_eq!(client.closed(), Ok(()), "after {target}");
    }
}

#[test]
fn an_answer_that_closes_is_the_last_whatever_is_behind_its_request() {
    let (_site, server) = server();
    let mut client = server.connect();
    client.send("GET /ok HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\nGET /# HTTP/1.1\r\n\r\n");
    assert_eq!(client.response().text(), "ok");
    assert_eq!(client.closed(), Ok(()));
}

#[test]
fn too_much_is_refused_as_what_it_is() {
    let (_site, server) = server();
    let long = "x".repeat(70_000);
    expect_refusal(&server, format!("GET /{long} HTTP/1.1\r\nHost: t\r\n\r\n"), 414);
    let long = "x".repeat(300_000);
    expect_refusal(&server, format!("GET /ok HTTP/1.1\r\nHost: t\r\nName: {long}\r\n\r\n"), 431);
    let many = "N: v\r\n".repeat(2_000);
    expect_refusal(&server, format!("GET /ok HTTP/1.1\r\nHost: t\r\n{many}\r\n"), 431);
}

#[test]
fn a_head_without_end_is_cut_off_however_much_is_still_sent() {
    let (_site, server) = server();
    let mut client = server.connect();
    // Far more than the buffers between the two hold, from a client that does not listen meanwhile.
    let _cut_off =
        client.try_send("GET /ok HTTP/1.1\r\nHost: t\r\n".to_owned() + &"N: v\r\n".repeat(2_000_000));
    wait::until("the connection is gone", || (server.number("listener", "open") == 0).then_some(()));
    assert_eq!(server.get("/ok").status, 200);
}

#[test]
fn half_a_head_is_cut_off() {
    let (_site, server) = server();
    for half in ["G", "GET /ok HTTP/1.1\r\n", "GET /ok HTTP/1.1\r\nHost: t\r\n"] {
        for before in [0, 1] {
            let mut client = server.connect();
            for _ in 0..before {
                client.get("/ok");
            }
            client.send(half);
            assert_eq!(client.response().status, 408, "{half:?} after {before} requests");
            client.expect_close();
        }
    }
}

#[test]
fn a_body_that_breaks_off_or_is_no_body_hurts_nobody() {
    let (_site, server) = server();
    server.eval("web:mount('POST /read', function(req) return tostring(#req:body()) end)");
    for body in [
        "Content-Length: 10\r\n\r\nshort",
        "Transfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    ] {
        let mut client = server.connect();
        client.send(format!("POST /read HTTP/1.1\r\nHost: t\r\n{body}"));
        client.finish_sending();
        // A 400, or nothing: never a success.
        let answer = client.read_some(64);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"),
            "{body:?}: {}",
            String::from_utf8_lossy(&answer)
        );
        assert_eq!(server.get("/ok").status, 200);
    }
}

#[test]
fn noise_never_panics() {
    let (_site, server) = server();
    // A fixed sequence, so that a failure repeats itself.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for length in 1..300 {
        let mut noise = if length % 2 == 0 { b"GET /ok HTTP/1.1\r\nHost: ".to_vec() } else { Vec::new() };
        for _ in 0..length {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            noise.push(state.to_le_bytes()[3]);
        }
        noise.extend(b"\r\n\r\n");
        let mut client = server.connect();
        let _cut_off = client.try_send(&noise);
        client.finish_sending();
        let answer = client.read_some(12);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 "), "{answer:?}");
    }
    assert_eq!(server.get("/ok").status, 200);
    assert!(!server.stderr().text().contains("panic"));
}
