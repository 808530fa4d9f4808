//! Generations that are made again of what made them: all of it, or not at all.

use std::fs;

use medusa_testkit::{Server, Signal, wait};

use super::history::Session;
use super::support::{MEDUSA, NO_DRIFT, start, web};

/// A site that changes itself, when it is asked to.
const ITSELF: &str = "web:mount('/more', function()
        web:mount('/made', function() return 'made' end)
        return 'more'
    end)";

/// Reloads until nothing of before is kept whole.
fn bury(server: &Server) {
    (0..4).for_each(|_| server.reload());
}

fn statuses<const N: usize>(server: &Server, paths: [&str; N]) -> [u16; N] {
    paths.map(|path| server.get(path).status)
}

fn mount(name: &str) -> String {
    format!("web:mount('/{name}', function() return '{name}' end)")
}

#[test]
fn one_that_the_script_has_changed_by_itself_is_not_made_without_that() {
    let site = web(ITSELF);
    let state = tempfile::tempdir().expect("a directory");
    let start = || MEDUSA.serve_with_state(site.path(), state.path()).start();
    let mut server = start();
    server.eval(&mount("a"));
    server.get("/more");
    server.eval(&mount("b"));
    let by_itself = "generation 3, by the request GET /more: + /made";
    assert_eq!(
        server.command(["drift"]).said(),
        format!("* not saved: {}\n* not saved: {}\n* {by_itself}", mount("a"), mount("b"))
    );
    // As long as it is whole, nothing has to be made.
    server.command(["rollback", "2"]).success();
    server.stderr().wait_for("went back by=");
    assert_eq!(statuses(&server, ["/a", "/made", "/b"]), [200, 404, 404]);
    assert!(!server.command(["drift"]).said().contains("/made"));
    server.command(["rollback", "4"]).success();
    assert_eq!(statuses(&server, ["/a", "/made", "/b"]), [200, 200, 200]);

    bury(&server);
    let refused = |server: &Server, generation: &str| {
        let told = server.command(["rollback", generation]).failure(1);
        let why = format!("for this is in none of the files and statements that made it: {by_itself}");
        assert!(
            told.contains(&format!("generation {generation} cannot be made again, {why}; generation ")),
            "{told}"
        );
        told
    };
    assert!(refused(&server, "3").contains("; generation 2 can be"));
    assert!(refused(&server, "4").contains("; generation 2 can be"));
    assert!(refused(&server, "6").contains("; generation 5 can be"));
    assert_eq!(statuses(&server, ["/a", "/made", "/b"]), [404, 404, 404]);
    server.command(["rollback", "5"]).success();
    assert_eq!(statuses(&server, ["/a", "/made", "/b"]), [200, 404, 404]);

    // The next process knows it, too.
    let history = state.path().join("history.jsonl");
    let is_written = || fs::read_to_string(&history).unwrap_or_default().lines().count() == 11;
    wait::until("the history is on disk", || is_written().then_some(()));
    server.signal(Signal::KILL);
    server.wait();
    let server = start();
    assert!(refused(&server, "3").contains("; generation 2 can be"));
    assert!(refused(&server, "6").contains("; generation 5 can be"));
    server.command(["rollback", "2"]).success();
    assert_eq!(statuses(&server, ["/a", "/made", "/b"]), [200, 404, 404]);
}

#[test]
fn what_is_lost_of_the_last_confirmed_one_is_told_at_the_start() {
    let site = web(ITSELF);
    let state = tempfile::tempdir().expect("a directory");
    let start = || MEDUSA.serve_with_state(site.path(), state.path()).start();
    let mut server = start();
    server.eval(&mount("a"));
    server.get("/more");
    server.eval(&format!("{} commit(600)", mount("tried")));
    server.signal(Signal::KILL);
    server.wait();
    let server = start();
    server.stderr().wait_for(
        "what is in none of its files and statements is not in it: generation 3, by the request GET /more: + /made",
    );
    assert_eq!(statuses(&server, ["/a", "/made", "/tried"]), [200, 404, 404]);
    assert_eq!(server.command(["drift"]).said(), format!("* not saved: {}", mount("a")));
}

