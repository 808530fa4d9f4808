//! Logs that are replaced while requests come in, and the server's own events in them.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use medusa_testkit::{Site, wait};

use super::support::start;

/// The targets in each line of a log in the common format.
fn targets(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split(' ').nth(6).expect("a request").to_owned()).collect()
}

#[test]
fn a_log_replaced_under_load_loses_no_record_and_doubles_none() {
    const CLIENTS: usize = 4;
    let site = Site::script(
        "function to(file) return medusa.log.file(file, { format = 'common' }) end
        web = medusa.http.server { listen = '127.0.0.1:0', log = to('0.log') }
        web:mount('/', function() return 'hello' end)",
    );
    let server = start(&site);
    let stop = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let (server, stop) = (&server, &stop);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || {
                    let mut connection = server.connect();
                    let mut sent = Vec::new();
                    while !stop.load(SeqCst) {
                        let target = format!("/{client}/{}", sent.len());
                        assert_eq!(connection.get(&target).status, 200);
                        sent.push(target);
                    }
                    sent
                })
            })
            .collect();
        for change in 1..=20 {
            server.eval(&format!("web:set_log(to('{}.log'))", change % 2));
        }
        stop.store(true, SeqCst);
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect::<BTreeSet<_>>()
    });
    let logged = || [site.read("0.log"), site.read("1.log")].map(|text| targets(&text));
    // What the log replaced last was given is written in its own time.
    wait::until("every record is written", || {
        (logged().iter().map(Vec::len).sum::<usize>() >= sent.len()).then_some(())
    });
    server.terminate();
    let [one, other] = logged();
    assert!(one.len() > CLIENTS && other.len() > CLIENTS, "{} {}", one.len(), other.len());
    assert_eq!(one.len() + other.len(), sent.len(), "each is in one of them, once");
    assert_eq!(one.into_iter().chain(other).collect::<BTreeSet<_>>(), sent);
}

#[test]
fn a_server_without_a_log_writes_none() {
    let site = Site::script(
        "web = medusa.http.server { listen = '127.0.0.1:0', log = medusa.log.file('access.log') }
        web:mount('/', function() return 'hello' end)",
    );
    let server = start(&site);
    server.get("/one");
    server.eval("web:set_log(nil)");
    server.get("/two");
    assert_eq!(server.eval("return tostring(web.log), #site.logs").trim_end(), "nil\t0");
    wait::until("the record is written", || (site.read("access.log").lines().count() > 0).then_some(()));
    server.terminate();
    let text = site.read("access.log");
    assert!(text.contains("/one") && !text.contains("/two"), "{text}");
}

#[test]
fn events_are_in_the_logs_that_asked_for_them() {
    let site = Site::script(
        "web = medusa.http.server { listen = '127.0.0.1:0' }
        web:mount('/', function(req) if req.arg then print('said', req:arg('say')) end return 'hello' end)
        web:mount('/fail', function() error('on purpose') end)
        events = medusa.log.events(medusa.log.file('info.log'))
        medusa.log.events(medusa.log.file('grave.log', { format = 'json' }), { level = 'error' })",
    );
    let server = start(&site);
    server.get("/?say=one");
    server.get("/fail");
    let line = server.stderr().wait_for("on purpose");
    let (_, text) = line.split_once("Z ").expect("a time");
    wait::until("the event is written", || site.read("info.log").contains("on purpose").then_some(()));
    server.reload();
    server.get("/?say=two");
    server.eval("events:remove()");
    server.get("/?say=three");
    server.stderr().wait_for("three");
    server.eval("medusa.log.events(medusa.log.file('info.log'))");
    site.write("site.luau", "error('broken')");
    server.command(["reload"]);
    // The end does not leave out what has just happened.
    server.get("/?say=four");
    server.terminate();
    let (info, grave) = (site.read("info.log"), site.read("grave.log"));
    // What standard error has, in the log's own clothes.
    let (level, text) = text.trim_start().split_once(' ').expect("a level");
    let (part, message) = text.split_once(": ").expect("a part");
    let first = message.lines().next().expect("a line");
    assert!(info.contains(&format!("{} {part}: {first}", level.to_lowercase())), "{line}\n{info}");
    for word in ["one", "two", "four"] {
        assert!(info.contains(&format!("{word} origin=site.luau:2")), "{word}: {info}");
    }
    assert!(info.contains("reloaded generation=2") && !info.contains("three"), "{info}");
    assert!(info.lines().all(|line| line.starts_with("# ")), "{info}");
    assert_eq!(grave.lines().count(), 1, "{grave}");
    assert!(grave.contains(r#""level":"error""#) && grave.contains("the old site goes on"), "{grave}");
}

/// A log's function may use the server's log without hearing itself.
#[test]
fn a_function_that_gets_events_does_not_get_its_own() {
    let site = Site::script(
        "medusa.log.events(medusa.log.luau(function(records)
            for _, record in records do print(`heard {record.message}`) end
        end))
        web = medusa.http.server { listen = '127.0.0.1:0' }
        web:mount('/', function(req) print(req:arg('say')) return 'hello' end)",
    );
    let server = start(&site);
    for word in ["one", "two", "three"] {
        server.get(&format!("/?say={word}"));
        server.stderr().wait_for(&format!("heard {word}"));
    }
    let log = server.stderr().text();
    assert!(!log.contains("heard heard"), "{log}");
    server.terminate();
}

/// Its receiver is not there until the server has begun to end.
#[test]
fn what_a_replaced_log_still_holds_is_written_before_the_end() {
    const RECORDS: usize = 20;
    let site = Site::script(
        "web = medusa.http.server { listen = '127.0.0.1:0', log = medusa.log.socket('unix:log') }
        web:mount('/', function() return 'hello' end)",
    );
    let server = start(&site);
    for number in 0..RECORDS {
        server.get(&format!("/{number}"));
    }
    server.eval("web:set_log(medusa.log.file('other.log'))");
    let (address, path) = (server.address(), site.at("log"));
    let receiver = thread::spawn(move || {
        wait::until("the server ends", || TcpStream::connect(address).is_err().then_some(()));
        // Long enough for a server that does not wait for it.
        let ends = Instant::now();
        wait::until("some time has passed", || (ends.elapsed() > Duration::from_millis(500)).then_some(()));
        let listener = UnixListener::bind(path).expect("a socket");
        listener.set_nonblocking(true).expect("a socket");
        let (mut peer, _) = wait::until("the log is sent", || listener.accept().ok());
        peer.set_nonblocking(false).expect("a socket");
        let mut text = String::new();
        peer.read_to_string(&mut text).expect("text");
        text.lines().count()
    });
    server.terminate();
    assert_eq!(receiver.join().expect("no panic"), RECORDS);
}
