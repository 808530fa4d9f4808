//! What handlers see and answer, inline and from files.

use std::io::{BufRead, BufReader, Read, Write};

use super::support::{Server, WEB, in_both};

#[test]
fn a_function_answers_with_a_string_or_a_table() {
    let server = Server::start(
        &format!(
            "{WEB}
            web:mount('/hello/{{name}}', function(req) return `Hello, {{req.params.name}}!\\n` end)
            web:mount('POST /things', function(req)
                return {{ status = 201, headers = {{ location = '/things/1' }}, body = req:body() }}
            end)
            web:mount('/wrong', function() return 5 end)
            web:mount('/fails', function() error('by design') end)"
        ),
        &[],
    );
    let hello = server.get("/hello/World");
    assert_eq!((hello.status, hello.body.as_str()), (200, "Hello, World!\n"));
    assert!(hello.head.contains("content-type: text/plain; charset=utf-8"));
    let made =
        server.send("POST /things HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody");
    assert_eq!((made.status, made.body.as_str()), (201, "body"));
    assert!(made.head.contains("location: /things/1"));
    assert_eq!(server.get("/wrong").status, 500);
    let failed = server.get("/fails");
    assert_eq!(failed.status, 500);
    assert!(!failed.body.contains("by design"), "errors are for the log, not for clients");
    assert_eq!(server.get("/nothing").status, 404);
    assert_eq!(server.get("/things").status, 405);
}

#[test]
fn a_request_shows_all_of_itself() {
    let script = "return function(req)
        req.own = 'kept'
        return medusa.json.encode {
            method = req.method, path = req.path, tail = req.tail, query = req.query, host = req.host,
            peer = req.peer, version = req.version, x = req.headers['x-many'], a = req:arg('a'), own = req.own,
            nothing = req.nothing == nil,
        }
    end";
    let server = Server::start(
        &format!("{WEB} web:mount('/api/', medusa.handler.script('api.luau'))"),
        &[("api.luau", script)],
    );
    let answer = server.send(
        "GET /api/a%20b?a=x+y HTTP/1.1\r\nHost: example.com:80\r\nX-Many: 1\r\nx-many: 2\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(
        answer.body,
        r#"{"a":"x y","host":"example.com","method":"GET","nothing":true,"own":"kept","path":"/api/a%20b","peer":"127.0.0.1","query":"a=x+y","tail":"a%20b","version":"1.1","x":"1, 2"}"#
    );
}

/// A request and a session are tables: whatever a script calls its own fields, and whatever it takes away.
#[test]
fn no_field_of_a_script_is_in_the_way_of_a_request() {
    let server = in_both(
        "",
        "last = req
        if req.query then table.clear(req) return pcall(function() return req.path end) and 'read' or 'cleared' end
        req.handle = '@fred' req.socket = 1 req[1] = 2 req[0] = 3
        return `{req.path} {req:arg('none')} {req:body()} {req.handle}`",
    );
    for path in ["/inline", "/file"] {
        let answer = server.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"
        ));
        assert_eq!(answer.body, format!("{path} nil body @fred"));
        assert_eq!(server.get(&format!("{path}?clear")).body, "cleared");
    }
    let server =
        Server::start(&format!("{WEB} web:mount('/', function(req) last = req return req.path end)"), &[]);
    server.get("/");
    assert_eq!(server.value("last"), "request { path = \"/\" }");
}