/// With what needs a mount that no file and no statement makes, the server would not start again.
#[test]
fn what_does_not_run_without_it_is_not_saved() {
    let site = web(&format!(
        "{ITSELF}
        function at(pattern)
            for _, mount in web.mounts do if mount.pattern == pattern then return mount end end
            error('nothing is mounted there')
        end"
    ));
    let server = start(&site);
    server.get("/more");
    server.eval(&mount("a"));
    let saved = server.eval("save('a')");
    assert!(saved.starts_with("1 statement saved to live/0001-a.luau"), "{saved}");
    assert!(
        saved.ends_with(
            "; in no statement, and so not saved: generation 2, by the request GET /more: + /made"
        )
    );
    server.eval("at('/made'):replace(function() return 'changed' end)");
    let refused = server.command(["save", "changed"]).failure(1);
    assert!(
        refused.contains("(generation 2, by the request GET /more: + /made), so nothing is saved: "),
        "{refused}"
    );
    assert!(refused.contains("nothing is mounted there"), "{refused}");
    server.reload();
    assert_eq!(statuses(&server, ["/a", "/made"]), [200, 404]);
}

#[test]
fn save_says_what_it_cannot_write() {
    let site = web("");
    let server = start(&site);
    let mut session = Session::with(&server);
    session.value(&format!("{} commit() {} commit() {} return 1", mount("a"), mount("b"), mount("c")));
    // Into the middle of that statement, which no statement makes.
    session.value("rollback(3)");
    assert_eq!(statuses(&server, ["/a", "/b", "/c"]), [200, 200, 404]);
    let says = |told: &str| {
        let lost = "; in no statement, and so not saved: generation 2, by the eval by uid ";
        assert!(told.contains(lost) && told.contains(": + /a, generation 3, by the "), "{told}");
        assert!(told.ends_with(": + /b"), "{told}");
    };
    let nothing = session.failure("save('the first two')");
    assert!(nothing.contains("there is nothing to save: "), "{nothing}");
    says(&nothing);
    session.value(&mount("d"));
    let saved = session.value("save('the fourth')");
    assert!(saved.starts_with("1 statement saved to live/0001-the-fourth.luau: it runs after"), "{saved}");
    says(&saved);
    server.reload();
    assert_eq!(statuses(&server, ["/a", "/b", "/c", "/d"]), [404, 404, 404, 200]);
}

/// A statement is known when it has ended well. What it has published until then is there, whatever becomes of it.
#[test]
fn what_a_statement_has_published_before_it_failed_is_not_forgotten() {
    let site = web("");
    let server = start(&site);
    let mut session = Session::with(&server);
    session.failure(&format!("{} commit() error('no')", mount("a")));
    session.value(&format!("{} commit() {} return 1", mount("b"), mount("c")));
    assert_eq!(statuses(&server, ["/a", "/b", "/c"]), [200, 200, 200]);
    let drift = session.value("drift()");
    assert!(drift.starts_with("* not saved: web:mount('/b'"), "{drift}");
    assert!(drift.contains("\n* generation 2, by the eval by uid ") && drift.ends_with(": + /a"), "{drift}");
    bury(&server);
    for (generation, missing) in
        [(2, ": + /a; generation 1 can be"), (3, ": + /b"), (4, ": + /a; generation 1 can be")]
    {
        let told = session.failure(&format!("rollback({generation})"));
        assert!(told.contains("cannot be made again") && told.contains(missing), "{told}");
    }
    // One statement makes both.
    session.value(&format!("{} commit() {} return 1", mount("b"), mount("c")));
    bury(&server);
    assert_eq!(statuses(&server, ["/b", "/c"]), [404, 404]);
    session.value("rollback(10)");
    assert_eq!(statuses(&server, ["/a", "/b", "/c"]), [404, 200, 200]);
}

