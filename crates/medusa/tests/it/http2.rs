//! HTTP/2: many requests at a time on one connection, and how it ends.

use std::process::Command;

use medusa_testkit::http2::{END_HEADERS, END_STREAM, HEADERS, Http2, field, request};
use medusa_testkit::{H2Load, Process, Server, Signal, wait};

use super::support::{start, web};
use super::tls::Encrypted;

/// Requests for `/wait` are answered when `go` is set: until then all of them are under way.
const WAIT: &str = "gate = medusa.shared('gate')
    web:mount('/wait', function()
        gate:incr('waiting')
        while not gate:get('go') do medusa.sleep(0.005) end
        return 'let go'
    end)
    web:mount('POST /go', function(req) req:body() gate:set('go', true) return 'go' end)
    web:mount('/', function() return 'ok' end)";

/// One encrypted address, one that is not, and one of another server.
#[track_caller]
fn served() -> (Encrypted, Server) {
    let it = Encrypted::script(&format!(
        "web = medusa.http.server {{
            listen = {{ {{ address = '127.0.0.1:0', tls = {{ cert = 'cert.pem', key = 'key.pem' }} }}, '127.0.0.2:0' }},
        }}
        other = medusa.http.server {{ listen = '127.0.0.3:0' }}
        {WAIT}"
    ));
    let server = start(&it.site);
    (it, server)
}

fn urls(server: &Server, path: &str) -> [String; 2] {
    [
        format!("https://localhost:{}{path}", server.address_of(0).port()),
        format!("http://{}{path}", server.address_of(1)),
    ]
}

/// Waits until so many requests are under way.
#[track_caller]
fn until_waiting(server: &Server, count: u32) {
    wait::until("the requests are under way", || {
        (server.eval("gate:get('waiting') or 0") == count.to_string()).then_some(())
    });
}

#[test]
fn a_hundred_requests_at_a_time_on_one_connection() {
    let (_it, server) = served();
    for url in urls(&server, "/wait") {
        server.eval("gate:set('go', false) gate:set('waiting', 0)");
        let accepted = accepted(&server);
        let load = H2Load::start(&url, 100, 1, 100);
        // Only if all are under way at once, all are counted before any is answered.
        until_waiting(&server, 100);
        server.eval("gate:set('go', true)");
        load.expect_clean();
        assert_eq!(accepted + 1, self::accepted(&server), "{url}: one connection");
    }
    for url in urls(&server, "/") {
        H2Load::start(&url, 5_000, 2, 100).expect_clean();
    }
}

fn accepted(server: &Server) -> u64 {
    server.documents("listener").iter().filter_map(|listener| listener["accepted"].as_u64()).sum()
}

#[test]
fn more_than_may_be_open_wait_their_turn() {
    let it = Encrypted::new("limits = { streams = 5 }", "web:mount('/', function() return 'ok' end)");
    let server = start(&it.site);
    let url = format!("https://localhost:{}/", server.address().port());
    // All at once, before it has heard how many it may have: what is too much is refused, so that a client may try again
    // (RFC 9113 §8.7), and the connection goes on.
    let output = nghttp(&url, 100).finish().success();
    let (answered, refused) =
        (output.matches(":status: 200").count(), output.matches("REFUSED_STREAM").count());
    assert!(answered >= 5 && answered + refused == 100, "{answered} and {refused} of 100: {output}");
    assert!(!output.contains("ENHANCE_YOUR_CALM"), "{output}");
    // Who has heard waits, or asks again.
    let urls: Vec<String> = (0..60).map(|at| format!("{url}?{at}")).collect();
    let parallel = ["--http2", "--parallel", "--parallel-max", "60"];
    let output = it.curl(parallel.into_iter().chain(urls.iter().map(String::as_str))).said();
    assert_eq!(output, "ok".repeat(60));
}

/// nghttp with so many requests for `url`, and every frame it sees.
#[track_caller]
fn nghttp(url: &str, requests: u32) -> Process {
    let mut command = Command::new("nghttp");
    command.args(["-y", "-v", "-n", "--no-dep", "-m", &requests.to_string(), url]);
    Process::start(&mut command)
}

