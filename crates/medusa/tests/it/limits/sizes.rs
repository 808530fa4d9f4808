//! Sizes: what is longer than its limit is refused as what it is.

use medusa_testkit::{Response, Server, Site, wait};

use super::super::support::start;
use super::{expect_faults, expect_service, limited};

/// Sends `request` as the first and as the second of a connection, while another client is served.
#[track_caller]
fn expect_status(server: &Server, request: &str, status: u16) -> Response {
    let mut answer = None;
    for before in [0, 1] {
        let mut client = server.connect();
        for _ in 0..before {
            assert_eq!(client.get("/ok").status, 200);
        }
        client.send(request);
        let seen = client.response();
        assert_eq!(seen.status, status, "{}", &request[..request.len().min(60)]);
        if status >= 400 {
            assert!(seen.says_close(), "{seen:?}");
            client.expect_close();
        }
        expect_service(server);
        answer = Some(seen);
    }
    answer.expect("it was sent")
}

#[test]
fn head_bytes_longer_fields_are_answered_431() {
    let (_site, server) = limited("head_bytes = 2000", "");
    let request =
        |length: usize| format!("GET /ok HTTP/1.1\r\nHost: t\r\nName: {}\r\n\r\n", "x".repeat(length));
    // Host: 4 + 1 + 4; Name: 4 + n + 4.
    expect_status(&server, &request(2000 - 9 - 8), 200);
    expect_status(&server, &request(2001 - 9 - 8), 431);
    expect_status(&server, &request(60_000), 431);
    expect_faults(&server, &[("head_too_large", 4)]);
}

#[test]
fn field_a_longer_one_is_answered_431() {
    let (_site, server) = limited("field = 100", "");
    let request = |length: usize| {
        format!(
            "GET /ok HTTP/1.1\r\nHost: t\r\nOther: {}\r\nName: {}\r\n\r\n",
            "x".repeat(95),
            "x".repeat(length - 4)
        )
    };
    expect_status(&server, &request(100), 200);
    expect_status(&server, &request(101), 431);
    expect_faults(&server, &[("field_too_long", 2)]);
    assert_eq!((server.number("http.limits", "field"), server.number("http.limits", "fields")), (100, 100));
}

#[test]
fn fields_more_are_answered_431() {
    let (_site, server) = limited("fields = 10", "");
    let request =
        |count: usize| format!("GET /ok HTTP/1.1\r\nHost: t\r\n{}\r\n", "n: v\r\n".repeat(count - 1));
    expect_status(&server, &request(10), 200);
    expect_status(&server, &request(11), 431);
    expect_faults(&server, &[("head_too_large", 2)]);
}

#[test]
fn uri_a_longer_one_is_answered_414() {
    let (_site, server) = limited("uri = 100", "");
    let request = |length: usize| format!("GET /ok?{} HTTP/1.1\r\nHost: t\r\n\r\n", "x".repeat(length - 4));
    expect_status(&server, &request(100), 200);
    expect_status(&server, &request(101), 414);
    expect_status(&server, &request(60_000), 414);
    expect_faults(&server, &[("uri_too_long", 4)]);
}

#[test]
fn body_a_longer_one_is_answered_413() {
    let (_site, server) = limited(
        "body = 100",
        "web:mount('POST /more', function(req) return tostring(#req:body()) end, { body = 200 })
        web:mount('POST /less', function(req) return tostring(#req:body()) end, { body = 50 })",
    );
    for (path, limit) in [("/read", 100), ("/more", 200), ("/less", 50)] {
        let known = |length: usize| {
            format!(
                "POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n{}",
                "x".repeat(length)
            )
        };
        let chunked = |length: usize| {
            format!(
                "POST {path} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{}\r\n0\r\n\r\n",
                "x".repeat(length)
            )
        };
        for request in [known(limit), chunked(limit)] {
            assert_eq!(expect_status(&server, &request, 200).text(), limit.to_string());
        }
        for request in [known(limit + 1), chunked(limit + 1)] {
            expect_status(&server, &request, 413);
        }
    }
    // Four for each: two framings, each as the first and as the second request of a connection.
    expect_faults(&server, &[("body_too_large", 12)]);
}

/// Nothing of the chunk comes, and nobody waits for it: not if its handler is on this thread, nor on the script's.
#[test]
fn body_a_chunk_that_cannot_fit_is_answered_413_before_it_comes() {
    const READ: &str = "function(req) medusa.shared('at'):incr('reading') return tostring(#req:body()) end";
    let site = Site::script(&format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0', limits = {{ body = 100 }} }}
        web:mount('/script', {READ})
        web:mount('/worker', medusa.handler.script('worker.luau'))"
    ));
    let site = site.file("worker.luau", format!("return {READ}"));
    let server = start(&site);
    let mut reading = 0;
    for path in ["/script", "/worker"] {
        for (before, size) in [("", "65"), ("5\r\nhello\r\n", "60"), ("", "ffffffffffffffff")] {
            for is_late in [false, true] {
                let mut client = server.connect();
                let head = "HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
                client.send(format!("POST {path} {head}{before}{}", if is_late { "" } else { size }));
                reading += 1;
                if is_late {
                    wait::until("its handler waits for it", || {
                        let begun = server.eval("medusa.shared('at'):get('reading') or 0");
                        (begun == reading.to_string()).then_some(())
                    });
                    client.send(size);
                }
                client.send("\r\n");
                let status = client.response().status;
                assert_eq!(status, 413, "{path}: {before:?} and {size}, late: {is_late}");
            }
        }
    }
}
