//! One file is loaded anew in all workers, and what the one before it had learned goes on in it.

use std::fs;

use medusa_site::MAX_WHOLE;
use medusa_testkit::{Load, Server, Signal, Site, WebSocket, memory, wait};
use serde_json::Value;

use super::guide::guide_example;
use super::history::{Session, short};
use super::live::{SLACK, established};
use super::support::{MEDUSA, NO_DRIFT, start, web};

const SCRIPT: &str = "
    a = web:mount('/a', medusa.handler.script('handlers/a.luau'))
    b = web:mount('/b', medusa.handler.compress(medusa.handler.headers({ set = { x = 'y' } }, medusa.handler.script('b.luau'))))
    web:mount('/b/again', medusa.handler.script('b.luau'))
    c = web:mount('/c', medusa.handler.script('c.luau'))";

/// A handler file that says what it is, and what it requires.
fn file(name: &str, version: u32, module: &str) -> String {
    format!("local lib = {module} return function() return '{name}{version} ' .. lib end")
}

fn site() -> Site {
    web(SCRIPT)
        .file("handlers/a.luau", file("a", 1, "require('lib/util')"))
        .file("b.luau", file("b", 1, "require('lib/more')"))
        .file("c.luau", file("c", 1, "'alone'"))
        .file("lib/util.luau", "return 'util1'")
        .file("lib/more.luau", "return 'more ' .. require('./util')")
}

/// A server with one worker, so that it has one state.
fn alone(site: &Site) -> Server {
    MEDUSA.serve(site.path()).arg("--workers").arg("1").start()
}

#[track_caller]
fn texts<const N: usize>(server: &Server, expected: [(&str, &str); N]) {
    for (path, text) in expected {
        assert_eq!(server.get(path).text(), text, "{path}");
    }
}

#[test]
fn one_file_is_loaded_anew_and_no_other() {
    let site = site();
    let server = MEDUSA.serve(site.path()).arg("--workers").arg("4").start();
    let mut session = Session::with(&server);
    texts(&server, [("/a", "a1 util1"), ("/b", "b1 more util1"), ("/c", "c1 alone")]);
    for same in
        ["medusa.upgrade(a)", "medusa.upgrade('lib/util')", "medusa.upgrade('./handlers/../lib/util.luau')"]
    {
        assert!(session.value(same).starts_with("nothing is changed: "), "{same}");
    }
    for (path, version) in [("handlers/a.luau", "a"), ("b.luau", "b"), ("c.luau", "c")] {
        site.write(path, site.read(path).replace(&format!("{version}1"), &format!("{version}2")));
    }
    site.write("lib/util.luau", "return 'util2'");

    // Of a mount; only its file is read.
    assert_eq!(session.report("medusa.upgrade(a)"), "generation 2: ~ /a");
    let seen_by_all = || (0..32).for_each(|_| texts(&server, [("/a", "a2 util1")]));
    seen_by_all();
    texts(&server, [("/b", "b1 more util1"), ("/b/again", "b1 more util1"), ("/c", "c1 alone")]);
    // By its name, wherever it is, also within wrappers.
    assert_eq!(session.report("medusa.upgrade('b')"), "generation 3: ~ /b  ~ /b/again");
    let wrapped = server.get("/b");
    assert_eq!((wrapped.text().as_str(), wrapped.header("x")), ("b2 more util1", Some("y")));
    texts(&server, [("/a", "a2 util1"), ("/b/again", "b2 more util1"), ("/c", "c1 alone")]);
    let drift = session.value("drift()");
    assert!(
        drift.starts_with("~ c.luau: changed on disk since it was read\n~ lib/util.luau: changed"),
        "{drift}"
    );
    assert!(drift.ends_with("* not saved: medusa.upgrade(a)\n* not saved: medusa.upgrade('b')"), "{drift}");
    // A module, for all that use it, by way of others too.
    assert_eq!(session.report("medusa.upgrade('lib/util')"), "generation 4: ~ /a  ~ /b  ~ /b/again");
    texts(
        &server,
        [("/a", "a2 util2"), ("/b", "b2 more util2"), ("/b/again", "b2 more util2"), ("/c", "c1 alone")],
    );
    assert!(session.value("source(b)").contains("b2"), "what it shows is what runs");
    assert!(
        session.value("explain('GET', '/b')").contains("(site.luau:4, generation 4)"),
        "its line is the script's"
    );
    assert!(session.value("medusa.upgrade(b)").contains("nothing is changed: b.luau runs as it is on disk"));

    // Back, and by what is remembered of it.
    session.value("rollback(2)");
    texts(&server, [("/a", "a2 util1"), ("/b", "b1 more util1"), ("/c", "c1 alone")]);
    assert!(session.value("drift()").contains("~ b.luau: changed on disk"));
    session.value("rollback(4)");
    texts(&server, [("/a", "a2 util2"), ("/b", "b2 more util2"), ("/c", "c1 alone")]);
    // What is loaded is what a reload would load; also when it is what there was before.
    for version in [2, 1] {
        site.write("c.luau", file("c", version, "'alone'"));
        session.report("medusa.upgrade(c)");
    }
    server.reload();
    let generation = session.value("site.generation");
    assert_eq!(session.value(&format!("diff({generation} - 1)")), "no difference");
    assert_eq!(session.value("drift()"), NO_DRIFT);
}

