//! The script is run anew: the new site takes over at one instant, or the old one goes on.

use medusa_site::MAX_WHOLE;
use medusa_testkit::{Load, Signal, memory, wait};

use super::live::{SLACK, Session, established};
use super::support::{start, web};

/// A script whose every version is another.
fn version(number: u32) -> String {
    format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0' }}
        web:mount('/', medusa.handler.files('public'))
        web:mount('/script', medusa.handler.script('handler.luau'))
        web:mount('/version', function() return '{number}' end)
        web:mount('/version/{number}', function() return 'only in this one' end)
        medusa.every(60, function() print({number}) end)"
    )
}

fn handler(number: u32) -> String {
    format!("return function() return 'handler {number}' end")
}

#[test]
fn two_hundred_reloads_under_load_lose_nothing() {
    let site = medusa_testkit::Site::script(&version(0))
        .file("handler.luau", handler(0))
        .file("public/four.bin", vec![4; 4096]);
    let server = start(&site);
    let mut session = Session::with(&server);
    let mut client = server.connect();
    let load = Load::start(server.address(), "/four.bin", 64);
    let accepted = established(&server, 65);

    let mut after_50 = 0;
    for number in 1..=200 {
        site.write("site.luau", version(number));
        site.write("handler.luau", handler(number));
        session.reload();
        assert_eq!(client.get("/version").text(), number.to_string());
        assert_eq!(client.get("/script").text(), format!("handler {number}"));
        assert_eq!(client.get(&format!("/version/{number}")).status, 200);
        assert_eq!(
            client.get(&format!("/version/{}", number - 1)).status,
            404,
            "the old site is still there"
        );
        if number == 50 {
            after_50 = memory::resident(server.pid());
        }
    }
    let after_200 = memory::resident(server.pid());
    eprintln!("{after_50} bytes after 50 reloads, {after_200} after 200");
    assert_eq!(server.number("listener", "accepted"), accepted, "a connection was closed, and made anew");
    load.stop().expect_clean();
    assert!(after_200 <= after_50 + after_50 / 10 + SLACK, "the memory is not flat");
    assert_eq!(server.number("vm", "timers"), 1, "the timers of old scripts live on");
    wait::until("the old sites are gone", || {
        (server.number("site", "retired_servers_in_use") == 0).then_some(())
    });
}

#[test]
fn handlers_are_reloaded_under_their_own_load() {
    let site =
        medusa_testkit::Site::script(&version(0)).file("handler.luau", handler(0)).file("public/x", "x");
    let server = start(&site);
    let mut session = Session::with(&server);
    for path in ["/script", "/version"] {
        let load = Load::start(server.address(), path, 16);
        established(&server, 16);
        for number in 1..=20 {
            site.write("site.luau", version(number));
            site.write("handler.luau", handler(number));
            session.reload();
        }
        load.stop().expect_clean();
        wait::until("the load is gone", || (server.number("listener", "open") == 0).then_some(()));
    }
}

#[test]
fn a_script_with_an_error_leaves_the_old_site_serving() {
    let site =
        web("web:mount('/', function() return 'old' end)").file("handler.luau", "return function() end");
    let server = start(&site);
    let mut client = server.connect();
    for (script, place, reason) in [
        ("web = medusa.http.server {\n  listen = '127.0.0.1:0',\n}}\n", "site.luau:3:", "}"),
        ("web = nil\nweb:mount('/', function() end)", "site.luau:2:", "nil"),
        ("local function deep() error('by design') end\n\ndeep()", "site.luau:1:", "by design"),
        ("web = medusa.http.server { listen = '127.0.0.1:0', no = 1 }", "site.luau:1:", "\"no\""),
        ("web = medusa.http.server { listen = '192.0.2.1:80' }", "site.luau:1", "192.0.2.1:80"),
        ("while true do end", "site.luau:1", "CPU budget"),
        ("require('gone')", "site.luau:1:", "gone"),
    ] {
        site.write("site.luau", script);
        let error = server.command(["reload"]).failure(1);
        assert!(
            error.contains(place) && error.contains(reason),
            "{place} and {reason:?} were expected in: {error}"
        );
        assert_eq!(client.get("/").text(), "old", "after {script}");
    }
    site.write("site.luau", "web = medusa.http.server { listen = '127.0.0.1:0' }\nweb:mount('/', medusa.handler.script('handler.luau'))");
    site.write("handler.luau", "return function()\n  this is no Luau\nend");
    let error = server.command(["reload"]).failure(1);
    assert!(error.contains("handler.luau:2:"), "{error}");
    assert_eq!(client.get("/").text(), "old");
    // The log says it, too, for whoever reloads by a signal.
    server.stderr().wait_for("and the old site goes on");

    site.write("handler.luau", "return function() return 'new' end");
    server.reload();
    assert_eq!(client.get("/").text(), "new");
}

