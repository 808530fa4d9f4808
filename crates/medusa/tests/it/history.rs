//! Generations: what changed is told, one can go back, changes of several statements, changes on trial.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use std::{fs, thread};

use medusa_monitor::{CallError, Client, Done, Op};
use medusa_testkit::{Server, Signal, WebSocket, wait};

use super::support::{MEDUSA, start, unnumbered, web};

/// A session, with the results of its statements.
pub(crate) struct Session(Client);

impl Session {
    #[track_caller]
    pub(crate) fn with(server: &Server) -> Self {
        Self(Client::connect(server.state()).expect("the control socket"))
    }

    pub(crate) fn run(&mut self, statement: &str) -> Result<Done, CallError> {
        self.0.call(&Op::Eval { source: statement.to_owned() }, |_event| {})
    }

    /// The value of a statement that must succeed.
    #[track_caller]
    pub(crate) fn value(&mut self, statement: &str) -> String {
        let done = self.run(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
        done.value.or(done.report).unwrap_or_default()
    }

    /// What a statement that must succeed has changed, without how long that took.
    #[track_caller]
    pub(crate) fn report(&mut self, statement: &str) -> String {
        let done = self.run(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
        short(&done.report.unwrap_or_default())
    }

    /// Why a statement fails.
    #[track_caller]
    pub(crate) fn failure(&mut self, statement: &str) -> String {
        match self.run(statement) {
            Ok(done) => panic!("{statement}: {done:?}"),
            Err(error) => error.to_string(),
        }
    }
}

/// A report without its workers and time, and without the numbers of statements.
pub(crate) fn short(report: &str) -> String {
    let report = &unnumbered(report);
    let (start, rest) = report.split_once("  (").unwrap_or((report, ""));
    let end = rest.split_once(')').map_or("", |(_, end)| end);
    format!("{start}{end}")
}

#[test]
fn a_statement_publishes_so_many_generations_and_no_more() {
    let server = start(&web(""));
    let mut session = Session::with(&server);
    let mounts = |path: &str, times: u32| {
        format!(
            "local m = web:mount('{path}', function() return '' end) for i = 1, {times} do commit() m:replace(function() \
             return tostring(i) end) end"
        )
    };
    session.value(&mounts("/a", 64));
    assert_eq!(server.get("/a").text(), "64");
    let refused = session.failure(&mounts("/b", 65));
    assert!(refused.contains("has published 64 generations, which is the most"), "{refused}");
    assert_eq!(server.get("/b").text(), "63", "what it published stays");
    // What takes back publishes, too.
    let refused =
        session.failure("for i = 1, 33 do web:mount('/c', function() return '' end) commit(60) cancel() end");
    assert!(refused.contains("commit: this statement has published 64 generations"), "{refused}");
    let one_more = format!("{} m:replace(function() end) commit(60) cancel()", mounts("/c", 63));
    let refused = session.failure(&one_more);
    assert!(refused.contains("cancel: this statement has published 64 generations"), "{refused}");
    assert!(short(&session.value("cancel()")).contains(": ~ /c"), "another does");
    // All of them are known to be of a statement, so that later ones can be made again.
    assert!(!session.value("drift()").contains("nothing is known"), "{}", session.value("drift()"));
}

#[test]
fn each_change_says_what_it_changed() {
    let site = web("m = web:mount('/a', function() return 'a' end)")
        .file("b.luau", "return function() return 'b' end");
    let server = start(&site);
    let mut session = Session::with(&server);
    assert_eq!(session.report("return 1"), "");
    assert_eq!(session.report("n = web:mount('/b', function() return 'b' end)"), "generation 2: + /b");
    assert_eq!(
        session
            .report("m:replace(medusa.handler.script('b.luau')) n:remove() web:set_log(medusa.log.tail(9))"),
        "generation 3: ~ /a: script b.luau (was function site.luau:2)  - /b  ~ log: log.tail 9 (was none)"
    );
    assert_eq!(
        session.report("t = medusa.every(60, function() end)"),
        "generation 4: + timer at statement:1"
    );
    assert_eq!(
        session.report("other = medusa.http.server { listen = '127.0.0.1:0', name = 'other' }"),
        "generation 5: + HTTP server \"other\""
    );
    assert_eq!(session.report("other:mount('/x', function() end)"), "generation 6: + other /x");
    assert_eq!(
        session.report("other:remove() t:cancel()"),
        "generation 7: - timer at statement:1  - HTTP server \"other\""
    );
    let change = "~ /a: script b.luau (was function site.luau:2)  - /b  ~ log: log.tail 9 (was none)";
    assert_eq!(session.value("diff(2, 3)"), change);
    let back = "~ /a: function site.luau:2 (was script b.luau)  + /b  ~ log: none (was log.tail 9)";
    assert_eq!(session.value("diff(3, 2)"), back);
    assert_eq!(session.value("diff(7)"), "no difference");
    let last = session.value("generations()[5]");
    assert!(
        last.starts_with("generation 3, eval by uid ") && last.ends_with(&format!(": {change}")),
        "{last}"
    );
    assert_eq!(session.value("#generations()"), "7");
    assert!(session.failure("diff(1, 99)").contains("there is no generation 99: there are 1 to 7"));
    let reload = server.command(["reload"]).success();
    assert!(reload.is_empty());
    assert!(session.value("generations()[1]").contains("reload by uid "));
}

#[test]
fn a_change_says_what_was_and_what_is() {
    let site = web("handler = medusa.handler
        moved = web:mount('/moved', handler.redirect('/a'))
        web:mount('/wrapped', handler.compress(handler.files('.')))
        web:mount('/small', handler.files('.'), { body = 1024 })");
    let server = start(&site);
    let mut session = Session::with(&server);
    let mut told = |statement: &str| {
        let report = session.report(statement);
        report.split_once(": ").expect("a report").1.to_owned()
    };
    assert_eq!(
        told("moved:replace(handler.redirect('/a', { permanent = true }))"),
        "~ /moved: permanent yes (was no)"
    );
    assert_eq!(
        told("moved:replace(handler.redirect('/b'))"),
        "~ /moved: handler.redirect /b (was handler.redirect /a), permanent no (was yes)"
    );
    let unwrapped = told("web:find('/wrapped'):replace(handler.files('.'))");
    assert!(unwrapped.starts_with("~ /wrapped: handler.files /"), "{unwrapped}");
    assert!(unwrapped.contains(" (was handler.compress → handler.files /"), "{unwrapped}");
    site.write(
        "site.luau",
        site.read("site.luau")
            .replace("1024", "2048")
            .replace("'127.0.0.1:0'", "'127.0.0.1:0', limits = { body = 5, idle = 9 }"),
    );
    server.command(["reload"]).success();
    let changed = "~ /small: body 2.0 KiB (was 1.0 KiB)  ~ limits: body 5 (was 1048576), idle 9 (was 75)";
    let diff = session.value("diff(1)");
    assert!(diff.ends_with(changed), "{diff}");
    // However long it is, it ends.
    let long = format!("moved:replace(handler.redirect('/{}'))", "x".repeat(3000));
    let told = session.report(&long);
    assert!(told.len() < 300 && told.contains('…'), "{told}");
}

#[test]
fn one_can_go_back_and_back_again() {
    let site = web("count = 0
        ticks = medusa.shared('ticks')
        medusa.every(0.02, function() ticks:incr('old', 1) end)
        web:mount('/{$}', function() count += 1 return 'one ' .. count end)
        web:mount('/ws', function(req)
            return req:websocket(function(ws) for message in ws do ws:send(message) end end)
        end)");
    let server = start(&site);
    let mut session = Session::with(&server);
    assert_eq!(server.get("/").text(), "one 1");
    session.report("web:mount('/two', function() return 'two' end)");
    let three = web("web:mount('/{$}', function() return 'three' end)");
    site.write("site.luau", three.read("site.luau"));
    server.reload();
    assert_eq!(server.get("/").text(), "three");
    assert_eq!((server.get("/two").status, server.get("/ws").status), (404, 404));
    assert_eq!(server.documents("vm.paused").len(), 1);
    let paused = session.value("medusa.shared('ticks'):get('old') or 0");

    let back = short(&session.value("rollback(2, 'three is wrong')"));
    assert!(back.starts_with("generation 4: ~ /{$}: function site.luau:5 (was function site.luau:2)  + /ws  + /two  + timer at site.luau:4"), "{back}");
    assert_eq!(server.get("/").text(), "one 2", "the VM is the old one, with its values");
    assert_eq!(server.get("/two").text(), "two");
    wait::until("the old timer runs again", || {
        let now: f64 = session.value("medusa.shared('ticks'):get('old') or 0").parse().expect("a number");
        (now > paused.parse().expect("a number")).then_some(())
    });
    let mut socket = WebSocket::connect(server.address(), "/ws");
    socket.send("again");
    assert_eq!(socket.text(), "again");
    assert_eq!(session.value("count"), "2", "statements run in it, too");
    assert!(session.value("generations()[1].reason").contains("three is wrong"));

    let back = short(&session.value("rollback(3)"));
    let changed =
        "generation 5: ~ /{$}: function site.luau:2 (was function site.luau:5)  - /ws  - /two  - timer";
    assert!(back.starts_with(changed), "{back}");
    assert_eq!(server.get("/").text(), "three");
    assert!(session.failure("rollback(5)").contains("generation 5 is the running one"));
    assert!(session.failure("web:mount('/x', function() end) rollback(4)").contains("a change of its own"));
    assert!(session.failure("rollback(77)").contains("there is no generation 77"));
    // In code it is done at the end: whatever fails has changed nothing.
    for (statement, why) in [
        ("rollback(4) error('no')", "no"),
        ("rollback(4) commit(60)", "this statement goes back to generation 4 at its end"),
        (
            "rollback(4) web:mount('/x', function() end)",
            "this statement goes back to generation 4 at its end",
        ),
        ("rollback(4) rollback(3)", "this statement goes back to generation 4 at its end"),
        ("x = 1 rollback(77)", "there is no generation 77"),
        ("begin() rollback(4) abort()", "a change of its own"),
    ] {
        assert!(session.failure(statement).contains(why), "{statement}");
        assert_eq!(session.value("generations()[1].number .. tostring(x)"), "5nil", "{statement}");
    }
    assert!(short(&session.report("local why = 'in code' rollback(4, why)")).starts_with("generation 6: "));
    assert!(short(&session.report("rollback(5, 'and back' .. '')")).starts_with("generation 7: "));
}

/// What is not kept any more is made again: of the script as it was, its modules and handler files, and the statements since.
#[test]
fn an_old_generation_is_made_again_of_its_sources() {
    let site = web("web:mount('/', function() return require('text') end) web:mount('/h', medusa.handler.script('h.luau'))")
        .file("text.luau", "return 'old'")
        .file("h.luau", "return function() return require('text') end");
    let server = start(&site);
    let mut session = Session::with(&server);
    session.value("name = 'statement'");
    session.report("web:mount('/s', function() return name end)");
    assert_eq!((server.get("/").text(), server.get("/h").text()), ("old".into(), "old".into()));
    site.write("text.luau", "return 'new'");
    for _ in 0..5 {
        server.reload();
    }
    assert_eq!((server.get("/").text(), server.get("/h").text()), ("new".into(), "new".into()));
    assert_eq!(session.value("generations()[6].whole"), "false");
    session.value("rollback(2)");
    assert_eq!((server.get("/").text(), server.get("/h").text()), ("old".into(), "old".into()));
    assert_eq!(server.get("/s").text(), "statement");
    session.value("rollback(3)");
    assert_eq!(server.get("/").text(), "new");
}

#[test]
fn the_way_of_a_request_is_explained() {
    let site = web("web:mount('/', function() end)
        web:mount('GET /api/', medusa.handler.compress(medusa.handler.script('api.luau')))")
    .file("api.luau", "return function() end");
    let server = start(&site);
    let mut session = Session::with(&server);
    assert_eq!(
        session.value("explain('GET', '/api/x')"),
        "http: answered by GET /api/\n  GET /api/  handler.compress → script api.luau  (site.luau:3, generation 1)\n  /  function \
         site.luau:2  (site.luau:2, generation 1)"
    );
    session.report("web.mounts[1]:replace(function() end)");
    let text = unnumbered(&session.value("explain('POST', 'http://example.com/api/x')"));
    assert_eq!(text, "http: answered by /\n  /  function statement:1  (statement:1, generation 2)");
    server.command(["reload"]).success();
    let text = session.value("explain('GET', '/api/x')");
    assert!(text.contains("script api.luau  (site.luau:3, generation 1)"), "as `handlers()` says: {text}");
    session.report("web.mounts[1]:remove()");
    assert_eq!(session.value("explain('POST', '/api/x')"), "http: answered 405: allowed are GET, HEAD");
    assert_eq!(session.value("explain('GET', '/api')"), "http: redirected to /api/");
    assert_eq!(session.value("explain('GET', '/gone')"), "http: answered 404: no mount matches");
    assert!(session.failure("explain('GET', 'a b')").contains("is no URL"));
    // What the server answers by itself is told as it is served.
    session.value("web:mount('/any', function() return 'any' end)");
    for (method, path, told) in [
        ("OPTIONS", "/api/x", "answered 204: allowed are GET, HEAD, OPTIONS"),
        ("OPTIONS", "*", "answered 204: allowed are GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        ("TRACE", "/any", "answered 405: allowed are GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        ("TRACE", "/api/x", "answered 405: allowed are GET, HEAD"),
        ("BREW", "/api/x", "answered 501: no server here knows this method"),
        ("OPTIONS", "/gone", "answered 404: no mount matches"),
        ("PUT", "/api/x", "answered 405: allowed are GET, HEAD"),
    ] {
        assert_eq!(session.value(&format!("explain('{method}', '{path}')")), format!("http: {told}"));
        let request = format!("{method} {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        let served = server.send(request);
        assert!(
            told.starts_with(&format!("answered {}:", served.status)),
            "{method} {path}: {}",
            served.status
        );
        let allow = served.header("allow").map(|allow| told.ends_with(&format!("allowed are {allow}")));
        assert!(allow.unwrap_or(!told.contains("allowed are")), "{method} {path}");
    }
    assert!(session.value("explain('OPTIONS', '/any')").starts_with("http: answered by /any\n"));
}

#[test]
fn a_command_says_what_it_wants_and_what_it_was_given() {
    let server = start(&web(""));
    let mut session = Session::with(&server);
    for (statement, why) in [
        ("explain(print)", "explain: the method must be a string, not a function"),
        ("explain('GET', 5)", "explain: the URL must be a string, not 5"),
        ("explain()", "explain: the method must be a string, not nil"),
        ("save(print)", "save: the reason must be a string, not a function"),
        ("commit(60, nil, {})", "commit: the reason must be a string, not a table"),
        ("rollback(1, 5)", "rollback: the reason must be a string, not 5"),
        (
            "rollback(print)",
            "rollback: the generation must be a whole number, as generations() lists them, not a function",
        ),
        (
            "drain({})",
            "drain: the generation must be a whole number, as generations() lists them, not a table",
        ),
        ("drain(1, 'x')", "drain: the seconds must be a number, not \"x\""),
        (
            "rollback(1e300)",
            "rollback: the generation must be a whole number, as generations() lists them, not 1e300",
        ),
        (
            "drain(1e308)",
            "drain: the generation must be a whole number, as generations() lists them, not 1e308",
        ),
        ("local x = drain(1, 1e308)", "drain: seconds must be a number from 0 to 3600, not 1e308"),
        ("commit(1e308)", "commit: the time to confirm must be 1 to 86400 seconds, not 1e308"),
        ("trace(nil, 1e308)", "trace: n must be a whole number from 1 to 1000, not 1e308"),
        (
            "web:mount('/', print, { body = 1e308 })",
            "mount: `body` must be a whole number from 0 to 9007199254740992, not 1e308",
        ),
        ("trace(nil, 'x')", "trace: n must be a number, not \"x\""),
        ("medusa.monitor.kill(print)", "medusa.monitor.kill: the session must be a number, not a function"),
        ("medusa.every('x', print)", "medusa.every: the interval must be a number, not \"x\""),
        ("medusa.every(1, 'x')", "medusa.every: what it runs must be a function, not \"x\""),
        (
            "medusa.handler.files(print)",
            "medusa.handler.files: the directory must be a string, not a function",
        ),
        ("medusa.handler.script()", "medusa.handler.script: the file must be a string, not nil"),
        ("medusa.log.file({})", "medusa.log.file: the path must be a string, not a table"),
        ("medusa.log.socket(5)", "medusa.log.socket: the target must be a string, not 5"),
        ("medusa.log.syslog(print)", "medusa.log.syslog: the target must be a string, not a function"),
        ("medusa.log.sample('x')", "medusa.log.sample: the rate must be a number, not \"x\""),
        ("medusa.log.luau('x')", "medusa.log.luau: what it calls must be a function, not \"x\""),
        ("medusa.shared('x'):get({})", "get: argument 1 must be a string, not a table"),
        ("medusa.shared('x'):incr('n', 1, {})", "incr: argument 3 must be a number, not a table"),
        ("medusa.dns.system():cache({})", "cache: argument 1 must be a string, not a table"),
        ("medusa.log.tail(5):lines({}, {})", "lines: argument 2 must be a string, not a table"),
        ("medusa.sleep('x')", "argument 1 must be a number, not a string"),
        ("medusa.json.decode({})", "argument 1 must be a string, not a table"),
        ("medusa.log.multi(4)", "argument 1 must be a table, not a number"),
        ("medusa.http.events('x')", "medusa.http.events: what it runs must be a function, not \"x\""),
    ] {
        let told = session.failure(statement);
        assert!(told.starts_with(&format!("statement:1: {why}")), "{statement}: {told}");
    }
    let told = server.command(["diff", "1", "2"]).failure(1);
    assert!(told.contains("`diff 1 --to 2`"), "{told}");
}

/// What ran before a trial cannot be noted where nobody knows how it came to be.
#[test]
fn a_trial_that_is_not_kept_over_a_crash_says_so() {
    let site = web("web:mount('/{$}', medusa.handler.script('h.luau'))")
        .file("h.luau", "return function() return 'old' end");
    let state = tempfile::tempdir().expect("a directory");
    let start = || MEDUSA.serve_with_state(site.path(), state.path()).start();
    let mut server = start();
    let mut session = Session::with(&server);
    let long = "y".repeat(1_000_000);
    (0..9).for_each(|_| drop(session.value(&format!("x = 1 --{long}"))));
    assert!(session.failure("save('x')").contains("too many statements to know them all"));
    let done = session.run("web:mount('/tried', function() end) commit(600)").expect("it is published");
    let unkept =
        "unless confirm(); not kept over a crash: since the script was loaded there were too many statements";
    let report = done.report.expect("a report");
    assert!(report.contains(unkept), "{report}");
    server.stderr().wait_for("a change on trial is not kept over a crash: ");
    session.value("cancel()");
    site.write("h.luau", "return function() return 'new' end");
    let reloaded = server.command(["reload", "--confirm", "600"]);
    assert!(reloaded.stderr.contains(unkept), "{reloaded}");
    server.signal(Signal::KILL);
    server.wait();
    // As the documents say: with the script as it is on disk.
    let server = start();
    assert_eq!((server.get("/").text(), server.get("/tried").status), ("new".to_owned(), 404));
    // Where it is known, nothing is said.
    let mut session = Session::with(&server);
    let report = session.report("web:mount('/tried', function() end) commit(600)");
    assert!(!report.contains("not kept"), "{report}");
}

#[test]
fn several_statements_are_one_change() {
    let server = start(&web("m = web:mount('/{$}', function() return 'old' end)"));
    let mut session = Session::with(&server);
    let mut other = Session::with(&server);
    session.value("begin()");
    let done = session.run("m:replace(function() return 'new' end)").expect("an edit");
    assert!(done.open && done.generation.is_none());
    session.value("web:mount('/more', function() return 'more' end)");
    assert!(session.failure("web:mount('/lost', function() end) error('no')").contains("no"));
    assert!(
        session.failure("web:mount('/lost', ").contains("statement:1"),
        "what is no statement loses nothing"
    );
    assert!(
        session.value("web:mount('/shown', function() end)").starts_with("Mount \"/shown\" ("),
        "as the change has it"
    );
    session.value("for _, m in web.mounts do if m.pattern == '/shown' then m:remove() end end");
    assert_eq!((server.get("/").text(), server.get("/more").status), ("old".into(), 404));
    assert_eq!(other.value("#web.mounts"), "1", "nobody else sees it");
    assert_eq!(session.value("#web.mounts"), "2");
    assert_eq!(
        short(&session.value("commit()")),
        "generation 2: ~ /{$}: function statement:1 (was function site.luau:2)  + /more"
    );
    assert_eq!((server.get("/").text(), server.get("/more").text()), ("new".into(), "more".into()));
    assert_eq!(server.get("/lost").status, 404);

    // One that is given up, and one that somebody else was faster than.
    session.value("begin()");
    session.value("m:remove()");
    session.value("abort()");
    assert!(session.failure("abort()").contains("nothing was begun"));
    assert!(session.failure("commit()").contains("nothing was changed"));
    session.value("begin() web:mount('/slow', function() end)");
    assert!(session.failure("begin()").contains("begun already"));
    other.report("web:mount('/fast', function() return 'fast' end)");
    let stale = session.failure("commit()");
    assert!(stale.contains("begun on generation 2, and 3 is there now (+ /fast)"), "{stale}");
    assert_eq!((server.get("/slow").status, server.get("/fast").text()), (404, "fast".into()));
    assert!(!session.run("return 1").expect("a statement").open);

    // One whose session ends.
    session.value("begin() m:remove()");
    drop(session);
    assert_eq!(server.get("/").text(), "new");
    assert_eq!(server.command(["eval", "begin() m:remove()"]).success(), "");
    assert_eq!(server.get("/").text(), "new");
}

#[test]
fn a_change_on_trial_goes_back_by_itself() {
    let server = start(&web("m = web:mount('/{$}', function() return 'old' end)"));
    let mut session = Session::with(&server);
    let trial = short(&session.value("m:replace(function() return 'new' end) return commit(1)"));
    assert_eq!(
        trial,
        "generation 2: ~ /{$}: function statement:1 (was function site.luau:2); goes back to 1 in 1 s unless confirm()"
    );
    assert_eq!(server.get("/").text(), "new");
    wait::until("it is taken back", || (server.get("/").text() == "old").then_some(()));
    server.stderr().wait_for("was not confirmed and is taken back");
    for nothing in ["confirm()", "cancel()", "local x = cancel()"] {
        assert!(session.failure(nothing).contains("no change is on trial"), "{nothing}");
    }
    assert!(
        session.value("generations()").contains("\ngeneration 2, eval by uid "),
        "a command, not a statement"
    );
    assert!(session.value("generations()[1].author").contains("the end of the trial of generation 2"));

    // While one is on trial, nothing else changes: not by others, not by a reload.
    session.value("m:replace(function() return 'newer' end) return commit(600, 'try it')");
    let mut other = Session::with(&server);
    // In one form, whoever asks.
    let (listed, one) = (other.value("generations()"), other.value("tostring(generations()[1])"));
    assert_eq!(listed.lines().next(), Some(&*one));
    assert!(
        one.contains("generation 4 (on trial), eval by uid ") && one.contains(", for \"try it\": "),
        "{one}"
    );
    let refused = other.failure("web:mount('/x', function() end)");
    assert!(
        refused.contains("generation 4 by eval by uid ") && refused.contains("goes back to 3 in "),
        "{refused}"
    );
    let refused = server.command(["reload"]).failure(1);
    assert!(refused.contains("is not confirmed yet"), "{refused}");
    assert_eq!(server.documents("unconfirmed").len(), 1);
    assert!(other.failure("confirm(3)").contains("generation 3 is not on trial, generation 4 is"));
    let extended = other.value("commit(1200)");
    assert!(extended.starts_with("generation 4 goes back to 3 in 1200 s"), "{extended}");
    drop(session);
    assert_eq!(other.value("confirm(4)"), "generation 4 is confirmed");
    assert_eq!(server.get("/").text(), "newer");
    other.report("web:mount('/x', function() return 'x' end)");

    // Taken back at once.
    other.value("web:mount('/y', function() return 'y' end) return commit(600)");
    assert_eq!(server.get("/y").text(), "y");
    assert!(short(&other.value("cancel()")).starts_with("generation 7: - /y"));
    assert_eq!((server.get("/y").status, server.get("/x").text()), (404, "x".into()));
    for bad in ["commit(0)", "commit(-1)", "commit(1e9)", "commit(0/0)"] {
        let told = other.failure(&format!("web:mount('/z', function() end) {bad}"));
        assert!(told.contains("the time to confirm must be 1 to 86400 seconds"), "{bad}: {told}");
    }
    assert_eq!(server.get("/z").status, 404);
}

#[test]
fn a_guard_takes_a_change_on_trial_back_before_its_time() {
    let server = start(&web(
        "m = web:mount('/{$}', function() return 'old' end) web:mount('/other', function() error('as ever') end)",
    ));
    let mut session = Session::with(&server);
    // Others who fail as they did before are not its fault.
    (0..30).for_each(|_| drop(server.get("/other")));
    let trial =
        session.value("m:replace(function() return 'new' end) return commit(60, { errors = 0.01 }, 'why')");
    assert!(trial.ends_with("goes back to 1 in 60 s unless confirm(), at once at 1% more errors"), "{trial}");
    (0..30).for_each(|_| drop((server.get("/other"), server.get("/"))));
    assert_eq!(session.value("confirm()"), "generation 2 is confirmed");

    session.value("m:replace(function() error('no') end) return commit(60, { errors = 0.01 })");
    (0..30).for_each(|_| assert_eq!(server.get("/").status, 500));
    server.stderr().wait_for("generation 3 does badly (100% of the requests to what it changed fail, 0% did before) and is taken back");
    wait::until("it is taken back", || (server.get("/").text() == "new").then_some(()));

    // How long requests take, as long as there are some.
    let few = session.value("m:replace(function() return 'few' end) return commit(60, { p99 = 2 })");
    assert!(few.ends_with("at once at no p99, as too few requests came before"), "{few}");
    session.value("confirm()");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = server.connect();
                while !over.load(Relaxed) {
                    client.get("/");
                    thread::park_timeout(Duration::from_millis(20));
                }
            });
        }
        let slow = "m:replace(function() medusa.sleep(2) return 'slow' end) return commit(60, { p99 = 3 })";
        let trial = session.value(slow);
        assert!(trial.contains("at once at a p99 over 3 times "), "{trial}");
        server.stderr().wait_for("generation 6 does badly (the p99 of what it changed is ");
        over.store(true, Relaxed);
    });
    wait::until("it is taken back", || (server.get("/").text() == "few").then_some(()));
    for (bad, why) in [
        ("commit(60, { errors = 1 })", "`errors` must be a part of all requests"),
        ("commit(60, { p99 = 0.5 })", "`p99` must be a number of times"),
        ("commit(60, { p95 = 2 })", "there is no option \"p95\"; there are: errors, p99"),
        ("commit(nil, { p99 = 2 })", "guards are for a change on trial"),
    ] {
        let told = session.failure(&format!("web:mount('/z', function() end) {bad}"));
        assert!(told.contains(why), "{bad}: {told}");
    }
}

/// A server that is killed while a change is on trial starts with what was before it; once that is confirmed, with the script.
#[test]
fn kill_9_in_a_trial_starts_with_what_was_confirmed() {
    let site = web("web:mount('/{$}', medusa.handler.script('h.luau'))")
        .file("h.luau", "return function() return 'old' end");
    let state = tempfile::tempdir().expect("a directory");
    let start = || MEDUSA.serve_with_state(site.path(), state.path()).start();
    let kill = |mut server: Server| {
        server.signal(Signal::KILL);
        server.wait();
    };
    let server = start();
    server.eval("web:mount('/kept', function() return 'kept' end)");
    server.eval("web:mount('/tried', function() return 'tried' end) commit(600)");
    assert_eq!(server.get("/tried").text(), "tried");
    kill(server);
    let server = start();
    server.stderr().wait_for("generation 3 was not confirmed when the server ended");
    assert_eq!((server.get("/kept").text(), server.get("/tried").status), ("kept".into(), 404));
    // With that the trial is over: from the next start on it is the script again.
    kill(server);
    let server = start();
    assert_eq!(server.get("/kept").status, 404, "what no file says is gone with a start");

    site.write("h.luau", "return function() return 'new' end");
    let report = server.command(["reload", "--confirm", "600"]);
    assert_eq!(report.success(), "");
    assert_eq!(server.get("/").text(), "new");
    kill(server);
    let server = start();
    assert_eq!(server.get("/").text(), "old", "nobody has confirmed the other");
    kill(server);
    let server = start();
    assert_eq!(server.get("/").text(), "old", "nor since");
    server.reload();
    assert_eq!(server.get("/").text(), "new");
    kill(server);
    assert_eq!(start().get("/").text(), "new");

    // Confirmed, and then killed.
    let server = start();
    site.write("h.luau", "return function() return 'newer' end");
    server.command(["reload", "--confirm", "600"]).success();
    let confirmed = server.command(["confirm"]).said();
    assert!(confirmed.starts_with("generation ") && confirmed.ends_with(" is confirmed"), "{confirmed}");
    kill(server);
    let server = start();
    assert_eq!(server.get("/").text(), "newer");

    // Taken back, and then killed: the script on disk is still what was taken back, until somebody changes it.
    site.write("h.luau", "return function() return 'bad' end");
    server.command(["reload", "--confirm", "600"]).success();
    server.command(["cancel"]).success();
    kill(server);
    let server = start();
    assert_eq!(server.get("/").text(), "newer");
    kill(server);
    site.write("h.luau", "return function() return 'mended' end");
    assert_eq!(start().get("/").text(), "mended");
}

#[track_caller]
fn wait_for_lines(history: &Path, lines: usize) {
    wait::until("the history is on disk", || {
        (fs::read_to_string(history).unwrap_or_default().lines().count() == lines).then_some(())
    });
}

/// A number that was told is that of no other generation, whatever became of the history.
#[test]
fn no_number_is_given_twice() {
    let site = web("");
    let state = tempfile::tempdir().expect("a directory");
    let start = || MEDUSA.serve_with_state(site.path(), state.path()).start();
    let history = state.path().join("history.jsonl");
    let mut server = start();
    server.eval("web:mount('/a', function() return 'a' end)");
    server.eval("web:mount('/b', function() return 'b' end)");
    wait_for_lines(&history, 3);
    server.signal(Signal::KILL);
    server.wait();
    // As on a disk that had no room for all of it.
    let text = fs::read(&history).expect("there");
    fs::write(&history, &text[..text.len() - 9]).expect("written");
    let server = start();
    let list = server.command(["generations"]).said();
    assert!(list.lines().next().is_some_and(|last| last.contains("generation 4, start")), "{list}");
    assert!(!list.contains("generation 3,") && list.contains("generation 2, eval by uid "), "{list}");
    let unknown = server.command(["rollback", "3"]).failure(1);
    assert!(unknown.contains("there is no generation 3: it is forgotten; of those from 1 to 4"), "{unknown}");
}

/// What ran before the server was started anew is known, and can be gone back to although the files have changed since.
#[test]
fn the_history_outlives_the_process() {
    let site = web("web:mount('/script', function() return 'old' end) web:mount('/lib', require('lib'))")
        .file("lib.luau", "return function() return 'old' end");
    let state = tempfile::tempdir().expect("a directory");
    let start = || MEDUSA.serve_with_state(site.path(), state.path()).start();
    let history = state.path().join("history.jsonl");
    let written = |lines| wait_for_lines(&history, lines);
    let server = start();
    server.eval("web:mount('/a', function() return 'a' end)");
    server.eval("web:mount('/b', function() return 'b' end)");
    server.eval("rollback(2, 'not yet')");
    written(4);
    let mut server = server;
    server.signal(Signal::KILL);
    server.wait();
    site.write("site.luau", site.read("site.luau").replace("old", "new"));
    site.write("lib.luau", "return function() return 'new' end");

    let server = start();
    let list = server.command(["generations"]).said();
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines.len(), 5, "{list}");
    assert!(lines[0].contains("generation 5, start"), "{list}");
    assert!(lines[1].contains("generation 4, rollback by uid ") && lines[1].contains("not yet"), "{list}");
    assert!(lines[4].contains("generation 1, start: + HTTP server \"http\""), "{list}");
    let answers = |paths: [&str; 4]| {
        paths.map(|path| server.get(path)).map(|answer| match answer.status {
            200 => answer.text(),
            status => status.to_string(),
        })
    };
    let all = ["/script", "/lib", "/a", "/b"];
    assert_eq!(answers(all), ["new", "new", "404", "404"]);
    for (generation, expected) in
        [(3, ["old", "old", "a", "b"]), (4, ["old", "old", "a", "404"]), (5, ["new", "new", "404", "404"])]
    {
        server.command(["rollback", &generation.to_string()]).success();
        assert_eq!(answers(all), expected, "{generation}");
    }
    assert!(server.command(["diff", "2"]).failure(1).contains("generation 2"));
    written(8);
    server.terminate();

    // What cannot be read is no reason not to start.
    fs::write(&history, "nonsense\n").expect("written");
    let server = start();
    server.stderr().wait_for("history.jsonl has lines that cannot be read (1)");
    assert_eq!(server.get("/script").text(), "new");
    server.terminate();
    fs::remove_file(&history).expect("removed");
    std::os::unix::fs::symlink("/dev/zero", &history).expect("made");
    let server = start();
    server.stderr().wait_for("what ran before this start is not known: cannot read history.jsonl");
    server.eval("web:mount('/a', function() return 'a' end)");
    assert_eq!(server.get("/a").text(), "a");
}

#[test]
fn the_command_line_has_the_same() {
    let server = start(&web("m = web:mount('/{$}', function() return 'old' end)"));
    server.eval("m:replace(function() return 'new' end)");
    let command = |words: &[&str]| server.command(words.iter().copied()).success();
    let list = command(&["generations"]);
    let lines: Vec<_> = list.lines().collect();
    let change = "~ /{$}: function statement:1 (was function site.luau:2)";
    assert!(
        lines[0].contains("  generation 2, eval by uid ") && unnumbered(lines[0]).ends_with(change),
        "{list}"
    );
    assert!(
        lines[1].starts_with("20") && lines[1].contains("  generation 1, start: + HTTP server \"http\""),
        "{list}"
    );
    assert!(command(&["generations", "--json"]).contains("\"number\": 2"));
    assert_eq!(unnumbered(&command(&["diff", "1"])), format!("{change}\n"));
    let back = "~ /{$}: function site.luau:2 (was function statement:1)";
    assert_eq!(unnumbered(&command(&["diff", "2", "--to", "1"])), format!("{back}\n"));
    let explained = unnumbered(&command(&["explain", "GET", "/"]));
    assert!(explained.starts_with("http: answered by /{$}\n  /{$}  function statement:1"), "{explained}");
    let rollback = unnumbered(&command(&["rollback", "1", "--reason", "no"]));
    assert!(rollback.starts_with(&format!("generation 3: {back}  (")), "{rollback}");
    assert_eq!(server.get("/").text(), "old");
    for (words, why) in [
        (&["rollback", "9"][..], "there is no generation 9: there are 1 to 3"),
        (&["confirm"], "no change is on trial"),
        (&["cancel", "--generation", "3"], "no change is on trial"),
        (&["explain", "G T", "/"], "\"G T\" is no method"),
        (&["reload", "--confirm", "0"], "the time to confirm must be 1 to 86400 seconds, not 0"),
    ] {
        let refused = server.command(words.iter().copied()).failure(1);
        assert!(refused.contains(why), "{words:?}: {refused}");
    }
}

/// A main VM that can be gone back to costs memory; there are three at most.
#[test]
fn replaced_scripts_are_kept_up_to_three() {
    let site = web("kept = string.rep('x', 1000000) web:mount('/', function() return kept end)");
    let server = start(&site);
    let mut session = Session::with(&server);
    session.value("held = generations()"); // whoever holds what is said of them holds none of them
    for _ in 0..6 {
        server.reload();
    }
    assert_eq!(server.documents("vm.paused").len(), 3);
    let whole =
        session.value("local n = 0 for _, g in generations() do n += g.whole and 1 or 0 end return n");
    assert_eq!(whole, "4");
    wait::until("the others are gone", || server.documents("vm.replaced").is_empty().then_some(()));
}
