//! What of scripts is running: seen, with the CPU time it uses, and ended.

use medusa_monitor::{Client as Monitor, Op};
use medusa_testkit::{Client, Server, Session, Site, WebSocket, wait};
use serde_json::Value;

use super::support::{start, unnumbered, web};

/// `busy` never ends: it works, and sleeps for most of the time, so that no budget ends it before it is seen.
const BUSY: &str = "local function busy() while true do for _ = 1, 3e6 do end medusa.sleep(0.2) end end\n";

/// A site in which whatever is asked for is endless.
fn site() -> Site {
    let script = "
        endless = busy
        web:mount('/inline', busy)
        web:mount('/file/{name}', medusa.handler.script('file.luau'))
        web:mount('/ws', function(req) return req:websocket(busy) end)
        web:mount('/events', function() return medusa.http.events(function(stream) stream:send('x') busy() end) end)
        web:mount('/stream', function() return { body = function(write) write('x') busy() end } end)
        web:mount('/fine', function() return 'fine' end)";
    web(&format!("{BUSY}{script}")).file("file.luau", format!("{BUSY}return busy"))
}

/// What `medusa ps --json` lists of a kind.
fn of_kind(server: &Server, kind: &str) -> Vec<Value> {
    let list: Value = serde_json::from_str(&server.command(["ps", "--json"]).success()).expect("JSON");
    let runs = list["runs"].as_array().expect("a list").iter();
    runs.filter(|run| run["kind"] == kind).cloned().collect()
}

/// Waits until one of a kind runs, and uses CPU time: more at each look.
#[track_caller]
fn seen(server: &Server, kind: &str) -> Value {
    let cpu = |least: u64| {
        wait::until(kind, || {
            of_kind(server, kind).into_iter().find(|run| run["cpu_ms"].as_u64() > Some(least))
        })
    };
    let before = cpu(0);
    let after = cpu(before["cpu_ms"].as_u64().expect("a number"));
    assert_eq!(before["id"], after["id"]);
    assert!(after["wall_ms"].as_u64() > before["wall_ms"].as_u64(), "{before} {after}");
    after
}

/// Ends it, and waits until it is seen no more.
#[track_caller]
fn end(server: &Server, run: &Value) {
    let id = run["id"].as_str().expect("text");
    server.command(["kill", id]).success();
    let kind = run["kind"].as_str().expect("text");
    let is_there = || of_kind(server, kind).iter().any(|other| other["id"] == id);
    wait::until("it has ended", || (!is_there()).then_some(()));
    let again = server.command(["kill", id]).failure(1);
    assert!(again.contains(&format!("nothing of the number {id} is running")), "{again}");
}

fn ask(server: &Server, path: &str) -> Client {
    let mut client = server.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
    client
}

#[test]
fn a_request_that_never_ends_is_seen_and_ended() {
    let server = start(&site());
    for (path, place) in [("/inline", "site.luau:2"), ("/file/x?y", "file.luau")] {
        let mut client = ask(&server, path);
        let run = seen(&server, "request");
        let what = path.split('?').next().expect("one").to_owned();
        assert_eq!(run["what"], format!("GET {what}"));
        let place_told = run["place"].as_str().expect("text");
        assert!(path == "/inline" || place_told == place, "{place_told}");
        assert_eq!(run["who"], "127.0.0.1");
        end(&server, &run);
        assert_eq!(client.response().status, 503);
        let is_told = |line: &str| line.contains(&what) && line.contains("stopped: it was ended by uid");
        wait::until("it is told", || server.stderr().text().lines().any(is_told).then_some(()));
    }
    assert_eq!(server.get("/fine").text(), "fine");
}

#[test]
fn a_session_and_a_stream_that_never_end_are_seen_and_ended() {
    let server = start(&site());
    let mut websocket = WebSocket::connect(server.address(), "/ws");
    let run = seen(&server, "websocket");
    assert_eq!((&run["what"], &run["place"]), (&"GET /ws".into(), &"site.luau:2".into()));
    end(&server, &run);
    websocket.expect_close(1011);
    server.stderr().wait_for("a websocket's function failed: stopped: it was ended by uid");

    for (path, kind) in [("/events", "event stream"), ("/stream", "stream")] {
        let mut client = ask(&server, path);
        assert_eq!(client.head().status, 200);
        let run = seen(&server, kind);
        assert_eq!(run["what"], format!("GET {path}"));
        end(&server, &run);
        let mut rest = Vec::new();
        while let Some(bytes) = client.try_read_some(1 << 16).ok().filter(|bytes| !bytes.is_empty()) {
            rest.extend(bytes);
        }
        assert!(!rest.ends_with(b"0\r\n\r\n"), "it is cut off: {rest:?}");
    }
    assert_eq!(server.get("/fine").text(), "fine");
}

#[test]
fn a_timer_that_never_ends_is_seen_and_ended() {
    let server = start(&site());
    server.eval("medusa.every(0.05, endless)");
    let run = seen(&server, "timer");
    let place = run["place"].as_str().map(unnumbered);
    assert_eq!((place.as_deref(), &run["who"]), (Some("statement:1"), &Value::Null));
    end(&server, &run);
    server.stderr().wait_for("a timer failed: stopped: it was ended by uid");
    let next = seen(&server, "timer");
    assert_ne!(next["id"], run["id"], "it goes on with its next run");
}

/// Begins a statement in a session of its own.
fn begin(server: &Server, statement: &str) -> impl FnOnce() -> Value + use<> {
    let mut session = Session::begin(server);
    session.eval(statement);
    move || session.reply()
}

