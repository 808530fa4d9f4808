//! Statements: one transaction each.

use medusa_proto::progress::TaskProgress;

use medusa_script::SessionHandle;

use super::support::{Server, WEB, by};

#[test]
fn a_statement_changes_the_site_at_once() {
    let server = Server::start(WEB, &[]);
    assert_eq!(server.get("/hi").status, 404);
    let done = server.eval("web:mount('/hi', function() return 'hi' end)").unwrap();
    assert_eq!(done.published.last().map(|published| published.generation), Some(2));
    assert_eq!(server.get("/hi").body, "hi");
    server.eval("m = web:mount('/x', function() return 'one' end)").unwrap();
    server.eval("m:replace(function() return 'two' end)").unwrap();
    assert_eq!(server.get("/x").body, "two");
    server.eval("m:remove()").unwrap();
    assert_eq!(server.get("/x").status, 404);
    assert!(server.eval("m:remove()").unwrap_err().to_string().contains("no longer part of the site"));
}

#[test]
fn a_statement_that_fails_changes_nothing() {
    let server = Server::start(&format!("{WEB} greeting = 'hello'"), &[]);
    for statement in [
        "greeting = 'bye' web:mount('/hi', function() return 'hi' end) error('no')",
        "greeting = 'bye' web:mount('/hi', function() return 'hi' end) web:mount('/hi', function() return 'again' end)",
        "greeting = 'bye' added = 1 web:mount('/{a}/x', function() end) web:mount('/x/{b}', function() end)",
        "greeting = nil web:mount('/hi', 5)",
    ] {
        assert!(server.eval(statement).is_err(), "{statement}");
        assert_eq!(server.value("greeting"), "hello", "{statement}");
        assert_eq!(server.value("added"), "nil", "{statement}");
        assert_eq!(server.get("/hi").status, 404, "{statement}");
        assert_eq!(server.value("site.generation"), "1", "{statement}");
    }
}

#[test]
fn an_error_that_is_a_table_is_shown_as_values_are() {
    let server = Server::start(WEB, &[("broken.luau", "error({ module = true })")]);
    for (statement, shown) in [
        ("error({ code = 1 })", "statement:1: { code = 1 }"),
        ("local function f() error({ code = 1, { 2 } }, 0) end\nf()", "statement:1: { { 2 }, code = 1 }"),
        ("coroutine.wrap(function() error({ code = 2 }) end)()", "statement:1: { code = 2 }"),
        ("local _, caught = pcall(error, { code = 3 }) error(caught)", "statement:1: { code = 3 }"),
        ("medusa.sleep(0) error({ code = 4 })", "statement:1: { code = 4 }"),
        ("local t = table.create(900, 'x') t.t = t error(t)", "… 801 more"),
        ("require('broken')", "{ module = true }"),
        ("error(setmetatable({}, { __tostring = function() return 'as it says' end }))", "as it says"),
        ("pcall(error, { code = 5 }) error('a text')", "statement:1: a text"),
        (
            "pcall(error, { code = 5 }) local x = nil + 1",
            "attempt to perform arithmetic (add) on nil and number",
        ),
        (
            "local function deep() error('where it was called', 2) end\ndeep()",
            "statement:2: where it was called",
        ),
        ("error('no place', 0)", "no place"),
        ("error()", "nil"),
    ] {
        let error = server.eval(statement).expect_err(statement).to_string();
        assert!(error.contains(shown) && !error.contains("0x"), "{statement}: {error}");
    }
    // What catches one has the very same, and nothing of it stays.
    let same = "local t = {} local ok, caught = pcall(error, t) return not ok and caught == t";
    assert_eq!(server.value(same), "true");
    assert_eq!(server.value("select(2, xpcall(error, function(e) return e.code end, { code = 6 }))"), "6");
}

