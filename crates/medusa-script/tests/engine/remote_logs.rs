//! Logs over sockets: what a script may ask for, and that a reload is none for them.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;

use super::support::{Server, WEB};

#[test]
fn what_no_log_can_be_sent_to_is_refused_with_the_scripts_line() {
    let server = Server::start(WEB, &[("empty.pem", "nothing")]);
    let cases = [
        ("medusa.log.socket('example:1')", "unknown target \"example:1\""),
        ("medusa.log.socket('tcp://example')", "needs a port"),
        ("medusa.log.socket('unix:')", "needs the path"),
        ("medusa.log.socket('tcp://127.0.0.1:1', { framing = 'octet' })", "unknown framing \"octet\""),
        ("medusa.log.socket('udp://127.0.0.1:1', { framing = 'nul' })", "takes datagrams"),
        ("medusa.log.socket('tcp://127.0.0.1:1', { tls = {} })", "`tls` is for tls://"),
        ("medusa.log.socket('tcp://127.0.0.1:1', { max_size = 600 })", "is a stream"),
        ("medusa.log.socket('udp://127.0.0.1:1', { max_size = 100 })", "from 480 to 65507, not 100"),
        ("medusa.log.socket('tcp://127.0.0.1:1', { format = 'xml' })", "xml"),
        ("medusa.log.socket('tcp://127.0.0.1:1', { facility = 'user' })", "no option \"facility\""),
        ("medusa.log.socket('tls://127.0.0.1:1', { tls = { cert = 'a' } })", "name both"),
        ("medusa.log.socket('tls://127.0.0.1:1', { tls = { verify = false } })", "no option \"verify\""),
        ("medusa.log.syslog('example')", "unknown target"),
        ("medusa.log.syslog(nil, { facility = 'local8' })", "local8"),
        ("medusa.log.syslog(nil, { app_name = 'a b' })", "a b"),
        ("medusa.log.syslog(nil, { format = 'rfc1' })", "\"rfc5424\" or \"rfc3164\""),
        ("medusa.log.syslog(nil, { structured = true })", "needs format = \"rfc5424\""),
        ("medusa.log.syslog('udp://127.0.0.1', { structured = 'x' })", "bad name of structured data"),
        ("medusa.log.syslog('tls://127.0.0.1', { framing = 'lf' })", "RFC 5425"),
        ("medusa.log.syslog('tcp://127.0.0.1', { framing = 'nul' })", "unknown syslog framing"),
    ];
    for (script, expected) in cases {
        server.write("site.luau", &format!("\n{script}"));
        let error = server.reload().unwrap_err().to_string();
        assert!(error.starts_with("site.luau:2: medusa.log."), "{error}");
        assert!(error.contains(expected), "{script}: {error:?} does not say {expected:?}");
    }
    for (log, expected) in [
        ("medusa.log.syslog('tcp://no-such-host.invalid')", "no-such-host.invalid"),
        ("medusa.log.syslog('tls://127.0.0.1', { tls = { ca = 'missing.pem' } })", "missing.pem"),
        ("medusa.log.syslog('tls://127.0.0.1', { tls = { ca = 'empty.pem' } })", "holds no certificate"),
    ] {
        server.write("site.luau", &format!("\nmedusa.http.server {{ listen = '127.0.0.1:0', log = {log} }}"));
        let error = medusa_proto::with_causes(&server.reload().unwrap_err());
        assert!(error.starts_with("site.luau:2: ") && error.contains(expected), "{error}");
    }
}

#[test]
fn a_reload_that_asks_for_the_same_log_keeps_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let log =
        format!("medusa.log.socket('tcp://{}', {{ format = 'common' }})", listener.local_addr().unwrap());
    let site = |answer: &str| {
        format!(
            "web = medusa.http.server {{ listen = '127.0.0.1:0', log = {log} }}
            web:mount('/', function() return '{answer}' end)"
        )
    };
    let server = Server::start(&site("one"), &[]);
    assert_eq!(server.get("/first").body, "one");
    let (peer, _) = listener.accept().unwrap();
    server.write("site.luau", &site("two"));
    server.reload().unwrap();
    assert_eq!(server.get("/second").body, "two");
    let mut lines = BufReader::new(peer).lines().map(Result::unwrap);
    for path in ["/first", "/second"] {
        let line = lines.next().unwrap();
        assert!(line.contains(path), "{line}");
    }
    assert!(server.status().contains("log.socket"), "{}", server.status());
}

#[test]
fn a_local_syslog_is_told_as_its_readers_expect() {
    let dir = tempfile::tempdir().unwrap();
    let reader = UnixDatagram::bind(dir.path().join("log")).unwrap();
    let path = dir.path().join("log");
    let server = Server::start(
        &format!(
            "web = medusa.http.server {{ listen = '127.0.0.1:0',
                log = medusa.log.syslog('unix:{}', {{ facility = 'local7', app_name = 'site', message = 'common' }}) }}
            web:mount('/', function() return {{ status = 503 }} end)",
            path.display()
        ),
        &[],
    );
    assert_eq!(server.get("/gone").status, 503);
    let mut buffer = [0; 2048];
    let length = reader.recv(&mut buffer).unwrap();
    let message = std::str::from_utf8(&buffer[..length]).unwrap();
    let (priority, rest) = message.split_once('>').unwrap();
    assert_eq!(priority, "<187", "local7.err");
    let tag = format!(" site[{}]: 127.0.0.1 - - [", std::process::id());
    assert!(rest[15..].starts_with(&tag), "a time of 15 characters and no host: {message}");
    assert!(message.contains("\"GET /gone HTTP/1.1\" 503 "), "{message}");
}
