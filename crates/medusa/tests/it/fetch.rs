//! `medusa.fetch` from one server to another, both the real program.

use std::net::TcpListener;
use std::process::Command;
use std::thread;

use medusa_testkit::{Server, Site, memory, wait};

use super::support::{WEB, start, web};

/// What there is to fetch.
const ORIGIN: &str = r"
web:mount('/hello', function() return { headers = { ['x-many'] = { 'a', 'b' }, ['set-cookie'] = { 'a=1', 'b=2' } }, body = 'hello' } end)
web:mount('/missing', function() return { status = 404, body = 'no such thing' } end)
web:mount('/echo', function(req)
    local names = { 'user-agent', 'content-type', 'authorization', 'cookie', 'x-api-key', 'accept-encoding', 'x-n', 'host', 'range' }
    local headers = {}
    for _, name in names do headers[name] = req.headers[name] end
    return medusa.json.encode { method = req.method, query = req.query, body = req:body(), headers = headers }
end)
web:mount('/redirect/{n}', function(req)
    local n = tonumber(req.params.n)
    return { status = 302, headers = { location = if n > 1 then `/redirect/{n - 1}` else '/echo?landed' }, body = 'moved' }
end)
web:mount('/loop', function() return { status = 301, headers = { location = '/loop' } } end)
web:mount('/to', function(req) return { status = 307, headers = { location = req:arg('url') } } end)
web:mount('/hang', function() medusa.sleep(25) return 'late' end)
web:mount('/drip', function() return { body = function(write) for _ = 1, 1000 do write('x') medusa.sleep(0.1) end end } end)
web:mount('/huge', function() return { body = function(write) for _ = 1, 2000 do write(string.rep('x', 50000)) end end } end)
web:mount('/lines', function() return { body = function(write) for i = 1, 3 do write(`line {i}\n`) medusa.sleep(0.02) end end } end)
";

fn origin() -> (Site, Server) {
    let site = web(ORIGIN);
    let server = start(&site);
    (site, server)
}

/// A site whose script is nothing but a prompt to fetch from.
fn prompt() -> (Site, Server) {
    let site = Site::script("");
    let server = start(&site);
    (site, server)
}

/// The error of a statement that must fail, without its place.
#[track_caller]
fn error(server: &Server, statement: &str) -> String {
    let error = server.command(["eval", statement]).failure(1);
    error.lines().next().unwrap_or_default().to_owned()
}

/// Text that is compressed by `gzip`, as a string of the script.
fn gzip(shell: &str) -> String {
    let made = Command::new("sh").args(["-c", &format!("{shell} | gzip -9n")]).output().expect("sh and gzip");
    assert!(made.status.success(), "{made:?}");
    made.stdout.iter().fold(String::new(), |text, byte| text + &format!("\\x{byte:02x}"))
}

#[test]
fn an_answer_is_a_table() {
    let (_origin_site, origin) = origin();
    let (_site, server) = prompt();
    let url = origin.url("/hello");
    let result = server.eval(&format!(
        "local r = medusa.fetch('{url}')
        return `{{r.status}} {{r.headers['x-many']}} {{r.cookies[2]}} {{r.headers['set-cookie']}} {{r.body}} {{r.url}}`"
    ));
    assert_eq!(result, format!("200 a, b b=2 nil hello {url}"));
    let shown = server.eval(&format!("medusa.fetch('{}')", origin.url("/missing")));
    assert!(shown.contains("status = 404") && shown.contains("body = \"no such thing\""), "{shown}");
    assert_eq!(server.eval(&format!("medusa.fetch('{}'):json().query", origin.url("/echo?a=b"))), "a=b");
}

