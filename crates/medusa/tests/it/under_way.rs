//! What is under way on which handler, and what can be done about it.

use medusa_testkit::websocket::{CLOSE, Frame};
use medusa_testkit::{Client, Server, WebSocket, wait};

use super::support::{start, web};

const SITE: &str = "
    held = false
    m = web:mount('/m', function(req)
        return req:websocket(function(ws) for message in ws do ws:send(message) end end)
    end)
    web:mount('/ticks', function()
        return { body = function(write) while true do write('tick\\n') medusa.sleep(0.02) end end }
    end)
    web:mount('/events', function()
        return medusa.http.events(function(stream) while true do stream:send('x') medusa.sleep(0.02) end end)
    end)
    web:mount('/held', function() held = true while held do medusa.sleep(0.02) end return 'done' end)";

const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// Asks for what never ends, and reads the head of the answer.
fn stream(server: &Server, path: &str) -> Client {
    let mut client = server.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
    assert_eq!(client.head().status, 200);
    client
}

/// Everything that comes until the last chunk, or until the server closes the connection.
fn rest(client: &mut Client) -> String {
    let mut rest = Vec::new();
    loop {
        let bytes = client.try_read_some(1 << 20).expect("bytes, or the end");
        let is_end = bytes.is_empty();
        rest.extend(bytes);
        if is_end || rest.ends_with(LAST_CHUNK) {
            return String::from_utf8(rest).expect("text");
        }
    }
}

/// What `handlers()` has of a mount: its generation, its state, and its requests, streams and `WebSocket`s.
fn of(server: &Server, mount: &str, at: usize) -> String {
    server.eval(&format!(
        "local all = {{}}
        for _, h in handlers() do
            if h.mount == '{mount}' then
                table.insert(all, `{{h.generation}} {{h.state}} {{h.requests}} {{h.streams}} {{h.websockets}}`)
            end
        end
        return all[{at}]"
    ))
}

#[test]
fn each_handler_tells_what_is_under_way_on_it_from_first_to_last() {
    let server = start(&web(SITE));
    let mut old = WebSocket::connect(server.address(), "/m");
    let mut ticks = stream(&server, "/ticks");
    let _events = stream(&server, "/events");
    let mut held = server.connect();
    held.send("GET /held HTTP/1.1\r\nHost: test\r\n\r\n");
    wait::until("the request is under way", || (server.eval("held") == "true").then_some(()));
    assert_eq!(of(&server, "/m", 1), "1 running 0 0 1");
    assert_eq!(of(&server, "/ticks", 1), "1 running 0 1 0");
    assert_eq!(of(&server, "/events", 1), "1 running 0 1 0");
    assert_eq!(of(&server, "/held", 1), "1 running 1 0 0");
    let one =
        server.eval("local g = generations()[1] return `{g.number} {g.requests} {g.streams} {g.websockets}`");
    assert_eq!(one, "1 1 2 1");
    let mount =
        server.documents("mount").into_iter().find(|mount| mount["name"] == "/m").expect("it is there");
    assert_eq!(mount["websockets_under_way"], 1);

    // A WebSocket that does not answer the close goes on for a while: on the handler that was replaced.
    server.eval("m:replace(function() return 'new' end)");
    assert_eq!(of(&server, "/m", 1), "1 kept 0 0 1");
    assert_eq!(of(&server, "/m", 2), "2 running 0 0 0");
    let version = server.documents("handler.version");
    assert_eq!(version.len(), 1, "{version:?}");
    assert_eq!((&version[0]["name"], &version[0]["generation"]), (&"/m".into(), &1.into()));
    assert!(server.eval("tostring(handlers()[1])").contains("1 WebSockets]"));
    old.expect_close(1001);
    server.eval("held = false");
    assert_eq!(held.response().text(), "done");
    wait::until("what has ended is not counted", || {
        let ended = of(&server, "/held", 1) == "1 running 0 0 0" && of(&server, "/m", 2) == "1 kept 0 0 0";
        ended.then_some(())
    });
    ticks.send("");
    assert!(server.documents("handler.version").is_empty());
}

#[test]
fn the_sessions_of_a_generation_are_told_to_end_and_those_of_others_go_on() {
    let server = start(&web(SITE));
    let mut first = WebSocket::connect(server.address(), "/m");
    let mut ticks = stream(&server, "/ticks");
    let mut events = stream(&server, "/events");
    server.eval(
        "web:mount('/other', function(req)
        return req:websocket(function(ws) for message in ws do ws:send(message) end end)
    end)",
    );
    let mut other = WebSocket::connect(server.address(), "/other");
    assert_eq!(server.eval("drain(1)"), "told to end: 1 WebSocket, 1 stream");
    first.expect_close(1001);
    let events = rest(&mut events);
    assert!(events.ends_with("\n\n\r\n0\r\n\r\n"), "it ends whole, between two events: {events}");
    assert_eq!(server.eval("drain(1)"), "told to end: 0 WebSockets, 0 streams", "nothing is told twice");
    other.send("still here");
    assert_eq!(other.text(), "still here");
    let mut again = WebSocket::connect(server.address(), "/m");
    again.send("after it");
    assert_eq!(again.text(), "after it");

    let drained = server.command(["drain", "1", "--seconds", "0"]).success();
    assert_eq!(drained, "cut off: 1 WebSocket, 1 stream\n");
    again.client().expect_close();
    assert!(!rest(&mut ticks).ends_with("0\r\n\r\n"), "a stream that is cut off must not look whole");
    other.send("still here");
    assert_eq!(other.text(), "still here");
}

#[test]
fn what_is_left_after_the_time_is_cut_off() {
    let server = start(&web(SITE));
    let mut websocket = WebSocket::connect(server.address(), "/m");
    let mut ticks = stream(&server, "/ticks");
    assert_eq!(
        server.eval("drain(1, 0.3)"),
        "told to end: 1 WebSocket, 0 streams; cut off: 1 WebSocket, 1 stream"
    );
    let Frame { code, payload, .. } = websocket.frame();
    assert_eq!((code, &payload[..2]), (CLOSE, &1001_u16.to_be_bytes()[..]));
    websocket.client().expect_close();
    assert!(!rest(&mut ticks).ends_with("0\r\n\r\n"));
    for (statement, why) in [
        ("drain(9)", "there is no generation 9"),
        ("drain(1, -1)", "seconds must be a number from 0 to 3600, not -1"),
    ] {
        let failed = server.command(["eval", statement]).failure(1);
        assert!(failed.contains(why), "{failed}");
    }
}
