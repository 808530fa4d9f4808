//! Sessions that outlive the code they began in: `on_reload = "keep"`.

use medusa_testkit::websocket::CLOSE;
use medusa_testkit::{Client, Server, Session, WebSocket, wait};
use serde_json::json;

use super::support::{start, web};

const KEPT: &str = "function(req)
    local n = 0
    return req:websocket(function(ws)
        for message in ws do n += 1 ws:send(`{message} {n} {version}`) end
    end, { on_reload = 'keep' })
end";

fn script(version: &str) -> String {
    format!(
        "version = '{version}'
        web:mount('/kept', {KEPT})
        web:mount('/file', medusa.handler.script('file.luau'))
        web:mount('/told', function(req) return req:websocket(function(ws) for message in ws do end end) end)
        web:mount('/short', function(req)
            return req:websocket(function(ws) for message in ws do end end, {{ on_reload = 'keep', keep = 1 }})
        end)
        web:mount('/events', function()
            return medusa.http.events(function(stream)
                while stream:send(version) do medusa.sleep(0.05) end
            end, {{ on_reload = 'keep' }})
        end)"
    )
}

/// Sends a text; the answer to it.
#[track_caller]
fn say(ws: &mut WebSocket, text: &str) -> String {
    ws.send(text);
    ws.text()
}

/// Begins a stream of events.
fn events(server: &Server) -> Client {
    let mut events = server.connect();
    events.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
    events
}

/// Reads up to an event.
#[track_caller]
fn expect_event(client: &mut Client, event: &str) {
    let mut read = Vec::new();
    while !read.ends_with(event.as_bytes()) {
        read.extend(client.read(1));
        assert!(read.len() < 10_000, "{}", String::from_utf8_lossy(&read));
    }
}

#[test]
fn a_session_that_is_kept_goes_on_in_the_code_it_began_with() {
    let site = web(&script("one")).file("file.luau", format!("version = 'file' return {KEPT}"));
    let server = start(&site);
    let [mut kept, mut file, mut told, mut short] =
        ["/kept", "/file", "/told", "/short"].map(|path| WebSocket::connect(server.address(), path));
    assert_eq!(say(&mut kept, "a"), "a 1 one");
    assert_eq!(say(&mut file, "a"), "a 1 file");
    let mut events = events(&server);
    expect_event(&mut events, "data: one\n\n");
    site.write("site.luau", site.read("site.luau").replace("'one'", "'two'"));
    site.write("file.luau", format!("version = 'new' return {KEPT}"));
    server.reload();
    assert_eq!(told.expect_close(1001), "reloading");
    assert_eq!(say(&mut kept, "b"), "b 2 one");
    assert_eq!(say(&mut file, "b"), "b 2 file");
    assert_eq!(short.expect_close(1001), "reloading", "its time is over");
    for (path, version) in [("/kept", "two"), ("/file", "new")] {
        let mut new = WebSocket::connect(server.address(), path);
        assert_eq!(say(&mut new, "a"), format!("a 1 {version}"));
    }
    expect_event(&mut events, "data: one\n\n");
    // It may come back into the site, and go on there.
    server.eval("rollback(1)");
    assert_eq!(say(&mut kept, "c"), "c 3 one");
    server.reload();
    assert_eq!(say(&mut kept, "d"), "d 4 one");
}

/// The states of the handlers of a mount on which something is under way, with what that is.
fn in_use(server: &Server, mount: &str) -> String {
    server.eval(&format!(
        "local all = {{}}
        for _, h in handlers() do
            if h.mount == '{mount}' and h.websockets + h.streams > 0 then
                table.insert(all, `{{h.generation}} {{h.state}} {{h.websockets}} {{h.streams}}`)
            end
        end
        return table.concat(all, ', ')"
    ))
}