#[test]
fn a_request_arrives_as_it_was_asked_for() {
    let (_origin_site, origin) = origin();
    let (_site, server) = prompt();
    let echo = origin.url("/echo");
    let fetched = |options: &str, show: &str| {
        server.eval(&format!(
            "local r = medusa.fetch('{echo}', {{ {options} }}):json() return tostring({show})"
        ))
    };
    assert_eq!(fetched("", "r.method"), "GET");
    assert!(fetched("", "r.headers['user-agent']").starts_with("medusa/"));
    assert_eq!(fetched("", "r.headers['accept-encoding']"), "zstd,gzip");
    assert_eq!(fetched("headers = { range = 'bytes=0-1' }", "r.headers['accept-encoding']"), "identity");
    assert_eq!(fetched("", "r.headers.host"), origin.address().to_string());
    assert_eq!(fetched("method = 'post', body = 'text'", "r.method .. r.body"), "POSTtext");
    let json = "json = { list = { 1, 2 }, name = 'ä' }";
    assert_eq!(fetched(json, "r.body"), r#"{"list":[1,2],"name":"ä"}"#);
    assert_eq!(fetched(json, "r.headers['content-type']"), "application/json");
    let typed = format!("{json}, headers = {{ ['Content-Type'] = 'application/x+json' }}");
    assert_eq!(fetched(&typed, "r.headers['content-type']"), "application/x+json");
    assert_eq!(fetched("headers = { ['X-N'] = { 'a', 'b' } }", "r.headers['x-n']"), "a, b");
    assert_eq!(fetched("headers = { ['X-N'] = 5 }", "r.headers['x-n']"), "5");
    // RFC 7617 §2 has these two.
    let basic = "basic = { user = 'Aladdin', pass = 'open sesame' }";
    assert_eq!(fetched(basic, "r.headers.authorization"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_eq!(fetched("bearer = 'abc'", "r.headers.authorization"), "Bearer abc");
}

#[test]
fn connections_are_shared_by_all_workers_and_the_main_script() {
    let (_origin_site, origin) = origin();
    let site = Site::script(&format!("{WEB} web:mount('/', medusa.handler.script('h.luau'))")).file(
        "h.luau",
        format!("return function() return medusa.fetch('{}').body end", origin.url("/hello")),
    );
    let server = start(&site);
    // Connections of their own, so that both workers get some.
    for _ in 0..20 {
        assert_eq!(server.get("/").text(), "hello");
    }
    assert_eq!(server.eval(&format!("medusa.fetch('{}').body", origin.url("/hello"))), "hello");
    // A body of a redirect is read, so that the connection lives on.
    server.eval(&format!("medusa.fetch('{}')", origin.url("/redirect/3")));
    assert_eq!(origin.number("listener", "accepted"), 1);
    assert_eq!(server.number("fetch", "begun"), 22);
    assert_eq!(server.number("fetch", "running"), 0);
    server.reload();
    server.eval(&format!("medusa.fetch('{}')", origin.url("/hello")));
    assert_eq!(origin.number("listener", "accepted"), 1, "a reload changes nothing");
}

#[test]
fn redirects_are_followed_so_far() {
    let (_origin_site, origin) = origin();
    let (_site, server) = prompt();
    let result = server.eval(&format!(
        "local r = medusa.fetch('{}', {{ method = 'POST', body = 'x' }})
        return `{{r.url}} {{r:json().method}} {{r:json().body}}.`",
        origin.url("/redirect/5")
    ));
    assert_eq!(result, format!("{} GET .", origin.url("/echo?landed")));
    let six = error(&server, &format!("medusa.fetch('{}')", origin.url("/redirect/6")));
    assert!(six.ends_with("/redirect/1: it was redirected more than 5 times"), "{six}");
    let kept = server.eval(&format!(
        "local r = medusa.fetch('{}', {{ redirects = 0 }}) return `{{r.status}} {{r.headers.location}} {{r.body}}`",
        origin.url("/redirect/2")
    ));
    assert_eq!(kept, "302 /redirect/1 moved");
    let endless = error(&server, &format!("medusa.fetch('{}', {{ redirects = 20 }})", origin.url("/loop")));
    assert!(endless.ends_with("it was redirected more than 20 times"), "{endless}");
}

#[test]
fn another_origin_gets_no_secrets() {
    let (_origin_site, origin) = origin();
    let (_other_site, other) = self::origin();
    let (_site, server) = prompt();
    let fetched = |target: &Server, login: &str| {
        server.eval(&format!(
            "local r = medusa.fetch('{}?url={}', {{ method = 'POST', body = 'b', {login}, headers = {{
                cookie = 'c', ['x-api-key'] = 'k', ['content-type'] = 'text/x' }} }}):json()
            local h = r.headers
            return `{{r.method}} {{r.body}} {{h.authorization}} {{h.cookie}} {{h['x-api-key']}} {{h['content-type']}}`",
            origin.url("/to"),
            target.url("/echo")
        ))
    };
    for login in ["bearer = 't'", "basic = { user = 'u', pass = 'p' }"] {
        assert_eq!(fetched(&other, login), "POST b nil nil nil text/x", "{login}");
    }
    assert_eq!(fetched(&origin, "bearer = 't'"), "POST b Bearer t c k text/x");
}

