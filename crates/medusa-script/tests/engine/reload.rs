//! Reloads, and scripts that do not load.

use std::io::{Read, Write};

use medusa_site::HttpServer;

use super::support::{Server, WEB, program, write_files};

fn read_some(stream: &mut impl Read) -> String {
    let mut text = [0; 4096];
    let n = stream.read(&mut text).unwrap();
    String::from_utf8_lossy(&text[..n]).into_owned()
}

#[test]
fn a_reload_changes_the_next_request_of_an_open_connection() {
    let server = Server::start(&format!("{WEB} web:mount('/', function() return 'one' end)"), &[]);
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    assert!(read_some(&mut stream).ends_with("one"));
    server.write("site.luau", &format!("{WEB} web:mount('/', function() return 'two' end)"));
    assert_eq!(server.reload().unwrap().generation, 2);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    assert!(read_some(&mut stream).ends_with("two"));
}

#[test]
fn a_script_with_an_error_leaves_the_old_site_serving() {
    let server = Server::start(
        &format!("{WEB} web:mount('/', medusa.handler.script('h.luau'))"),
        &[("h.luau", "return function() return 'old' end")],
    );
    let broken: &[(&str, &str, &str)] = &[
        ("syntax", "web = = 1", "site.luau:1:"),
        ("run time", "\nnothing.here()", "site.luau:2: attempt to index nil"),
        (
            "a missing root",
            &format!("{WEB}\nweb:mount('/', medusa.handler.files('nowhere'))"),
            "site.luau:3:",
        ),
        (
            "an unknown option",
            "\nmedusa.http.server { listen = '127.0.0.1:0', lisen = 1 }",
            "site.luau:2: medusa.http.server: there is no option \"lisen\"",
        ),
        (
            "a wrong type",
            "medusa.http.server { listen = 80 }",
            "site.luau:1: medusa.http.server: `listen` must be a string or a list of strings and tables, not 80",
        ),
        (
            "a bad address",
            "medusa.http.server { listen = 'nowhere:x' }",
            "site.luau:1: medusa.http.server: `listen`",
        ),
        (
            "a clash",
            &format!("{WEB}\nweb:mount('/a/{{x}}', function() end)\nweb:mount('/{{y}}/b', function() end)"),
            "site.luau:4: the mount \"/{y}/b\" clashes with \"/a/{x}\" (site.luau:3)",
        ),
        (
            "a missing handler file",
            &format!("{WEB}\nweb:mount('/', medusa.handler.script('none.luau'))"),
            "site.luau:3: medusa.handler.script: cannot load none.luau",
        ),
        ("a bad pattern", &format!("{WEB}\nweb:mount('nowhere', function() end)"), "site.luau:3:"),
        ("no handler", &format!("{WEB}\nweb:mount('/', 5)"), "site.luau:3: a handler must be"),
        ("an endless script", "while true do end", "stopped: its CPU budget is used up"),
        (
            "an unknown log format",
            "medusa.log.file('-', { format = 'xml' })",
            "site.luau:1: medusa.log.file:",
        ),
        (
            "an unwritable log",
            "medusa.http.server { listen = '127.0.0.1:0', log = medusa.log.file('/proc/nowhere/x.log') }",
            "site.luau:1:",
        ),
    ];
    for (what, script, expected) in broken {
        server.write("site.luau", script);
        let error = server.reload().unwrap_err().to_string();
        assert!(error.contains(expected), "{what}: {error:?} does not say {expected:?}");
        assert_eq!(server.get("/").body, "old", "{what}");
    }
    // A handler file that fails names itself.
    server.write("site.luau", &format!("{WEB} web:mount('/', medusa.handler.script('h.luau'))"));
    for (source, expected) in [
        ("return 5", "h.luau:1: a handler file must return a function(req)"),
        ("local x =", "h.luau:1:"),
        ("error('top')", "h.luau:1: top"),
    ] {
        server.write("h.luau", source);
        let error = server.reload().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(server.get("/").body, "old");
    }
    server.write("h.luau", "return function() return 'new' end");
    server.reload().unwrap();
    assert_eq!(server.get("/").body, "new");
}

#[test]
fn what_a_log_may_not_do_when_it_is_full_is_refused() {
    let server = Server::start(WEB, &[]);
    let refused: &[(&str, &str, &str)] = &[
        (
            "an unknown way out of a full queue",
            "medusa.log.file('-', { when_full = 'wait' })",
            "site.luau:1: medusa.log.file: unknown when_full \"wait\": use \"block <= 10ms\", \"drop_new\", ",
        ),
        (
            "too long a wait",
            "medusa.log.file('-', { when_full = 'block <= 1000ms' })",
            "site.luau:1: medusa.log.file: when_full \"block <= 1000ms\": a request may be made to wait for up to 10ms",
        ),
        (
            "too small a queue",
            "medusa.log.file('-', { queue = 1 })",
            "site.luau:1: medusa.log.file: `queue` must be a whole number of at least 512, not 1",
        ),
        (
            "a size that is none",
            "medusa.log.file('-', { queue_bytes = 'much' })",
            "`queue_bytes` must be a size such as \"64MiB\", at least 1 bytes, not \"much\"",
        ),
        (
            "a size without use",
            "medusa.log.file('-', { spill_bytes = '64MiB' })",
            "site.luau:1: medusa.log.file: `spill_bytes` is for when_full = \"spill\"",
        ),
        (
            "a spill without a place",
            "medusa.log.file('-', { when_full = 'spill' })",
            "this server has no state directory: start it with --state <directory>",
        ),
    ];
    for (what, script, expected) in refused {
        server.write("site.luau", script);
        let error = server.reload().unwrap_err().to_string();
        assert!(error.contains(expected), "{what}: {error:?} does not say {expected:?}");
    }
}

