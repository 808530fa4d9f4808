//! What a script may have of each thing is bounded, and no number of them keeps the operator from being heard.

use medusa_testkit::{Site, WebSocket, wait};

use super::live::Session;
use super::support::{WEB, start, web};

/// A statement that must fail, and what it said.
#[track_caller]
fn refused(server: &medusa_testkit::Server, statement: &str) -> String {
    server.command(["eval", statement]).failure(1)
}

#[test]
fn each_thing_a_script_makes_has_a_number_it_ends_at() {
    let site = web("web:mount('/', function() return 'ok' end)").file("public/index.html", "x");
    let server = start(&site);
    for (statement, expected) in [
        ("for _ = 1, 100000 do medusa.every(1, print) end", "the site has 1024 timers already"),
        ("for n = 1, 1e5 do medusa.shared('d' .. n) end", "there are 1024 shared dictionaries already"),
        ("medusa.shared(string.rep('d', 300))", "may have 256 bytes, not 300"),
        ("medusa.shared('d1'):set('k', string.rep('x', 3e6))", "may have 2 MiB together"),
        ("for n = 1, 1e5 do web:mount('/m' .. n, print) end", "the site has 10000 mounts already"),
        (
            "t = {} for n = 1, 1e5 do t[n] = medusa.handler.redirect('/' .. n) end",
            "4096 handlers in use already",
        ),
        ("for n = 1, 100 do medusa.log.events(medusa.log.tail(n)) end", "32 logs of its events already"),
        ("t = {} for n = 1, 1e4 do t[n] = medusa.log.tail(n) end", "256 logs in use already"),
        (
            "t = {} for n = 1, 1e4 do t[n] = medusa.dns.server('127.0.0.1:' .. n) end",
            "64 resolvers in use already",
        ),
        (
            "for s = 1, 2 do l = {} for n = 1, 200 do l[n] = '127.0.0.1:' .. 20000 + 1000 * s + n end \
             medusa.http.server { name = 's' .. s, listen = l } end",
            "256 addresses to listen on already",
        ),
    ] {
        let error = refused(&server, statement);
        assert!(error.contains(expected), "{statement}: {error}");
        assert!(error.contains("statement:1"), "{statement}: no place in: {error}");
    }
    // What a failed statement made is let go of, once it is collected: there is room again.
    wait::until("there is room for handlers", || {
        let made = server.command(["eval", "web:mount('/p/', medusa.handler.files('public'))"]);
        made.status.success().then_some(())
    });
    assert_eq!(server.get("/p/").text(), "x");
    assert_eq!(server.number("vm", "timers"), 0);
    assert_eq!(server.number("shared", "dictionaries"), 1024);
}

/// All of them are due at once and do as much as goes unseen; statements, requests, a reload and the end come through.
#[test]
fn no_number_of_timers_keeps_the_operator_from_being_heard() {
    let site = web("runs = 0
        for _ = 1, 1024 do
            medusa.every(0.01, function() runs += 1 for _ = 1, 20000 do end end)
        end
        web:mount('/', function() return 'ok' end)");
    let server = start(&site);
    let mut session = Session::with(&server);
    wait::until("all have begun", || (server.eval("runs").parse::<u32>().ok()? >= 1024).then_some(()));
    for _ in 0..5 {
        session.eval("x = 1");
        assert_eq!(server.get("/").text(), "ok");
    }
    session.reload();
    assert_eq!(server.number("vm", "timers"), 1024);
    server.terminate();
}

/// The client has left, and its function goes on asking for messages: there will be none, and each answer costs CPU time.
#[test]
fn a_session_that_has_ended_gives_no_new_budget() {
    let handler = "function(req)
        return req:websocket(function(ws)
            ws:recv()
            while true do pcall(ws.recv, ws) pcall(ws.send, ws, 'x') pcall(ws.try_send, ws, 'x') end
        end)
    end";
    let site = Site::script(&format!(
        "{WEB}
        web:mount('/main', {handler})
        web:mount('/file', medusa.handler.script('handler.luau'))"
    ))
    .file("handler.luau", format!("return {handler}"));
    let server = start(&site);
    for path in ["/main", "/file"] {
        let mark = server.stderr().count();
        let mut ws = WebSocket::connect(server.address(), path);
        ws.send("begin");
        drop(ws);
        let line = server.stderr().wait_for_from(mark, "a websocket's function failed");
        assert!(line.contains("CPU"), "{path}: {line}");
    }
}

/// A handler that has edited the site waits for its client; the client never ends. The operator is told whom a reload
/// waits for, and it does not wait long.
#[test]
fn a_change_that_waits_for_a_client_holds_up_a_reload_for_so_long_and_no_longer() {
    let site = web("web:mount('POST /hold', function(req)
            web:mount('/held', function() return 'held' end)
            req:body()
            return 'published'
        end)
        web:mount('/', function() return 'ok' end)");
    let server = start(&site);
    let mut held = Vec::new();
    for _ in 0..8 {
        let mut client = server.connect();
        client.send("POST /hold HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n");
        held.push(client);
    }
    wait::until("one of them holds the change, and the others wait", || {
        let changes = server.documents("change");
        let change = changes.first()?;
        assert!(change["name"].as_str().is_some_and(|name| name == "request POST /hold"), "{change}");
        (change["waiting"].as_u64()? == 7).then_some(())
    });
    let reload = server.command(["reload"]);
    let message = reload.to_string();
    assert!(reload.status.success() && message.contains("generation 2"), "{message}");
    // Each of the eight holds it for 5 s; the line of them waits behind the operator.
    let waited = message.matches("waiting for the change by request POST /hold").count();
    assert!((1..=2).contains(&waited), "{message}");
    assert_eq!(server.get("/held").text(), "ok", "nobody's mount was published");
}
