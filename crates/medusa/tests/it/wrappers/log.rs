//! `medusa.handler.log`: the log of one mount.

use std::fs;
use std::process::Command;

use medusa_testkit::{Process, Server, WebSocket, wait};

use super::super::guide::guide_example_of;
use super::super::support::{MEDUSA, start, web};
use super::{SOCKET, expect_errors};

const SITE: &str = r#"
main, own, third = medusa.log.tail(100), medusa.log.tail(101), medusa.log.tail(102)
web:set_log(main)
local function named(req, next) req.user = "ada" return next(req) end
local function fine(req) return "fine" end
local log = medusa.handler.log
web:mount("/own", log(own, fine))
web:mount("/outside", medusa.handler.wrap(named, medusa.handler.rewrite({ add_prefix = "/v1" }, log(own, fine))))
web:mount("/inside", log(own, medusa.handler.wrap(named, fine)))
web:mount("/refused", medusa.handler.wrap(function() return { status = 403 } end, log(own, fine)))
web:mount("/both", log(medusa.log.multi { main, own }, fine))
web:mount("/quiet", log(false, fine))
web:mount("/inner", log(own, log(third, fine)))
web:mount("/first", medusa.handler.first { log(own, function() return { status = 404 } end), log(third, fine) })
web:mount("/fails", log(own, function() error("no") end))
web:mount("/stream", log(own, function() return { body = function(write) write("12345") write("67890") end } end))
web:mount("/socket", log(own, medusa.handler.script("socket.luau")))
web:mount("/slow", log(own, function() medusa.sleep(60) return "late" end))
web:mount("/plain", fine)
"#;

/// What a tail has: user, path, status, bytes.
fn lines(server: &Server, tail: &str) -> Vec<String> {
    let all = server.eval(&format!(
        "local all = {{}} for _, r in {tail}:records() do table.insert(all, `{{r.user}} {{r.target}} {{r.status}} {{r.bytes}}`) end
        table.sort(all) return table.concat(all, '\\n')"
    ));
    all.lines().map(str::to_owned).collect()
}

#[track_caller]
fn expect(server: &Server, tail: &str, expected: &[&str]) {
    wait::until("the log has them", || (lines(server, tail) == expected).then_some(()));
}

#[test]
fn requests_of_a_mount_are_recorded_where_it_says() {
    let site = web(SITE).file("socket.luau", SOCKET);
    let server = start(&site);
    let mut curl = Command::new("curl");
    let leaves = Process::start(curl.args(["-sS", "--http2-prior-knowledge", &server.url("/slow")]));
    wait::until("it is under way", || {
        server.documents("mount").iter().any(|mount| mount["requests_under_way"] == 1).then_some(())
    });
    drop(leaves);
    let paths = [
        "own", "outside", "inside", "refused", "both", "quiet", "inner", "first", "fails", "stream", "plain",
    ];
    for path in paths {
        server.get(&format!("/{path}"));
    }
    let mut session = WebSocket::connect(server.address(), "/socket");
    session.send("hello");
    assert_eq!(session.text(), "hello");
    session.close(1000, "");
    expect(&server, "main", &["nil /both 200 4", "nil /plain 200 4", "nil /refused 403 0"]);
    expect(&server, "third", &["nil /first 200 4", "nil /inner 200 4"]);
    let all = || lines(&server, "own");
    wait::until("the log has them", || (all().len() == 8).then_some(()));
    let own = all();
    let expected = [
        "ada /inside 200 4",
        "ada /outside 200 4",
        "nil /both 200 4",
        "nil /fails 500",
        "nil /own 200 4",
        "nil /slow 499 0",
        "nil /socket 101",
        "nil /stream 200 10",
    ];
    for (line, expected) in own.iter().zip(expected) {
        assert!(line.starts_with(expected), "{own:?}");
    }
}

#[test]
fn its_file_is_opened_anew_and_given_up_as_those_of_servers_are() {
    let script = "web:mount('/own', medusa.handler.log(medusa.log.file('own.log', { format = '%U%q' }), function() return 'x' end))";
    let site = web(script);
    let server = start(&site);
    let has = |file: &str, expected: &str| {
        wait::until("the file has them", || {
            fs::read_to_string(site.at(file)).is_ok_and(|text| text == expected).then_some(())
        });
    };
    assert_eq!(server.eval("return #site.logs"), "1", "of a server that has none");
    server.get("/own?1");
    has("own.log", "/own?1\n");
    fs::rename(site.at("own.log"), site.at("moved.log")).expect("it is there");
    server.command(["reopen"]).success();
    server.get("/own?2");
    has("own.log", "/own?2\n");
    server.reload();
    server.get("/own?3");
    has("own.log", "/own?2\n/own?3\n");
    has("moved.log", "/own?1\n");
    server.eval("web:find('/own'):replace(function() return 'y' end)");
    server.get("/own?4");
    wait::until("no site has it", || (server.eval("return #site.logs") == "0").then_some(()));
    has("own.log", "/own?2\n/own?3\n");
    server.eval("rollback(2)");
    server.get("/own?5");
    has("own.log", "/own?2\n/own?3\n/own?5\n");
}

#[test]
fn two_logs_of_one_file_are_refused() {
    let script = "web:set_log(medusa.log.file('one.log'))
        web:mount('/own', medusa.handler.log(medusa.log.file('./one.log', { format = 'json' }), print))";
    let error = MEDUSA.run(["check".as_ref(), web(script).path().as_os_str()]).failure(1);
    assert!(error.contains("one.log"), "{error}");
}

#[test]
fn what_is_no_log_is_an_error() {
    let server = start(&web(""));
    expect_errors(
        &server,
        &[
            ("log(nil, print)", "medusa.handler.log: expected a log, from medusa.log, found nil"),
            ("log(true, print)", "found true"),
            ("log(medusa.log.tail(1))", "a handler must be a function(req)"),
        ],
    );
}

#[test]
fn the_examples_of_the_guide_can_be_mounted() {
    let example =
        guide_example_of(include_str!("../../../../../docs/logging.md"), "A mount may have a log of its own");
    let script = format!(
        "local log = medusa.log.tail(10)
        local function api(req) return req.path end
        local shop = api
        {example}"
    );
    let server = start(&web(&script));
    for (path, text) in [("/api/a", "/api/a"), ("/shop/a", "/shop/a"), ("/alive", "yes")] {
        assert_eq!(server.get(path).text(), text);
    }
}