#[test]
fn it_is_a_part_of_a_change() {
    let site = site();
    let server = start(&site);
    let mut session = Session::with(&server);
    site.write("handlers/a.luau", file("a", 2, "require('lib/new')"));
    site.write("lib/new.luau", "return 'new1'");
    site.write("lib/util.luau", "return 'util2'");
    session.value("begin()");
    session.value("medusa.upgrade('handlers/a.luau')");
    session.value("medusa.upgrade('lib/util') c:replace(function() return 'c' end)");
    texts(&server, [("/a", "a1 util1"), ("/b", "b1 more util1"), ("/c", "c1 alone")]);
    assert_eq!(
        short(&session.value("commit()")),
        "generation 2: ~ /a  ~ /b  ~ /b/again  ~ /c: function statement:1 (was script c.luau)"
    );
    texts(&server, [("/a", "a2 new1"), ("/b", "b1 more util2"), ("/c", "c")]);

    // One by one it comes to the same, of files that are not loaded yet.
    site.write("b.luau", file("b", 3, "require('lib/more')"));
    site.write("lib/more.luau", "return 'more3 ' .. require('./util')");
    site.write("lib/util.luau", "return 'util3'");
    let all = "for _, name in { 'b', 'lib/more', 'lib/util' } do medusa.upgrade(name) end";
    assert_eq!(session.report(all), "generation 3: ~ /b  ~ /b/again");
    texts(&server, [("/b", "b3 more3 util3")]);
    site.write("b.luau", file("b", 4, "require('lib/more')"));
    let trial = session.value("medusa.upgrade(b) return commit(600)");
    assert!(short(&trial).starts_with("generation 4: ~ /b; goes back to 3 in 600 s"), "{trial}");
    texts(&server, [("/b", "b4 more3 util3"), ("/b/again", "b3 more3 util3")]);
    session.value("cancel()");
    texts(&server, [("/b", "b3 more3 util3")]);
    // Something that is run by itself.
    session.value("t = medusa.every(0.01, function() t:cancel() medusa.upgrade('b') end)");
    wait::until("it has run", || (server.get("/b").text() == "b4 more3 util3").then_some(()));
    session.value("begin()");
    session.value("c:replace(medusa.handler.script('c.luau')) medusa.upgrade(b)");
    session.value("abort()");
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let site = web(&format!(
        "{SCRIPT}
        local both = require('lib/both')
        f = web:mount('/f', function() return both .. require('lib/main') end)"
    ));
    for (path, text) in [
        ("handlers/a.luau", "local lib = require('lib/both') return function() return lib end"),
        ("b.luau", "return function() return 'b' end"),
        ("c.luau", "return function() return 'c' end"),
        ("lib/both.luau", "return 'both'"),
        ("lib/main.luau", "return 'main'"),
        ("lib/unused.luau", "return 'unused'"),
    ] {
        site.write(path, text);
    }
    let server = start(&site);
    let mut session = Session::with(&server);
    texts(&server, [("/a", "both"), ("/f", "bothmain")]);
    for (what, why) in [
        ("", "give a mount, or a file like \"handlers/api.luau\" or \"lib/util\", not nil"),
        ("12", "not 12"),
        ("web", "not a userdata"),
        ("a, b", "medusa.upgrade(what) takes no more arguments"),
        ("f", "this mount has no handler file"),
        ("'site'", "the main script uses site.luau, too"),
        (
            "'lib/main'",
            "the main script uses lib/main.luau, too, and that is run anew as a whole: `medusa reload`",
        ),
        ("'lib/both'", "the main script uses lib/both.luau, too"),
        (
            "'lib/unused'",
            "no handler file uses lib/unused.luau; there are: b.luau, c.luau, handlers/a.luau, lib/both.luau",
        ),
        ("'../x'", "it leads out of the script's directory"),
    ] {
        let told = session.failure(&format!("medusa.upgrade({what})"));
        assert!(told.starts_with("statement:1: ") && told.contains(why), "{what}: {told}");
    }
    for (text, why) in [
        ("return function() return 'b2' end }", "b.luau:1: "),
        ("\nerror('at the top')", "b.luau:2: at the top"),
        ("\nrequire('lib/none')", "b.luau:2: cannot load lib/none.luau"),
        ("return 5", "b.luau:1: a handler file must return a function(req)"),
        (
            "function upgrade()\nend\nfunction upgrade() error('in the hook') end\nreturn function() end",
            "b.luau:3: in the hook",
        ),
        ("function upgrade()\nwhile true do end end\nreturn function() end", "CPU budget is used up"),
        (
            "function upgrade(old) return old.users end\nreturn function() end",
            "b.luau:1: attempt to index nil",
        ),
    ] {
        site.write("b.luau", text);
        let told = session.failure("medusa.upgrade('b')");
        assert!(told.contains(why), "{text}: {told}");
        texts(&server, [("/b", "b"), ("/b/again", "b")]);
    }
    fs::remove_file(site.at("b.luau")).expect("removed");
    assert!(session.failure("medusa.upgrade(b)").contains("medusa.upgrade: cannot load b.luau: "));
    site.write("b.luau", "return function() return 'b2' end");
    session.value("old = b  b:remove()");
    assert!(session.failure("medusa.upgrade(old)").contains("this mount is no longer part of the site"));
    assert_eq!(session.report("medusa.upgrade('b')"), "generation 3: ~ /b/again");
    assert_eq!(server.get("/b").status, 404);
}

