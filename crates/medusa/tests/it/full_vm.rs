//! VMs at their memory limit: the process lives, the one to blame is stopped, and others are served.

use std::time::Duration;

use medusa_testkit::{Client, Server, Site, WebSocket, wait};

use super::support::{start, unnumbered, web};

/// Fills its VM from deep within, which leaves a coroutine that has to be made smaller when it is used again.
const FILL: &str = "local function deep(n)
    if n > 0 then return 1 + deep(n - 1) end
    local all
    while true do all = { all, table.create(46, 1) } end
end
deep(50)";

fn site() -> Site {
    let fill = format!("function(req) {FILL} end");
    // Fills the VM, then asks the host for something, and waits.
    let body = format!(
        "function(req) pcall(function() {FILL} end) local t = req:json() medusa.sleep(0.01) return #t .. '' end"
    );
    web(&format!(
        "web:mount('/ok', function() return 'ok' end)
        web:mount('/ok-file', medusa.handler.script('ok.luau'))
        web:mount('/main/fill', {fill})
        web:mount('/main/body', {body})
        web:mount('/main/stream', function(req) return {{ body = {fill} }} end)
        web:mount('/main/ws', function(req) return req:websocket({fill}) end)
        web:mount('/file/fill', medusa.handler.script('fill.luau'))
        web:mount('/file/body', medusa.handler.script('body.luau'))
        web:mount('/file/stream', medusa.handler.script('stream.luau'))
        web:mount('/file/ws', medusa.handler.script('ws.luau'))"
    ))
    .file("ok.luau", "return function() return 'ok' end")
    .file("fill.luau", format!("return {fill}"))
    .file("body.luau", format!("return {body}"))
    .file("stream.luau", format!("return function(req) return {{ body = {fill} }} end"))
    .file("ws.luau", format!("return function(req) return req:websocket({fill}) end"))
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[track_caller]
fn expect_served(server: &Server, after: &str) {
    for path in ["/ok", "/ok-file", "/ok-file", "/ok-file", "/ok-file"] {
        assert_eq!(server.get(path).text(), "ok", "{path} after {after}");
    }
}

/// Waits until what filled the VMs is collected.
#[track_caller]
fn wait_for_room(server: &Server) {
    let nearly_full = |kind| server.documents(kind).iter().any(|vm| vm["memory_nearly_full"] == true);
    wait::until("there is room", || (!nearly_full("vm") && !nearly_full("vm.worker")).then_some(()));
}

#[test]
fn filled_from_anywhere_the_server_lives() {
    let site = site();
    let server = start(&site);
    for vm in ["main", "file"] {
        for path in [format!("/{vm}/fill"), format!("/{vm}/fill")] {
            let mark = server.stderr().count();
            assert_eq!(server.get(&path).status, 503, "{path}");
            server.stderr().wait_for_from(mark, "memory limit");
            expect_served(&server, &path);
        }
        let path = format!("/{vm}/body");
        wait_for_room(&server);
        assert_eq!(server.send(post(&path, "[1, 2, 3]")).status, 503);
        expect_served(&server, &path);
        let path = format!("/{vm}/stream");
        let mark = server.stderr().count();
        server.connect().send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        server.stderr().wait_for_from(mark, "memory limit");
        expect_served(&server, &path);
        let path = format!("/{vm}/ws");
        WebSocket::connect(server.address(), &path).expect_close(1011);
        expect_served(&server, &path);
    }
    let failed = server.command(["eval", FILL]).failure(1);
    assert!(failed.contains("memory limit"), "{failed}");
    expect_served(&server, "a statement");
    let mark = server.stderr().count();
    server.eval(&format!("timer = medusa.every(0.01, function() {FILL} end)"));
    server.stderr().wait_for_from(mark, "a timer failed");
    server.eval("timer:cancel()");
    expect_served(&server, "a timer");
    // The status names the VM, and what was stopped.
    let main = &server.documents("vm")[0];
    assert!(main["memory_stopped"].as_u64().unwrap() > 0, "{main}");
    let last = main["memory_last_stopped"].as_str().map(unnumbered);
    assert_eq!(last.as_deref(), Some("timer at statement:1"), "{main}");
    let workers = server.documents("vm.worker");
    let named = |worker: &serde_json::Value| worker["memory_last_stopped"].to_string().contains("ws.luau");
    assert!(workers.iter().any(named), "{workers:?}");
}

/// Requests that wait, sent at once.
fn crowd(server: &Server, path: &str, count: usize) -> Vec<Client> {
    let request = post(path, "some 4 MiB, please");
    let sent = (0..count).map(|_| {
        let mut client = server.connect();
        client.send(&request);
        client
    });
    sent.collect()
}

#[test]
fn a_crowd_that_fills_a_vm_makes_nobody_else_wait_under_load() {
    let hold = "function(req)
        local all = { req:body() }
        for i = 2, 50000 do all[i] = {} end
        medusa.sleep(25)
        return #all .. ''
    end";
    let site = web(&format!(
        "web:mount('/ok', function() return 'ok' end)
        web:mount('/hold', {hold})"
    ));
    let server = start(&site);
    let mut crowd = crowd(&server, "/hold", 100);
    let mut stopped = Vec::new();
    // All that do not fit are answered, and everyone else meanwhile.
    wait::until("those that do not fit are stopped", || {
        assert_eq!(server.get("/ok").text(), "ok");
        crowd.retain_mut(|client| {
            let waits = !client.is_readable_within(Duration::ZERO);
            if !waits {
                stopped.push(client.response());
            }
            waits
        });
        (stopped.len() >= 20).then_some(())
    });
    assert!(stopped.iter().all(|answer| answer.status == 503), "{stopped:?}");
    assert!(crowd.len() > 10, "only {} were left", crowd.len());
    let main = &server.documents("vm")[0];
    assert!(main["memory"].as_u64() <= main["memory_limit"].as_u64(), "{main}");
    assert!(main["memory_stopped"].as_u64().unwrap() > 0, "{main}");
}

#[test]
fn while_a_vm_is_nearly_full_no_body_is_taken() {
    let site = web("web:mount('/ok', function() return 'ok' end)
        local function fill(times, bytes)
            return function()
                for _ = 1, times do keep = { keep, buffer.create(bytes) } end
                return 'filled'
            end
        end
        web:mount('/fill', fill(10, 1024 * 1024))
        web:mount('/little', fill(1, 50000))
        web:mount('/body', function(req) return req:body() end)");
    let server = start(&site);
    let mut filling = server.connect();
    for _ in 0..22 {
        assert_eq!(filling.get("/fill").text(), "filled");
    }
    // Who holds more than a little at this mark may be stopped for it.
    let mut fill_on = || assert_eq!(filling.get("/little").text(), "filled");
    let is_nearly_full = |_| {
        fill_on();
        server.documents("vm")[0]["memory_nearly_full"] == true
    };
    assert!((0..400).any(is_nearly_full));
    (0..20).for_each(|_| fill_on());
    // The body never comes: it is not waited for.
    let mut client = server.connect();
    client.send("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
    let refused = client.response();
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(server.get("/ok").text(), "ok");
    let main = &server.documents("vm")[0];
    assert_eq!(main["memory_nearly_full"], true, "{main}");
    assert_eq!(main["memory_refused"], 1, "{main}");
    server.eval("keep = nil");
    wait::until("there is room", || (server.send(post("/body", "hello")).text() == "hello").then_some(()));
}
