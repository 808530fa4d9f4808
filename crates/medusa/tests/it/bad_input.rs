//! What cannot be served: one clear message with the script's file and line, or the flag; at a reload, the old site.

use std::os::unix::fs::symlink;

use medusa_testkit::Site;

use super::support::{MEDUSA, WEB, start};

/// A script that is wrong, where, and what is said about it.
struct Wrong {
    script: &'static str,
    /// The file and line, as it stands in the message.
    place: &'static str,
    /// Parts of the message.
    expected: &'static [&'static str],
}

/// The wrong ones. [`WEB`] is line 1 of each.
const WRONG: &[Wrong] = &[
    // A root.
    Wrong {
        script: "web:mount('/', medusa.handler.files('gone'))",
        place: "site.luau:2:",
        expected: &["no directory", "gone"],
    },
    Wrong {
        script: "web:mount('/', medusa.handler.files('file.txt'))",
        place: "site.luau:2:",
        expected: &["not a directory", "file.txt"],
    },
    Wrong {
        script: "web:mount('/', medusa.handler.files('loop'))",
        place: "site.luau:2:",
        expected: &["cannot read the directory", "loop"],
    },
    // A handler file.
    Wrong {
        script: "\nweb:mount('/', medusa.handler.script('gone.luau'))",
        place: "site.luau:3:",
        expected: &["gone.luau"],
    },
    Wrong {
        script: "web:mount('/', medusa.handler.script('bad/syntax.luau'))",
        place: "bad/syntax.luau:2:",
        expected: &["> 2 | \t"],
    },
    Wrong {
        script: "web:mount('/', medusa.handler.script('bad/error.luau'))",
        place: "bad/error.luau:1:",
        expected: &["while loading"],
    },
    Wrong {
        script: "web:mount('/', medusa.handler.script('bad/value.luau'))",
        place: "bad/value.luau:1:",
        expected: &["must return a function"],
    },
    Wrong {
        script: "web:mount('/', medusa.handler.script('../outside.luau'))",
        place: "site.luau:2:",
        expected: &["outside"],
    },
    // Mounts.
    Wrong {
        script: "web:mount('/a/{x}', print)\nweb:mount('/a/{y}', print)",
        place: "site.luau:3",
        expected: &["/a/{x}", "/a/{y}", "site.luau:2"],
    },
    Wrong {
        script: "web:mount('no/slash at all', print)",
        place: "site.luau:2:",
        expected: &["no/slash at all"],
    },
    Wrong { script: "web:mount('/{', print)", place: "site.luau:2:", expected: &["/{"] },
    Wrong {
        script: "web:mount('/', 5)",
        place: "site.luau:2:",
        expected: &["a handler must be a function", "5"],
    },
    Wrong {
        script: "web:mount()",
        place: "site.luau:2:",
        expected: &["mount: it takes a pattern and a handler, and was given neither: `server:mount(\"/path\", "],
    },
    Wrong { script: "web:mount('/')", place: "site.luau:2:", expected: &["a handler must be a function"] },
    Wrong { script: "web:mount({}, print)", place: "site.luau:2:", expected: &["string"] },
    // Options.
    Wrong {
        script: "medusa.http.server { listen = '127.0.0.1:0', colour = 'red' }",
        place: "site.luau:2:",
        expected: &["there is no option \"colour\"", "listen"],
    },
    Wrong {
        script: "medusa.handler.files('.', { lists = true })",
        place: "site.luau:2:",
        expected: &["there is no option \"lists\"", "listing"],
    },
    Wrong {
        script: "medusa.log.file('x', { colour = 1 })",
        place: "site.luau:2:",
        expected: &["there is no option \"colour\"", "format"],
    },
    Wrong {
        script: "medusa.http.server { listen = 8080 }",
        place: "site.luau:2:",
        expected: &["`listen` must be a string", "8080"],
    },
    Wrong {
        script: "medusa.http.server { listen = '127.0.0.1:0', log = 'access.log' }",
        place: "site.luau:2:",
        expected: &["`log` must be a log", "access.log"],
    },
    Wrong {
        script: "medusa.http.server { listen = '127.0.0.1:0', limits = { head = -1 } }",
        place: "site.luau:2:",
        expected: &["`head` must be a whole number of at least 0, not -1"],
    },
    Wrong {
        script: "medusa.http.server { listen = '127.0.0.1:0', limits = { body = 'big' } }",
        place: "site.luau:2:",
        expected: &["`body` must be a number", "big"],
    },
    Wrong {
        script: "medusa.handler.files('.', { listing = 'yes' })",
        place: "site.luau:2:",
        expected: &["`listing` must be", "yes"],
    },
    Wrong {
        script: "medusa.log.file('x', { format = 'fancy' })",
        place: "site.luau:2:",
        expected: &["fancy", "combined"],
    },
    Wrong {
        script: "medusa.log.file('x', { format = '%h %Z' })",
        place: "site.luau:2:",
        expected: &["character 4", "\"%Z\"", "%{User-Agent}i"],
    },
    Wrong {
        script: "medusa.http.server { listen = 'nowhere' }",
        place: "site.luau:2:",
        expected: &["listen", "nowhere"],
    },
    Wrong { script: "medusa.http.server 'x'", place: "site.luau:2:", expected: &["table"] },
    Wrong { script: "medusa.http.server()", place: "site.luau:2:", expected: &["listen"] },
    Wrong { script: "medusa.log.journald { path = '' }", place: "site.luau:2:", expected: &["journald", "path"] },
    Wrong {
        script: "medusa.http.server { listen = { '127.0.0.1:0', [3] = '127.0.0.1:0' } }",
        place: "site.luau:2:",
        expected: &["listen", "nil"],
    },
    Wrong { script: "medusa.every(0, print)", place: "site.luau:2:", expected: &["interval", "0"] },
    // Logs.
    Wrong {
        script: "medusa.http.server { listen = '127.0.0.1:0', log = medusa.log.file('file.txt/access.log') }",
        place: "site.luau:2",
        expected: &["file.txt/access.log"],
    },
    Wrong {
        script: "medusa.http.server { listen = '127.0.0.2:0', log = medusa.log.file('/proc/nope/access.log') }",
        place: "site.luau:2",
        expected: &["/proc/nope"],
    },
    Wrong {
        script: "local log = medusa.log.file('a.log')\nmedusa.http.server { name = 'one', listen = '127.0.0.2:0', log = log }
            medusa.log.events(medusa.log.multi { log, medusa.log.file('./bad/../a.log', { format = 'json' }) })",
        place: "site.luau:4",
        expected: &["a.log", "site.luau:3", "other options"],
    },
    // Addresses.
    Wrong {
        script: "medusa.http.server { name = 'one', listen = { '127.0.0.1:8080', '127.0.0.1:8080' } }",
        place: "site.luau:2",
        expected: &["127.0.0.1:8080", "\"one\"", "already"],
    },
    Wrong {
        script: "medusa.http.server { name = 'one', listen = ':8080' }
            medusa.http.server { name = 'two', listen = '127.0.0.1:8080' }",
        place: "site.luau:3",
        expected: &["127.0.0.1:8080", "[::]:8080", "\"one\"", "site.luau:2"],
    },
    Wrong {
        script: "medusa.http.server { name = 'one', listen = '0.0.0.0:8080' }
            medusa.http.server { name = 'two', listen = { '127.0.0.2:0', ':8080' } }",
        place: "site.luau:3",
        expected: &["0.0.0.0:8080", "[::]:8080", "\"one\"", "site.luau:2"],
    },
    // Luau itself.
    Wrong { script: "local function x(\nend", place: "site.luau:3:", expected: &["> 3 | end"] },
    Wrong {
        script: "\n\nnothing.at.all = 1",
        place: "site.luau:4:",
        expected: &["nil", "> 4 | nothing.at.all = 1"],
    },
    Wrong {
        script: "local function inner() error('by design') end\ninner()",
        place: "site.luau:2:",
        expected: &["by design", "traceback", "site.luau:3"],
    },
    Wrong { script: "error({ code = 7 })", place: "site.luau:2", expected: &[] },
    Wrong { script: "require('gone')", place: "site.luau:2:", expected: &["gone"] },
    Wrong { script: "require('../outside')", place: "site.luau:2:", expected: &["outside"] },
];

