//! Scripts that would hurt the server: they are stopped, and nobody else notices.

use std::cell::Cell;
use std::time::{Duration, Instant};

use medusa_testkit::{Client, Load, Server, Site, cpu, load, memory, wait};

use super::live::established;
use super::support::{start, web};

const OK: &str = "return function() return 'ok' end";

/// A site with a good handler file at `/ok`, an endless handler file at `/endless-file`, and an endless function at
/// `/endless`.
fn site() -> Site {
    web("web:mount('/ok', medusa.handler.script('ok.luau'))
        web:mount('/inline', function() return 'ok' end)
        web:mount('/endless', function()
            while true do end
        end)
        web:mount('/endless-file', medusa.handler.script('handlers/endless.luau'))")
    .file("ok.luau", OK)
    .file("handlers/endless.luau", "-- loops\nreturn function(req)\n\twhile true do end\nend\n")
}

#[test]
fn an_endless_handler_gets_503_and_its_place_is_in_the_log() {
    let site = site();
    let server = start(&site);
    for (path, place) in [("/endless", "site.luau:5"), ("/endless-file", "handlers/endless.luau:3")] {
        let mark = server.stderr().count();
        let answer = server.get(path);
        assert_eq!(answer.status, 503, "{path}");
        assert!(!answer.text().contains("luau"), "a client is told no places: {}", answer.text());
        let line = server.stderr().wait_for_from(mark, "stopped: its CPU budget is used up");
        assert!(line.contains("WARN"), "{line}");
        let traceback = server.stderr().wait_for_from(mark, &format!("    {place}"));
        assert!(traceback.contains("in function"), "a line of the traceback was expected: {traceback}");
        server.stderr().wait_for_from(mark, &format!("path={path} "));
    }
    assert_eq!(server.get("/ok").text(), "ok");
}

#[test]
fn an_endless_timer_is_stopped_logged_and_goes_on() {
    let site = web("runs = 0
        medusa.every(0.01, function()
            runs += 1
            while true do end
        end)
        web:mount('/ok', function() return 'ok' end)");
    let server = start(&site);
    let mark = server.stderr().count();
    let line = server.stderr().wait_for("a timer failed");
    assert!(line.contains("stopped: its CPU budget is used up"), "{line}");
    server.stderr().wait_for_from(mark, "site.luau:5");
    assert_eq!(server.get("/ok").text(), "ok");
    wait::until("the timer has run again", || (server.eval("runs").parse::<u32>().ok()? >= 2).then_some(()));
}

/// The latency of others, with and without so many offences, one after the other, measured in one run.
#[track_caller]
fn expect_latency_to_hold(server: &Server, path: &str, offences: u32, offend: impl Fn(&Server)) {
    let measure = |during: &dyn Fn()| {
        let load = Load::start(server.address(), path, 16);
        established(server, 16);
        during();
        let report = load.stop();
        wait::until("the load is gone", || (server.number("listener", "open") == 0).then_some(()));
        report
    };
    let requests = |count: u64| {
        let before = server.number("http", "requests");
        wait::until("the load has run", || {
            (server.number("http", "requests") > before + count).then_some(())
        });
    };
    let alone = measure(&|| requests(5_000));
    let lasted = Cell::new(Duration::ZERO);
    let beside = measure(&|| {
        let begun = Instant::now();
        offend(server);
        lasted.set(begun.elapsed() / offences);
    });
    let (alone_p99, beside_p99, lasted) = (alone.p99, beside.p99, lasted.get());
    let latencies =
        format!("{path}: p99 {alone_p99:?} alone, {beside_p99:?} beside endless scripts of {lasted:?} each");
    eprintln!("{latencies}, {} requests", beside.requests);
    alone.expect_clean();
    assert_eq!(beside.broken, load::Broken::default(), "{beside:?}");
    assert_eq!(beside.failed, 0, "{beside:?}");
    // Whoever had to wait for an offender would wait for as long as it lasts: a second, which is its budget, or longer on
    // a busy machine. What is left is a slice here and there, and the core that the offender takes from a machine that may
    // have two.
    assert!(beside_p99 < lasted / 10, "{latencies}");
}

#[test]
fn others_keep_their_latency_under_load() {
    let site = site();
    let server = start(&site);
    expect_latency_to_hold(&server, "/ok", 2, |server| {
        assert_eq!(server.get("/endless-file").status, 503);
        assert_eq!(server.get("/endless").status, 503);
    });
    expect_latency_to_hold(&server, "/inline", 1, |server| assert_eq!(server.get("/endless").status, 503));
    let timer = "timer = medusa.every(0.01, function() while true do end end)";
    expect_latency_to_hold(&server, "/inline", 1, |server| {
        let mark = server.stderr().count();
        server.eval(timer);
        server.stderr().wait_for_from(mark, "a timer failed");
        server.eval("timer:cancel()");
    });
}

#[test]
fn an_endless_timer_rests_while_there_are_requests_under_load() {
    let site = site();
    let server = start(&site);
    server.eval("timer = medusa.every(0.01, function() while true do end end)");
    let load = Load::start(server.address(), "/ok", 8);
    let had = || cpu::times_of_thread(server.pid(), "medusa-script");
    let (before, begun) = (had(), Instant::now());
    let now = wait::until("it has gone on for a while", || {
        Some(had()).filter(|now| now.ran > before.ran + Duration::from_millis(400))
    });
    // What others keep it from does not count as rest.
    let (ran, waited) = (now.ran.saturating_sub(before.ran), now.waited.saturating_sub(before.waited));
    let share = ran.as_secs_f64() / begun.elapsed().saturating_sub(waited).as_secs_f64();
    load.stop().expect_clean();
    // It rests for as long as it has run.
    assert!(share < 0.75, "{share:.2} of a core");
}

#[test]
fn a_memory_hog_meets_its_limit() {
    let hog = "local t = {} while true do t[#t + 1] = string.rep('x', 1e6) .. #t end";
    let site = web(&format!(
        "web:mount('/inline', function() {hog} end)
        web:mount('/file', medusa.handler.script('hog.luau'))
        web:mount('/ok', medusa.handler.script('ok.luau'))"
    ))
    .file("hog.luau", format!("return function() {hog} end"))
    .file("ok.luau", OK);
    let server = start(&site);
    for path in ["/inline", "/file", "/file", "/inline"] {
        let mark = server.stderr().count();
        assert_eq!(server.get(path).status, 503, "{path}");
        server.stderr().wait_for_from(mark, "memory limit");
        // Every worker's VM is as good as before.
        for _ in 0..8 {
            assert_eq!(server.get("/ok").text(), "ok");
        }
    }
    assert_eq!(server.eval("1 + 1"), "2");
    let resident = memory::resident(server.pid());
    assert!(resident < 1 << 30, "{resident} bytes");
}

#[test]
fn what_a_script_does_to_stay_alive_does_not_help() {
    let endless = [
        "while true do pcall(function() while true do end end) end",
        "table.sort({ 3, 1, 2 }, function() while true do end end)",
        "coroutine.wrap(function() while true do end end)()",
    ];
    let site = web("web:mount('/ok', medusa.handler.script('ok.luau'))").file("ok.luau", OK);
    for (number, endless) in endless.into_iter().enumerate() {
        site.write(&format!("{number}.luau"), format!("return function() {endless} end"));
    }
    let server = start(&site);
    for (number, endless) in endless.into_iter().enumerate() {
        server.eval(&format!(
            "web:mount('/inline/{number}', function() {endless} end)
            web:mount('/file/{number}', medusa.handler.script('{number}.luau'))"
        ));
        for path in [format!("/inline/{number}"), format!("/file/{number}")] {
            assert_eq!(server.get(&path).status, 503, "{path}: {endless}");
            assert_eq!(server.get("/ok").text(), "ok");
        }
    }
}

#[test]
fn a_client_that_leaves_takes_its_stream_along() {
    let site = web("web:mount('/stream', function()
            return { body = function(write)
                while true do
                    write('more')
                    medusa.sleep(0.01)
                end
            end }
        end)");
    let server = start(&site);
    for break_off in [drop, Client::reset] {
        let mut client = server.connect();
        client.send("GET /stream HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(client.head().status, 200);
        break_off(client);
        wait::until("its producer is gone", || (server.number("vm", "requests") == 0).then_some(()));
        wait::until("its connection is gone", || (server.number("listener", "open") == 0).then_some(()));
    }
}