/// Who is kept belongs to the generation that it began in, and is told to end with that alone: by a command, a statement or a request.
#[test]
fn a_drain_ends_what_is_kept_of_its_generation_and_nothing_else() {
    let site = web(&script("one")).file("file.luau", format!("version = 'file' return {KEPT}"));
    let server = start(&site);
    let connect = |path: &str| WebSocket::connect(server.address(), path);
    let [mut first, mut file] = ["/kept", "/file"].map(connect);
    let mut first_events = events(&server);
    expect_event(&mut first_events, "data: one\n\n");
    site.write("site.luau", site.read("site.luau").replace("'one'", "'two'"));
    site.write("file.luau", format!("version = 'new' return {KEPT}"));
    server.reload();
    let [mut second, mut new_file] = ["/kept", "/file"].map(connect);
    let mut second_events = events(&server);
    expect_event(&mut second_events, "data: two\n\n");
    assert_eq!(in_use(&server, "/kept"), "2 running 1 0, 1 kept 1 0");
    assert_eq!(in_use(&server, "/events"), "2 running 0 1, 1 kept 0 1");

    assert_eq!(server.eval("drain(1)"), "told to end: 2 WebSockets, 1 stream");
    first.expect_close(1001);
    file.expect_close(1001);
    expect_event(&mut first_events, "\r\n0\r\n\r\n");
    assert_eq!((say(&mut second, "a"), say(&mut new_file, "a")), ("a 1 two".into(), "a 1 new".into()));
    expect_event(&mut second_events, "data: two\n\n");
    assert_eq!(in_use(&server, "/kept"), "2 running 1 0");
    assert_eq!(server.eval("drain(1)"), "told to end: 0 WebSockets, 0 streams");

    // That script is replaced so often that nobody can go back to it: its sessions keep it, and are found by its number all the same.
    for _ in 0..4 {
        server.reload();
    }
    let replaced = || server.documents("vm.replaced").len();
    wait::until("the others are gone", || (replaced() == 1).then_some(()));
    assert_eq!(in_use(&server, "/kept"), "2 retired 1 0");
    assert_eq!((say(&mut second, "b"), say(&mut new_file, "b")), ("b 2 two".into(), "b 2 new".into()));
    let mut control = Session::begin(&server);
    control.send(&json!({ "version": 1, "op": "drain", "generation": 2 }));
    let reply = control.reply();
    assert_eq!(reply["value"], "told to end: 2 WebSockets, 1 stream", "{reply}");
    second.expect_close(1001);
    // Its handler is the same in all of them, and has been there since the second.
    new_file.expect_close(1001);
    expect_event(&mut second_events, "\r\n0\r\n\r\n");
    wait::until("nothing of it is left", || (replaced() == 0).then_some(()));
}

/// Who does not answer is cut off after the time, or at once; in the old code, too.
#[test]
fn what_is_kept_and_does_not_end_is_cut_off() {
    let site = web(&script("one")).file("file.luau", "return function() end");
    let server = start(&site);
    let [mut deaf, mut cut] = [(); 2].map(|()| WebSocket::connect(server.address(), "/kept"));
    assert_eq!(say(&mut cut, "a"), "a 1 one");
    server.reload();
    assert_eq!(
        server.command(["drain", "1", "--seconds", "0"]).success(),
        "cut off: 2 WebSockets, 0 streams\n"
    );
    deaf.client().expect_close();
    cut.client().expect_close();

    let mut deaf = WebSocket::connect(server.address(), "/kept");
    server.reload();
    let told = server.command(["drain", "2", "--seconds", "0.3"]).success();
    assert_eq!(told, "told to end: 1 WebSocket, 0 streams; cut off: 1 WebSocket, 0 streams\n");
    assert_eq!(deaf.frame().code, CLOSE);
    deaf.client().expect_close();
    assert_eq!(in_use(&server, "/kept"), "");
}

#[test]
fn only_so_many_replaced_scripts_are_kept_for_their_sessions() {
    let site = web(&script("one")).file("file.luau", "return function() end");
    let server = start(&site);
    let mut kept = Vec::new();
    for _ in 0..14 {
        kept.push(WebSocket::connect(server.address(), "/kept"));
        server.reload();
    }
    // Besides the running one, three are paused and eight replaced: the oldest have to go.
    assert_eq!(kept.remove(0).expect_close(1001), "reloading");
    let latest = kept.last_mut().expect("many");
    latest.send("still");
    assert_eq!(latest.text(), "still 1 one");
    drop(kept);
    wait::until("nothing of them is left", || server.documents("vm.replaced").is_empty().then_some(()));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let site = web(
        "web:mount('/{how}', function(req)
            local options = { a = { on_reload = 'stay' }, b = { keep = 5 }, c = { on_reload = 'keep', keep = 0 },
                d = { on_reload = true }, e = { on_reload = 'keep', keep = 1e6 } }
            local ok, why = pcall(medusa.http.events, function() end, options[req.params.how])
            return tostring(why)
        end)",
    );
    let server = start(&site);
    for (how, why) in [
        ("a", "`on_reload` must be \"end\" or \"keep\", not \"stay\""),
        ("b", "`keep` says for how long where `on_reload` is \"keep\""),
        ("c", "`keep` must be a number of seconds from 1 to 86400, not 0"),
        ("d", "`on_reload` must be a string, not true"),
        ("e", "`keep` must be a number of seconds from 1 to 86400, not 1000000"),
    ] {
        let told = server.get(&format!("/{how}")).text();
        assert!(told.contains(why), "{how}: {told}");
    }
}
