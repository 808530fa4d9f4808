//! Streams of server-sent events have no end of their own: how they end when the server or their script does.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use medusa_testkit::{Client, Process, Server, Signal, Site, wait};
use serde_json::Value;

use super::support::{start, web};

/// Events for ever, one now and then, by the function for them and by hand.
const EVENTS: &str = "function(req)
        local function run(write)
            write('data: first\\n\\n')
            while true do medusa.sleep(60) write('data: later\\n\\n') end
        end
        if req:arg('by') == 'hand' then
            return { headers = { ['content-type'] = 'text/event-stream; charset=utf-8' }, body = run }
        end
        return medusa.http.events(function(stream)
            run(function() stream:send('first') end)
        end)
    end";

const KINDS: [&str; 4] = ["/main", "/file?by=hand", "/packed", "/main?by=hand"];

fn served() -> (Site, Server) {
    let site = web(&format!(
        "web:mount('/main', {EVENTS})
        web:mount('/file', medusa.handler.script('kept.luau'))
        web:mount('/packed', medusa.handler.compress(medusa.handler.script('kept.luau')))
        web:mount('/changed', medusa.handler.script('changed.luau'))
        web:mount('/ok', function() return 'ok' end)"
    ))
    .file("kept.luau", format!("return {EVENTS}"))
    .file("changed.luau", format!("return {EVENTS}"));
    let server = start(&site);
    (site, server)
}

/// A client that has got the first event.
#[track_caller]
fn listen(server: &Server, path: &str) -> Client {
    let mut client = server.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n"));
    assert_eq!(client.head().status, 200);
    let first = chunk(&mut client);
    assert_eq!(first, "data: first\n\n");
    client
}

/// The next chunk; empty at the end.
#[track_caller]
fn chunk(client: &mut Client) -> String {
    let mut length = String::new();
    while !length.ends_with("\r\n") {
        length.push(char::from(client.read(1)[0]));
    }
    let length = usize::from_str_radix(length.trim(), 16).expect("a chunk's length");
    let mut chunk = client.read(length + 2);
    chunk.truncate(length);
    String::from_utf8(chunk).expect("text")
}

/// Asserts that the stream comes to its end, and says when to connect again.
#[track_caller]
fn expect_end(client: &mut Client) {
    let retry = chunk(client);
    assert!(retry.starts_with("retry: ") && retry.ends_with("\n\n"), "{retry:?}");
    assert_eq!(chunk(client), "", "the end");
}

#[test]
fn a_server_that_stops_ends_event_streams_and_waits_for_none() {
    let (_site, mut server) = served();
    let mut clients = KINDS.map(|path| listen(&server, path));
    let mut curl = Command::new("curl");
    curl.args(["-sSN", "--http2-prior-knowledge", &server.url("/main"), &server.url("/file?by=hand")]);
    let curl = Process::start(&mut curl);
    curl.stdout().wait_for("data: first");
    server.signal(Signal::TERM);
    for client in &mut clients {
        expect_end(client);
        client.expect_close();
    }
    let finished = curl.finish();
    drop(clients);
    // Half a minute is longer than this waits.
    assert_eq!(server.wait().code(), Some(0));
    let received = finished.stdout;
    assert!(received.contains("data: first\n\nretry: "), "{received}");
    let line = server.stderr().wait_for("medusa: stopped: ");
    assert!(line.ends_with(", 0 cut off"), "{line}");
}