#[test]
fn the_state_goes_on_in_the_new_file() {
    const COUNTER: &str = "
        local lib = require('lib/names')
        state = { count = 0, names = {}, deep = { { { true } } }, b = buffer.fromstring('buf'), null = medusa.json.null }
        state.twice = state.names
        return function(req)
            state.count += 1
            state.names[req.args.name] = vector.create(state.count, 0, 0)
            buffer.writestring(state.b, 0, 'BUF')
            return `one {state.count} {lib(req.args.name)}`
        end";
    let names = |version: u32| {
        format!(
            "state = {{ seen = 0 }}
            function upgrade(old) state.seen = old.seen + 100 end
            return function(name) state.seen += 1 return `{{name}}{version} {{state.seen}}` end"
        )
    };
    let site = web("m = web:mount('/', medusa.handler.script('h.luau'))")
        .file("h.luau", COUNTER)
        .file("lib/names.luau", names(1));
    let server = alone(&site);
    let mut session = Session::with(&server);
    texts(&server, [("/?name=x", "one 1 x1 1"), ("/?name=y", "one 2 y1 2")]);
    site.write(
        "h.luau",
        "local lib = require('lib/names')
        function upgrade(old)
            state = old
            kept = `{old.names.x and old.names.x.x} {old.names.y.x} {old.twice == old.names} {old.deep[1][1][1]} {buffer.tostring(old.b)} \
             {old.null == medusa.json.null}`
            old.names.x = nil
            buffer.writestring(old.b, 0, 'new')
        end
        return function(req) state.count += 10 return `two {state.count} {kept} {lib(req.args.name)}` end",
    );
    session.report("medusa.upgrade(m)");
    texts(
        &server,
        [
            ("/?name=z", "two 12 1 2 true true BUF true z1 103"),
            ("/?name=z", "two 22 1 2 true true BUF true z1 104"),
        ],
    );
    // What was copied was not touched: the old code goes on with what it had.
    session.value("rollback(1)");
    texts(&server, [("/?name=x", "one 3 x1 3")]);
    session.value("rollback(2)");
    site.write("lib/names.luau", names(2));
    session.report("medusa.upgrade('lib/names')");
    texts(&server, [("/?name=z", "two 32 nil 2 true true new true z2 205")]);
    // Of two upgrades within a change, the state is that of what runs.
    site.write("lib/names.luau", names(3));
    site.write("h.luau", site.read("h.luau").replace("`two", "`three"));
    session.report("medusa.upgrade(m) medusa.upgrade('lib/names')");
    texts(&server, [("/?name=z", "three 42 nil 2 true true new true z3 306")]);
}

