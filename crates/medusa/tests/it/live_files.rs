//! Live edits that are saved: they run after the script, whenever and however it is loaded.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use medusa_monitor::{Client, Op};
use medusa_testkit::{Server, Signal, wait};

use super::support::{MEDUSA, NO_DRIFT, start, web};

fn kill(mut server: Server) {
    server.signal(Signal::KILL);
    server.wait();
}

/// Runs a command that must succeed; what it prints.
#[track_caller]
fn command(server: &Server, words: &[&str]) -> String {
    server.command(words.iter().copied()).said()
}

/// Why a statement fails.
#[track_caller]
fn failure(server: &Server, statement: &str) -> String {
    server.command(["eval", statement]).failure(1)
}

#[test]
fn what_is_saved_stays() {
    let site = web("greeting = 'hi' web:mount('/script', function() return greeting end)")
        .file("h.luau", "return function() return 'file' end");
    let state = tempfile::tempdir().expect("a directory");
    let start = || MEDUSA.serve_with_state(site.path(), state.path()).start();
    let server = start();
    assert_eq!(command(&server, &["drift"]), NO_DRIFT);
    server.eval("local text = 'live'\nweb:mount('/live', function() return text end)");
    server.eval("greeting = 'hello'");
    server.eval("web:mount('/file', medusa.handler.script('h.luau'))");
    server.eval("return 1");
    assert_eq!(
        command(&server, &["drift"]),
        "* not saved: local text = 'live' web:mount('/live', function() return text end)\n* not saved: greeting = 'hello'\n\
         * not saved: web:mount('/file', medusa.handler.script('h.luau'))"
    );
    assert_eq!(
        command(&server, &["save", "A page; more!"]),
        "3 statements saved to live/0001-a-page-more.luau: it runs after site.luau from now on"
    );
    assert_eq!(command(&server, &["drift"]), NO_DRIFT);
    assert!(failure(&server, "save('again')").contains("there is nothing to save"));
    let there = |server: &Server| {
        assert_eq!(server.get("/live").text(), "live");
        assert_eq!(server.get("/script").text(), "hello");
        assert_eq!(server.get("/file").text(), "file");
        assert_eq!(command(server, &["drift"]), NO_DRIFT);
    };
    // After a reload, a kill, a kill in a trial, and the end of that.
    server.reload();
    there(&server);
    kill(server);
    let server = start();
    there(&server);
    server.eval("web:mount('/tried', function() end) commit(600)");
    assert!(failure(&server, "save('tried')").contains("is not confirmed yet"));
    kill(server);
    let server = start();
    there(&server);
    // The next goes to a file of its own, and is undone by its removal.
    server.eval("greeting = 'hey'");
    command(&server, &["save", "hey"]);
    server.reload();
    assert_eq!(server.get("/script").text(), "hey");
    fs::remove_file(site.at("live/0002-hey.luau")).expect("removed");
    assert_eq!(
        command(&server, &["drift"]),
        "- live/0002-hey.luau: runs, and cannot be read on disk any more"
    );
    server.reload();
    there(&server);
}

#[test]
fn one_that_was_killed_in_a_trial_knows_what_is_saved() {
    let site = web("web:mount('/script', function() return 'script' end)");
    let state = tempfile::tempdir().expect("a directory");
    let start = || MEDUSA.serve_with_state(site.path(), state.path()).start();
    let server = start();
    server.eval("web:mount('/a', function() return 'a' end)");
    command(&server, &["save", "a"]);
    server.eval("web:mount('/b', function() return 'b' end)");
    server.eval("web:mount('/c', function() return 'c' end) commit(600)");
    kill(server);
    let server = start();
    assert_eq!((server.get("/a").text(), server.get("/b").text()), ("a".into(), "b".into()));
    assert_eq!(server.get("/c").status, 404);
    let unsaved = "* not saved: web:mount('/b', function() return 'b' end)";
    assert_eq!(command(&server, &["drift"]), unsaved);
    command(&server, &["save", "b"]);
    server.reload();
    assert_eq!((server.get("/a").text(), server.get("/b").text()), ("a".into(), "b".into()));
}