#[test]
fn a_statement_that_never_ends_is_seen_and_ended() {
    let server = start(&site());
    let statement = "-- why\npcall(endless)";
    let answer = begin(&server, statement);
    let run = seen(&server, "statement");
    assert_eq!(run["what"], "-- why");
    assert!(run["who"].as_str().expect("text").starts_with("uid "), "{run}");
    assert!(run["session"].is_u64(), "{run}");
    end(&server, &run);
    let reply = answer();
    assert_eq!(reply["reply"], "failed");
    assert!(reply["message"].as_str().expect("text").contains("stopped: it was ended by uid"), "{reply}");
}

#[test]
fn statements_look_and_end_as_well() {
    let server = start(&site());
    assert_eq!(server.eval("ps()"), "nothing");
    assert_eq!(server.eval("local all, more = ps() return `{#all} {more}`"), "0 0", "not the one who asks");
    let answer = begin(&server, "waits = true medusa.sleep(50)");
    let one = wait::until("it waits", || Some(server.eval("ps()")).filter(|text| text != "nothing"));
    assert!(one.contains("  statement  ") && one.ends_with("  waits"), "{one}");
    let tells = "local r = ps()[1] return `{r.kind} {r.what} {r.at} {r.seconds >= 0} {r.cpu}`";
    assert_eq!(server.eval(tells), "statement waits = true medusa.sleep(50) nil true 0");
    assert!(server.eval("ps()[1]").starts_with('r'));
    server.eval("for _, run in ps() do kill(run.id) end");
    assert!(answer()["message"].as_str().expect("text").contains("ended by uid"));

    for (statement, told) in [
        ("kill('r999999')", "nothing of the number r999999 is running"),
        ("kill(999999)", "there is no session 999999"),
        ("local id = 'r999999' kill(id)", "kill: nothing of the number r999999 is running"),
        ("local id = 999999 kill(id)", "kill: there is no session 999999"),
        ("kill('x')", "kill: \"x\" is not the number of a run"),
        (
            "kill({})",
            "kill: the id must be that of a run, like \"r17\", or the number of a session, not a table",
        ),
    ] {
        let message = server.command(["eval", statement]).failure(1);
        assert!(message.contains(told), "{statement}: {message}");
    }
    server.command(["kill", "r999999"]).failure(1);
    server.command(["kill", "17r"]).failure(2);
}

#[test]
fn statements_are_told_apart_by_their_session_and_number() {
    let server = start(&web(""));
    let mut client = Monitor::connect(server.state()).expect("the control socket");
    let mut run = |statement: &str| {
        let done = client.call(&Op::Eval { source: statement.to_owned() }, |_event| {});
        done.map(|done| done.value.unwrap_or_default()).map_err(|error| error.to_string())
    };
    let own = "for _, s in medusa.monitor.sessions() do if s.running then return s.number end end";
    let session = run(own).expect("its number");
    let place = |number: u32| format!("statement-{session}/{number}:1");
    assert_eq!(run("f = function() error('on purpose') end m = web:mount('/x', f)"), Ok(String::new()));
    assert_eq!(run("m"), Ok(format!("Mount \"/x\" ({})", place(2))));
    assert_eq!(run("status()").map(drop), Ok(()), "a command is no statement");
    // What is wrong with a statement needs no number; what one before it has left does.
    assert_eq!(run("\nerror('no')"), Err("statement:2: no".to_owned()));
    let error = run("f()").expect_err("it fails");
    let traceback = format!(
        "\ntraceback, innermost first:\n    {0}: in function <{0}>\n    statement:1: in function <statement:1>",
        place(2)
    );
    assert!(error.starts_with(&format!("{}: on purpose", place(2))) && error.contains(&traceback), "{error}");
    assert_eq!(run("medusa.every(60, f)"), Ok(format!("Timer ({})", place(6))));
    assert_eq!(run("timers()[1].place"), Ok(place(6)));
    assert!(server.eval("handlers()").contains(&format!("function {}  ({}, ", place(2), place(2))));
    assert_eq!(server.get("/x").status, 500);
    server.stderr().wait_for(&format!("{}: on purpose", place(2)));
    assert_eq!(run("generations()[1].changes[1]"), Ok(format!("+ timer at {}", place(6))));
}

#[test]
fn timers_are_listed_with_their_runs_and_when_the_next_is() {
    let site = web("medusa.every(0.05, function() error('on purpose') end)\nmedusa.every(3600, print)");
    let server = start(&site);
    assert_eq!(server.eval("#timers()"), "2");
    let failed = || server.eval("timers()[1].failed > 1 and timers()[1].runs >= timers()[1].failed");
    wait::until("it has failed", || (failed() == "true").then_some(()));
    let list = server.eval("timers()");
    let lines: Vec<_> = list.lines().collect();
    assert!(
        lines[0].starts_with("site.luau:2  every 0.05 s  next in 0.0 s  ") && lines[0].ends_with(" failed"),
        "{list}"
    );
    assert!(lines[1].starts_with("site.luau:3  every 3600 s  next in 3"), "{list}");
    assert!(lines[1].ends_with(" s  0 runs, 0 failed"), "{list}");
    assert_eq!(server.eval("local t = timers()[2] return t.next > 3000 and t.next <= 3600"), "true");
    // One can go back to those of the script that was replaced.
    server.command(["reload"]).success();
    let list = server.eval("timers()");
    assert_eq!(list.lines().filter(|line| line.contains("  paused  ")).count(), 2, "{list}");
    assert_eq!(list.lines().count(), 4, "{list}");
}
