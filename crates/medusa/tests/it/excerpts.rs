//! Paths in the wrong places: in a message, where they are text, and of a pipe, where a file is expected. Nobody waits for
//! a pipe's writer, and nobody reads a device without an end.

use std::process::Command;

use medusa_testkit::{Finished, Site};

use super::support::{MEDUSA, start, web};

/// A site with `pipe` and `pipe.luau`, which nobody ever writes to.
#[track_caller]
fn with_pipes(script: &str) -> Site {
    let site = web(script);
    for pipe in ["pipe", "pipe.luau"] {
        assert!(Command::new("mkfifo").arg(site.at(pipe)).status().expect("mkfifo").success());
    }
    site
}

/// A text that a message may name, though nobody should look there.
fn places(site: &Site) -> [String; 3] {
    [site.at("pipe").display().to_string(), "pipe".to_owned(), "/dev/zero".to_owned()]
}

#[track_caller]
fn check(site: &Site) -> Finished {
    MEDUSA.run([std::ffi::OsStr::new("check"), site.path().as_os_str()])
}

/// Asserts that it failed with a message about `what`, and shows no source line.
#[track_caller]
fn expect_told(finished: &Finished, what: &str) {
    assert!(!finished.status.success() && finished.stderr.contains(what), "{finished}");
    assert!(!finished.stderr.contains("> 1 |"), "{finished}");
}

#[test]
fn a_path_in_a_message_is_text() {
    let ok = "web:mount('/ok', function() return 'ok' end)";
    let site = with_pipes(ok);
    let server = start(&site);
    for place in places(&site) {
        let what = format!("{place}:1: x");
        let raise = format!("error('{what}', 0)");
        expect_told(&server.command(["eval", &raise]), &what);
        let handler = "web:mount('/x', medusa.handler.script('x.luau'))";
        let module = "require('./x')";
        for (script, file) in [(&*raise, ""), (handler, &*raise), (module, &*raise)] {
            site.write(
                "site.luau",
                format!("web = medusa.http.server {{ listen = '127.0.0.1:0' }}\n{ok}\n{script}"),
            );
            site.write("x.luau", file);
            expect_told(&check(&site), &what);
            expect_told(&server.command(["reload"]), &what);
        }
    }
    assert_eq!(server.get("/ok").text(), "ok");
}

#[test]
fn the_source_line_is_that_which_runs() {
    let site = web("function fails()\n\terror('it failed')\nend").file("x.luau", "\nreturn 1 +\n");
    let server = start(&site);
    site.write(
        "site.luau",
        "web = medusa.http.server { listen = '127.0.0.1:0' }\n\n-- another line\nrequire('./x')",
    );
    let failed = server.command(["eval", "fails()"]);
    assert!(failed.stderr.contains("> 3 |     error('it failed')"), "{failed}");
    // A module's, and not of the script that requires it.
    let failed = server.command(["reload"]);
    assert!(failed.stderr.contains("x.luau:") && failed.stderr.contains("2 | return 1 +"), "{failed}");
}

#[test]
fn a_pipe_in_place_of_a_file_is_refused() {
    for script in [
        "require('./pipe')",
        "web:mount('/', medusa.handler.script('pipe.luau'))",
        "web:set_log(medusa.log.syslog('tls://localhost', { tls = { ca = 'pipe' } }))",
        "medusa.http.server { listen = { { address = '127.0.0.1:0', tls = { cert = 'pipe', key = 'pipe' } } } }",
        "medusa.dns.system { hosts = 'pipe' }:lookup('localhost')",
        "medusa.dns.server('127.0.0.1', { protocol = 'tls', tls_name = 'a.example', ca = 'pipe' })",
        "medusa.fetch('https://127.0.0.1:9/', { ca = 'pipe' })",
    ] {
        let refused = check(&with_pipes(script));
        assert!(!refused.status.success() && refused.stderr.contains("pipe"), "{script}: {refused}");
    }
}

#[test]
fn a_pipe_in_place_of_the_pid_is_not_waited_for() {
    let server = start(&web(""));
    let pid = server.state().join("pid");
    std::fs::remove_file(&pid).expect("it is there");
    assert!(Command::new("mkfifo").arg(&pid).status().expect("mkfifo").success());
    assert_eq!(server.eval("1 + 1"), "2");
}
