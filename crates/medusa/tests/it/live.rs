//! Statements change the running server: at once, on every worker, or not at all.

use medusa_monitor::{Client, Op};
use medusa_testkit::{Load, Server, WebSocket, memory, wait};

use super::support::{MEDUSA, start, web};

/// What a server may hold more after many changes than after some: caches that fill, an allocator that keeps what it had.
pub(crate) const SLACK: u64 = 8 << 20;

/// A session with a server, as `medusa eval` has one, without a process for every statement.
pub(crate) struct Session(Client);

impl Session {
    #[track_caller]
    pub(crate) fn with(server: &Server) -> Self {
        Self(Client::connect(server.state()).expect("the control socket"))
    }

    /// Runs a statement that must succeed.
    #[track_caller]
    pub(crate) fn eval(&mut self, statement: &str) {
        let op = Op::Eval { source: statement.to_owned() };
        self.0.call(&op, |_event| {}).unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    /// Reloads the script, which must succeed.
    #[track_caller]
    pub(crate) fn reload(&mut self) {
        self.0
            .call(&Op::Reload { confirm: None }, |_event| {})
            .unwrap_or_else(|error| panic!("reload: {error}"));
    }
}

/// Waits until the load's connections are all open, and returns how many connections were ever accepted.
#[track_caller]
pub(crate) fn established(server: &Server, connections: u64) -> u64 {
    wait::until("the load has its connections", || {
        (server.number("listener", "open") >= connections).then_some(())
    });
    server.number("listener", "accepted")
}

#[test]
fn five_hundred_changes_under_load_disturb_nobody() {
    let site = web("web:mount('/', medusa.handler.files('public'))").file("public/four.bin", vec![4; 4096]);
    let server = start(&site);
    let mut session = Session::with(&server);
    let mut client = server.connect();
    let load = Load::start(server.address(), "/four.bin", 64);
    let accepted = established(&server, 65);

    let mut after_100 = 0;
    for round in 1..=500 {
        session.eval(&format!("m = web:mount('/live', function() return 'mounted {round}' end)"));
        assert_eq!(client.get("/live").text(), format!("mounted {round}"));
        session.eval(&format!("m:replace(function() return 'replaced {round}' end)"));
        assert_eq!(client.get("/live").text(), format!("replaced {round}"));
        session.eval("m:remove()");
        assert_eq!(client.get("/live").status, 404, "removed in round {round}");
        if round == 100 {
            after_100 = memory::resident(server.pid());
        }
    }
    let after_500 = memory::resident(server.pid());
    eprintln!("{after_100} bytes after round 100, {after_500} after round 500");
    assert_eq!(server.number("listener", "accepted"), accepted, "a connection was closed, and made anew");
    load.stop().expect_clean();
    assert!(after_500 <= after_100 + after_100 / 10 + SLACK, "the memory is not flat");
    wait::until("the old generations are gone", || {
        (server.number("site", "retired_servers_in_use") == 0).then_some(())
    });
}

#[test]
fn a_change_is_seen_by_every_worker_at_once() {
    let site = web("web:mount('/', function() return 'old' end)");
    let server = MEDUSA.serve(site.path()).arg("--workers").arg("4").start();
    // Enough that the kernel gives each worker some.
    let mut clients: Vec<_> = (0..32).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "old");
    }
    server.eval("web.mounts[1]:replace(function() return 'new' end)");
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "new");
    }
}

