//! What an access log may lose, and what not, while the server is under load: when it is killed, when its log is moved.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use medusa_testkit::{Made, Numbered, Server, Signal, Site, Tally, wait};

use super::support::start;

/// How many connections press.
const CONNECTIONS: usize = 8;

/// The number of answers before something is done to the server.
const WARM: u64 = 5_000;

/// Records go to a sink at the latest this long after their request.
const FLUSH: Duration = Duration::from_millis(100);

/// Of the page cache.
const PAGE: usize = 4096;

/// What a busy machine may add to it.
const SLACK: Duration = Duration::from_millis(400);

fn logging(options: &str) -> Site {
    Site::script(&format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0', log = medusa.log.file('access.log', {options}) }}
        web:mount('/', function() return 'x' end)"
    ))
}

/// Presses on the server and kills it; returns what was asked of it, and when it was killed.
#[track_caller]
fn kill_under_load(server: &mut Server) -> (Made, Instant) {
    let load = Numbered::start(server.address(), CONNECTIONS);
    wait::until("the server is busy", || (load.answered() > WARM).then_some(()));
    let killed = Instant::now();
    server.signal(Signal::KILL);
    server.wait();
    (load.stop(), killed)
}

/// A whole line in the common format.
fn is_whole(line: &str) -> bool {
    line.starts_with("127.0.0.1 - - [") && line.ends_with(" HTTP/1.1\" 200 1")
}

/// Notes what is in a file, in which every line must be whole.
#[track_caller]
fn read(tally: &mut Tally, path: &Path) {
    let text = fs::read_to_string(path).expect("a log");
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is torn: {:?}", text.lines().last());
    note(tally, &text);
}

#[track_caller]
fn note(tally: &mut Tally, whole: &str) {
    for line in whole.lines() {
        assert!(is_whole(line), "a torn line: {line:?}");
        tally.note(line);
    }
}

// The kernel, too, has a part in this: a write that has begun is given up for a SIGKILL between two pages of the file,
// and nowhere else.
#[test]
fn of_a_server_that_is_killed_the_last_moment_is_missing_and_at_most_the_last_line_torn_under_load() {
    for _ in 0..5 {
        let site = logging("{ format = 'common' }");
        let mut server = start(&site);
        let (made, killed) = kill_under_load(&mut server);
        let text = fs::read_to_string(site.at("access.log")).expect("a log");
        let (whole, torn) = text.split_at(text.rfind('\n').map_or(0, |at| at + 1));
        assert!(torn.is_empty() || text.len().is_multiple_of(PAGE), "{torn:?} ends at {}", text.len());
        let mut tally = Tally::new();
        note(&mut tally, whole);
        assert_eq!((tally.repeated(), tally.disordered()), (0, 0));
        let missing = made.missing_of(&tally);
        let oldest = missing.iter().map(|answered| killed.saturating_duration_since(*answered)).max();
        eprintln!(
            "{} answered, {} of them missing, the oldest for {oldest:?}",
            made.answered(),
            missing.len()
        );
        assert!(oldest <= Some(FLUSH + SLACK), "{oldest:?} before the end");
        expect_next_on_a_line_of_its_own(&site, &text);
    }
}

/// Whatever a killed server has left, the next one begins a line.
#[track_caller]
fn expect_next_on_a_line_of_its_own(site: &Site, left: &str) {
    let server = start(site);
    server.get("/");
    server.terminate();
    let text = fs::read_to_string(site.at("access.log")).expect("a log");
    let added = text.strip_prefix(left).expect("what was there is still there");
    let added =
        if left.ends_with('\n') { added } else { added.strip_prefix('\n').expect("the torn line is ended") };
    assert!(added.lines().count() == 1 && added.ends_with('\n') && is_whole(added.trim_end()), "{added:?}");
}

#[test]
fn a_log_that_is_moved_away_loses_no_line_and_splits_none_under_load() {
    const MOVES: usize = 10;
    let site = logging("{ format = 'common' }");
    let server = start(&site);
    let load = Numbered::start(server.address(), CONNECTIONS);
    let old = |at: usize| site.at(&format!("access.log.{at}"));
    for at in 0..MOVES {
        let before = load.answered();
        wait::until("the server is busy", || (load.answered() > before + WARM / 5).then_some(()));
        fs::rename(site.at("access.log"), old(at)).expect("renamed");
        server.command(["reopen"]).success();
        wait::until("the log is opened anew", || site.at("access.log").exists().then_some(()));
    }
    let made = load.stop();
    made.expect_clean();
    server.terminate();
    let mut tally = Tally::new();
    for at in 0..MOVES {
        read(&mut tally, &old(at));
    }
    read(&mut tally, &site.at("access.log"));
    let seen = (tally.distinct(), tally.repeated(), tally.disordered());
    assert_eq!(seen, (made.requests(), 0, 0), "every request is in one of them, once, in its order");
}
