//! Server-sent events, cookies and URLs: what handlers answer with, in both kinds of VM.

use std::io::{BufRead, BufReader, Write};

use super::support::{Server, WEB, in_both};

/// The lines of a stream of events, without the framing of its chunks.
fn stream_of(server: &Server, path: &str) -> impl Iterator<Item = String> {
    let mut stream = server.connect();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    BufReader::new(stream).lines().map(Result::unwrap)
}

#[test]
fn events_are_streamed() {
    let server = in_both(
        "",
        "local answer = medusa.http.events(function(stream)
            stream:send('hello\\nthere')
            stream:send { event = 'add', data = medusa.json.encode { n = 1 }, id = 7, retry = 500 }
            stream:comment('note')
            local ok, e = pcall(function() stream:send { data = 'x', id = 'a\\n\\ndata: forged' } end)
            stream:send(`{ok}`)
        end)
        answer.headers['access-control-allow-origin'] = '*'
        return answer",
    );
    for path in ["/inline", "/file"] {
        let answer = server.get(path);
        for field in [
            "content-type: text/event-stream",
            "cache-control: no-store",
            "x-accel-buffering: no",
            "access-control-allow-origin: *",
        ] {
            assert!(answer.head.contains(field), "{path}: {}", answer.head);
        }
        assert_eq!(
            answer.body,
            "data: hello\ndata: there\n\nevent: add\nid: 7\nretry: 500\ndata: {\"n\":1}\n\n: note\n\ndata: false\n\n",
            "{path}"
        );
    }
}

/// The head and the heartbeat come while the producer has nothing to say.
#[test]
fn a_silent_stream_shows_that_it_lives() {
    let server = in_both(
        "",
        "return medusa.http.events(function(stream)
            while not medusa.shared('gate'):get('open') do medusa.sleep(0.02) end
            stream:send('at last')
        end, { heartbeat = 0.1 })",
    );
    for path in ["/inline", "/file"] {
        server.value("medusa.shared('gate'):set('open', false)");
        let mut lines = stream_of(&server, path).skip_while(|line| !line.is_empty()).skip(1);
        for _ in 0..3 {
            assert_eq!(lines.next().as_deref(), Some(":"), "{path}");
            assert_eq!(lines.next().as_deref(), Some(""), "{path}");
        }
        server.value("medusa.shared('gate'):set('open', true)");
        assert_eq!(
            lines.find(|line| !line.is_empty() && line != ":").as_deref(),
            Some("data: at last"),
            "{path}"
        );
    }
}

#[test]
fn a_silent_producer_ends_when_its_client_has_left() {
    let server = in_both(
        "",
        "local name = req.path
        return medusa.http.events(function(stream)
            stream:send('begun')
            while true do medusa.sleep(0.02) medusa.shared('turns'):incr(name) end
        end, { heartbeat = 0.1 })",
    );
    for path in ["/inline", "/file"] {
        let turns =
            || server.value(&format!("medusa.shared('turns'):get('{path}') or 0")).parse::<f64>().unwrap();
        let mut lines = stream_of(&server, path);
        assert!(lines.any(|line| line == "data: begun"), "{path}");
        drop(lines);
        let mut before = turns();
        let ended = (0..100).any(|_| {
            server.value("medusa.sleep(0.2)");
            let now = turns();
            std::mem::replace(&mut before, now).to_bits() == now.to_bits()
        });
        assert!(ended, "{path}: the producer goes on for nobody");
    }
}

#[test]
fn cookies_are_made_with_safe_defaults() {
    let server = in_both(
        "",
        "local cookie = medusa.http.cookie
        local function refused(...)
            local ok, e = pcall(cookie, ...)
            return ok and 'taken' or tostring(e)
        end
        return { headers = { ['set-cookie'] = {
                cookie('a', 'b'),
                cookie('__Host-s', '', { secure = true, same_site = 'Strict', max_age = 0, expires = 784111777 }),
                cookie('c', 'd', { path = '/x', domain = 'example.com', http_only = false, same_site = 'none',
                    secure = true, partitioned = true }),
            } },
            body = table.concat({ refused('a', 'b; Domain=x'), refused('__Host-a', 'b'), refused('a', 'b', { sekure = true }),
                refused('a', 'b', { same_site = 'lux' }), refused('a', 'b', { max_age = 1.5 }) }, '\\n') }",
    );
    for path in ["/inline", "/file"] {
        let answer = server.get(path);
        for field in [
            "set-cookie: a=b; path=/; httponly; samesite=lax\r\n",
            "set-cookie: __host-s=; path=/; max-age=0; expires=sun, 06 nov 1994 08:49:37 gmt; secure; httponly; samesite=strict\r\n",
            "set-cookie: c=d; path=/x; domain=example.com; secure; samesite=none; partitioned\r\n",
        ] {
            assert!(format!("{}\r\n", answer.head).contains(field), "{path}: {}", answer.head);
        }
        let refused: Vec<&str> =
            answer.body.lines().filter(|line| line.contains("medusa.http.cookie")).collect();
        let why = [
            "its value has the character ';'",
            "needs `secure = true`",
            "no option \"sekure\"",
            "`same_site` must",
            "`max_age` must",
        ];
        for (refused, why) in refused.iter().zip(why) {
            assert!(refused.contains(why), "{refused}");
        }
        assert_eq!(refused.len(), why.len(), "{}", answer.body);
    }
}

#[test]
fn urls_are_encoded_and_decoded() {
    let server = in_both(
        "",
        "return table.concat({ medusa.url.encode('a b/é'), medusa.url.decode('a%20b+%zz'),
            medusa.url.query { q = 'a b&c', page = 2, on = true, tag = { 'y', 'x' } },
            medusa.url.parse_query('a=1&b=x+y&a=2').a, medusa.url.parse_query('b=x+y').b }, '|')",
    );
    for path in ["/inline", "/file"] {
        let expected = "a%20b%2F%C3%A9|a b+%zz|on=true&page=2&q=a%20b%26c&tag=y&tag=x|1|x y";
        assert_eq!(server.get(path).body, expected, "{path}");
    }
}

#[test]
fn a_handler_file_is_told_that_it_makes_no_server() {
    let script = format!("{WEB} web:mount('/', medusa.handler.script('h.luau'))");
    let handler =
        "return function() local ok, e = pcall(function() medusa.http.server {} end) return tostring(e) end";
    let server = Server::start(&script, &[("h.luau", handler)]);
    assert!(server.get("/").body.contains("there is no medusa.http.server in a handler file"));
}