#[test]
fn a_client_that_does_not_read_its_events_holds_no_stop_up() {
    let site = web("sent = 0
        web:mount('/flood', function()
            return medusa.http.events(function(stream)
                while true do stream:send(('x'):rep(60000)) sent += 1 end
            end)
        end)");
    let mut server = start(&site);
    let mut one = server.connect();
    one.send("GET /flood HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut curl = Command::new("curl");
    curl.args(["-sSN", "--http2-prior-knowledge", "--limit-rate", "1", &server.url("/flood")]);
    let _curl = Process::start(&mut curl);
    let mut before = String::new();
    wait::until("nothing more is taken", || {
        let sent = server.eval("return sent");
        let is_full = sent == before && sent != "0";
        before = sent;
        is_full.then_some(())
    });
    server.signal(Signal::TERM);
    // Half a minute is longer than this waits.
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_failing_event_stream_says_of_which_mount() {
    let site = web("web:mount('/fails', function()
        return medusa.http.events(function(stream) stream:send('first') medusa.sleep(0.05) error('it failed') end)
    end)");
    let server = start(&site);
    let mut client = listen(&server, "/fails");
    let line = server.stderr().wait_for("a response broke off");
    assert!(line.contains("mount=") && line.contains("/fails"), "{line}");
    client.expect_close();
}

#[test]
fn compressed_events_end_as_a_whole_member() {
    let (_site, mut server) = served();
    let mut curl = Command::new("curl");
    curl.args(["-sSN", "--compressed", &server.url("/packed")]);
    let curl = Process::start(&mut curl);
    curl.stdout().wait_for("data: first");
    server.signal(Signal::TERM);
    let output = curl.finish().success();
    assert!(output.contains("data: first\n\nretry: "), "{output}");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_reload_ends_the_event_streams_of_what_has_changed_and_keeps_the_others() {
    let (site, server) = served();
    let [mut main, mut kept, mut changed] =
        ["/main", "/file", "/changed?by=hand"].map(|path| listen(&server, path));
    let open = |kind: &str| {
        // One that is mounted twice is shown twice.
        let open = |part: &Value| Some((part["name"].to_string(), part["event_streams"].as_u64()?));
        let handlers: BTreeMap<_, _> = server.documents(kind).iter().filter_map(open).collect();
        handlers.values().sum::<u64>()
    };
    assert_eq!((open("function"), open("script")), (1, 2));
    site.write("changed.luau", format!("return {EVENTS} -- changed"));
    server.reload();
    expect_end(&mut main);
    expect_end(&mut changed);
    // The connection is still good, and has the new script.
    assert_eq!(main.get("/ok").text(), "ok");
    wait::until("nothing of the old site is kept", || {
        let kept = server.number("site", "retired_servers_in_use");
        (kept == 0 && server.documents("vm.replaced").is_empty()).then_some(())
    });
    assert!(!kept.is_readable_within(Duration::from_millis(10)), "it goes on");
    server.eval("web:remove()");
    expect_end(&mut kept);
}

#[test]
fn what_a_wrapped_handler_streams_ends_with_its_last_mount() {
    let site = web(&format!(
        "web:mount('/inline', medusa.handler.compress({EVENTS}))
        plain = web:mount('/file', medusa.handler.script('kept.luau'))
        wrapped = web:mount('/packed', medusa.handler.compress(medusa.handler.script('kept.luau')))"
    ))
    .file("kept.luau", format!("return {EVENTS}"));
    let server = start(&site);
    for (first, last) in [("plain", "wrapped"), ("wrapped", "plain")] {
        let [mut inline, mut file] = ["/inline", "/packed"].map(|path| listen(&server, path));
        server.eval(&format!("{first}:remove()"));
        assert!(!file.is_readable_within(Duration::from_millis(10)), "its handler has a mount yet");
        server.eval(&format!("{last}:remove()"));
        expect_end(&mut file);
        server.reload();
        expect_end(&mut inline);
    }
}

#[test]
fn other_streams_are_let_finish_and_the_status_says_what_they_hold() {
    let site = web(
        "web:mount('POST /go', function(req) req:body() medusa.shared('go'):set('on', true) return 'go' end)
    web:mount('/long', function()
        return { body = function(write)
            write('begun')
            repeat medusa.sleep(0.01) until medusa.shared('go'):get('on')
            write('done')
        end }
    end)",
    );
    let mut server = start(&site);
    let mut client = server.connect();
    client.send("GET /long?token=secret HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.head().status, 200);
    assert_eq!(chunk(&mut client), "begun");
    server.reload();
    let held = server.documents("vm.paused");
    let [held] = held.as_slice() else { panic!("one VM was expected: {held:?}") };
    assert_eq!(held["requests"].as_u64(), Some(1), "{held}");
    assert_eq!(held["held_by"].as_str(), Some("GET /long"), "{held}");
    let mut go = server.connect();
    go.send("POST /go HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n");
    wait::until("the request is under way", || (server.number("vm", "requests") == 1).then_some(()));
    server.signal(Signal::TERM);
    server.stderr().wait_for("finishing what is under way");
    go.send("go");
    assert_eq!(go.response().text(), "go");
    assert_eq!((chunk(&mut client), chunk(&mut client)), ("done".into(), String::new()));
    drop((client, go));
    assert_eq!(server.wait().code(), Some(0));
}

/// The text that is the next thing in a stream, in however many chunks.
#[track_caller]
fn expect(client: &mut Client, text: &str) {
    let mut got = String::new();
    while got.len() < text.len() {
        got += &chunk(client);
    }
    assert!(got == text, "{} bytes, {} expected", got.len(), text.len());
}

#[test]
fn what_another_task_writes_goes_out_at_once_and_nothing_after_the_end() {
    let site = web("web:mount('/events', function()
            return medusa.http.events(function(stream)
                kept = stream
                stream:send('first')
                medusa.sleep(3600)
            end, { heartbeat = 3600 })
        end)
        web:mount('/write', function()
            return { body = function(write)
                kept = { send = function(_, text) return write(`data: {text}\\n\\n`) end }
                kept:send('first')
                medusa.sleep(3600)
            end }
        end)
        web:mount('/short', function()
            return medusa.http.events(function(stream) kept = stream stream:send('first') end)
        end)
        web:mount('/send', function(req) return tostring(kept:send(req:arg('text') or 'later')) end)
        web:mount('/many', function(req)
            for i = 1, 5 do
                if not kept:send(string.rep(tostring(i), 100000)) then return 'false' end
            end
            return 'true'
        end)");
    let server = start(&site);
    for path in ["/events", "/write"] {
        let mut client = listen(&server, path);
        assert_eq!(server.get("/send").text(), "true");
        expect(&mut client, "data: later\n\n");
        // More than may wait: who writes it waits for the client, and is woken.
        let mut many = server.connect();
        many.send("GET /many HTTP/1.1\r\nHost: t\r\n\r\n");
        let event = |i: u32| format!("data: {}\n\n", i.to_string().repeat(100_000));
        expect(&mut client, &(1..=5).map(event).collect::<Vec<_>>().concat());
        assert_eq!(many.response().text(), "true");
        drop(client);
        wait::until("the stream has ended", || (server.get("/send").text() == "false").then_some(()));
    }
    assert_eq!(server.get("/short").text(), "data: first\n\n");
    assert_eq!(server.get("/send").text(), "false");
}
