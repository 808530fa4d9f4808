//! Scripts that would hurt the server.

use std::io::Write;
use std::time::{Duration, Instant};

use super::support::{Server, WEB};

const ENDLESS: &[&str] = &[
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "table.sort({ 3, 1, 2 }, function() while true do end end)",
    "coroutine.wrap(function() while true do end end)()",
    "setmetatable({}, { __index = function() while true do end end }).x()",
];

fn others_are_served(server: &Server, during: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let begun = Instant::now();
        let offender = scope.spawn(during);
        let (mut slowest, mut served) = (Duration::ZERO, 0);
        while !offender.is_finished() {
            let started = Instant::now();
            assert_eq!(server.get("/ok").body, "ok");
            slowest = slowest.max(started.elapsed());
            served += 1;
        }
        // Without preemption another request would have waited for all of the budget, the first or one soon after. A busy
        // machine may hold one up for as long, but not all of them.
        let all = begun.elapsed();
        assert!(served > 5 || slowest < all / 10 * 7, "one of {served} took {slowest:?} of {all:?}");
    });
}

#[test]
fn an_endless_inline_handler_gets_503_and_nobody_else_notices() {
    for endless in ENDLESS {
        let server = Server::start(
            &format!(
                "{WEB} web:mount('/ok', medusa.handler.script('ok.luau')) web:mount('/endless', function() {endless} end)"
            ),
            &[("ok.luau", "return function() return 'ok' end")],
        );
        others_are_served(&server, || assert_eq!(server.get("/endless").status, 503, "{endless}"));
        assert_eq!(server.value("1 + 1"), "2");
    }
}

#[test]
fn an_endless_handler_file_gets_503_and_others_on_its_worker_are_served() {
    for endless in [ENDLESS[0], ENDLESS[1], ENDLESS[3]] {
        let server = Server::start(
            &format!(
                "{WEB} web:mount('/ok', medusa.handler.script('ok.luau')) web:mount('/endless', medusa.handler.script('endless.luau'))"
            ),
            &[
                ("ok.luau", "return function() return 'ok' end"),
                ("endless.luau", &format!("return function() {endless} end")),
            ],
        );
        others_are_served(&server, || assert_eq!(server.get("/endless").status, 503, "{endless}"));
    }
}

#[test]
fn many_endless_handlers_at_once_leave_room_for_others() {
    let server = Server::start(
        &format!(
            "{WEB} web:mount('/ok', medusa.handler.script('ok.luau')) web:mount('/endless', medusa.handler.script('endless.luau'))"
        ),
        &[
            ("ok.luau", "return function() return 'ok' end"),
            ("endless.luau", "return function() while true do end end"),
        ],
    );
    std::thread::scope(|scope| {
        let begun = Instant::now();
        let endless: Vec<_> =
            (0..8).map(|_| scope.spawn(|| assert_eq!(server.get("/endless").status, 503))).collect();
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let started = Instant::now();
            assert_eq!(server.get("/ok").body, "ok");
            slowest = slowest.max(started.elapsed());
        }
        for endless in endless {
            endless.join().unwrap();
        }
        let all = begun.elapsed();
        assert!(slowest < all / 10 * 7, "a request took {slowest:?} of {all:?}");
    });
}

#[test]
fn an_endless_timer_is_stopped_and_goes_on() {
    let server = Server::start(
        &format!(
            "{WEB} runs = 0 medusa.every(0.05, function() runs += 1 while true do end end) web:mount('/', function() return tostring(runs) end)"
        ),
        &[],
    );
    let started = Instant::now();
    while server.get("/").body.parse::<u32>().unwrap() < 2 {
        assert!(started.elapsed() < Duration::from_secs(15), "the timer did not run a second time");
    }
}

#[test]
fn an_endless_statement_is_stopped() {
    let server = Server::start(WEB, &[]);
    let error = server.eval("while true do end").unwrap_err().to_string();
    assert!(error.contains("stopped: its CPU budget is used up"), "{error}");
}

#[test]
fn a_memory_hog_meets_its_limit_and_the_server_lives_on() {
    let hog = "local t = {} while true do t[#t + 1] = string.rep('x', 1e6) .. #t end";
    let server = Server::start(
        &format!(
            "{WEB} web:mount('/inline', function() {hog} end) web:mount('/file', medusa.handler.script('hog.luau')) web:mount('/ok', function() return 'ok' end)"
        ),
        &[("hog.luau", &format!("return function() {hog} end"))],
    );
    for path in ["/inline", "/file", "/file"] {
        assert_eq!(server.get(path).status, 503, "{path}");
        assert_eq!(server.get("/ok").body, "ok");
    }
}

#[test]
fn a_panic_in_the_server_is_one_requests_500() {
    let server =
        Server::start(&format!("{WEB} web:mount('/deep', function() return string.rep('(', 1e6) end)"), &[]);
    assert_eq!(server.get("/deep").status, 200);
}

/// A producer that was preempted and whose client does not read must not keep other scripts from their slices.
#[test]
fn a_client_that_does_not_read_holds_up_no_other_script() {
    let busy = "for _ = 1, 3000000 do end";
    let server = Server::start(
        &format!(
            "{WEB} web:mount('/stream', function() return {{ body = function(write)
                while true do write(string.rep('x', 100000)) {busy} end
            end }} end)
            web:mount('/busy', function() {busy} return 'done' end)"
        ),
        &[],
    );
    let mut deaf = server.connect();
    deaf.write_all(b"GET /stream HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    for _ in 0..20 {
        // For ever, were it held up.
        assert_eq!(server.get("/busy").body, "done");
    }
    drop(deaf);
}
