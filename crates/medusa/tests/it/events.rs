//! The server's own log as a target: what clients and scripts can have it say, how much of it, and how often.

use std::process::Command;
use std::thread;

use medusa_testkit::{Client, Process, Server, Site};

use super::support::{start, web};

/// The most that is written of one event, its lines' beginnings and all: 8 KiB of text, where it needs escaping four
/// times that.
const EVENT: usize = 40 * 1024;

/// The beginning of a line that goes on with an event, and nothing else.
const CONTINUED: &str = "  | ";

const MOUNTS: &str = "web:mount('/rec', function() local function f(n) return f(n) + 1 end return f(1) end)
    web:mount('/long', function() error(string.rep('x', 1e7)) end)
    web:mount('/forge', function()
        error('a\\nERROR forged\\r\\27[2J\\27]0;title\\7\\u{9b}31m\\u{2028}ERROR forged\\u{202e}')
    end)
    web:mount('/fail', function() error('it failed') end)
    web:mount('/vary', function(req) error('it failed for ' .. req:arg('n')) end)
    web:mount('/log', function() print('a\\nERROR forged\\27[2J') return 'ok' end)
    web:mount('/ok', function() return 'ok' end)";

fn site() -> Site {
    web(MOUNTS)
}

/// Ends the server, and returns what it said from line `mark` on.
#[track_caller]
fn said(server: Server, mark: usize) -> String {
    let stderr = server.stderr().clone();
    server.terminate();
    stderr.wait_for_end();
    let all = stderr.text();
    let lines: Vec<&str> = all.lines().skip(mark).collect();
    lines.join("\n")
}

/// Asserts that every line is an event of the server's, or belongs to the one before, and that nothing steers a terminal.
#[track_caller]
fn expect_honest(text: &str) {
    for line in text.lines() {
        let is_event = line.starts_with("20") && line.contains('Z');
        assert!(
            is_event || line.starts_with(CONTINUED) || line.starts_with("medusa: "),
            "a forged line: {line:?}"
        );
        let hidden = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{202e}');
        assert!(!line.contains(hidden), "{line:?}");
    }
}

/// So many requests, one after the other, on one connection.
fn ask(server: &Server, requests: usize, path: impl Fn(usize) -> String) {
    let mut client = server.connect();
    for n in 0..requests {
        let path = path(n);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.response();
    }
}

#[test]
fn a_traceback_has_its_ends_and_says_how_much_is_between() {
    let server = start(&site());
    let mark = server.stderr().count();
    assert_eq!(server.get("/rec").status, 500);
    server.stderr().wait_for_from(mark, "path=/rec ");
    server.stderr().wait_for_from(mark, " more frames");
    let events = said(server, mark);
    assert!(events.len() < 4096, "{} bytes", events.len());
    assert!(events.contains("stack overflow"), "{events}");
    let frames = events.lines().filter(|line| line.contains("    site.luau:2")).count();
    assert!((15..=20).contains(&frames), "{frames} frames: {events}");
    expect_honest(&events);
}

#[test]
fn a_message_without_an_end_is_cut_and_its_place_stays() {
    let server = start(&site());
    let mark = server.stderr().count();
    assert_eq!(server.get("/long").status, 500);
    let line = server.stderr().wait_for_from(mark, "path=/long ");
    assert!(line.contains("site.luau:3: xxxx"), "{}", line.len());
    assert!(line.contains("bytes more)"), "{}", line.len());
    let events = said(server, mark);
    assert!(events.len() < EVENT, "{} bytes", events.len());
    assert!(events.contains("    site.luau:3"), "its traceback stays: {events}");
    expect_honest(&events);
}

#[test]
fn nobody_forges_a_line_or_steers_a_terminal() {
    let server = start(&site());
    let mark = server.stderr().count();
    assert_eq!(server.get("/forge").status, 500);
    assert_eq!(server.get("/log").status, 200);
    server.stderr().wait_for_from(mark, "INFO script: a ");
    let events = said(server, mark);
    assert!(events.contains("\n  | ERROR forged"), "what was said is still there: {events}");
    assert!(events.contains(r"\u{1b}[2J"), "{events}");
    expect_honest(&events);
}

