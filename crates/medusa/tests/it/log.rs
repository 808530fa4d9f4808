//! The access log: every request is one line, wherever lines go.

use std::fs;

use medusa_testkit::{Signal, Site, wait};
use serde_json::Value;

use super::support::start;

/// A server that logs to `file` with these options.
fn logging(file: &str, options: &str) -> Site {
    Site::script(&format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0', log = medusa.log.file('{file}', {options}) }}
        web:mount('/', function(req) return {{ status = tonumber(req:arg('status') or '200'), body = 'hello' }} end)"
    ))
}

/// Five requests, as different as records can be.
const FIVE: [&str; 5] = [
    "GET /?status=200 HTTP/1.1\r\nHost: t\r\nReferer: http://from.example/\r\nUser-Agent: test \"quoted\"\r\nConnection: close\r\n\r\n",
    "HEAD /?status=404 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
    "GET /?status=503 HTTP/1.0\r\n\r\n",
    "POST /?x=%22%0a HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
    "GET /?status=204 HTTP/1.1\r\nHost: t\r\nUser-Agent: \u{e9}\\ tab\there\r\nConnection: close\r\n\r\n",
];

/// Sends the five, and returns the lines that came of it.
#[track_caller]
fn five_lines(options: &str) -> Vec<String> {
    let site = logging("logs/access.log", options);
    let server = start(&site);
    for (at, request) in FIVE.into_iter().enumerate() {
        let mut client = server.connect();
        client.send(request);
        let answer = if request.starts_with("HEAD") { client.response_to_head() } else { client.response() };
        assert!(answer.status >= 200, "{answer:?}");
        // So that the lines come in this order, although several workers write them.
        wait::until("the record is written", || {
            (server.number("log.file", "written") > at as u64).then_some(())
        });
    }
    server.terminate();
    let text = site.read("logs/access.log");
    assert!(text.ends_with('\n'));
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 5, "{text}");
    lines
}

/// The text behind the time in a line of Apache's formats.
fn after_time(line: &str) -> &str {
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    line.split_once("] ").expect("a time in brackets").1
}

