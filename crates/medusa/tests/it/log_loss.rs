//! What an access log may lose, and what not, when the server is killed under load.

use std::time::{Duration, Instant};

use medusa_testkit::{Made, Numbered, Server, Signal, Site, Tally, wait};

use super::support::start;

/// How many connections press.
const CONNECTIONS: usize = 8;

/// How many answers there are before something is done to the server.
const WARM: u64 = 5_000;

/// Records go to a sink at the latest this long after their request.
const FLUSH: Duration = Duration::from_millis(100);

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

#[test]
fn of_a_server_that_is_killed_the_last_moment_is_missing_and_no_line_torn_under_load() {
    for _ in 0..5 {
        let site = logging("{ format = 'common' }");
        let mut server = start(&site);
        let (made, killed) = kill_under_load(&mut server);
        let text = site.read("access.log");
        assert!(text.ends_with('\n'), "the last line is torn: {:?}", text.lines().last());
        let mut tally = Tally::new();
        let mut torn = Vec::new();
        tally.read(&site.at("access.log"), |line| {
            if !is_whole(line) {
                torn.push(line.to_owned());
            }
        });
        assert_eq!(torn, [""; 0], "torn lines");
        assert_eq!((tally.repeated(), tally.disordered()), (0, 0));
        let missing = made.missing_of(&tally);
        let oldest = missing.iter().map(|answered| killed.saturating_duration_since(*answered)).max();
        println!(
            "{} answered, {} of them missing, the oldest for {oldest:?}",
            made.answered(),
            missing.len()
        );
        assert!(oldest <= Some(FLUSH + SLACK), "{oldest:?} before the end");
    }
}
