//! Bodies, in both directions: how long they are and who says so.

use super::support::{start, web};

const ECHO: &str = "web:mount('POST /echo', function(req) return req:body() end)
    web:mount('/ok', function() return 'ok' end)";

#[test]
fn a_chunked_request_is_read() {
    let site = web(ECHO);
    let server = start(&site);
    let mut client = server.connect();
    for _ in 0..2 {
        client.send("POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send("5;name=value\r\nhello\r\n1\r\n,\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\n");
        assert_eq!(client.response().text(), "hello, world");
    }
    assert_eq!(client.get("/ok").text(), "ok");
}

#[test]
fn a_client_that_waits_for_100_is_told_to_go_on() {
    let site = web(ECHO);
    let server = start(&site);
    let mut client = server.connect();
    client.send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.response().status, 100);
    client.send("hi");
    assert_eq!(client.response().text(), "hi");
}

#[test]
fn a_body_that_nobody_reads_does_not_end_up_as_a_request() {
    let site = web("web:mount('/ignores', function() return 'ignored' end)");
    let server = start(&site);
    let mut client = server.connect();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n";
    client.send(format!(
        "POST /ignores HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{smuggled}",
        smuggled.len()
    ));
    assert_eq!(client.response().text(), "ignored");
    let next = client.get("/ignores");
    assert_eq!((next.status, next.text().as_str()), (200, "ignored"));
}

#[test]
fn too_large_a_body_is_refused_and_the_client_reads_why() {
    let site = medusa_testkit::Site::script(
        "web = medusa.http.server { listen = '127.0.0.1:0', limits = { body = 1000 } }
        web:mount('POST /echo', function(req) return req:body() end)",
    );
    let server = start(&site);
    let fits = "x".repeat(1000);
    let ok = server.send(format!("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\n{fits}"));
    assert_eq!((ok.status, ok.text()), (200, fits));

    // The client sends it all before it reads: what it has sent must not cost it the answer.
    for size in [1001, 300_000] {
        let mut client = server.connect();
        client.send(format!("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: {size}\r\n\r\n"));
        let _refused = client.try_send("x".repeat(size));
        assert_eq!(client.response().status, 413, "{size} bytes");
    }
    let mut client = server.connect();
    client.send("POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("190\r\n{}\r\n", "y".repeat(400));
    client.send(chunk.repeat(3) + "0\r\n\r\n");
    assert_eq!(client.response().status, 413, "1200 bytes in chunks");
}

#[test]
fn a_producer_is_chunked_for_http_1_1_and_ends_with_the_connection_for_1_0() {
    let site = web("web:mount('/stream', function()
            return { body = function(write) for part = 1, 3 do write(`part {part}\\n`) end end }
        end)");
    let server = start(&site);
    let chunked = server.get("/stream");
    assert_eq!(chunked.header("transfer-encoding"), Some("chunked"));
    assert_eq!(chunked.text(), "part 1\npart 2\npart 3\n");
    let mut client = server.connect();
    client.send("GET /stream HTTP/1.0\r\n\r\n");
    let closed = client.response();
    assert_eq!((closed.header("transfer-encoding"), closed.header("content-length")), (None, None));
    assert_eq!(closed.text(), "part 1\npart 2\npart 3\n");
}

#[test]
fn a_producer_that_fails_in_the_middle_is_not_taken_for_whole() {
    let site = web("web:mount('/breaks', function()
            return { body = function(write) write('begun') medusa.sleep(0.01) error('in the middle') end }
        end)");
    let server = start(&site);
    let mut client = server.connect();
    client.send("GET /breaks HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.head().status, 200);
    let mut body = Vec::new();
    loop {
        match client.read_some(1024) {
            some if some.is_empty() => break,
            some => body.extend(some),
        }
    }
    assert!(!String::from_utf8_lossy(&body).contains("0\r\n\r\n"), "an end was sent: {body:?}");
    server.stderr().wait_for("in the middle");
}