#[test]
fn what_takes_too_long_or_gets_too_long_is_stopped() {
    let (_origin_site, origin) = origin();
    let (_site, server) = prompt();
    let late = error(&server, &format!("medusa.fetch('{}', {{ timeout = 0.2 }})", origin.url("/hang")));
    assert!(late.ends_with("/hang: it took longer than 0.2 s to get an answer"), "{late}");
    let drip = error(&server, &format!("medusa.fetch('{}', {{ timeout = 0.3 }})", origin.url("/drip")));
    assert!(drip.ends_with("/drip: it took longer than 0.3 s to read the body of the answer"), "{drip}");
    let drip = error(
        &server,
        &format!(
            "local r = medusa.fetch('{}', {{ timeout = 0.3, stream = true }}) for _ in r:chunks() do end",
            origin.url("/drip")
        ),
    );
    assert!(drip.ends_with("it took longer than 0.3 s to read the body of the answer"), "{drip}");
    let before = memory::resident(server.pid());
    let huge = error(&server, &format!("medusa.fetch('{}')", origin.url("/huge")));
    assert!(huge.contains("/huge: the body of the answer is longer than 8388608 bytes"), "{huge}");
    let grown = memory::resident(server.pid()).saturating_sub(before);
    assert!(grown < 48 << 20, "{grown} bytes for a body that was refused");
    let small = error(&server, &format!("medusa.fetch('{}', {{ max_bytes = 4 }})", origin.url("/hello")));
    assert!(small.contains("is longer than 4 bytes"), "{small}");
    assert_eq!(
        server.eval(&format!("medusa.fetch('{}', {{ max_bytes = 5 }}).body", origin.url("/hello"))),
        "hello"
    );
    assert_eq!(server.number("fetch", "running"), 0);
    assert_eq!(server.number("fetch", "memory"), 0);
}

/// A server that takes connections and never speaks, so TLS is never agreed upon.
#[test]
fn a_connection_that_is_not_made_in_time_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("it is bound");
    let (_site, server) = prompt();
    let late = error(&server, &format!("medusa.fetch('https://{address}/', {{ connect_timeout = 0.2 }})"));
    assert!(late.ends_with(&format!("fetch https://{address}/: could not connect within 0.2 s")), "{late}");
}

#[test]
fn the_log_warns_once_of_a_script_that_trusts_anyone() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let url = format!("https://{}/a?key=secret", closed.expect("a free port"));
    let (_site, server) = prompt();
    for _ in 0..2 {
        error(&server, &format!("medusa.fetch('{url}', {{ insecure = true }})"));
    }
    let warning = server.stderr().wait_for("with `insecure = true`");
    assert!(warning.contains("WARN"), "{warning}");
    // The statements have been answered, so all of their lines are there.
    let log = server.stderr().text();
    assert_eq!(log.matches("insecure = true").count(), 1, "{log}");
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn compressed_bodies_are_decompressed_within_their_limit() {
    let (text, bomb) = (gzip("printf 'compressed text'"), gzip("head -c 50000000 /dev/zero"));
    let answer = |body: &str| format!("{{ headers = {{ ['content-encoding'] = 'gzip' }}, body = '{body}' }}");
    let origin_site = web(&format!(
        "web:mount('/text', function() return {} end) web:mount('/bomb', function() return {} end)",
        answer(&text),
        answer(&bomb)
    ));
    let origin = start(&origin_site);
    let (_site, server) = prompt();
    let result = server.eval(&format!(
        "local r = medusa.fetch('{}') return `{{r.body}} {{r.headers['content-encoding']}}`",
        origin.url("/text")
    ));
    assert_eq!(result, "compressed text nil");
    let bomb = error(&server, &format!("medusa.fetch('{}')", origin.url("/bomb")));
    assert!(bomb.contains("/bomb: the body of the answer is longer than 8388608 bytes"), "{bomb}");
}

