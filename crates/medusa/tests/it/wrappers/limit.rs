//! `medusa.handler.limit`: how often a client may ask.

use medusa_testkit::{Client, Site, WebSocket};

use super::super::support::start;
use super::{SOCKET, counted, expect_errors, refused_session};

/// So slow that nothing comes while a test lasts.
const SITE: &str = "
    web = medusa.http.server { listen = '127.0.0.1:0', trusted_proxies = { '127.0.0.1' } }
    local few = { rate = 0.01, burst = 3 }
    web:mount('/function', medusa.handler.limit(few, function() return 'in time' end))
    web:mount('/file', medusa.handler.compress(medusa.handler.limit(few, medusa.handler.script('file.luau'))))
    web:mount('/socket', medusa.handler.limit({ rate = 0.01, burst = 1 }, medusa.handler.script('socket.luau')))";

const FILE: &str = "return function() return 'in time' end";

fn site() -> Site {
    Site::script(SITE).file("file.luau", FILE).file("socket.luau", SOCKET)
}

/// The statuses of so many requests for `path` from a client.
fn ask(client: &mut Client, path: &str, address: &str, times: usize) -> Vec<u16> {
    (0..times).map(|_| client.request("GET", path, &[("X-Forwarded-For", address)]).status).collect()
}

#[test]
fn one_too_many_is_refused_and_told_when_to_come_again() {
    let site = site();
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(ask(&mut client, "/function", "192.0.2.1", 4), [200, 200, 200, 429]);
    let refused = server.connect().request("GET", "/function", &[("X-Forwarded-For", "192.0.2.1")]);
    assert_eq!(refused.status, 429, "on whatever worker");
    let wait: u64 = refused.header("retry-after").expect("a time").parse().expect("whole seconds");
    assert!((1..=100).contains(&wait), "{wait}");
    assert!(refused.text().contains("Try again later"), "{}", refused.text());
    // The /64 is one client, and its neighbour another.
    assert_eq!(ask(&mut client, "/function", "2001:db8::1", 2), [200, 200]);
    assert_eq!(ask(&mut client, "/function", "2001:db8::ffff:2", 2), [200, 429]);
    assert_eq!(ask(&mut client, "/function", "2001:db8:0:1::1", 1), [200]);
    assert_eq!(ask(&mut client, "/function", "192.0.2.2", 1), [200]);
    assert_eq!(ask(&mut client, "/file", "192.0.2.1", 1), [200], "another limit counts for itself");
    assert_eq!(counted(&server, "handler.limit", "refused"), 3);
}

#[test]
fn counts_go_on_over_a_reload_unless_the_limit_is_another() {
    let site = site();
    let server = start(&site);
    let mut client = server.connect();
    for path in ["/function", "/file"] {
        assert_eq!(ask(&mut client, path, "192.0.2.1", 4), [200, 200, 200, 429], "{path}");
    }
    server.reload();
    site.write("file.luau", format!("{FILE} -- another"));
    for _ in 0..2 {
        for path in ["/function", "/file"] {
            assert_eq!(ask(&mut client, path, "192.0.2.1", 1), [429], "{path}");
        }
        server.reload();
    }
    assert_eq!(counted(&server, "handler.limit", "refused"), 6);
    site.write("site.luau", SITE.replace("burst = 3", "burst = 4"));
    server.reload();
    assert_eq!(ask(&mut client, "/function", "192.0.2.1", 5), [200, 200, 200, 200, 429]);
}