#[test]
fn sighup_reloads() {
    let site = web("web:mount('/', function() return 'old' end)");
    let mut server = start(&site);
    let mut client = server.connect();
    assert_eq!(client.get("/").text(), "old");
    site.write(
        "site.luau",
        "web = medusa.http.server { listen = '127.0.0.1:0' }\nweb:mount('/', function() return 'new' end)",
    );
    server.signal(Signal::HUP);
    server.stderr().wait_for("reloaded");
    assert_eq!(client.get("/").text(), "new");

    let mark = server.stderr().count();
    site.write("site.luau", "error('on purpose')");
    server.signal(Signal::HUP);
    let line = server.stderr().wait_for_from(mark, "and the old site goes on");
    assert!(line.contains("site.luau:1: on purpose"), "{line}");
    assert_eq!(client.get("/").text(), "new");
}

#[test]
fn what_is_the_same_goes_on_untouched() {
    let script = "web = medusa.http.server { listen = '127.0.0.1:0', log = medusa.log.file('access.log') }
        web:mount('/', medusa.handler.files('public'))
        hits = medusa.shared('hits')
        web:mount('/hit', function() return tostring(hits:incr('n')) end)";
    let site = medusa_testkit::Site::script(script).file("public/x.txt", "x");
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(client.get("/x.txt").text(), "x");
    assert_eq!(client.get("/hit").text(), "1");
    let loads = server.number("handler.files", "loads");
    site.write("site.luau", format!("{script}\nweb:mount('/more', function() return 'more' end)"));
    server.reload();
    assert_eq!(client.get("/more").text(), "more");
    assert_eq!(client.get("/hit").text(), "2", "what is shared outlives the script");
    assert_eq!(client.get("/x.txt").text(), "x");
    assert!(server.number("handler.files", "loads") <= loads + 1, "the cache was thrown away");
    assert_eq!(server.number("listener", "accepted"), 1);
    drop(client);
    server.terminate();
    assert_eq!(site.read("access.log").lines().count(), 5);
}

#[test]
fn a_reload_forgets_what_was_changed_by_hand() {
    let site = web("web:mount('/script', function() return 'script' end)");
    let server = start(&site);
    server.eval("web:mount('/by-hand', function() return 'by hand' end)");
    assert_eq!(server.get("/by-hand").status, 200);
    server.reload();
    assert_eq!(server.get("/by-hand").status, 404);
    assert_eq!(server.get("/script").text(), "script");
}

#[test]
fn a_compressed_function_goes_with_its_mounts_and_holds_no_replaced_vm() {
    let site = web("packed = medusa.handler.compress(function() return 'packed' end)
        mount = web:mount('/a', packed)
        web:mount('/b', medusa.handler.compress(packed))");
    let server = start(&site);
    let functions = |wanted: u64| {
        // Until nobody can go back to them.
        (0..MAX_WHOLE).for_each(|_| drop(server.eval("medusa.every(60, function() end):cancel()")));
        wait::until("the functions without a mount are let go", || {
            (server.number("vm", "handler_functions") == wanted).then_some(())
        });
    };
    let vms = || {
        wait::until("no replaced VM is kept", || server.documents("vm.replaced").is_empty().then_some(()));
    };
    server.reload();
    server.reload();
    vms();
    functions(1);
    for _ in 0..3 {
        server.eval("mount:replace(medusa.handler.compress(function() return 'other' end))");
    }
    functions(2);
    let mut client = server.connect();
    assert_eq!(client.get("/a").text(), "other");
    assert_eq!(client.get("/b").text(), "packed");
    server.eval("web:remove()");
    functions(0);
    // A handler that was let go can be mounted again.
    server.eval("web = medusa.http.server { listen = '127.0.0.1:0' } web:mount('/', packed)");
    functions(1);
    server.reload();
    vms();
}