#[test]
fn what_a_commit_fails_with_has_its_place_once() {
    let server = Server::start(WEB, &[]);
    let log = "web:set_log(medusa.log.file('/proc/nope/x.log'))";
    let one = server.eval(&format!("{log} commit()")).expect_err("no such folder").to_string();
    assert!(one.starts_with("statement:1: commit: ") && one.matches("statement").count() == 1, "{one}");
    let other = server.eval(&format!("{log}\ncommit()")).expect_err("no such folder").to_string();
    assert!(other.starts_with("statement:2: commit: statement:1: "), "{other}");
}

#[test]
fn what_is_one_argument_too_many_changes_nothing() {
    let server = Server::start(
        &format!(
            "{WEB} m = web:mount('/x', function() return 'x' end) log = medusa.log.tail(1)
            told = medusa.log.events(log) t = medusa.every(3600, function() end)"
        ),
        &[],
    );
    for (statement, part) in [
        ("web:remove('/x')", "to take a mount away call `remove` of what `mount` returned"),
        ("web:remove(nil)", "server:remove() takes no more arguments, but was given nil"),
        ("m:remove('/x')", "mount:remove() takes no more arguments, but was given \"/x\""),
        ("m:replace(function() end, 5)", "mount:replace(handler) takes no more arguments, but was given 5"),
        ("web:set_log(nil, 5)", "server:set_log(log) takes"),
        ("web:mount('/y', function() end, {}, 5)", "server:mount(pattern, handler, options) takes"),
        ("medusa.http.server({ listen = '127.0.0.1:0' }, 5)", "medusa.http.server(options) takes"),
        ("medusa.log.events(log, {}, 5)", "medusa.log.events(log, options) takes"),
        ("told:remove(5)", "events:remove() takes"),
        ("t:cancel(5)", "timer:cancel() takes"),
        ("medusa.every(1, function() end, 5)", "medusa.every(seconds, function) takes"),
        ("medusa.dns.use(medusa.dns.system(), 5)", "medusa.dns.use(resolver) takes"),
    ] {
        let error = server.eval(statement).expect_err(statement).to_string();
        assert!(error.starts_with("statement:1: ") && error.contains(part), "{statement}: {error}");
        assert_eq!(server.value("site.generation"), "1", "{statement}");
    }
    assert_eq!(server.get("/x").body, "x");
}

#[test]
fn a_log_that_cannot_be_opened_is_blamed_on_who_set_it() {
    let server = Server::start(WEB, &[]);
    for statement in [
        "web:set_log(medusa.log.file('/proc/nope/x.log'))",
        "medusa.log.events(medusa.log.file('/proc/nope/x.log'))",
    ] {
        let error = server.eval(statement).expect_err(statement).render();
        assert!(error.starts_with("statement:1: ") && !error.contains("site.luau"), "{error}");
    }
}

#[test]
fn names_are_shared_between_script_statements_and_handlers() {
    let server = Server::start(
        &format!("{WEB} greeting = 'hello' web:mount('/', function() return greeting end)"),
        &[],
    );
    server.eval("greeting = 'ahoy'").unwrap();
    assert_eq!(server.get("/").body, "ahoy");
    server.eval("function set(value) greeting = value end").unwrap();
    server.eval("set('moin')").unwrap();
    assert_eq!(server.get("/").body, "moin");
    server.eval("greeting = nil").unwrap();
    assert_eq!(server.value("greeting"), "nil");
}

#[test]
fn values_and_errors_are_for_people() {
    let server = Server::start(WEB, &[]);
    assert_eq!(server.value("1 + 1"), "2");
    assert_eq!(server.value("{ a = 1 }"), "{ a = 1 }");
    assert_eq!(server.value("local x = 3 return x, 'y'"), "3\ty");
    assert_eq!(server.eval("local x = 3").unwrap().value, None);
    let error = server.eval("local x = = 3").unwrap_err().to_string();
    assert!(error.contains("statement:1:"), "{error}");
    let error = server.eval("nothing.here()").unwrap_err().to_string();
    assert!(error.contains("statement:1: attempt to index nil with 'here'"), "{error}");
    assert!(server.value("site:status()").contains("http"));
    assert!(server.value("site.servers[1]").contains("HttpServer"));
}

