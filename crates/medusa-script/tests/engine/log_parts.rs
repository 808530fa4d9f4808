//! Logs in the script's hands: tails, filters, samples, functions, and replacing them while requests come in.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::support::{Server, WEB};

/// A server whose log is `log`, and that answers with the status asked for: `/404`, `/500`, anything else 200.
fn logging(before: &str, log: &str) -> Server {
    Server::start(&script(before, log), &[])
}

fn script(before: &str, log: &str) -> String {
    format!(
        "{before}
        log = {log}
        web = medusa.http.server {{ listen = '127.0.0.1:0', log = log }}
        web:mount('/', function(req) return {{ status = tonumber(req.tail) or 200, body = 'x' }} end)"
    )
}

/// Waits until the statement is worth `expected`.
#[track_caller]
fn until(server: &Server, statement: &str, expected: &str) {
    let started = Instant::now();
    loop {
        let value = server.value(statement);
        if value == expected {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{statement}: {value}, not {expected}");
        server.value("medusa.sleep(0.01)");
    }
}

/// The value of a field in the status of the first sink of this kind, as it is shown.
fn field(server: &Server, kind: &str, field: &str) -> Option<String> {
    let status = server.status();
    let lines = status.lines().map(|line| line.trim_start_matches([' ', '│', '├', '└', '─']));
    let mut lines = lines.skip_while(|line| !line.starts_with(kind)).skip(1);
    lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(' ').map(|value| value.trim().to_owned()))
}

#[test]
fn a_tail_is_looked_at_and_kept_by_a_reload() {
    let server = logging("", "medusa.log.tail(3)");
    for path in ["/a?q=1", "/404", "/b", "/c"] {
        server.get(path);
        // One after the other, for several workers write them.
        until(&server, "log:records(1)[1] and log:records(1)[1].target or ''", path);
    }
    assert_eq!(server.value("#log:records()"), "3");
    assert_eq!(server.value("#log:lines(2)"), "2");
    let line = server.value("log:lines()[1]");
    assert!(line.starts_with("127.0.0.1 - - [") && line.contains("\"GET /404 HTTP/1.1\" 404 1 "), "{line}");
    assert!(server.value("log:lines(1, 'json')[1]").starts_with('{'));
    let record = "local r = log:records()[1] return r.kind, r.level, r.client, r.method, r.target, r.path, r.host, \
                  r.status, r.bytes, r.server, r.version, r.referer, r.duration < 60, r.time > 1.7e9";
    assert_eq!(
        server.value(record),
        "access\twarn\t127.0.0.1\tGET\t/404\t/404\ttest\t404\t1\thttp\t1.1\tnil\ttrue\ttrue"
    );
    server.reload().unwrap();
    assert_eq!(
        server.value("#log:records(), web.log == log, site.logs[1] == log, #site.logs"),
        "3\ttrue\ttrue\t1"
    );
    assert_eq!(
        server.value("medusa.log.tail(3) == log, medusa.log.tail(3) == medusa.log.tail(3)"),
        "false\tfalse"
    );
    let named = "medusa.log.tail(3, { name = 'x' }) == medusa.log.tail(3, { name = 'x' })";
    assert_eq!(server.value(named), "true");
}