#[test]
fn a_stream_is_read_as_it_comes() {
    let (_origin_site, origin) = origin();
    let (_site, server) = prompt();
    let result = server.eval(&format!(
        "local r = medusa.fetch('{}', {{ stream = true }})
        local text, count = '', 0
        for chunk in r:chunks() do text ..= chunk count += 1 end
        local after = 0
        for _ in r:chunks() do after += 1 end
        return `{{r.body}} {{count >= 3}} {{after}} {{text}}`",
        origin.url("/lines")
    ));
    assert_eq!(result, "nil true 0 line 1\nline 2\nline 3");
    // Far more than may be in memory, in pieces that are small.
    let result = server.eval(&format!(
        "local r = medusa.fetch('{}', {{ stream = true, max_bytes = 1e9, timeout = 50 }})
        local bytes, longest = 0, 0
        for chunk in r:chunks() do bytes += #chunk longest = math.max(longest, #chunk) end
        return `{{bytes}} {{longest <= 65536}}`",
        origin.url("/huge")
    ));
    assert_eq!(result, "100000000 true");
}

/// A reader that has stopped holds the sender back, and the exchange ends with its time.
#[test]
fn a_stream_that_nobody_reads_is_bounded_and_ends() {
    let (_origin_site, origin) = origin();
    let (_site, server) = prompt();
    let before = memory::resident(server.pid());
    let open = format!(
        "kept = medusa.fetch('{}', {{ stream = true, max_bytes = 1e9, timeout = 1 }})",
        origin.url("/huge")
    );
    server.eval(&open);
    wait::until("the fetch ends by itself", || (server.number("fetch", "running") == 0).then_some(()));
    let grown = memory::resident(server.pid()).saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes for a body that nobody reads");
    let late = error(&server, "for _ in kept:chunks() do end");
    assert!(late.ends_with("it took longer than 1 s to read the body of the answer"), "{late}");
}

#[test]
fn a_handler_that_waits_for_another_server_holds_up_nobody() {
    let (_origin_site, origin) = origin();
    let site = Site::script(&format!(
        "{WEB} web:mount('/', medusa.handler.script('h.luau')) web:mount('/ok', function() return 'ok' end)"
    ))
    .file("h.luau", format!("return function() return medusa.fetch('{}').body end", origin.url("/hang")));
    let server = start(&site);
    let mut waiting: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for client in &mut waiting {
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    wait::until("all four are fetching", || (server.number("fetch", "running") == 4).then_some(()));
    for _ in 0..8 {
        assert_eq!(server.get("/ok").text(), "ok");
    }
}

/// A script that fetches from its own server, from the main script and from a handler, does not wait for itself.
#[test]
fn a_server_can_fetch_from_itself() {
    let site = web("web:mount('/inner', function() return 'inner' end)
        web:mount('/outer', function(req) return medusa.fetch(`http://{req.headers.host}/inner`).body end)");
    let server = start(&site);
    let address = server.address();
    let answers: Vec<_> = thread::scope(|scope| {
        let asked: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = server.connect();
                    client.send(format!("GET /outer HTTP/1.1\r\nHost: {address}\r\n\r\n"));
                    client.response().text()
                })
            })
            .collect();
        asked.into_iter().map(|asked| asked.join().expect("no panic")).collect()
    });
    assert_eq!(answers, ["inner"; 8]);
}

/// The first example of the guide, with our origin in place of the one that does not exist.
#[test]
fn the_example_of_the_guide_runs() {
    let guide = include_str!("../../../../docs/scripting.md");
    let section = guide.split("\n## Fetching\n").nth(1).expect("the section");
    let example =
        section.split("```lua\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let origin_site = web(
        "web:mount('/v1/eur', function(req) return medusa.json.encode { rate = 1.25, key = req.headers['x-api-key'] } end)",
    );
    let origin = start(&origin_site);
    assert!(example.contains("https://rates.example.com/"), "{example}");
    let example = example.replace("https://rates.example.com/", &origin.url("/"));
    let site = web(&example);
    let server = start(&site);
    assert_eq!(server.get("/rates/eur").text(), "1.25\n");
    assert_eq!(server.get("/rates/xyz").status, 404);
    let address = origin.address();
    origin.terminate();
    assert_eq!(server.get("/rates/eur").status, 502);
    server
        .stderr()
        .wait_for(&format!("fetch http://{address}/v1/eur: could not connect: Connection refused"));
}