/// Asserts that all requests were answered, and that the server said goodbye without blaming anybody.
#[track_caller]
fn expect_goodbye(nghttp: Process, requests: usize) {
    let output = nghttp.finish().success();
    assert_eq!(output.matches(":status: 200").count(), requests, "{output}");
    let goodbyes = output.matches("recv GOAWAY frame").count();
    assert!(goodbyes >= 1, "no GOAWAY: {output}");
    // Those of the client's own included.
    let codes = output.matches("error_code=").count();
    assert_eq!(output.matches("error_code=NO_ERROR(0x00)").count(), codes, "{output}");
    assert!(!output.contains("recv RST_STREAM"), "{output}");
}

#[test]
fn a_listener_that_goes_lets_its_requests_finish() {
    for at in [0, 1] {
        let (_it, server) = served();
        let url = &urls(&server, "/wait")[at];
        let address = server.address_of(at);
        let requests = nghttp(url, 30);
        until_waiting(&server, 30);
        server.eval("web:remove()");
        wait::until("nobody new is let in", || std::net::TcpStream::connect(address).is_err().then_some(()));
        server.eval("gate:set('go', true)");
        expect_goodbye(requests, 30);
    }
}

#[test]
fn a_server_that_stops_lets_its_requests_finish() {
    for (at, stop) in [(0, "command"), (1, "command"), (0, "signal"), (1, "signal")] {
        let (_it, mut server) = served();
        let url = &urls(&server, "/wait")[at];
        let requests = nghttp(url, 30);
        // A request that is under way when the server stops, and whose end lets the others go.
        let mut go = medusa_testkit::Client::connect(server.address_of(1));
        go.send("POST /go HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n");
        until_waiting(&server, 30);
        wait::until("the last one is under way", || (server.number("vm", "requests") == 31).then_some(()));
        let stopping = (stop == "command").then(|| {
            let mut command = super::support::MEDUSA.command(["stop", "--state"]);
            Process::start(command.arg(server.state()))
        });
        if stopping.is_none() {
            server.signal(Signal::TERM);
        }
        server.stderr().wait_for("finishing what is under way");
        go.send("go");
        assert_eq!(go.response().text(), "go");
        drop(go);
        expect_goodbye(requests, 30);
        if let Some(stopping) = stopping {
            stopping.finish().success();
        }
        assert_eq!(server.wait().code(), Some(0), "{stop}");
        let line = server.stderr().wait_for("medusa: stopped: ");
        assert!(line.ends_with(", 0 cut off"), "{line}");
    }
}

#[test]
fn reloads_are_not_felt() {
    let (it, server) = served();
    let before = accepted(&server);
    let loads = urls(&server, "/").map(|url| H2Load::start(&url, 15_000, 2, 50));
    let script = it.site.read("site.luau");
    let mut reloads = 0;
    while reloads < 3 || !loads.iter().all(H2Load::is_done) {
        reloads += 1;
        it.site.write("site.luau", format!("{script}\nweb:mount('/{reloads}', function() return 'new' end)"));
        server.reload();
    }
    for load in loads {
        load.expect_clean();
    }
    assert_eq!(accepted(&server), before + 4, "a connection was closed, and made anew");
    eprintln!("{reloads} reloads");
}

#[test]
fn a_value_has_no_white_space_around_it() {
    let site = web("web:mount('/', function(req) return req.headers.name end)");
    let server = start(&site);
    let mut http = Http2::connect(&server, &[]);
    for (stream, (value, status)) in
        (1..).step_by(2).zip([("in side", 200), ("", 200), (" before", 400), ("behind\t", 400), (" ", 400)])
    {
        let head = [request("GET", "/"), field("name", value)].concat();
        http.send(HEADERS, END_HEADERS | END_STREAM, stream, &head);
        assert_eq!(http.status(stream), status, "{value:?}");
    }
}

#[test]
fn a_client_that_waits_for_100_is_answered_all_the_same() {
    // hyper has no way to send one over HTTP/2; nobody may wait for the other without end.
    let site = medusa_testkit::Site::script(
        "web = medusa.http.server { listen = '127.0.0.1:0', limits = { body_idle = 1 } }
        web:mount('POST /reads', function(req) return req:body() end)
        web:mount('POST /answers', function() return 'answered' end)",
    );
    let server = start(&site);
    let mut http = Http2::connect(&server, &[]);
    for (stream, path, status) in [(1, "/reads", 408), (3, "/answers", 200), (5, "/none", 404)] {
        let head = [request("POST", path), field("expect", "100-continue")].concat();
        http.send(HEADERS, END_HEADERS, stream, &head);
        assert_eq!(http.status(stream), status, "{path}");
    }
}