#[test]
fn what_makes_no_sense_is_named() {
    let server = Server::start(WEB, &[]);
    for (statement, part) in [
        ("medusa.log.tail(0)", "a whole number from 1 to 65536, not 0"),
        ("medusa.log.file('-'):records()", "this log keeps no records"),
        ("medusa.log.tail(1):lines(1, 'gelf')", "unknown log format \"gelf\""),
        ("medusa.log.tail(1):records('all')", "found \"all\""),
        ("medusa.log.sample(0, medusa.log.tail(1))", "a rate is above 0 and at most 1, not 0"),
        ("medusa.log.sample(0.5, 'x')", "expected a log, from medusa.log, found \"x\""),
        ("medusa.log.sample(1, medusa.log.tail(1), { always = 'bad' })", "unknown level \"bad\""),
        ("medusa.log.filter({}, medusa.log.tail(1))", "there is no condition"),
        ("medusa.log.filter({ status = '6xx' }, medusa.log.tail(1))", "\"6xx\" is no status"),
        (
            "medusa.log.filter({ status = { min = 500, max = 400 } }, medusa.log.tail(1))",
            "\"500-400\" is no status",
        ),
        ("medusa.log.filter({ path = '/a//b' }, medusa.log.tail(1))", "no empty segments"),
        ("medusa.log.filter({ method = {} }, medusa.log.tail(1))", "the list is empty"),
        ("medusa.log.filter({ stauts = 1 }, medusa.log.tail(1))", "there is no option \"stauts\""),
        ("medusa.log.filter(1, medusa.log.tail(1))", "expected conditions or a function(record)"),
        ("medusa.log.events(medusa.log.tail(1), { level = 'warning' })", "unknown level \"warning\""),
        ("medusa.log.events(1)", "expected a log"),
        ("web:set_log('access.log')", "expected a log"),
        (
            "local log = medusa.log.tail(1) for _ = 1, 7 do log = medusa.log.multi { log, medusa.log.sample(1, log) } end",
            "each record would be written 128 times; 64 are allowed",
        ),
        (
            "local log = medusa.log.tail(1) for _ = 1, 100000 do log = medusa.log.multi { log } end",
            "medusa.log.multi: 16 logs stand one behind the other already, which is the most",
        ),
        (
            "local log = medusa.log.tail(1) for _ = 1, 100000 do log = medusa.log.filter(print, log) end",
            "medusa.log.filter: 16 logs stand one behind the other already",
        ),
        (
            "local log = medusa.log.tail(1) for i = 1, 100000 do log = medusa.log.filter({ status = 100 + i % 400 }, log) end",
            "medusa.log.filter: 16 logs stand one behind the other already",
        ),
        (
            "local log = medusa.log.tail(1) for i = 1, 100000 do log = medusa.log.sample(1, log) end",
            "medusa.log.sample: 16 logs stand one behind the other already",
        ),
        (
            "local log, dns = medusa.log.tail(1), medusa.dns.system() for i = 1, 100000 do log = medusa.log.resolving(dns, log) end",
            "medusa.log.resolving: 16 logs stand one behind the other already",
        ),
    ] {
        let error = server.eval(statement).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("statement:1"), "{statement}: {error}");
    }
}

#[test]
fn filters_pass_on_what_is_asked_for() {
    let server = logging(
        "all, errors, api, some = medusa.log.tail(50), medusa.log.tail(50), medusa.log.tail(50), medusa.log.tail(50)",
        "medusa.log.multi {
            medusa.log.filter({ status = { 404, '5xx' } }, errors),
            medusa.log.filter({ path = '/api/*', method = 'GET|POST', status = { min = 200, max = 299 } }, api),
            medusa.log.filter(function(record) return record.path == '/api/x' or error('oops') end, some),
            all }",
    );
    for path in ["/404", "/410", "/500", "/api/x", "/api/x/y", "/other"] {
        server.get(path);
    }
    until(&server, "#all:records(), #some:records()", "6\t6");
    let targets = |tail: &str| {
        server.value(&format!(
            "local all = {{}} for i, r in {tail}:records() do all[i] = r.target end table.sort(all) return table.concat(all, ' ')"
        ))
    };
    assert_eq!(targets("errors"), "/404 /500");
    assert_eq!(targets("api"), "/api/x");
    assert_eq!(
        field(&server, "log.filter site.luau", "undecided").as_deref(),
        Some("5"),
        "{}",
        server.status()
    );
    assert_eq!(
        field(&server, "log.filter status", "passed_over").as_deref(),
        Some("4"),
        "{}",
        server.status()
    );
}

#[test]
fn a_filters_function_decides_and_cannot_change_the_site() {
    let server = logging(
        "kept = medusa.log.tail(50)",
        "medusa.log.filter(function(record)
            if record.path == '/loop' then while true do end end
            if record.path == '/change' then web:set_log(nil) end
            return record.status ~= 200
        end, kept)",
    );
    server.get("/404");
    server.get("/200");
    until(&server, "#kept:records()", "1");
    // It fails open.
    server.get("/change");
    until(&server, "#kept:records()", "2");
    server.get("/loop");
    until(&server, "#kept:records()", "3");
    assert_eq!(server.value("web.log == log"), "true");
}

