//! Request bodies as handlers read them, in both kinds of VM.

use std::io::{Read, Write};
use std::time::Duration;

use super::support::{Answer, Server, in_both};

fn post(server: &Server, path: &str, body: &str) -> Answer {
    let length = body.len();
    server.send(&format!(
        "POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ))
}

#[test]
fn a_body_is_read_piece_by_piece() {
    let server = in_both(
        "",
        "local pieces = {}
        table.insert(pieces, req:read(3))
        table.insert(pieces, req:read(4))
        for chunk in req:chunks() do table.insert(pieces, chunk) end
        table.insert(pieces, tostring(req:read(1)) .. tostring(req:read()))
        return table.concat(pieces, '|')",
    );
    for path in ["/inline", "/file"] {
        let chunked = "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
            2\r\nab\r\n3\r\ncde\r\n4\r\nfghi\r\n1\r\nj\r\n0\r\n\r\n";
        let answer = server.send(&format!("POST {path} HTTP/1.1\r\nHost: t\r\n{chunked}"));
        // How the rest is cut depends on how it came; the first two were asked for.
        assert!(answer.body.starts_with("abc|defg|"), "{path}: {}", answer.body);
        assert_eq!(answer.body.replace('|', ""), "abcdefghijnilnil", "{path}");
        assert_eq!(post(&server, path, "ab").body, "ab|nilnil", "{path}");
        assert_eq!(post(&server, path, "").body, "nilnil", "{path}");
    }
}

/// Each step answers before the next piece is sent: nothing is collected.
#[test]
fn a_body_is_echoed_while_it_comes() {
    let server =
        in_both("", "return { body = function(write) for chunk in req:chunks() do write(chunk) end end }");
    for path in ["/inline", "/file"] {
        let mut stream = server.connect();
        write!(stream, "POST {path} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        let mut seen = String::new();
        for piece in ["one", "two", "six"] {
            write!(stream, "3\r\n{piece}\r\n").unwrap();
            while !seen.contains(piece) {
                let mut bytes = [0; 1024];
                let read = stream.read(&mut bytes).unwrap();
                assert!(read > 0, "{path}: {seen}");
                seen.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
            }
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
        while !seen.ends_with("\r\n0\r\n\r\n") {
            let mut bytes = [0; 1024];
            let read = stream.read(&mut bytes).unwrap();
            assert!(read > 0, "{path}: {seen}");
            seen.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
    }
}

#[test]
fn a_client_is_held_back_by_a_handler_that_is_busy() {
    let server = in_both(
        ", limits = { body = 1e9 }",
        "req:read(1) medusa.shared('gate'):set('begun', true)
        while not medusa.shared('gate'):get('open') do medusa.sleep(0.02) end
        local length = 1 for chunk in req:chunks() do length += #chunk end
        return tostring(length)",
    );
    for path in ["/inline", "/file"] {
        server.value("medusa.shared('gate'):set('open', false)");
        let length = 64 * 1024 * 1024;
        let mut stream = server.connect();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        )
        .unwrap();
        // Until nothing is taken for a while: what got through stays within the buffers on the way.
        stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let (piece, mut sent) = (vec![b'x'; 64 * 1024], 0);
        while sent < length {
            match stream.write(&piece[..piece.len().min(length - sent)]) {
                Ok(taken) => sent += taken,
                Err(_full) => break,
            }
        }
        assert!(sent < length / 2, "{path}: {sent} bytes were taken of a client that nobody listens to");
        server.value("medusa.shared('gate'):set('open', true)");
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        while sent < length {
            sent += stream.write(&piece[..piece.len().min(length - sent)]).unwrap();
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with(&format!("\r\n\r\n{length}")), "{path}: {answer}");
    }
}

/// More CPU time in all than a request has, but little for each chunk.
#[test]
fn each_chunk_brings_a_budget_of_its_own() {
    let server = in_both(
        "",
        "local count = 0
        for chunk in req:chunks() do
            local start = os.clock() while os.clock() - start < 0.1 do end
            count += #chunk
        end
        return tostring(count)",
    );
    let chunks = "1\r\nx\r\n".repeat(30);
    let fields = "Host: t\r\nTransfer-Encoding: chunked\r\nConnection: close";
    let answer = server.send(&format!("POST /file HTTP/1.1\r\n{fields}\r\n\r\n{chunks}0\r\n\r\n"));
    assert_eq!((answer.status, answer.body.as_str()), (200, "30"));
}

#[test]
fn a_body_is_read_once_and_in_one_way() {
    for (first, second, error) in [
        ("req:body()", "req:body()", "has been read already"),
        ("req:body()", "req:json()", "has been read already"),
        ("req:json()", "req:read(1)", "has been read already"),
        ("req:read(1)", "req:body()", "has been read in part already"),
        ("for _ in req:chunks() do end", "req:form()", "has been read already"),
        ("pcall(function() req:form() end)", "local _ = req:body() error('not reached: fine')", "fine"),
    ] {
        let server =
            in_both("", &format!("{first} local ok, e = pcall(function() {second} end) return tostring(e)"));
        for path in ["/inline", "/file"] {
            let answer = post(&server, path, "[1, 2]");
            assert!(answer.body.contains(error), "{first}; {second}: {}", answer.body);
        }
    }
}

#[test]
fn trailers_come_after_the_body() {
    let server = in_both(
        "",
        "local early = pcall(function() req:trailers() end)
        for _ in req:chunks() do end
        return `{early} {req:trailers()['x-sum']} {req:trailers().other}`",
    );
    for path in ["/inline", "/file"] {
        let answer = server.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nConnection: close\r\n\r\n\
             1\r\na\r\n0\r\nX-Sum: 97\r\n\r\n"
        ));
        assert_eq!(answer.body, "false 97 nil", "{path}");
        assert_eq!(post(&server, path, "a").body, "false nil nil", "{path}");
    }
}

#[test]
fn what_the_client_does_wrong_keeps_its_status() {
    let readers = [
        "req:body()",
        "req:json()",
        "req:form()",
        "for _ in req:chunks() do end",
        "while req:read(7) do end",
    ];
    for reader in readers {
        let server = in_both(", limits = { body = 100 }", &format!("{reader} return 'read'"));
        let long = "a=b&".repeat(26);
        let fields = "Host: t\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded";
        for path in ["/inline", "/file"] {
            let length = long.len();
            let too_long = server
                .send(&format!("POST {path} HTTP/1.1\r\n{fields}\r\nContent-Length: {length}\r\n\r\n{long}"));
            assert_eq!(too_long.status, 413, "{reader} {path}");
            let broken = server.send(&format!(
                "POST {path} HTTP/1.1\r\n{fields}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
            ));
            assert_eq!(broken.status, 400, "{reader} {path}");
        }
    }
    let server = in_both("", "local ok, e = pcall(function() return req:json() end) return tostring(e)");
    let caught = post(&server, "/file", "{");
    assert_eq!(caught.status, 200, "a script may have its own answer");
    assert!(caught.body.contains("the body cannot be read as JSON"), "{}", caught.body);
}

#[test]
fn query_and_cookies_are_tables() {
    let server = in_both(
        "",
        "return medusa.json.encode {
            a = req.args.a, b = req.args['b c'], none = req.args.none == nil, arg = req:arg('a'),
            all = table.concat(req:args_all('a'), ','), nothing = #req:args_all('x'),
            session = req.cookies.session, theme = req.cookies.theme, last = req.last_event_id,
        }",
    );
    for path in ["/inline", "/file"] {
        let answer = server.send(&format!(
            "GET {path}?a=1&b+c=%C3%A9&a=2&a= HTTP/1.1\r\nHost: t\r\nCookie: session=x=y; theme=\"dark\"\r\n\
             Cookie: session=other\r\nLast-Event-ID: 7\r\nConnection: close\r\n\r\n"
        ));
        assert_eq!(
            answer.body,
            r#"{"a":"1","all":"1,2,","arg":"1","b":"é","last":"7","none":true,"nothing":0,"session":"x=y","theme":"dark"}"#,
            "{path}"
        );
    }
}

#[test]
fn a_request_says_who_asks_and_how() {
    let server = in_both(
        "",
        "return `{req.client} {req.peer} {#req.id} {req.id == req.id} {req.scheme} {req.secure} {tostring(req.tls)}`",
    );
    for path in ["/inline", "/file"] {
        assert_eq!(server.get(path).body, "127.0.0.1 127.0.0.1 26 true http false nil", "{path}");
    }
}

/// Over TLS with a certificate made in memory, asked for by a client that takes any.
#[test]
fn a_request_over_tls_shows_what_was_agreed_on() {
    let server = in_both(
        ", tls = 'self-signed'",
        "local tls = req.tls
        return `{req.scheme} {req.secure} {tls.version} {tls.sni} {tls.alpn} {tls.resumed} {tostring(tls.client)} {req.version}`",
    );
    let port = server.addr().port();
    for path in ["/inline", "/file"] {
        for (version, alpn, number) in [("--http1.1", "http/1.1", "1.1"), ("--http2", "h2", "2")] {
            let url = format!("https://localhost:{port}{path}");
            let output = std::process::Command::new("curl")
                .args(["-sS", "--insecure", "--max-time", "20", version, "--resolve"])
                .args([format!("localhost:{port}:127.0.0.1"), url])
                .output()
                .expect("curl, from the Debian package of that name");
            let answer = String::from_utf8_lossy(&output.stdout).into_owned();
            let expected = format!("https true TLSv1.3 localhost {alpn} false nil {number}");
            assert_eq!(answer, expected, "{path}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// What garbage was waiting for goes when the VM collects, which it may whenever a host function makes a value.
#[test]
fn coroutines_that_were_left_while_they_read_are_collected() {
    let server = in_both(
        "",
        "if req.method == 'GET' then
            for n = 1, 200 do req:args_all('a') req:arg('a') end
            return tostring(#req.headers['x-long'])
        end
        -- A coroutine that waits inside of table.sort is given up, and stays as it is.
        local waits = coroutine.create(function() req:body() end)
        local sorted = pcall(table.sort, { 2, 1 }, function() coroutine.resume(waits) return false end)
        return tostring(sorted)",
    );
    for path in ["/inline", "/file"] {
        let mut left = Vec::new();
        for _ in 0..150 {
            let mut stream = server.connect();
            write!(stream, "POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n").unwrap();
            left.push(stream);
        }
        let long = "x".repeat(4000);
        let get = format!(
            "GET {path}?a=1&a={long} HTTP/1.1\r\nHost: t\r\nX-Long: {long}\r\nConnection: close\r\n\r\n"
        );
        for _ in 0..100 {
            assert_eq!(server.send(&get).body, "4000", "{path}");
        }
    }
}

/// What cannot be had as it was sent is the client's fault, and says so.
#[test]
fn what_would_be_changed_in_silence_is_400() {
    let server = in_both(
        "",
        "if req.method == 'GET' then return tostring(req.args.a or req:arg('b') or #req:args_all('c')) end return type(req:json())",
    );
    for path in ["/inline", "/file"] {
        for (body, reason) in [
            (&b"{\"a\":\"\xff\"}"[..], "invalid unicode code point"),
            (b"{\"a\":1,\"a\":2}", "the name &quot;a&quot; comes twice at line 1 column 11"),
            (
                b"[9007199254740993]",
                "9007199254740993 is a whole number that a script&#39;s number cannot hold",
            ),
            (b"\xff\xfe[\0]\0", "it is UTF-16"),
        ] {
            let length = body.len();
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            let answer = server.send_bytes(&[head.as_bytes(), body].concat());
            assert_eq!(answer.status, 400, "{path} {reason}: {}", answer.body);
            assert!(answer.body.contains(reason), "{path} {reason}: {}", answer.body);
        }
        assert_eq!(post(&server, path, "\u{feff}{}").body, "table", "{path}");
        assert_eq!(server.get(&format!("{path}?{}a=1", "x&".repeat(999))).body, "1", "{path}");
        let long = server.get(&format!("{path}?{}a=1", "x&".repeat(1000)));
        assert_eq!(long.status, 400, "{path}");
        assert!(long.body.contains("the query has more than 1000 values"), "{path}: {}", long.body);
    }
}