/// A change that is under way until somebody says [`GO`].
const HELD: &str = "web:mount('/a', function() end) print('begun')
    while not medusa.shared('gate'):get('open') do medusa.sleep(0.02) end";
const GO: &str = "medusa.shared('gate'):set('open', true)";

#[test]
fn a_timer_of_a_change_that_is_not_published_yet_is_not_cancelled_in_silence() {
    let server = Server::start(WEB, &[]);
    let engine = server.engine.clone();
    server.value("box = {}");
    let (events, mut seen) = tokio::sync::mpsc::channel(8);
    server.block_on(async {
        let making = format!("box.timer = medusa.every(3600, function() end) {HELD}");
        let making = engine.eval(SessionHandle::default(), making, by("ann"), Some(events));
        let cancelling = async {
            assert_eq!(seen.recv().await, Some(TaskProgress::Output("begun".into())));
            let cancelled =
                engine.eval(SessionHandle::default(), "box.timer:cancel()".into(), by("bob"), None).await;
            engine.eval(SessionHandle::default(), GO.into(), by("cyd"), None).await.unwrap();
            cancelled.unwrap_err().to_string()
        };
        let (made, refused) = tokio::join!(making, cancelling);
        made.unwrap();
        assert!(refused.contains("is not published yet"), "{refused}");
    });
    server.value("box.timer:cancel() box.timer:cancel()");
    assert!(server.value("tostring(box.timer)").contains("cancelled"));
}

#[test]
fn a_change_that_waits_is_told_whose_it_waits_for() {
    let server = Server::start(WEB, &[]);
    let engine = server.engine.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (events, mut seen) = tokio::sync::mpsc::channel(8);
        let slow = engine.eval(SessionHandle::default(), HELD.into(), by("ann"), Some(events));
        let second = async {
            assert_eq!(seen.recv().await, Some(TaskProgress::Output("begun".into())));
            let (events, mut seen) = tokio::sync::mpsc::channel(8);
            let change = engine.eval(
                SessionHandle::default(),
                "web:mount('/b', function() end)".into(),
                by("bob"),
                Some(events),
            );
            let waiting = async {
                let progress = seen.recv().await;
                let Some(TaskProgress::Waiting(text)) = progress else { panic!("{progress:?}") };
                assert!(
                    text.starts_with("waiting for the change by ann, which has been under way for "),
                    "{text}"
                );
                engine.eval(SessionHandle::default(), GO.into(), by("cyd"), None).await.unwrap();
            };
            let (change, ()) = tokio::join!(change, waiting);
            change.unwrap();
        };
        let (slow, ()) = tokio::join!(slow, second);
        slow.unwrap();
    });
    assert_eq!(server.value("site.generation"), "3");
}

#[test]
fn a_statement_nobody_waits_for_is_stopped() {
    let server = Server::start(WEB, &[]);
    let engine = server.engine.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (events, mut seen) = tokio::sync::mpsc::channel(8);
        let endless = "web:mount('/a', function() end) print('begun') while true do medusa.sleep(0.01) end";
        let endless = engine.eval(SessionHandle::default(), endless.into(), by("ann"), Some(events));
        tokio::select! {
            result = endless => panic!("{result:?}"),
            begun = seen.recv() => assert!(begun.is_some()),
        }
        // Dropped here: its change is abandoned, so that the next can begin.
        engine
            .eval(
                SessionHandle::default(),
                "web:mount('/b', function() return 'b' end)".into(),
                by("bob"),
                None,
            )
            .await
            .unwrap();
    });
    assert_eq!(server.get("/a").status, 404);
    assert_eq!(server.get("/b").body, "b");
}