#[test]
fn a_function_gets_batches_and_may_change_the_site() {
    let server = logging(
        "seen, calls = 0, 0",
        "medusa.log.luau(function(records, lost)
            assert(lost == nil and #records > 0)
            calls += 1
            for _, record in records do
                if record.path == '/mount' then web:mount('/new', function() return 'new' end) end
                if record.path == '/fail' then error('oops') end
            end
            seen += #records
        end)",
    );
    for _ in 0..10 {
        server.get("/a");
    }
    until(&server, "seen", "10");
    server.get("/fail");
    // What comes in one batch with it fails with it.
    until(&server, "site:status():match('failed%s+(%d+)')", "1");
    assert_eq!(server.value("seen"), "10");
    server.get("/mount");
    until(&server, "seen, #web.mounts", "11\t2");
    assert_eq!(server.get("/new").body, "new");
    until(&server, "seen", "12");
    assert_eq!(field(&server, "log.luau", "taken").as_deref(), Some("12"), "{}", server.status());
    assert_eq!(field(&server, "log.luau", "failed").as_deref(), Some("1"), "{}", server.status());
}

/// Runs `done` while two clients ask a hundred times a second at the most.
fn under_load(server: &Server, done: impl FnOnce()) {
    const PACE: Duration = Duration::from_millis(10);
    let addr = server.addr();
    std::thread::scope(|scope| {
        let _go_on = [(), ()].map(|()| {
            let (go_on, over) = mpsc::sync_channel::<()>(1);
            scope.spawn(move || {
                while over.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                    let mut client = TcpStream::connect(addr).unwrap();
                    client.write_all(b"GET /f HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").unwrap();
                    client.read_to_end(&mut Vec::new()).unwrap();
                }
            });
            go_on
        });
        done();
    });
}

/// Scripts that hold the thread where they cannot give way: for as long as they may, for a little less, and for ever where
/// they can.
const HOLDS: [&str; 3] = [
    "setmetatable({}, { __index = function() while true do end end }).x",
    "setmetatable({}, { __index = function() local from = os.clock() while os.clock() - from < 0.04 do end end }).x",
    "(function() while true do end end)()",
];

fn holding(log: &str) -> Server {
    let web = "web = medusa.http.server { listen = '127.0.0.1:0', log = log }";
    let mount = "web:mount('/f', medusa.handler.script('f.luau'))";
    Server::start(
        &format!("all = medusa.log.tail(1000) log = {log} {web} {mount}"),
        &[("f.luau", "return function() return 'x' end")],
    )
}

#[test]
fn the_operator_is_heard_beside_functions_of_logs_that_hold_the_thread() {
    for hold in HOLDS {
        for log in [
            format!("medusa.log.filter(function() return {hold} end, all)"),
            format!("medusa.log.luau(function(records) for _ in records do local _ = {hold} end end)"),
        ] {
            let server = holding(&log);
            under_load(&server, || {
                until(&server, "site:status():match('queue%s+[1-9]') ~= nil", "true");
                for turn in 0..5 {
                    assert_eq!(server.value(&format!("{turn}")), turn.to_string(), "{log}");
                }
                server.value("web:set_log(nil)");
                server.reload().unwrap();
            });
        }
    }
}

#[test]
fn a_filter_that_is_stopped_again_and_again_is_switched_off_and_all_passes() {
    let server = holding(&format!("medusa.log.filter(function() return {} end, all)", HOLDS[0]));
    under_load(&server, || {
        until(&server, "site:status():match('switched_off%s+(%a+)')", "yes");
    });
    // Several workers write, each in its time.
    let has = |target: &str| {
        format!(
            "local has = false for _, r in all:records() do has = has or r.target == '{target}' end return has"
        )
    };
    server.get("/f?last");
    until(&server, &has("/f?last"), "true");
    // A reload makes it anew.
    let keeps = "medusa.log.filter(function(r) return r.target == '/kept' end, all)";
    server.write("site.luau", &script("all = medusa.log.tail(1000)", keeps));
    server.reload().unwrap();
    server.get("/over");
    server.get("/kept");
    until(&server, &has("/kept"), "true");
    assert_eq!(server.value(&has("/over")), "false");
}