#[test]
fn only_plain_data_is_handed_over() {
    let file = |state: &str, version: u32| {
        format!(
            "state = {state}\n-- {version}\nfunction upgrade(old) end\nreturn function() return '{version}' end"
        )
    };
    let site =
        web("m = web:mount('/', medusa.handler.script('h.luau'))").file("h.luau", "return function() end");
    let server = alone(&site);
    let mut session = Session::with(&server);
    let deep = format!("{}1{}", "{".repeat(128), "}".repeat(128));
    for (version, state, wrong) in [
        (1, "{ users = { {}, {}, function() end } }", "state.users[3] is a function"),
        (3, "{ ['a b'] = { c = coroutine.create(print) } }", "state[\"a b\"].c is a thread"),
        (5, "{ { sd = medusa.shared('x') } }", "state[1].sd is a userdata"),
        (7, "{ x = setmetatable({}, {}) }", "state.x has a metatable"),
        (9, "{ x = { [{}] = 1 } }", "state.x has a table for a key"),
        (11, "print", "state is a function"),
        (13, &deep, "is more than 127 tables deep"),
    ] {
        // With what there is no hook for nothing is copied.
        site.write("h.luau", file("nil", version).replace("upgrade", "no_hook"));
        session.report("medusa.upgrade(m)");
        site.write("h.luau", file(state, version));
        session.report("medusa.upgrade(m)");
        site.write("h.luau", file("nil", version + 1));
        let told = session.failure("medusa.upgrade(m)");
        assert!(
            told.contains(
                "h.luau:3: upgrade is given a copy of the old state, which must be plain data, and "
            ),
            "{told}"
        );
        assert!(told.contains(wrong), "{state}: {told}");
        texts(&server, [("/", version.to_string().as_str())]);
    }
    // A large one, and one that holds itself.
    let large = "(function() local t = {} for at = 1, 200000 do t[at] = { at } end t.me = t return t end)()";
    site.write("h.luau", file(large, 20).replace("upgrade", "no_hook"));
    session.report("medusa.upgrade(m)");
    site.write("h.luau", "function upgrade(old) state = old end return function() return `{#state} {state[7][1]} {state.me == state}` end");
    session.report("medusa.upgrade(m)");
    texts(&server, [("/", "200000 7 true")]);
}

#[test]
fn the_hook_of_the_guide_keeps_what_was_counted() {
    let site = web("web:mount('/hits/', medusa.handler.script('handlers/hits.luau'))")
        .file("handlers/hits.luau", guide_example("### One file\n"));
    let server = alone(&site);
    texts(&server, [("/hits/a", "1\n"), ("/hits/a", "2\n"), ("/hits/b", "1\n")]);
    site.write("handlers/hits.luau", site.read("handlers/hits.luau").replace("\\n`", " times\\n`"));
    assert_eq!(server.eval("medusa.upgrade('handlers/hits.luau')"), "", "its report says it all");
    texts(&server, [("/hits/a", "3 times\n"), ("/hits/b", "2 times\n")]);
}