#[test]
fn json_bodies_are_read_and_too_long_ones_refused() {
    let server = Server::start(
        "web = medusa.http.server { listen = '127.0.0.1:0', limits = { body = 200000 } }
        web:mount('/', medusa.handler.script('api.luau'))",
        &[("api.luau", "return function(req) return tostring(req:json().n + 1) end")],
    );
    let post = |body: &str| {
        let length = body.len();
        server.send(&format!(
            "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ))
    };
    assert_eq!(post(r#"{"n": 41}"#).body, "42");
    assert_eq!(post("{").status, 400, "the client is to blame");
    assert_eq!(post(&" ".repeat(200_001)).status, 413);
    let many = post(&format!("[{}0]", "{},".repeat(50_000)));
    assert_eq!(many.status, 400, "what takes long to decode is refused");
}

/// A producer's chunks arrive one by one, chunked for HTTP/1.1 and delimited by the close for HTTP/1.0.
#[test]
fn a_producer_streams() {
    let produce = "function(write) for i = 1, 3 do write(`line {i}\\n`) medusa.sleep(0.02) end end";
    let server = Server::start(
        &format!(
            "{WEB} web:mount('/inline', function() return {{ body = {produce} }} end)
            web:mount('/file', medusa.handler.script('stream.luau'))"
        ),
        &[("stream.luau", &format!("return function() return {{ body = {produce} }} end"))],
    );
    for path in ["/inline", "/file"] {
        let answer = server.get(path);
        assert_eq!(answer.body, "line 1\nline 2\nline 3\n", "{path}");
        assert!(answer.head.contains("transfer-encoding: chunked"), "{path}");
        let old = server.send(&format!("GET {path} HTTP/1.0\r\n\r\n"));
        assert_eq!(old.body, "line 1\nline 2\nline 3\n", "{path}");
        assert!(!old.head.contains("transfer-encoding"), "{path}");
    }
}

#[test]
fn a_producer_is_pulled_by_its_client_and_ends_with_it() {
    let produce = "return function() return { body = function(write)
        local hits = medusa.shared('written')
        while true do write(string.rep('x', 10000)) hits:incr('chunks') end
    end } end";
    let server = Server::start(
        &format!(
            "{WEB} web:mount('/', medusa.handler.script('endless.luau')) web:mount('/ok', function() return 'ok' end)"
        ),
        &[("endless.luau", produce)],
    );
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    stream.read_exact(&mut vec![0; 50_000]).unwrap();
    // The client reads no more: what is written stays within the buffers of the kernel and one chunk's worth of ours.
    let written = || server.value("medusa.shared('written'):get('chunks')").parse::<f64>().unwrap();
    let mut before = written();
    let settled = (0..100).any(|_| {
        server.value("medusa.sleep(0.1)");
        let now = written();
        std::mem::replace(&mut before, now).to_bits() == now.to_bits()
    });
    assert!(settled, "the producer did not stop for a client that does not read");
    assert!(before * 10_000.0 < 12e6, "{before} chunks are ahead of the client");
    drop(stream);
    assert_eq!(server.get("/ok").status, 200, "and others are served");
}

#[test]
fn keep_alive_survives_errors_of_handlers() {
    let server = Server::start(&format!("{WEB} web:mount('/', function() error('x') end)"), &[]);
    let mut stream = BufReader::new(server.connect());
    for _ in 0..3 {
        stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 500"), "{line}");
        let mut length = 0;
        loop {
            line.clear();
            stream.read_line(&mut line).unwrap();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        stream.read_exact(&mut vec![0; length]).unwrap();
    }
}

#[test]
fn handler_files_cannot_change_the_site() {
    let server = Server::start(
        &format!("{WEB} web:mount('/', medusa.handler.script('h.luau'))"),
        &[(
            "h.luau",
            "return function() local ok, why = pcall(function() return medusa.log end) return tostring(why) end",
        )],
    );
    assert!(server.get("/").body.contains("only the main script changes the site"));
}

/// Over HTTP/2, where the server is told at once: the producer ends though it never writes again.
#[test]
fn a_producer_that_is_silent_ends_with_its_client() {
    let server = in_both(
        "",
        "local name = req.path
        return { body = function(write)
            write('begun')
            while true do medusa.sleep(0.02) medusa.shared('turns'):incr(name) end
        end }",
    );
    let port = server.addr().port();
    for path in ["/inline", "/file"] {
        let mut curl = std::process::Command::new("curl")
            .args(["-sSN", "--http2-prior-knowledge", &format!("http://127.0.0.1:{port}{path}")])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("curl, from the Debian package of that name");
        let mut begun = [0; 5];
        curl.stdout.take().unwrap().read_exact(&mut begun).unwrap();
        curl.kill().unwrap();
        curl.wait().unwrap();
        let turns = || server.value(&format!("medusa.shared('turns'):get('{path}') or 0"));
        let mut before = turns();
        let ended = (0..50).any(|_| {
            server.value("medusa.sleep(0.2)");
            let now = turns();
            std::mem::replace(&mut before, now.clone()) == now
        });
        assert!(ended, "{path}: the producer goes on for nobody");
    }
}

/// Whatever of the host fails, however it is called: what a script catches is a string that begins with its own place, and
/// says nothing of ours.
#[test]
fn what_a_script_catches_is_a_string() {
    for call in [
        "req.json, req",
        "req.read, req, -1",
        "req.form, req",
        "medusa.json.decode, '{'",
        "medusa.json.encode, function() end",
        "medusa.fetch, 'http://127.0.0.1:1/'",
        "medusa.url.decode, {}",
        "medusa.shared, {}",
        "medusa.http.cookie, 'a b', 'c'",
        "medusa.sleep, 'x'",
        "req.websocket, req",
        "error, 'test.luau:1: own', 0",
    ] {
        let caught = format!(
            "local all = {{}}
            local function keep(_, e) all[#all + 1] = `{{type(e)}} {{e}}` end
            keep(pcall({call}))
            keep(xpcall(function(...) local t = {{ ... }} return t[1](table.unpack(t, 2)) end, function(e) return e end, {call}))
            keep(coroutine.resume(coroutine.create(function(...) local t = {{ ... }} return t[1](table.unpack(t, 2)) end), {call}))
            return table.concat(all, '\\n')"
        );
        let server = in_both("", &caught);
        for path in ["/inline", "/file"] {
            let answer = server.send(&format!(
                "POST {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: 1\r\n\r\n{{"
            ));
            let lines: Vec<&str> = answer.body.lines().collect();
            assert_eq!(lines.len(), 3, "{call} {path}: {answer:?}");
            for line in lines {
                let Some(("string", error)) = line.split_once(' ') else { panic!("{call} {path}: {line}") };
                let place = error.split_once(".luau:").map_or("", |(file, _)| file);
                assert!(["site", "handler", "test"].contains(&place), "{call} {path}: {error}");
            }
        }
    }
}

/// What a client is to blame for stays that as long as nobody catches it.
#[test]
fn what_nobody_catches_is_answered_as_what_it_is() {
    for body in ["req:json()", "coroutine.wrap(function() req:json() end)()", "pcall(error, 'x') req:json()"]
    {
        let server = in_both("", body);
        for path in ["/inline", "/file"] {
            let answer = server.send(&format!(
                "POST {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: 1\r\n\r\n{{"
            ));
            assert_eq!(answer.status, 400, "{body} {path}: {answer:?}");
        }
    }
}

/// Nothing has been sent until it waits, so that the client can still be told.
#[test]
fn a_producer_that_fails_before_anything_is_sent_is_a_500() {
    for (produce, status) in [
        ("error('early')", 500),
        ("write('part1\\n') error('late')", 500),
        ("write('part1\\n') medusa.sleep(0.01) write('part2\\n')", 200),
    ] {
        let server = in_both("", &format!("return {{ body = function(write) {produce} end }}"));
        for path in ["/inline", "/file"] {
            let answer = server.get(path);
            assert_eq!(answer.status, status, "{produce} {path}: {answer:?}");
            assert_eq!(answer.body.contains("part"), status == 200, "{produce} {path}: {answer:?}");
        }
    }
}