#[test]
fn a_port_in_use_is_named_with_the_scripts_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let (_server, loaded) =
        Server::try_start(&format!("\nweb = medusa.http.server {{ listen = '{addr}' }}"), &[]);
    let error = loaded.unwrap_err().to_string();
    assert!(error.starts_with("site.luau:2: ") && error.contains(&addr.to_string()), "{error}");
}

/// What a reload leaves unchanged is the same object: the mount's counters go on, the handler file is not loaded anew.
#[test]
fn unchanged_parts_are_the_same_objects() {
    let script = format!(
        "{WEB} web:mount('/', medusa.handler.script('h.luau')) web:mount('/f/', medusa.handler.files('.'))"
    );
    let handler = "local util = require('util') local n = 0 return function() n += 1 return `{util} {n}` end";
    let server = Server::start(&script, &[("h.luau", handler), ("util.luau", "return 'a'")]);
    let before = server.engine.live().site();
    let (mut stream, request) = (server.connect(), b"GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    stream.write_all(request).unwrap();
    assert!(read_some(&mut stream).ends_with("a 1"));
    server.write("site.luau", &format!("{script}\nother = 1"));
    server.reload().unwrap();
    let after = server.engine.live().site();
    let servers = [&before, &after].map(|site| site.parts.all::<HttpServer>().next().unwrap());
    for (old, new) in servers[0].definition.mounts.values().zip(servers[1].definition.mounts.values()) {
        assert!(std::sync::Arc::ptr_eq(&old.handler, &new.handler), "{}", old.pattern);
    }
    assert!(std::sync::Arc::ptr_eq(&before.listeners[0].listener, &after.listeners[0].listener));
    stream.write_all(request).unwrap();
    assert!(read_some(&mut stream).ends_with("a 2"), "the handler's state went on");
    // A module it requires has changed: now it is loaded anew.
    server.write("util.luau", "return 'b'");
    server.reload().unwrap();
    stream.write_all(request).unwrap();
    assert!(read_some(&mut stream).ends_with("b 1"));
    assert!(server.status().contains("requests"), "{}", server.status());
}

#[test]
fn a_replaced_vm_finishes_its_requests_stops_its_timers_and_is_freed() {
    let server = Server::start(
        &format!(
            "{WEB} medusa.every(0.01, function() medusa.shared('t'):incr('old') end)
            web:mount('/slow', function() medusa.shared('t'):set('slow', true) medusa.sleep(0.3) return 'old' end)"
        ),
        &[],
    );
    let mut stream = server.connect();
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").unwrap();
    let running = || server.value("medusa.shared('t'):get('slow')") == "true";
    assert!((0..500).any(|_| {
        server.value("medusa.sleep(0.005)");
        running()
    }));
    server.write("site.luau", &format!("{WEB} web:mount('/slow', function() return 'new' end)"));
    server.reload().unwrap();
    let runs = server.value("medusa.shared('t'):get('old')");
    assert_eq!(server.get("/slow").body, "new");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("old"), "{answer}");
    assert_eq!(server.value("medusa.shared('t'):get('old')"), runs, "an old timer still runs");
}

#[test]
fn check_does_everything_but_bind() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let script = format!(
        "local options = {{ when_full = 'spill', spill_bytes = '64MiB', queue = 1000, queue_bytes = 1e6 }}
        web = medusa.http.server {{ listen = '{addr}', log = medusa.log.file('logs/access.log', options) }}
        web:mount('/', medusa.handler.script('h.luau'))"
    );
    write_files(dir.path(), &[("site.luau", &script), ("h.luau", "return function() end")]);
    let tree = medusa_script::check(program(dir.path()), |_line| ()).unwrap().to_string();
    assert!(tree.contains("h.luau"), "{tree}");
    let spills = tree.lines().any(|line| line.contains("when_full") && line.ends_with(" spill"));
    assert!(spills, "a log may spill once there is a place for it: {tree}");
    assert!(!dir.path().join("logs").exists(), "check leaves no trace");
    write_files(dir.path(), &[("h.luau", "return 1")]);
    assert!(
        medusa_script::check(program(dir.path()), |_line| ()).unwrap_err().to_string().contains("h.luau:1:")
    );
}

/// Timers that a timer has made belong to the script as well.
#[test]
fn timers_of_timers_end_with_their_script() {
    let server = Server::start(
        &format!(
            "{WEB} local made = false
            medusa.every(0.01, function()
                if not made then made = true medusa.every(0.01, function() medusa.shared('t'):incr('n') end) end
            end)"
        ),
        &[],
    );
    let runs = || server.value("medusa.shared('t'):get('n')");
    assert!((0..500).any(|_| {
        server.value("medusa.sleep(0.01)");
        runs() != "nil"
    }));
    server.write("site.luau", WEB);
    server.reload().unwrap();
    let then = runs();
    server.value("medusa.sleep(0.1)");
    assert_eq!(runs(), then);
}
