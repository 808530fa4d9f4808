//! Sessions that outlive the code they began in: `on_reload = "keep"`.

use medusa_testkit::{Client, WebSocket, wait};

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
    let say = |ws: &mut WebSocket, text: &str| {
        ws.send(text);
        ws.text()
    };
    assert_eq!(say(&mut kept, "a"), "a 1 one");
    assert_eq!(say(&mut file, "a"), "a 1 file");
    let mut events = server.connect();
    events.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
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