/// Also after the server was started anew, with other files on disk.
#[test]
fn a_generation_is_made_again_with_what_it_was_upgraded_to() {
    let site = site();
    let state = tempfile::tempdir().expect("a directory");
    let start = || MEDUSA.serve_with_state(site.path(), state.path()).start();
    let mut server = start();
    for version in [2, 3] {
        site.write("lib/util.luau", format!("return 'util{version}'"));
        server.eval("medusa.upgrade('lib/util')");
    }
    let back = |server: &Server| {
        for (generation, version) in [(2, 2), (3, 3), (1, 1)] {
            server.eval(&format!("rollback({generation})"));
            texts(
                server,
                [("/a", &*format!("a1 util{version}")), ("/b", &*format!("b1 more util{version}"))],
            );
        }
    };
    site.write("lib/util.luau", "return 'wrong'");
    back(&server);
    wait::until("the history is on disk", || {
        let history = fs::read_to_string(state.path().join("history.jsonl")).unwrap_or_default();
        (history.lines().count() == 6).then_some(())
    });
    server.signal(Signal::KILL);
    server.wait();
    let mut server = start();
    texts(&server, [("/a", "a1 wrong")]);
    back(&server);

    // And killed while something else is on trial.
    server.eval("rollback(3)");
    server.eval("web:mount('/x', function() end) commit(600)");
    server.signal(Signal::KILL);
    server.wait();
    let server = start();
    texts(&server, [("/a", "a1 util3"), ("/b", "b1 more util3")]);
    server.command(["save", "why"]).success();
    server.reload();
    texts(&server, [("/a", "a1 wrong")]);
    assert_eq!(server.command(["drift"]).said(), NO_DRIFT);
}

#[test]
fn what_is_kept_goes_on_in_the_old_file_and_the_rest_is_told_to_end() {
    let file = |version: u32| {
        format!(
            "state = {{ {version} }}
            return function(req)
                return req:websocket(function(ws) for message in ws do ws:send(`{{message}} {{state[1]}}`) end end,
                    {{ on_reload = req.args.how }})
            end"
        )
    };
    let site = web("m = web:mount('/', medusa.handler.script('h.luau'))").file("h.luau", file(1));
    let server = start(&site);
    let [mut kept, mut told] =
        ["/?how=keep", "/?how=end"].map(|path| WebSocket::connect(server.address(), path));
    let say = |ws: &mut WebSocket| {
        ws.send("hi");
        ws.text()
    };
    assert_eq!((say(&mut kept), say(&mut told)), ("hi 1".into(), "hi 1".into()));
    site.write("h.luau", file(2));
    server.eval("medusa.upgrade(m)");
    assert_eq!(told.expect_close(1001), "reloading");
    assert_eq!(say(&mut kept), "hi 1");
    assert_eq!(say(&mut WebSocket::connect(server.address(), "/?how=keep")), "hi 2");
}

#[test]
fn two_hundred_upgrades_under_load_fail_no_request_and_leave_nothing() {
    let file = |version: u32| {
        format!(
            "require('lib/util')
            state = {{ big = string.rep('{version} ', 10000), list = {{}} }}
            for at = 1, 5000 do state.list[at] = {{ at }} end
            function upgrade(old) assert(#old.list == 5000) state.list = old.list end
            return function() return '{version}' end"
        )
    };
    let site = web("m = web:mount('/', medusa.handler.script('h.luau'))")
        .file("h.luau", file(0))
        .file("lib/util.luau", "return table.create(50000, 0)");
    let server = start(&site);
    let mut session = Session::with(&server);
    let mut client = server.connect();
    let load = Load::start(server.address(), "/", 32);
    established(&server, 33);
    let mut after_50 = 0;
    for version in 1..=200 {
        site.write("h.luau", file(version));
        session.report("medusa.upgrade(m)");
        assert_eq!(client.get("/").text(), version.to_string());
        if version == 50 {
            after_50 = memory::resident(server.pid());
        }
    }
    load.stop().expect_clean();
    let after_200 = memory::resident(server.pid());
    eprintln!("{after_50} bytes after 50 upgrades, {after_200} after 200");
    assert!(after_200 <= after_50 + after_50 / 10 + SLACK, "the memory is not flat");
    wait::until("only those are left that can be gone back to", || {
        let files = |worker: &Value| worker["handler_files"].as_u64().expect("a number");
        server.documents("vm.worker").iter().all(|worker| files(worker) <= MAX_WHOLE as u64).then_some(())
    });
}