#[test]
fn a_function_says_what_is_counted_together() {
    const KEY: &str = "function(req)
        if req.query == 'fails' then error('no key today') end
        if req.query == 'table' then return {} end
        return req.headers['x-api-key']
    end";
    let script = format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0', trusted_proxies = {{ '127.0.0.1' }} }}
        local function echo(req) return req:body() end
        for path, key in {{ ['/function'] = {KEY}, ['/file'] = medusa.handler.script('key.luau') }} do
            web:mount(path, medusa.handler.limit({{ rate = 0.01, burst = 3, key = key }}, echo))
        end"
    );
    let site = Site::script(&script).file("key.luau", format!("return {KEY}"));
    let server = start(&site);
    let mut client = server.connect();
    for path in ["/function", "/file"] {
        let mut ask = |address: &str, key: &str| {
            let fields = [("X-Forwarded-For", address), ("X-Api-Key", key)];
            client.request("GET", path, &fields[..if key.is_empty() { 1 } else { 2 }]).status
        };
        let of_key: Vec<_> = (1..5).map(|n| ask(&format!("192.0.2.{n}"), "a very secret key")).collect();
        assert_eq!(of_key, [200, 200, 200, 429], "{path}");
        assert_eq!(ask("192.0.2.1", "another"), 200, "{path}");
        let of_address: Vec<_> = (0..4).map(|_| ask("192.0.2.9", "")).collect();
        assert_eq!(of_address, [200, 200, 200, 429], "{path}");
        server.reload();
        assert_eq!((ask("192.0.2.7", "a very secret key"), ask("192.0.2.9", "")), (429, 429), "{path}");
        for (query, error) in
            [("fails", "no key today"), ("table", "the `key` of medusa.handler.limit: a table was returned")]
        {
            assert_eq!(client.get(&format!("{path}?{query}")).status, 500, "{path}");
            server.stderr().wait_for(error);
        }
        let length = "Content-Length: 5\r\n\r\nhello";
        let echo = server.send(format!("POST {path} HTTP/1.1\r\nHost: t\r\nX-Api-Key: new\r\n{length}"));
        assert_eq!(echo.text(), "hello", "{path}: it is not the key's");
    }
    let told = server.stderr().text();
    assert!(told.contains("who has the key") && !told.contains("secret"), "{told}");
}

#[test]
fn a_flood_is_a_line_of_the_log() {
    let site = site();
    let server = start(&site);
    let mut client = server.connect();
    let statuses = ask(&mut client, "/function", "192.0.2.1", 500);
    assert_eq!(statuses.iter().filter(|&&status| status == 429).count(), 497);
    ask(&mut client, "/function", "192.0.2.2", 10);
    let stderr = server.stderr();
    stderr.wait_for("192.0.2.2 asks more often than 0.01 times a second (`burst` 3), and is answered 429");
    let of_first = |line: &&str| line.contains("192.0.2.1 asks more often");
    assert_eq!(stderr.text().lines().filter(of_first).count(), 1, "{}", stderr.text());
    // What has not been told yet is when the handler is retired.
    server.reload();
    stderr.wait_for("496 more requests of 192.0.2.1 were answered 429 in ");
    stderr.wait_for("6 more requests of 192.0.2.2 were answered 429 in ");
}

#[test]
fn a_session_is_a_request() {
    let site = site();
    let server = start(&site);
    let mut session = WebSocket::connect(server.address(), "/socket");
    session.send("in time");
    assert_eq!(session.text(), "in time");
    assert_eq!(refused_session(&mut server.connect(), "/socket", &[]).status, 429);
}

#[test]
fn a_limit_that_is_none_is_an_error() {
    let site = site();
    let server = start(&site);
    expect_errors(
        &server,
        &[
            ("limit({}, print)", "`rate` must be a number of requests a second"),
            ("limit({ rate = 0 }, print)", "`rate` must be a number of requests a second"),
            ("limit({ rate = '5' }, print)", "`rate` must be a number, not \"5\""),
            (
                "limit({ rate = 5, burst = 0 }, print)",
                "`burst` must be a whole number from 1 to 1000000, not 0",
            ),
            (
                "limit({ rate = 5, key = 'ip' }, print)",
                "`key` must be \"address\", \"user\" or a function, not \"ip\"",
            ),
            (
                "limit({ rate = 5, key = 5 }, print)",
                "a handler must be a function(req) or come from medusa.handler, not 5",
            ),
            (
                "limit({ rate = 5, brust = 1 }, print)",
                "there is no option \"brust\"; there are: rate, burst, key",
            ),
        ],
    );
}