/// The script on disk is what was taken back, and the next start is not with that; what was saved since is there.
#[test]
fn what_is_saved_after_a_trial_was_taken_back_stays() {
    let site = web("web:mount('/{$}', medusa.handler.script('h.luau'))")
        .file("h.luau", "return function() return 'good' end");
    let state = tempfile::tempdir().expect("a directory");
    let start = || MEDUSA.serve_with_state(site.path(), state.path()).start();
    let server = start();
    site.write("h.luau", "return function() return 'bad' end");
    server.command(["reload", "--confirm", "600"]).success();
    server.command(["cancel"]).success();
    for name in ["one", "two"] {
        server.eval(&format!("web:mount('/{name}', function() return '{name}' end)"));
        command(&server, &["save", name]);
    }
    let mut server = start_again(server, start);
    assert_eq!(["/", "/one", "/two"].map(|path| server.get(path).text()), ["good", "one", "two"]);
    // Statements on trial have nothing to do with what is on disk: taken back, or confirmed.
    for (name, end, status) in [("three", "cancel", 404), ("four", "confirm", 200)] {
        server.eval(&format!("web:mount('/{name}', function() return '{name}' end) commit(600)"));
        server.command([end]).success();
        let other = start_again(server, start);
        assert_eq!(
            (other.get("/").text(), other.get(&format!("/{name}")).status),
            ("good".to_owned(), status)
        );
        server = other;
    }
    // Nor has a reload that fails.
    let script = site.read("site.luau");
    let clash = "web:mount('/a/{x}', function() end) web:mount('/{y}/b', function() end)";
    site.write("site.luau", format!("{script}\n{clash}"));
    server.command(["reload"]).failure(1);
    server.command(["reload", "--confirm", "600"]).failure(1);
    site.write("site.luau", script);
    let server = start_again(server, start);
    assert_eq!(server.get("/").text(), "good");
    server.reload();
    assert_eq!(["/", "/one", "/two"].map(|path| server.get(path).text()), ["bad", "one", "two"]);
}

/// Kills a server, and starts it again.
fn start_again(server: Server, start: impl Fn() -> Server) -> Server {
    kill(server);
    start()
}

/// Whatever a server was at when it was killed: it starts, and what it had said is saved is there.
#[test]
fn fifty_kills_in_the_midst_of_changes_lose_nothing_that_was_saved() {
    const KILLS: u64 = 50;
    let site = web("web:mount('/script', function() return 'script' end)");
    let state = tempfile::tempdir().expect("a directory");
    let start = || MEDUSA.serve_with_state(site.path(), state.path()).start();
    let (mut next, mut saved, mut before) = (0, Vec::new(), 0);
    let mut server = start();
    for kill in 1..=KILLS {
        let client = Client::connect(server.state()).expect("the control socket");
        let (number, heard) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let changing = {
            let (number, heard) = (Arc::clone(&number), Arc::clone(&heard));
            thread::spawn(move || change(client, next, &number, &heard))
        };
        // At another moment of one of the first changes each time: each takes some milliseconds.
        wait::until("a change is made", || (number.load(Relaxed) > kill % 5).then_some(()));
        let (since, later) = (Instant::now(), Duration::from_micros(kill * 125 % 3000));
        while since.elapsed() < later {
            std::hint::spin_loop();
        }
        server.signal(Signal::KILL);
        server.wait();
        let begun = changing.join().expect("no panic");
        saved.extend(next..next + heard.load(Relaxed));
        next += begun;

        server = start();
        assert_eq!(server.get("/script").text(), "script");
        for number in saved.iter().rev().take(8) {
            assert_eq!(server.get(&format!("/{number}")).text(), number.to_string(), "kill {kill}");
        }
        assert_eq!(command(&server, &["drift"]), NO_DRIFT, "kill {kill}");
        let name = server.documents("site")[0]["name"].as_str().expect("a name").to_owned();
        let generation: u64 =
            name.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number");
        assert!(generation > before, "kill {kill}: {generation} after {before}");
        before = generation;
    }
    assert!(saved.len() as u64 > KILLS, "{} changes were saved", saved.len());
    for number in saved {
        assert_eq!(server.get(&format!("/{number}")).text(), number.to_string());
    }
}