#[test]
fn a_statement_that_fails_changes_nothing() {
    let site = web("kept = web:mount('/kept', function() return 'kept' end)");
    let server = start(&site);
    let before = server.number("http", "requests");
    for statement in [
        "web:mount('/a', function() return 'a' end) error('after a mount')",
        "kept:remove() error('after a removal')",
        "kept:replace(function() return 'replaced' end) error('after a replacement')",
        "web:mount('/b', function() end) web:mount('/b', function() end)",
        "web:mount('/c', medusa.handler.files('gone'))",
        "web:mount('/d', medusa.handler.script('gone.luau'))",
        "medusa.http.server { listen = '127.0.0.1:0' } error('after a server')",
        "web:mount('/e', ",
    ] {
        let error = server.command(["eval", statement]).failure(1);
        assert!(error.starts_with("medusa: "), "{statement}: {error}");
    }
    for path in ["/a", "/b", "/c", "/d", "/e"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    assert_eq!(server.get("/kept").text(), "kept");
    assert_eq!(server.documents("http").len(), 1);
    assert_eq!(server.documents("mount").len(), 1);
    assert_eq!(server.number("http", "requests"), before + 6);
    assert!(
        server.documents("site")[0]["name"].as_str().is_some_and(|name| name.ends_with(" 1")),
        "still generation 1"
    );
}

#[test]
fn a_request_under_way_ends_with_what_it_began_with() {
    let site = web("m = web:mount('POST /', function(req) return 'old, ' .. req:body() end)");
    let server = start(&site);
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\n");
    wait::until("the request is under way", || (server.number("vm", "requests") == 1).then_some(()));
    server.eval("m:replace(function(req) return 'new, ' .. req:body() end)");
    client.send("done");
    assert_eq!(client.response().text(), "old, done");
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\ndone");
    assert_eq!(client.response().text(), "new, done");
}

#[test]
fn a_listener_comes_and_goes() {
    let site = web("web:mount('/', function() return 'first' end)");
    let server = start(&site);
    server.eval(
        "second = medusa.http.server { name = 'second', listen = '[::1]:0' }
        second:mount('/', function() return 'second' end)",
    );
    let listeners = server.documents("listener");
    let address =
        |at: usize| listeners[at]["address"].as_str().and_then(|text| text.parse().ok()).expect("an address");
    let mut second = medusa_testkit::Client::connect(address(1));
    assert_eq!(second.get("/").text(), "second");
    server.eval("second:remove()");
    second.expect_close();
    assert_eq!(server.get("/").text(), "first");
    assert_eq!(server.documents("listener").len(), 1);
}

#[test]
fn what_is_wrapped_lives_and_ends_with_its_wrapper() {
    const ECHO: &str = "function(req)
        return req:websocket(function(ws) for message in ws do ws:send(message) end end)
    end";
    let site = web(&format!(
        "web:mount('/main', medusa.handler.compress({ECHO}))
        kept = medusa.handler.script('kept.luau')
        file = web:mount('/file', kept)"
    ))
    .file("kept.luau", format!("return {ECHO}"));
    let server = start(&site);
    let [mut main, mut file] = ["/main", "/file"].map(|path| WebSocket::connect(server.address(), path));
    let goes_on = |ws: &mut WebSocket| {
        ws.send("on");
        assert_eq!(ws.text(), "on");
    };
    [&mut main, &mut file].into_iter().for_each(goes_on);
    // What moves into a wrapper is in use as before: its sessions go on, and new ones begin.
    server.eval("file:replace(medusa.handler.compress(kept))");
    let mut wrapped = WebSocket::connect(server.address(), "/file");
    [&mut file, &mut wrapped].into_iter().for_each(goes_on);
    server.eval("file:replace(kept)");
    [&mut file, &mut wrapped].into_iter().for_each(goes_on);
    // A function in a wrapper ends with its VM, like one that is in none.
    server.reload();
    assert_eq!(main.expect_close(1001), "reloading");
    [&mut file, &mut wrapped].into_iter().for_each(goes_on);
}

#[test]
fn a_mount_is_found_by_its_pattern() {
    let server = start(&web(
        "web:mount('/hello', function() return 'old' end) web:mount('GET /hello/{name}', function() return 'name' end)",
    ));
    assert_eq!(server.eval("web:find('/hello')"), server.eval("web.mounts[1]"));
    server.eval("web:find('/hello'):replace(function() return 'new' end)");
    assert_eq!(server.get("/hello").text(), "new");
    server.eval("web:find(\"GET /hello/{name}\"):remove()");
    assert_eq!(server.get("/hello/x").status, 404);
    assert_eq!(server.eval("web:find('GET /hello')"), "nil");
    for (statement, why) in [
        ("web:find('hello')", "statement:1: "),
        ("web:find()", "find: the pattern must be a string like"),
        ("web:find('/hello', 1)", "server:find(pattern) takes"),
        ("web.find('/hello')", "find"),
    ] {
        let told = server.command(["eval", statement]).failure(1);
        assert!(told.contains(why), "{statement}: {told}");
    }
}