#[test]
fn timers_run_fail_and_stop() {
    let server = Server::start(
        &format!(
            "{WEB} n = 0
            t = medusa.every(0.02, function() n += 1 end)
            medusa.every(0.02, function() error('by design') end)"
        ),
        &[],
    );
    let runs = || server.value("n").parse::<u32>().unwrap();
    let until = |wanted: u32| {
        (0..500).any(|_| {
            server.value("medusa.sleep(0.01)");
            runs() >= wanted
        })
    };
    assert!(until(3), "the timer does not run");
    server.eval("t:cancel()").unwrap();
    let stopped = runs();
    server.value("medusa.sleep(0.1)");
    assert_eq!(runs(), stopped);
    // A statement that fails starts no timer.
    server.eval("medusa.every(0.01, function() n = 1000 end) error('no')").unwrap_err();
    server.value("medusa.sleep(0.1)");
    assert_eq!(runs(), stopped);
}

#[test]
fn a_timer_may_change_the_site() {
    let server = Server::start(
        &format!(
            "{WEB} local t t = medusa.every(0.02, function() t:cancel() medusa.sleep(0.01) web:mount('/later', function() return 'now' end) end)"
        ),
        &[],
    );
    assert!((0..500).any(|_| {
        server.value("medusa.sleep(0.01)");
        server.get("/later").status == 200
    }));
}

#[test]
fn the_shared_dictionary_is_one_for_all() {
    let server = Server::start(
        &format!("{WEB} web:mount('/', medusa.handler.script('h.luau'))"),
        &[("h.luau", "return function() return tostring(medusa.shared('n'):incr('hits')) end")],
    );
    for n in 1..=20 {
        assert_eq!(server.get("/").body, n.to_string());
    }
    assert_eq!(server.value("medusa.shared('n'):get('hits')"), "20");
    assert_eq!(
        server.value("medusa.shared('n'):cas('hits', 20, 'done'), medusa.shared('n'):get('hits')"),
        "true\tdone"
    );
    assert_eq!(
        server.value("medusa.shared('n'):set('gone', 1, 0) return medusa.shared('n'):get('gone')"),
        "nil"
    );
    assert!(server.eval("medusa.shared('n'):set('t', {})").unwrap_err().to_string().contains("not a table"));
}

/// The value of a statement is shown without running any of the script's code, which no budget would stop.
#[test]
fn a_value_that_would_run_for_ever_when_shown_is_shown() {
    let server = Server::start(WEB, &[]);
    let endless = "setmetatable({ a = 1 }, { __tostring = function() while true do end end })";
    assert_eq!(server.value(endless), "{ a = 1 }");
}

/// A change that waits inside a coroutine of the script gives up its place when it is dropped.
#[test]
fn a_dropped_wait_in_a_coroutine_leaves_the_gate_free() {
    let server = Server::start(WEB, &[]);
    let engine = server.engine.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (events, mut seen) = tokio::sync::mpsc::channel(8);
        let slow = engine.eval(SessionHandle::default(), HELD.into(), by("ann"), Some(events));
        let others = async {
            assert!(seen.recv().await.is_some());
            let (events, mut waits) = tokio::sync::mpsc::channel(8);
            let wait = "coroutine.wrap(function() web:mount('/b', function() end) end)()";
            tokio::select! {
                result = engine.eval(SessionHandle::default(), wait.into(), by("bob"), Some(events)) => panic!("{result:?}"),
                told = waits.recv() => assert!(told.is_some()),
            }
            engine.eval(SessionHandle::default(), GO.into(), by("cyd"), None).await.unwrap();
        };
        let (slow, ()) = tokio::join!(slow, others);
        slow.unwrap();
        let next = engine.eval(SessionHandle::default(), "web:mount('/c', function() return 'c' end)".into(), by("cyd"), None);
        tokio::time::timeout(std::time::Duration::from_secs(20), next).await.unwrap().unwrap();
    });
    assert_eq!(server.get("/c").body, "c");
    assert_eq!(server.get("/b").status, 404);
}