fn site(script: &str) -> Site {
    let site = Site::script(script)
        .file("file.txt", "text")
        .file("bad/syntax.luau", "return function()\n\tthis is no Luau\nend")
        .file("bad/error.luau", "error('while loading')")
        .file("bad/value.luau", "return 5");
    symlink("loop", site.at("loop")).expect("linked");
    site
}

/// The message is there once, says where and what, and shows the source.
#[track_caller]
fn expect_message(text: &str, wrong: &Wrong) {
    let Wrong { script, place, expected: parts } = wrong;
    for part in parts.iter().chain([place]) {
        assert!(
            text.contains(&part.replace('\t', "    ")),
            "{part:?} was expected for `{script}` in:\n{text}"
        );
    }
    let messages = text.lines().filter(|line| line.starts_with("medusa: ")).count();
    assert_eq!(messages, 1, "one message was expected for `{script}`:\n{text}");
    assert!(!text.contains("panic"), "{text}");
}

#[test]
fn check_says_what_is_wrong() {
    for wrong in WRONG {
        let site = site(&format!("{WEB}{}", wrong.script));
        expect_message(&MEDUSA.run(["check".as_ref(), site.path()]).failure(1), wrong);
    }
}

#[test]
fn a_start_says_what_is_wrong() {
    for wrong in WRONG {
        let site = site(&format!("{WEB}{}", wrong.script));
        expect_message(&MEDUSA.serve(site.path()).fail().failure(1), wrong);
    }
}

