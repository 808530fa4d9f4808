//! The audit log: what sessions do is recorded, and nothing is done that cannot be.

use std::fs;
use std::path::Path;
use std::process::Command;

use medusa_testkit::{Server, Signal, wait};
use serde_json::Value;

use super::history::Session;
use super::support::{MEDUSA, start, web};

/// The records of a server's log, as `audit show` prints them.
#[track_caller]
fn records(state: &Path) -> Vec<Value> {
    let shown = audit(["show", "--json"], state);
    shown.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[track_caller]
fn audit<const N: usize>(words: [&str; N], state: &Path) -> String {
    let words = ["audit"].into_iter().chain(words).map(AsRef::as_ref);
    MEDUSA.run(words.chain(["--state".as_ref(), state.as_os_str()])).success()
}

/// Waits until as many records of a kind are there.
#[track_caller]
fn recorded(server: &Server, kind: &str, count: usize) -> Vec<Value> {
    wait::until("the records are there", || {
        let found: Vec<_> =
            records(server.state()).into_iter().filter(|record| record["kind"] == kind).collect();
        (found.len() >= count).then_some(found)
    })
}

#[test]
fn what_sessions_do_is_recorded_whole_and_shown() {
    let site = web("");
    let server = start(&site);
    let statement = "x = 1 -- \"},\u{202e}\n\treturn x";
    server.eval(statement);
    server.eval("web:mount('/new', function() return 'new' end)");
    server.command(["eval", "error('no')"]).failure(1);
    server.reload();
    server.status();
    let results = recorded(&server, "result", 4);
    let statements = recorded(&server, "statement", 3);
    assert_eq!(statements[0]["text"], statement);
    assert_eq!((&statements[0]["via"], &statements[0]["role"]), (&"socket".into(), &"program".into()));
    assert!(statements[0]["who"]["name"].as_str().expect("a name").starts_with("uid "), "{}", statements[0]);
    assert_eq!((&results[0]["of"], &results[0]["result"]["ok"]), (&statements[0]["seq"], &"1".into()));
    assert!(results[1]["effect"]["generation"].is_u64(), "{}", results[1]);
    assert!(results[2]["result"]["error"].as_str().expect("text").contains("no"), "{}", results[2]);
    let requests = recorded(&server, "request", 2);
    assert!(["reload", "status"].iter().all(|what| requests.iter().any(|record| record["text"] == *what)));

    let state = server.state().to_owned();
    let ok = audit(["verify"], &state);
    assert!(ok.starts_with("ok: records 1 to "), "{ok}");
    let anchor = ok.split_once("head ").expect("a head").1.trim().to_owned();
    server.command(["stop"]).success();
    // No server is needed to read it, and its end is in it.
    audit(["verify", "--anchor", &anchor], &state);
    let all = records(&state);
    assert_eq!((&all[0]["kind"], &all[all.len() - 1]["kind"]), (&"start".into(), &"stop".into()));
    let table = audit(["show", "--session", "1"], &state);
    assert!(table.contains("statement: x = 1") && table.contains("\n        | \treturn x"), "{table}");
    assert!(!table.contains('\u{202e}') && !table.contains("start"), "{table}");
    assert_eq!(audit(["show", "--since", "2999"], &state), "");

    let log = state.join("audit.log");
    let text = fs::read_to_string(&log).expect("a log");
    fs::write(&log, text.replace("x = 1", "x = 2")).expect("written");
    let words = ["audit", "verify", "--state"].map(AsRef::as_ref);
    let told = MEDUSA.run(words.into_iter().chain([state.as_os_str()])).failure(1);
    let line = text.lines().position(|line| line.contains("x = 1")).expect("it is there") + 1;
    assert!(told.contains(&format!("audit.log line {line} (record {line}): it is not as it was")), "{told}");
    // The next server says so, and goes on.
    let server = MEDUSA.serve_with_state(site.path(), &state).start();
    server.stderr().wait_for("the audit log is not as it was left");
    server.eval("1");
}

#[test]
fn what_was_published_before_a_failure_is_recorded() {
    let site = web("");
    let server = start(&site);
    let statement = "web:mount('/kept', function() return 'kept' end) commit() error('late')";
    server.command(["eval", statement]).failure(1);
    assert_eq!(server.get("/kept").text(), "kept");
    let result = &recorded(&server, "result", 1)[0];
    assert!(result["result"]["error"].as_str().expect("text").contains("late"), "{result}");
    assert!(result["effect"]["generation"].is_u64(), "{result}");
    assert!(result["effect"]["diff"][0].as_str().expect("a line").contains("+ /kept"), "{result}");
}

#[test]
fn all_that_a_statement_publishes_is_recorded() {
    let server = start(&web(""));
    let mount = |name: &str| format!("web:mount('/{name}', function() end)");
    let statement =
        format!("{} commit() {} commit(60) cancel() {} return 1", mount("a"), mount("b"), mount("c"));
    let done = server.command(["eval", &statement]);
    assert_eq!(done.stdout, "1\n", "{done}");
    let effect = recorded(&server, "result", 1)[0]["effect"].clone();
    assert_eq!(
        (&effect["generation"], &effect["earlier"]),
        (&5.into(), &serde_json::json!([2, 3, 4])),
        "{effect}"
    );
    let changes = ["generation 2: + /a", "generation 3: + /b", "generation 4: - /b", "generation 5: + /c"];
    for (at, change) in changes.into_iter().enumerate() {
        assert!(effect["diff"][at].as_str().is_some_and(|line| line.starts_with(change)), "{effect}");
        assert!(done.stderr.contains(change), "{done}");
    }
    let table = audit(["show"], server.state());
    assert!(table.contains(", generation 2, 3, 4, 5 "), "{table}");
}

#[test]
fn a_statement_of_many_lines_is_recorded_once() {
    let site = web("");
    let server = start(&site);
    let long = format!("t = {{\n{}}}", "  'a line of it',\n".repeat(300));
    let words = ["attach", "--state", server.state().to_str().expect("UTF-8")];
    let done = MEDUSA.run_reading(words, &format!("{long}\nreturn #t\n"));
    assert_eq!((done.status.code(), &*done.stdout), (Some(0), "300\n"), "{done}");
    let statements = recorded(&server, "statement", 2);
    let texts: Vec<_> =
        statements.iter().map(|record| record["text"].as_str().expect("text").trim()).collect();
    assert_eq!(texts, [&*long, "return #t"]);
    // Whoever asks the server is told so, and leaves no trace either.
    let told = server.command(["eval", "t = {"]).failure(1);
    assert!(told.contains("statement:1:"), "{told}");
    server.eval("t = nil");
    assert_eq!(recorded(&server, "statement", 3).len(), 3);
}

#[test]
fn an_end_that_was_cut_off_is_told_by_every_verify() {
    let site = web("");
    let mut server = start(&site);
    server.eval("x = 1");
    server.eval("x = 2");
    server.command(["stop"]).success();
    server.wait();
    let state = server.state().to_owned();
    let log = state.join("audit.log");
    let text = fs::read_to_string(&log).expect("a log");
    let kept = text.lines().count() - 3;
    fs::write(&log, text.split_inclusive('\n').take(kept).collect::<String>()).expect("written");
    fs::remove_file(state.join("audit.head")).expect("removed");
    for _ in 0..2 {
        let mut server = MEDUSA.serve_with_state(site.path(), &state).start();
        server.eval("1");
        server.command(["stop"]).success();
        server.wait();
    }
    let words = ["audit", "verify", "--state"].map(AsRef::as_ref);
    let told = MEDUSA.run(words.into_iter().chain([state.as_os_str()])).failure(1);
    let start = kept + 1;
    assert!(
        told.contains(&format!("audit.log line {start} (record {start}): the server that started")),
        "{told}"
    );
    assert_eq!(told.matches("has no head").count(), 1, "{told}");
}

#[test]
fn a_killed_server_leaves_a_log_that_is_whole() {
    let site = web("");
    let mut server = start(&site);
    server.eval("x = 1");
    server.signal(Signal::KILL);
    server.wait();
    audit(["verify"], server.state());
    let server = start(&site);
    assert!(!server.stderr().text().contains("the audit log is not"), "{}", server.stderr().text());
}

#[test]
fn statements_are_run_once_more_in_another_server() {
    let (site, other) = (web(""), web(""));
    let server = start(&site);
    server.eval("web:mount('/a', function() return 'a' end)");
    server.command(["eval", "error('no')"]).failure(1);
    server.eval("b = 'two'");
    recorded(&server, "result", 3);
    let other = start(&other);
    let into = other.state().to_str().expect("UTF-8");
    let state = server.state().as_os_str();
    let replay = |words: &[&str]| {
        let words = ["audit", "replay", "--into"].iter().chain(words).copied().map(AsRef::as_ref);
        MEDUSA.run(words.chain(["--state".as_ref(), state]))
    };
    let listed = replay(&[into]).failure(1);
    assert!(listed.contains("2 statements; add `--yes`"), "{listed}");
    assert_eq!(other.get("/a").status, 404);
    let shown = replay(&[into, "--yes"]).success();
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert_eq!((other.get("/a").text(), other.eval("b").trim()), ("a".to_owned(), "two"));
    let told = replay(&[state.to_str().expect("UTF-8"), "--yes"]).failure(1);
    assert!(told.contains("replay into another"), "{told}");
    let told = replay(&[into, "--yes"]).failure(1);
    assert!(told.contains("failed there") && told.contains("(0 were before it)"), "{told}");
}

/// What was on trial is confirmed there, or taken back, as it was here, and the numbers of generations are others.
#[test]
fn what_changed_the_site_is_done_once_more_and_nothing_else() {
    let (site, there) = (web(""), web("web:mount('/own', function() end)"));
    let server = start(&site);
    let mut session = Session::with(&server);
    let mount = |name: &str| format!("web:mount('/{name}', function() return '{name}' end)");
    session.value(&format!("{} commit(600)", mount("a")));
    session.value("confirm(2)");
    session.value(&format!("{} commit(600)", mount("b")));
    session.value("cancel()");
    session.value("help(web)");
    session.value("return trace(function() return true end, 1, 0.05)");
    session.value("status()");
    session.value(&mount("c"));
    session.value("rollback(2, 'generation=9')");
    // Nobody confirms it.
    session.value(&format!("{} commit(2)", mount("d")));
    wait::until("it is taken back", || (server.get("/d").status == 404).then_some(()));
    session.value(&mount("e"));
    let late = format!("{} commit() error('late')", mount("f"));
    session.failure(&late);
    server.reload();
    recorded(&server, "result", 10);
    let other = start(&there);
    other.eval("web:mount('/first', function() end)");
    let words = ["audit", "replay", "--yes", "--into"].map(AsRef::as_ref);
    let words = words.into_iter().chain([other.state().as_os_str(), "--state".as_ref()]);
    let done = MEDUSA.run(words.chain([server.state().as_os_str()]));
    assert_eq!(done.status.code(), Some(0), "{done}");
    let run: Vec<_> = done
        .stdout
        .lines()
        .map(|line| line.trim_start_matches([' ', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']))
        .collect();
    let expected = [
        format!("{} commit(600)", mount("a")),
        "confirm()".into(),
        format!("{} commit(600)", mount("b")),
        "cancel()".into(),
        mount("c"),
        "rollback(3)".into(),
        format!("{} commit(2)", mount("d")),
        "cancel()".into(),
        mount("e"),
    ];
    assert_eq!(run, expected, "{done}");
    assert!(done.stderr.contains("9 statements were run"), "{done}");
    for told in [
        "left out, as it only looks: help(web)",
        "left out, as it only looks: return trace(function()",
        "left out, as it failed after it had published something: ",
        "left out, as the other server has a script of its own: reload",
        "left out: 1 help, 1 reload, 1 status, 1 trace, 1 web",
    ] {
        assert!(done.stderr.contains(told), "{told}: {done}");
    }
    let statuses = ["/own", "/first", "/a", "/b", "/c", "/d", "/e", "/f"].map(|path| other.get(path).status);
    assert_eq!(statuses.map(|status| status != 404), [true, true, true, false, false, false, true, false]);
}

#[test]
fn on_a_full_disk_nothing_is_changed_and_all_can_be_seen() {
    let site = web("").file("disk/.keep", "");
    let disk = site.at("disk");
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=12M", "none"]).arg(&disk).status();
    if !mount.is_ok_and(|status| status.success()) {
        return eprintln!("skipped: only root may mount a disk to fill");
    }
    let server = MEDUSA.serve_with_state(site.path(), &disk).start();
    server.eval("x = 0");
    fs::write(disk.join("filler"), vec![0; 64 << 20]).expect_err("it is full");
    let mut said = String::new();
    for _ in 0..8 {
        let statement = format!("x += 1 --{}", "y".repeat(900_000));
        let done = MEDUSA
            .run_reading(["eval".as_ref(), "-".as_ref(), "--state".as_ref(), disk.as_os_str()], &statement);
        if done.status.code() != Some(0) {
            said = done.stderr;
            break;
        }
    }
    assert!(said.contains("not done") && said.contains("No space left"), "{said}");
    server.stderr().wait_for("sessions cannot be recorded");
    assert!(server.status().is_object());
    fs::remove_file(disk.join("filler")).expect("removed");
    server.eval("x += 1");
    audit(["verify"], &disk);
    drop(server);
    let _left = Command::new("umount").arg("-l").arg(&disk).status();
}