#[test]
fn a_request_is_told_by_its_id_and_path_and_never_its_query() {
    let site = Site::script(&format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0', limits = {{ handler = 1 }} }}
        {MOUNTS}
        web:mount('/slow', function() medusa.sleep(20) end)"
    ));
    let server = start(&site);
    let mark = server.stderr().count();
    for (path, status) in [("/fail", 500), ("/slow", 503)] {
        assert_eq!(server.get(&format!("{path}?token=sesame")).status, status, "{path}");
        let line = server.stderr().wait_for_from(mark, &format!("path={path} "));
        assert!(line.contains(" request=") && line.contains(&format!(" mount={path} ")), "{line}");
    }
    let events = said(server, mark);
    assert!(!events.contains("sesame"), "{events}");
}

#[test]
fn what_repeats_is_said_once_and_counted_under_load() {
    let server = start(&site());
    let mark = server.stderr().count();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| ask(&server, 500, |_| "/fail".to_owned()));
        }
    });
    server.stderr().wait_for_from(mark, "more of this kind");
    let events = said(server, mark);
    let counted: u64 = events.lines().filter_map(more).sum();
    let whole = events.lines().filter(|line| line.contains("path=/fail ")).count() as u64;
    assert_eq!(counted + whole, 2000, "each is written or counted: {events}");
    assert!(events.len() < 64 * 1024, "{} bytes", events.len());
    expect_honest(&events);
}

/// `... 7 more of this kind ...`: 7.
fn more(line: &str) -> Option<u64> {
    let (before, _) = line.split_once(" more of this kind")?;
    before.rsplit(' ').next()?.parse().ok()
}

#[test]
fn nobody_gets_more_said_by_varying_it_under_load() {
    let server = start(&site());
    let mark = server.stderr().count();
    ask(&server, 2000, |n| format!("/vary?n={n}"));
    // One who floods does not silence the others.
    assert_eq!(server.get("/fail").status, 500);
    server.stderr().wait_for_from(mark, "path=/fail ");
    let events = said(server, mark);
    let whole = events.lines().filter(|line| line.contains("path=/vary ")).count();
    assert!(whole <= 120, "{whole} lines");
    assert!(events.contains("it failed for 0 "), "the first is told at once: {events}");
}

#[test]
fn what_a_library_says_is_bounded_too_under_load() {
    let site =
        web(&format!("{MOUNTS}\nmedusa.log.events(medusa.log.file('events.log', {{ format = 'json' }}))"));
    let server = start(&site);
    let mark = server.stderr().count();
    let mut client = Client::connect(server.address());
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    // An acknowledgement of a ping that nobody has sent.
    let ack = [&[0, 0, 8, 6, 1, 0, 0, 0, 0][..], &[7; 8][..]].concat();
    for _ in 0..500 {
        client.send(ack.repeat(100));
    }
    client.until_read();
    server.stderr().wait_for_from(mark, "more of this kind");
    client.reset();
    let events = said(server, mark);
    assert!(events.contains("h2: "), "{events}");
    assert!(events.len() < 16 * 1024, "{} bytes", events.len());
    let log = site.read("events.log");
    assert!(log.contains("more of this kind") && log.len() < 16 * 1024, "{} bytes", log.len());
}

/// The output for a person at a terminal of `medusa WORDS` (a shell's), and what a program gets.
#[track_caller]
fn shown(server: &Server, words: &str) -> String {
    let command =
        format!("'{}' {words} --state '{}'", env!("CARGO_BIN_EXE_medusa"), server.state().display());
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &command, "/dev/null"]).env("NO_COLOR", "1");
    Process::start(&mut terminal).finish().stdout
}

#[test]
fn no_value_and_no_error_steers_a_terminal() {
    let server = start(&Site::script("medusa.http.server { name = 'a\\27[2Jb', listen = '127.0.0.1:0' }"));
    let evil = r"\27[2J\27]0;title\7\u{9b}31m\u{202e}";
    for (words, then) in [
        (format!("eval 'return \"a{evil}b\"'"), "a"),
        (format!("eval 'return {{ \"a{evil}b\" }}'"), "a"),
        (format!("eval 'print(\"a{evil}b\")'"), "a"),
        (format!("eval 'error(\"a{evil}b\", 0)'"), "a"),
        ("status".to_owned(), "a"),
        ("status --json".to_owned(), "a"),
    ] {
        let shown = shown(&server, &words);
        assert!(shown.contains(then), "{words}: {shown:?}");
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}']), "{words}: {shown:?}");
    }
    assert_eq!(
        server.eval(&format!("return 'a{evil}b'")),
        "a\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m\u{202e}b",
        "a program gets it as it is"
    );
}