#[test]
fn common() {
    let lines = five_lines("{ format = 'common' }");
    let lines: Vec<&str> = lines.iter().map(|line| after_time(line)).collect();
    assert_eq!(lines[0], r#""GET /?status=200 HTTP/1.1" 200 5"#);
    assert_eq!(lines[1], r#""HEAD /?status=404 HTTP/1.1" 404 -"#);
    assert_eq!(lines[2], r#""GET /?status=503 HTTP/1.0" 503 5"#);
    assert_eq!(lines[3], r#""POST /?x=%22%0a HTTP/1.1" 200 5"#);
    assert_eq!(lines[4], r#""GET /?status=204 HTTP/1.1" 204 -"#);
}

#[test]
fn combined() {
    let lines = five_lines("{ format = 'combined' }");
    let lines: Vec<&str> = lines.iter().map(|line| after_time(line)).collect();
    assert_eq!(lines[0], r#""GET /?status=200 HTTP/1.1" 200 5 "http://from.example/" "test \"quoted\"""#);
    assert_eq!(lines[1], r#""HEAD /?status=404 HTTP/1.1" 404 - "-" "-""#);
    // Nothing that a terminal obeys reaches whoever reads the log there.
    assert!(!lines[4].chars().any(char::is_control), "{:?}", lines[4]);
}

#[test]
fn json() {
    let lines = five_lines("{ format = 'json' }");
    let records: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    let status = |record: &Value| find(record, "status_code").and_then(Value::as_u64);
    assert_eq!(
        records.iter().map(status).collect::<Vec<_>>(),
        [200, 404, 503, 200, 204].map(Some),
        "{lines:#?}"
    );
    assert!(lines[0].contains("http://from.example/"));
}

#[test]
fn logfmt() {
    let lines = five_lines("{ format = 'logfmt' }");
    let first = r" host=t proto=HTTP/1.1 status=200 bytes=5 duration_us=";
    assert!(
        lines[0].contains(&format!(" client=127.0.0.1 method=GET target=\"/?status=200\"{first}")),
        "{}",
        lines[0]
    );
    assert!(
        lines[0].contains(r#" referer=http://from.example/ user_agent="test \"quoted\"" id="#),
        "{}",
        lines[0]
    );
    let levels: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(levels, ["level=info", "level=warn", "level=error", "level=info", "level=info"]);
    assert!(lines.iter().all(|line| !line.chars().any(char::is_control)), "{lines:?}");
}

#[test]
fn a_template() {
    let lines = five_lines(r"{ format = '%a|%m %U%q %H|%>s|%b|%{User-Agent}i|%{%Y}t' }");
    assert!(
        lines[0].starts_with(r#"127.0.0.1|GET /?status=200 HTTP/1.1|200|5|test \"quoted\"|20"#),
        "{}",
        lines[0]
    );
    assert!(lines[1].starts_with("127.0.0.1|HEAD /?status=404 HTTP/1.1|404|-|-|20"), "{}", lines[1]);
    assert!(lines.iter().all(|line| line.split('|').count() == 6), "{lines:?}");
}

#[test]
fn a_record_has_the_id_that_the_script_sees() {
    let site = Site::script(
        "web = medusa.http.server { listen = '127.0.0.1:0', log = medusa.log.file('access.log', { format = '%L' }) }
        web:mount('/', function(req) return req.id end)",
    );
    let server = start(&site);
    let mut ids: Vec<String> = (0..5).map(|_| server.get("/").text()).collect();
    server.terminate();
    let text = site.read("access.log");
    let mut logged: Vec<&str> = text.lines().collect();
    ids.sort_unstable();
    logged.sort_unstable();
    assert_eq!(logged, ids);
}

/// The value of the member `name`, or of one whose dotted name ends so, at any depth.
fn find<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let object = value.as_object()?;
    let here = object.iter().find(|(key, _)| key.rsplit('.').next() == Some(name)).map(|(_, value)| value);
    here.or_else(|| object.values().find_map(|value| find(value, name)))
}

#[test]
fn a_log_that_is_rotated_under_way_loses_no_line() {
    const ROTATIONS: usize = 5;
    const BETWEEN: usize = 200;
    let site = logging("access.log", "{ format = 'common' }");
    let mut server = start(&site);
    let mut client = server.connect();
    for rotation in 0..ROTATIONS {
        for _ in 0..BETWEEN {
            assert_eq!(client.get("/").status, 200);
        }
        // Between the renaming and the signal, lines go to the old file.
        fs::rename(site.at("access.log"), site.at(&format!("access.log.{rotation}"))).expect("renamed");
        assert_eq!(client.get("/between").status, 200);
        server.signal(Signal::USR1);
        wait::until("the log is opened anew", || site.at("access.log").exists().then_some(()));
    }
    drop(client);
    server.terminate();
    let files =
        (0..ROTATIONS).map(|rotation| format!("access.log.{rotation}")).chain(["access.log".to_owned()]);
    let texts: Vec<String> = files.map(|file| site.read(&file)).collect();
    let lines: usize = texts.iter().map(|text| text.lines().count()).sum();
    assert_eq!(lines, ROTATIONS * (BETWEEN + 1));
    assert!(
        texts.iter().flat_map(|text| text.lines()).all(|line| line.ends_with(" 200 5")),
        "a line is torn"
    );
}

#[test]
fn reopen_does_the_same() {
    let site = logging("access.log", "{}");
    let server = start(&site);
    server.get("/");
    fs::rename(site.at("access.log"), site.at("old.log")).expect("renamed");
    server.command(["reopen"]).success();
    wait::until("the log is opened anew", || site.at("access.log").exists().then_some(()));
    server.get("/");
    server.terminate();
    let lines = |file| site.read(file).lines().count();
    // A record that had not been written yet goes to the new file.
    assert_eq!(lines("old.log") + lines("access.log"), 2);
}

#[test]
fn a_full_disk_is_counted_and_the_server_lives_on() {
    let site = logging("/dev/full", "{ format = 'common' }");
    let mut server = start(&site);
    assert_eq!(server.get("/").status, 200);
    server.stderr().wait_for("cannot write the log");
    let sink = server.documents("log.file").remove(0);
    assert_eq!(sink["failing"], true, "{sink}");
    assert!(sink["last_error"].as_str().is_some_and(|error| error.contains("No space left")), "{sink}");
    for _ in 0..1_000 {
        assert_eq!(server.get("/").status, 200);
    }
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    server.stderr().wait_for("1001 log records could not be written");
}

#[test]
fn several_logs_get_every_record() {
    let site = Site::script(
        "web = medusa.http.server { listen = '127.0.0.1:0', log = medusa.log.multi {
            medusa.log.file('one.log'), medusa.log.file('two.log', { format = 'json' }), medusa.log.file('-'),
        } }
        web:mount('/', function() return 'hello' end)",
    );
    let server = start(&site);
    let mut client = server.connect();
    for _ in 0..50 {
        client.get("/");
    }
    drop(client);
    let stdout = server.terminate();
    let count = |text: String| text.lines().count();
    assert_eq!([stdout, site.read("one.log"), site.read("two.log")].map(count), [50; 3]);
}

#[test]
fn a_sample_has_its_share_and_all_that_failed() {
    let site = Site::script(
        "local file = medusa.log.file('access.log', { format = 'common' })
        web = medusa.http.server { listen = '127.0.0.1:0', log = medusa.log.sample(0.5, file, { always = 'error' }) }
        web:mount('/{status}', function(req) return { status = tonumber(req.params.status) } end)",
    );
    let server = start(&site);
    let mut client = server.connect();
    for _ in 0..20 {
        for _ in 0..20 {
            assert_eq!(client.get("/200").status, 200);
        }
        assert_eq!(client.get("/503").status, 503);
    }
    server.terminate();
    let text = site.read("access.log");
    let count = |status: &str| text.lines().filter(|line| line.contains(status)).count();
    assert_eq!(count(" 503 "), 20);
    // By chance: ten times as far from 200 as it is on the average.
    assert!((100..=300).contains(&count(" 200 ")), "{}", count(" 200 "));
}
