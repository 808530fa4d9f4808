//! Sessions that have to say what they are for.

use std::io::Write;
use std::process::{Output, Stdio};

use medusa_testkit::{Server, Site, Tmux, wait};
use serde_json::Value;

use super::monitor::{port, prompt_by, ran_by, site, ssh_by};
use super::support::{MEDUSA, start};

/// A site whose key has to say what its sessions are for.
fn asking() -> Site {
    let site = site("medusa.monitor.ssh { listen = '127.0.0.1:0', keys = 'keys' }");
    site.write("keys", format!("reason {}", site.read("key.pub")));
    site
}

/// Waits until the log has a session that began for that.
#[track_caller]
fn is_recorded(server: &Server, reason: &str) {
    wait::until("the record is there", || {
        let shown = server.command(["audit", "show", "--json"]).success();
        let mut records = shown.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let is_it = |record: &Value| {
            record["kind"] == "login" && record["session"].is_u64() && record["text"] == reason
        };
        records.any(|record| is_it(&record)).then_some(())
    });
}

/// What comes of what is sent to a client.
fn piped(site: &Site, server: &Server, words: &[&str], reason: &str, input: &str) -> Output {
    let mut client = ssh_by(site, port(server), "key")
        .args(["-o", "SendEnv=MEDUSA_REASON"])
        .args(words)
        .env("MEDUSA_REASON", reason)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ssh runs");
    client.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
    client.wait_with_output().expect("it ends")
}

#[test]
fn what_is_not_explained_is_refused() {
    let site = asking();
    let server = start(&site);
    let (status, _, error) = ran_by(&site, port(&server), "key", "1 + 1");
    assert_eq!(status, Some(1));
    assert!(error.contains("MEDUSA_REASON=\"...\" ssh -o SendEnv=MEDUSA_REASON"), "{error}");
    for reason in ["  ", &"x".repeat(501)] {
        let told = piped(&site, &server, &["127.0.0.1"], reason, "web:mount('/x', function() end)");
        assert_eq!(told.status.code(), Some(1), "{reason}");
    }
    assert_eq!(server.get("/x").status, 404);
    let told = piped(&site, &server, &["127.0.0.1", "1 + 1"], "disk\u{1b}[2J\u{202e} is full", "");
    assert_eq!((told.status.code(), &*told.stdout), (Some(0), &b"2\n"[..]));
    is_recorded(&server, "disk\u{1b}[2J\u{202e} is full");
    let table = server.command(["audit", "show"]).success();
    assert!(table.contains("login: disk") && !table.contains(['\u{1b}', '\u{202e}']), "{table}");
    assert_eq!(piped(&site, &server, &["127.0.0.1"], "a script", "x = 1").status.code(), Some(0));
    is_recorded(&server, "a script");
}

#[test]
fn requests_are_explained_by_the_first() {
    let site = asking();
    let server = start(&site);
    let requests = [
        r#"{"version":1,"op":"status"}"#,
        r#"{"version":1,"op":"watch"}"#,
        r#"{"version":1,"op":"complete","source":"w","at":1}"#,
        r#"{"version":1,"op":"hello","reason":" "}"#,
        r#"{"version":1,"op":"hello","reason":"the new api"}"#,
        r#"{"version":1,"op":"eval","source":"1 + 1"}"#,
        r#"{"version":1,"op":"hello","reason":"another"}"#,
    ];
    let told = piped(&site, &server, &["-s", "127.0.0.1", "medusa-json"], "", &requests.join("\n"));
    let told = String::from_utf8(told.stdout).expect("text");
    let [status, watch, complete, empty, hello, eval] = &told.lines().collect::<Vec<_>>()[..] else {
        panic!("{told}");
    };
    for refused in [status, watch, complete] {
        assert!(refused.contains("say first what this session is for"), "{refused}");
    }
    assert!(empty.contains("must have 1 to 500 bytes"), "{empty}");
    assert_eq!((*hello, *eval), (r#"{"reply":"done"}"#, r#"{"reply":"done","value":"2"}"#));
    is_recorded(&server, "the new api");
}

#[test]
fn a_prompt_asks_until_it_is_explained() {
    let site = asking();
    let server = start(&site);
    let line = prompt_by(&site, port(&server), "key");
    let asked = |tmux: &Tmux, times: usize| {
        wait::until("it is asked", || {
            let screen = tmux.screen();
            let asked = screen.iter().filter(|line| line.starts_with("reason for this session:")).count();
            (asked == times).then_some(())
        });
    };
    for key in ["C-c", "C-d"] {
        let tmux = Tmux::run(&format!("{line}; echo ended: $?; sleep 100"));
        asked(&tmux, 1);
        tmux.press([key]);
        wait::until("it has left", || tmux.screen().iter().any(|line| line == "ended: 0").then_some(()));
    }
    let tmux = Tmux::run(&line);
    asked(&tmux, 1);
    tmux.press(["Enter"]);
    asked(&tmux, 2);
    tmux.write("web");
    tmux.press(["Tab", "Enter"]);
    wait::until("the prompt", || tmux.screen().last().is_some_and(|last| last == ">").then_some(()));
    is_recorded(&server, "web");
    tmux.write("40 + 2");
    tmux.press(["Enter"]);
    wait::until("the value", || tmux.screen().iter().any(|line| line == "42").then_some(()));
}

#[test]
fn commands_say_what_they_are_for() {
    let site = site("");
    let server = start(&site);
    server.command(["eval", "--reason", "to see", "1"]).success();
    is_recorded(&server, "to see");
    let state = server.state().to_str().expect("UTF-8");
    let told = MEDUSA
        .command(["attach", "--state", state])
        .env("MEDUSA_REASON", "to change")
        .stdin(Stdio::null())
        .status();
    assert!(told.expect("it runs").success());
    is_recorded(&server, "to change");
    let told = server.command(["eval", "--reason", " ", "1"]).failure(1);
    assert!(told.contains("must have 1 to 500 bytes"), "{told}");
}