#[test]
fn a_function_that_is_stopped_again_and_again_is_not_called_any_more() {
    let server = holding(&format!("medusa.log.luau(function() local _ = {} end)", HOLDS[0]));
    under_load(&server, || {
        until(&server, "site:status():match('switched_off%s+(%a+)')", "yes");
        until(&server, "tonumber(site:status():match('lost%s+(%d+)')) > 0", "true");
    });
}

/// Records of requests that began under the old script go to the old function, and then its VM is freed.
#[test]
fn a_functions_vm_ends_with_its_last_records() {
    let before = "local told = medusa.shared('told')";
    let sink = |name: &str| {
        format!(
            "medusa.log.luau(function(records) told:set('{name}', (told:get('{name}') or 0) + #records) end)"
        )
    };
    let server = logging(before, &sink("old"));
    server.get("/a");
    server.write("site.luau", &script(before, &sink("new")));
    server.reload().unwrap();
    server.get("/b");
    until(&server, "medusa.shared('told'):get('old'), medusa.shared('told'):get('new')", "1\t1");
    let sinks = |server: &Server| server.status().matches("log.luau").count();
    assert_eq!(sinks(&server), 1, "{}", server.status());
}

#[test]
fn a_tail_is_followed_in_a_stream_of_events() {
    let server = logging("", "medusa.log.tail(10)");
    server.value(
        "web:mount('/live', function() return medusa.http.events(function(stream)
            for record, missed in log:follow(1) do stream:send(`{record.target} {missed}`) end
        end) end)",
    );
    server.get("/before");
    until(&server, "#log:records()", "1");
    let mut stream = server.connect();
    write!(stream, "GET /live HTTP/1.0\r\n\r\n").unwrap();
    let mut lines =
        BufReader::new(stream).lines().map(Result::unwrap).filter(|line| line.starts_with("data: "));
    assert_eq!(lines.next().as_deref(), Some("data: /before 0"));
    for path in ["/one", "/two", "/three"] {
        server.get(path);
        assert_eq!(lines.next().unwrap(), format!("data: {path} 0"));
    }
    // At the prompt, too: a statement waits for what comes.
    server.get("/four");
    let statement = "for record in log:follow(3) do if record.target == '/four' then return 'seen' end end";
    assert_eq!(server.value(statement), "seen");
}

#[test]
fn a_loop_that_is_too_slow_is_told_what_it_missed() {
    let server = logging("", "medusa.log.tail(1)");
    server.value("follow = log:follow()");
    for _ in 0..30 {
        let requests = "GET /x HTTP/1.1\r\nHost: t\r\n\r\n".repeat(99);
        let answers =
            server.send(&format!("{requests}GET /x HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"));
        assert_eq!(answers.body.matches("HTTP/1.1 200").count(), 99, "and the first");
    }
    let statement = "local got, missed = 0, 0
        while got + missed < 3000 do local _, m = follow() got += 1 missed += m end
        return got + missed, missed > 0";
    assert_eq!(server.value(statement), "3000\ttrue");
}

#[test]
fn a_sample_keeps_what_must_be_kept() {
    let server = logging("kept = medusa.log.tail(50)", "medusa.log.sample(1e-9, kept, { always = 'error' })");
    for _ in 0..10 {
        server.get("/200");
        server.get("/404");
    }
    server.get("/500");
    until(&server, "#kept:records()", "1");
    until(&server, "site:status():match('passed_over%s+(%d+)')", "20");
}

#[test]
fn events_go_to_a_log_until_they_are_removed() {
    let server = logging("", "medusa.log.tail(5)");
    server.value("events = medusa.log.events(log)");
    assert_eq!(server.value("events.level, events.log == log, #site.events, #site.logs"), "info\ttrue\t1\t1");
    assert_eq!(server.value("select(2, site:status():gsub('─ see ', ''))"), "0", "one log, shown once");
    server.value("medusa.log.events(log, { level = 'warn' })");
    assert_eq!(server.value("events.level, #site.events"), "warn\t1");
    assert!(server.status().contains("log.events"), "{}", server.status());
    server.value("events:remove()");
    assert_eq!(server.value("#site.events"), "0");
    let error = server.eval("events:remove()").unwrap_err().to_string();
    assert!(error.contains("no longer part of the site"), "{error}");
    assert!(!server.status().contains("log.events"), "{}", server.status());
}