#[test]
fn statements_have_their_turn_beside_timers_that_hold_the_thread() {
    let stuck = "setmetatable({}, { __index = function() while true do end end }).x";
    for body in [format!("local _ = {stuck}"), format!("xpcall(error, function() return {stuck} end)")] {
        let server = Server::start(
            &format!(
                "{WEB} begun = 0 for _ = 1, 20 do medusa.every(0.01, function() begun += 1 {body} end) end"
            ),
            &[],
        );
        let begun = |more: u32| server.value("begun").parse::<u32>().unwrap() + more;
        let enough = begun(10);
        let mut statements = 0;
        while begun(0) < enough {
            statements += 1;
        }
        assert!(statements >= 5, "{statements} while 10 timers ran: {body}");
        server.reload().unwrap();
    }
}

/// None of them is looked at before it is known to be short.
#[test]
fn what_takes_a_list_says_how_many_it_takes() {
    let server = Server::start(WEB, &[]);
    let thousands = "local many = table.create(1e6, 'x') ";
    for (statement, part) in [
        (
            "medusa.handler.files('.', { index = many })",
            "medusa.handler.files: `index`: the list has 1000000 entries; at most 16",
        ),
        (
            "medusa.handler.files('.', { cache_control = many })",
            "`cache_control`: the list has 1000000 entries; at most 256",
        ),
        ("medusa.log.multi(many)", "medusa.log.multi: the list has 1000000 entries; at most 64"),
        (
            "medusa.log.filter({ method = many }, medusa.log.tail(1))",
            "medusa.log.filter: `method`: there are more than 100 texts",
        ),
        ("medusa.log.filter({ status = many }, medusa.log.tail(1))", "status"),
        (
            "medusa.log.file('x', { rotate = many })",
            "medusa.log.file: `rotate`: the list has 1000000 entries; at most 8",
        ),
        (
            "medusa.http.server { listen = many }",
            "medusa.http.server: `listen`: the list has 1000000 entries; at most 256",
        ),
        (
            "medusa.http.server { listen = '127.0.0.1:0', tls = { certificates = many } }",
            "tls: `certificates`: the list has 1000000 entries; at most 1024",
        ),
        (
            "medusa.http.server { listen = '127.0.0.1:0', trusted_proxies = many }",
            "the list is longer than 64 KiB",
        ),
        ("medusa.dns.server(many)", "the list has 1000000 entries; at most 64"),
        ("medusa.dns.system():pin('a.test', many)", "the list has 1000000 entries; at most 64"),
        (
            "local t = {} for i = 1, 1e5 do t['x-' .. i] = 'v' end medusa.http.server { security_headers = t }",
            "medusa.http.server: `security_headers`: there are more than 64 fields in the table",
        ),
        (
            "local t = {} for i = 1, 40 do t['x-' .. i] = 'v' end medusa.http.server { security_headers = t }",
            "medusa.http.server: `security_headers`: there are 47 fields, more than 32",
        ),
    ] {
        let error = server.eval(&format!("{thousands} {statement}")).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("statement:1"), "{statement}: {error}");
    }
}

#[test]
fn a_64_bit_integer_is_not_rounded_in_silence() {
    let server = Server::start(WEB, &[]);
    server.eval("big = integer.fromstring('9007199254740993') shared = medusa.shared('x')").unwrap();
    assert_eq!(server.value("medusa.json.encode(big)"), "9007199254740993");
    assert_eq!(server.value("big"), "9007199254740993");
    let error = server.eval("shared:set('a', big)").unwrap_err().to_string();
    assert!(error.contains("9007199254740993 is none"), "{error}");
    server.eval("shared:set('a', integer.fromstring('5')) shared:set('b', 2^60)").unwrap();
    assert_eq!(server.value("shared:get('a') + 1"), "6");
    assert_eq!(server.value("shared:get('b') == 2^60"), "true");
}