/// What was begun and given up is no part of anything: not of what is saved, nor of what is made again.
#[test]
fn what_was_given_up_is_neither_saved_nor_made_again() {
    let site = web("name = 'script' web:mount('/name', function() return name end)");
    let server = start(&site);
    let (mut session, mut other) = (Session::with(&server), Session::with(&server));
    session.value("begin()");
    session.value(&mount("a"));
    session.value("abort()");
    assert_eq!(session.value("drift()"), NO_DRIFT);
    assert!(session.failure("save('x')").contains("there is nothing to save"));

    // Of a change that came too late, nothing is left but what it has assigned: that is not known any more.
    session.value("begin()");
    session.value(&format!("name = 'late' {}", mount("a")));
    other.value(&mount("b"));
    assert!(session.failure("commit()").contains("begun on generation 1, and 2 is there now"));
    session.value("return 1");
    assert_eq!(session.value("drift()"), format!("* not saved: {}", mount("b")));

    // Of one that was given up where it was begun, it is.
    session.value("begin()");
    session.value(&format!("name = 'given up' {}", mount("c")));
    session.value("web.mounts[1]:remove()");
    session.value("abort()");
    session.value(&mount("d"));
    let there = |server: &Server| {
        assert_eq!(server.get("/name").text(), "given up");
        assert_eq!(statuses(server, ["/a", "/b", "/c", "/d"]), [404, 200, 404, 200]);
    };
    there(&server);
    bury(&server);
    session.value("rollback(3)");
    there(&server);
    session.value("save('what is left')");
    server.reload();
    there(&server);
    assert!(site.read("live/0001-what-is-left.luau").contains("abort()"));
}

#[test]
fn what_a_statement_has_taken_back_itself_is_neither_saved_nor_made_again() {
    let site = web("");
    let server = start(&site);
    let mut session = Session::with(&server);
    session.value(&format!("{} commit(60) cancel()", mount("a")));
    assert_eq!(session.value("drift()"), NO_DRIFT);
    session.value(&format!("{} name = 'set' commit(60) cancel() {} return 1", mount("b"), mount("c")));
    session.value(&format!("{} commit(60) commit(90) confirm() {} return 1", mount("d"), mount("e")));
    session.value("begin()");
    session.value(&mount("f"));
    session.value(&format!("left = 1 {} commit(60) cancel() {} return 1", mount("g"), mount("h")));
    let there = |server: &Server| {
        let all = statuses(server, ["/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h"]);
        assert_eq!(all, [404, 404, 200, 200, 200, 404, 404, 200]);
        assert_eq!(server.eval("name"), "set");
    };
    there(&server);
    let generation = session.value("generations()[1].number");
    bury(&server);
    session.value(&format!("rollback({generation})"));
    there(&server);
    session.value("save('what is left')");
    server.reload();
    there(&server);
}

/// What a statement publishes, and somebody else takes back before it publishes more, would be there if it ran again.
#[test]
fn what_was_taken_back_while_a_statement_ran_on_is_not_saved() {
    let site = web("");
    let server = start(&site);
    let (mut session, mut other) = (Session::with(&server), Session::with(&server));
    let statement =
        format!("{} commit(600) while not go do medusa.sleep(0.01) end {} return 1", mount("a"), mount("b"));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| session.value(&statement));
        wait::until("it is on trial", || (server.get("/a").status == 200).then_some(()));
        other.value("cancel()");
        other.value("go = true");
        running.join().expect("it ends");
    });
    assert_eq!(statuses(&server, ["/a", "/b"]), [404, 200]);
    let told = other.failure("save('x')");
    let why = "was taken back while it ran on (generation 3, by the cancel by uid ";
    assert!(told.contains(why) && told.contains("so nothing is saved"), "{told}");
    bury(&server);
    let told = other.failure("rollback(4)");
    assert!(told.contains("cannot be made again") && told.contains("generation 3, by the cancel"), "{told}");
}

#[test]
fn statements_that_are_run_again_are_called_what_they_were() {
    let site = web("");
    let server = start(&site);
    server.eval("1 + 1");
    server.eval(&mount("a"));
    let place = server.eval("web:find('/a').origin");
    assert!(place.starts_with("statement-"), "{place}");
    bury(&server);
    server.command(["rollback", "2"]).success();
    assert_eq!(server.eval("web:find('/a').origin"), place);
}