/// Makes changes from `first` on, each saved, until the server is gone; how many were begun. Counts those of which it was heard that
/// they are made, and that they are saved.
fn change(mut client: Client, first: u64, made: &AtomicU64, saved: &AtomicU64) -> u64 {
    for count in 0.. {
        let number = first + count;
        let mut run = |source: String| client.call(&Op::Eval { source }, |_event| {}).is_ok();
        if !run(format!("web:mount('/{number}', function() return '{number}' end)")) {
            return count + 1;
        }
        made.fetch_add(1, Relaxed);
        if !run(format!("save('change {number}')")) {
            return count + 1;
        }
        saved.fetch_add(1, Relaxed);
    }
    unreachable!("it ends by the kill")
}

#[test]
fn drift_tells_files_and_what_the_script_does_by_itself() {
    let site = web("local lib = require('lib/util')
        web:mount('/more', function() web:mount('/made', function() return lib.text end) return 'ok' end)")
    .file("lib/util.luau", "return { text = 'made' }");
    let server = start(&site);
    server.get("/more");
    site.write("lib/util.luau", "return { text = 'changed' }");
    site.write("live/0007-more.luau", "web:mount('/seven', function() return '7' end)");
    let drift = command(&server, &["drift"]);
    let lines: Vec<_> = drift.lines().collect();
    assert_eq!(lines[0], "~ lib/util.luau: changed on disk since it was read", "{drift}");
    assert_eq!(lines[1], "+ live/0007-more.luau: on disk, and not in what runs", "{drift}");
    assert_eq!(lines[2], "* generation 2, by the request GET /more: + /made", "{drift}");
    server.eval("web:mount('/eight', function() return '8' end)");
    let refused = failure(&server, "save('x')");
    assert!(refused.contains("live/0007-more.luau is on disk and not in what runs"), "{refused}");
    server.reload();
    assert_eq!(server.get("/seven").text(), "7");
    server.eval("web:mount('/eight', function() return '8' end)");
    assert!(command(&server, &["save", "eight"]).contains("live/0008-eight.luau"));
}

#[test]
fn a_mistake_in_one_is_told_with_its_line_and_changes_nothing() {
    let site = web("web:mount('/script', function() return 'script' end)");
    let server = start(&site);
    server.eval("web:mount('/a', function() return 'a' end)");
    command(&server, &["save", "a"]);
    let file = "live/0001-a.luau";
    let text = site.read(file);
    let lines = text.lines().count();
    site.write(file, format!("{text}--- statement 2\n\nweb:mount('/b', nothing())\n"));
    let told = server.command(["reload"]).failure(1);
    assert!(told.contains(&format!("{file}:{}: attempt to call a nil value", lines + 3)), "{told}");
    assert_eq!(server.get("/a").text(), "a");
    let checked = MEDUSA.run([OsStr::new("check"), site.path().as_os_str()]).failure(1);
    assert!(checked.contains(file), "{checked}");
    site.write(file, &text);
    server.reload();
    for (statement, why) in [
        ("save()", "give the reason"),
        ("save('x', 1)", "save(reason)"),
        ("web:mount('/x', function() end) save('x')", "by a statement of its own"),
    ] {
        let told = failure(&server, statement);
        assert!(told.contains(why), "{statement}: {told}");
    }
    fs::remove_dir_all(site.at("live")).expect("removed");
    site.write("live", "no directory");
    server.eval("greeting = 1");
    assert!(failure(&server, "save('x')").contains("cannot read live/: "), "no directory");
}

#[test]
fn a_server_of_the_monitor_that_was_replaced_is_saved_so() {
    let site = web("medusa.monitor.classic { listen = 'unix:classic.sock', password_file = 'password' }");
    site.write("password", "secret");
    fs::set_permissions(site.at("password"), fs::Permissions::from_mode(0o600)).expect("set");
    let server = start(&site);
    server.eval(
        "medusa.monitor.classic { listen = 'unix:classic.sock', password_file = 'password', grace = 6 }",
    );
    command(&server, &["save", "grace"]);
    command(&server, &["reload"]);
    assert_eq!(server.documents("monitor.classic")[0]["grace"], 6.0);
    let twice = "for _ = 1, 2 do medusa.monitor.classic { listen = 'unix:c.sock', password_file = 'password', name = 'x' } end";
    let refused = server.command(["eval", twice]).failure(1);
    assert!(refused.contains("there is already an"), "{refused}");
}

/// What only looks has nobody to tell where a statement runs again, and nothing to look at: it must not break a start.
#[test]
fn what_only_looks_is_nothing_where_a_statement_runs_again() {
    let site = web("function shown() end");
    let state = tempfile::tempdir().expect("a directory");
    let start = || MEDUSA.serve_with_state(site.path(), state.path()).start();
    let server = start();
    server.eval("web:mount('/a', function() return 'a' end)");
    server.eval(
        "seen = { diff(1), explain('GET', '/a'), help(web), source(shown), #generations(), #handlers() }
        seen[7], seen[8] = select('#', ps()), trace(nil, 1, 0.01)
        drift() probe('site.luau:2', { ttl = 0.01 })
        function routes() return explain('GET', '/a') end
        web:mount('/b', function() return 'b' end) commit(60) confirm()",
    );
    assert_eq!(server.eval("return #seen[1] > 0 and seen[5]"), "2");
    command(&server, &["save", "looks"]);
    server.reload();
    let nothing = |server: &Server| {
        assert_eq!((server.get("/a").text(), server.get("/b").text()), ("a".into(), "b".into()));
        assert_eq!(server.eval("table.concat(seen, ',')"), ",,,,0,0,2,");
        // A function that stays is run by somebody.
        assert!(server.eval("routes()").starts_with("http: answered by /a\n"));
    };
    nothing(&server);
    kill(server);
    let server = start();
    nothing(&server);
    // Without what it has looked at, it does not run.
    server.eval("last = generations()[1].number web:mount('/c', function() end)");
    let told = failure(&server, "return save('last')");
    assert!(
        told.contains("do not run again, so nothing is saved: statement-")
            && told.contains("attempt to index nil"),
        "{told}"
    );
    assert!(!site.at("live/0002-last.luau").exists());
    // What is within a table is not compared.
    server.reload();
    server.eval("seen.more = 1");
    assert_eq!(command(&server, &["drift"]), NO_DRIFT);
    assert!(failure(&server, "save('more')").contains("what is set within a table is not noticed"));
}

#[test]
fn files_that_do_not_run_for_their_name_are_told() {
    let site = web("").file("live/0001-ok.luau", "web:mount('/ok', function() return 'ok' end)");
    for name in [&b"0002-\xff.luau"[..], b"1-short.luau", b".hidden", b"save.part"] {
        fs::write(site.at("live").join(OsStr::from_bytes(name)), "error('it runs')").expect("written");
    }
    let told =
        "not run, as only names like live/0001-reason.luau are: \"live/0002-�.luau\", \"live/1-short.luau\"";
    let server = start(&site);
    server.stderr().wait_for(told);
    assert_eq!(server.get("/ok").text(), "ok");
    server.reload();
    wait::until("it is told again", || {
        (server.stderr().text().matches("not run, as only names").count() == 2).then_some(())
    });
    let checked = MEDUSA.run([OsStr::new("check"), site.path().as_os_str()]);
    assert_eq!(checked.stderr.matches(told).count(), 1, "{checked}");
}