#[test]
fn a_reload_says_what_is_wrong_and_changes_nothing() {
    let site = site(&format!("{WEB}web:mount('/old', function() return 'old' end)"));
    let server = start(&site);
    let mut client = server.connect();
    for wrong in WRONG {
        site.write("site.luau", format!("{WEB}{}", wrong.script));
        expect_message(&server.command(["reload"]).failure(1), wrong);
        assert_eq!(client.get("/old").text(), "old", "after {}", wrong.script);
    }
    assert_eq!(server.documents("listener").len(), 1, "a listener is left of a site that failed");
    assert_eq!(server.number("site", "retired_servers_in_use"), 0);
}

#[test]
fn a_script_that_cannot_be_read_is_named() {
    let site = Site::new().file("text.txt", "text").file("directory.luau/x", "");
    symlink("loop.luau", site.at("loop.luau")).expect("linked");
    for (path, expected) in [
        ("gone.luau", "there is no"),
        ("gone", "there is no"),
        ("text.txt", "is not a script"),
        ("text.txt/x.luau", "there is no"),
        ("loop.luau", "cannot read"),
    ] {
        for command in ["serve", "check"] {
            let message = MEDUSA.run_in(site.path(), [command, path]).failure(1);
            assert!(message.contains(expected) && message.contains(path), "{command} {path}: {message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }
    let message = MEDUSA.run_in(site.path(), ["relaod"]).failure(1);
    assert!(message.contains("no command of that name"), "{message}");
}

#[test]
fn a_script_that_is_no_text_is_refused() {
    for (content, what) in [(&b"\x1bLuau\x00\x01"[..], "bytecode"), (b"-- \xff\xfe\nlocal", "bytes")] {
        let site = Site::new().file("site.luau", content);
        let error = MEDUSA.run(["check".as_ref(), site.path()]).failure(1);
        assert!(error.contains("site.luau"), "{what}: {error}");
    }
}

#[test]
fn a_script_that_goes_away_leaves_the_old_site() {
    let site = site(&format!("{WEB}web:mount('/', function() return 'old' end)"));
    let server = start(&site);
    std::fs::remove_file(site.at("site.luau")).expect("removed");
    let error = server.command(["reload"]).failure(1);
    assert!(error.contains("site.luau"), "{error}");
    assert_eq!(server.get("/").text(), "old");
}

#[test]
fn a_flag_that_is_wrong_is_a_usage_error() {
    let site = site(WEB);
    for (flags, expected) in [
        (&["--colour"][..], "--colour"),
        (&["--workers", "none"], "--workers"),
        (&["--workers", "0"], "from 1 to"),
        (&["--listen", "nowhere"], "--listen"),
        (&["--listen", "127.0.0.1:99999"], "99999"),
        (&["--log-level", "loud=very"], "--log-level"),
        (&["one", "two"], "two"),
    ] {
        let words = [&["serve"], flags].concat();
        let message = MEDUSA.run_in(site.path(), words).failure(2);
        assert!(message.contains(expected), "{flags:?}: {message}");
    }
}

#[test]
fn a_listener_that_cannot_be_had_is_named() {
    let site = site(WEB);
    for (address, expected) in [
        ("192.0.2.1:80", "not an address of this machine"),
        ("unix:/gone/x.sock", "its directory does not exist"),
        (&format!("unix:{}", site.at("file.txt").display()), "not a socket"),
    ] {
        let message = MEDUSA.serve(site.path()).listen(address).fail().failure(1);
        assert!(message.contains(expected) && message.contains("cannot listen on"), "{address}: {message}");
    }
    let two = site.path().join("two.luau");
    site.write("two.luau", format!("{WEB}medusa.http.server {{ name = 'two', listen = '[::1]:0' }}"));
    let message = MEDUSA.serve(two).listen("127.0.0.1:0").fail().failure(1);
    assert!(message.contains("--listen"), "{message}");
}

#[test]
fn a_state_directory_that_cannot_be_had_is_named() {
    let site = site(WEB);
    let state = site.at("file.txt");
    let message = MEDUSA
        .run(["serve".as_ref(), site.path().as_os_str(), "--state".as_ref(), state.as_os_str()])
        .failure(1);
    assert!(message.contains("state directory") && message.contains("file.txt"), "{message}");
}
