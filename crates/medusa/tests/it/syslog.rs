//! Syslog, as log servers that are not ours understand it: by every transport, in both forms, field by field, and compared
//! with what `logger` of util-linux says.

use std::net::SocketAddr;
use std::path::Path;

use medusa_testkit::syslog::{Kind, LogServer, Message, logger};
use medusa_testkit::{Numbered, Server, Site, wait};

use super::support::start;

/// One way to a log server.
struct Way {
    /// Also the name of the program in what goes this way, so that it can be told from what goes another.
    name: &'static str,
    target: String,
    form: Form,
    /// More options of the sink's.
    options: String,
    /// What has logger go the same way.
    logger: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Rfc5424,
    Rfc3164,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Rfc5424 => "rfc5424",
            Self::Rfc3164 => "rfc3164",
        }
    }

    /// The message that logger writes without more: `notq` leaves out the structured data that says how exact its
    /// clock is.
    fn of_logger(self) -> Vec<String> {
        match self {
            Self::Rfc5424 => vec!["--rfc5424=notq".to_owned(), "--msgid=access".to_owned()],
            Self::Rfc3164 => vec!["--rfc3164".to_owned()],
        }
    }
}

/// All ways to a log server.
fn ways(server: &LogServer) -> Vec<Way> {
    use Form::{Rfc3164, Rfc5424};
    let (udp, lf, octet, tls) = (server.udp(), server.tcp_lf(), server.tcp_octet(), server.tls());
    let url = |scheme: &str, address: SocketAddr| format!("{scheme}://{address}");
    let unix = |path: &Path| format!("unix:{}", path.display());
    let dgram = [server.unix_datagram(), server.unix_datagram_rfc5424()];
    let stream = server.unix_stream();
    let ca = format!("tls = {{ ca = '{}' }}", server.ca().display());
    let way = |name, target: String, form, options: &str, logger: Vec<String>| Way {
        name,
        target,
        form,
        options: options.to_owned(),
        logger,
    };
    let mut ways = vec![
        way("unix-dgram-3164", unix(&dgram[0]), Rfc3164, "", to_socket(&dgram[0], Rfc3164)),
        way("unix-dgram-5424", unix(&dgram[1]), Rfc5424, "", to_socket(&dgram[1], Rfc5424)),
        way("unix-stream-3164", unix(&stream), Rfc3164, "", to_socket(&stream, Rfc3164)),
        way("unix-stream-5424", unix(&stream), Rfc5424, "", to_socket(&stream, Rfc5424)),
        way("udp-3164", url("udp", udp), Rfc3164, "", to_port(udp, "-d", Rfc3164)),
        way("udp-5424", url("udp", udp), Rfc5424, "", to_port(udp, "-d", Rfc5424)),
        way("tcp-lf-3164", url("tcp", lf), Rfc3164, "framing = 'lf'", to_port(lf, "-T", Rfc3164)),
        way("tcp-lf-5424", url("tcp", lf), Rfc5424, "framing = 'lf'", to_port(lf, "-T", Rfc5424)),
        way("tcp-octet-3164", url("tcp", octet), Rfc3164, "framing = 'octet'", to_port(octet, "-T", Rfc3164)),
        way("tcp-octet-5424", url("tcp", octet), Rfc5424, "framing = 'octet'", to_port(octet, "-T", Rfc5424)),
        // logger cannot encrypt: what arrives must be what arrives in the clear.
        way("tls-3164", url("tls", tls), Rfc3164, &ca, to_port(octet, "-T", Rfc3164)),
        way("tls-5424", url("tls", tls), Rfc5424, &ca, to_port(octet, "-T", Rfc5424)),
    ];
    if server.kind() == Kind::Rsyslog {
        // Nor does it know RELP.
        let [cert, key] = server.identity();
        let both = format!(
            "tls = {{ ca = '{}', cert = '{}', key = '{}' }}",
            server.ca().display(),
            cert.display(),
            key.display()
        );
        let (relp, relp_tls) = (url("relp", server.relp()), url("relp+tls", server.relp_tls()));
        ways.extend([
            way("relp-3164", relp.clone(), Rfc3164, "", to_port(octet, "-T", Rfc3164)),
            way("relp-5424", relp, Rfc5424, "", to_port(octet, "-T", Rfc5424)),
            way("relp-tls-5424", relp_tls, Rfc5424, &both, to_port(octet, "-T", Rfc5424)),
        ]);
    }
    ways
}

fn to_port(address: SocketAddr, protocol: &str, form: Form) -> Vec<String> {
    let mut words = vec![protocol.to_owned(), "--octet-count".to_owned(), "-n".to_owned()];
    words.extend([address.ip().to_string(), "-P".to_owned(), address.port().to_string()]);
    if address.port() != 1601 {
        words.remove(1);
    }
    words.extend(form.of_logger());
    words
}

fn to_socket(path: &Path, form: Form) -> Vec<String> {
    let mut words = vec!["-u".to_owned(), path.display().to_string()];
    // On a socket of the machine, RFC 3164 has no host name: that is what logger writes when no form is asked for.
    words.extend(form.of_logger().into_iter().filter(|word| word != "--rfc3164"));
    words
}

/// A site that logs by all these ways, and to `access.log` for comparison, in one format; with these options besides.
fn logging(ways: &[Way], format: &str, options: &str) -> Site {
    let sink = |Way { name, target, form, options: own, .. }: &Way| {
        let form = form.name();
        format!(
            "medusa.log.syslog('{target}', {{ app_name = '{name}', facility = 'local3', format = '{form}',
                message = '{format}', {options} {own} }}),\n"
        )
    };
    Site::script(&format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0', log = medusa.log.multi {{
            medusa.log.file('access.log', {{ format = '{format}' }}),
            {} }} }}
        web:mount('/', function(req) return {{ status = tonumber(req:arg('status') or '200'), body = 'hello' }} end)",
        ways.iter().map(sink).collect::<Vec<_>>().concat()
    ))
}

/// What makes trouble in a log, and the severity it must have there.
const REQUESTS: [(&[u8], &str); 5] = [
    (b"GET /?status=200 HTTP/1.1\r\nHost: t\r\nUser-Agent: a \"quoted\" [x] back\\slash %n\r\n", "info"),
    (
        b"GET /?status=404 HTTP/1.1\r\nHost: t\r\nUser-Agent: \xe4\xb8\x96\xe7\x95\x8c \xc3\xa9 \xff\r\n",
        "warning",
    ),
    (b"GET /?status=500 HTTP/1.1\r\nHost: t\r\nReferer: http://from.example/<13>1\r\n", "err"),
    (b"GET /a]b%1b HTTP/1.1\r\nHost: t\r\nUser-Agent: tab\there \xc2\x9b31mred\r\n", "info"),
    (b"HEAD /?status=302 HTTP/1.0\r\nUser-Agent: 17 <134>1 - - - - -\r\n", "info"),
];

/// Sends them all, one after the other has been logged.
#[track_caller]
fn send_all(server: &Server) {
    for (at, (request, _)) in REQUESTS.into_iter().enumerate() {
        let mut client = server.connect();
        client.send([request, b"Connection: close\r\n\r\n"].concat());
        assert!(client.head().status >= 200);
        wait::until("the record is written", || {
            (server.number("log.file", "written") > at as u64).then_some(())
        });
    }
}

/// The messages of one program.
fn of<'a>(messages: &'a [Message], name: &str) -> Vec<&'a Message> {
    messages.iter().filter(|message| message.app_name == name).collect()
}

/// It without what two messages of the same text need not share: when, and its bytes as they came.
fn understood(message: &Message) -> Message {
    Message { procid: message.procid.clone(), ..message.content() }
}

/// What comes by each way is what logger would have said; returns when all is compared.
#[track_caller]
fn compare_with_logger(kind: Kind) {
    let mut log = LogServer::start(kind);
    let ways = ways(&log);
    let site = logging(&ways, "combined", "");
    let server = start(&site);
    let pid = server.pid();
    send_all(&server);
    let mut count = ways.len() * REQUESTS.len();
    let messages = log.wait_for(count);
    let lines: Vec<String> = site.read("access.log").lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), REQUESTS.len());
    for Way { name, logger: words, .. } in &ways {
        let ours = of(&messages, name);
        for ((line, (_, severity)), ours) in lines.iter().zip(REQUESTS).zip(ours) {
            assert_eq!(&ours.text, line, "{kind:?} {name}");
            assert_eq!(ours.severity, severity, "{kind:?} {name}");
            let common = ["-t".to_owned(), (*name).to_owned(), format!("--id={pid}"), "-p".to_owned()];
            let priority = [format!("local3.{severity}"), "--".to_owned(), line.clone()];
            logger(words.iter().chain(&common).chain(&priority));
            count += 1;
            let theirs = log.wait_for(count).remove(count - 1);
            assert_eq!(
                understood(ours),
                understood(&theirs),
                "{kind:?} {name}:\n{}\n{}",
                ours.raw,
                theirs.raw
            );
            assert_eq!(ours.time.len(), theirs.time.len(), "{kind:?} {name}: {} {}", ours.time, theirs.time);
        }
    }
    let sinks = server.documents("log.syslog");
    assert_eq!(sinks.len(), ways.len());
    for sink in sinks {
        assert_eq!(sink["written"], REQUESTS.len(), "{sink}");
        assert_eq!((&sink["lost"], &sink["failing"]), (&0.into(), &false.into()), "{sink}");
    }
    server.terminate();
    // It would complain of messages that it cannot read, and of encrypted connections that end without a goodbye.
    assert_eq!(log.stop(), "", "{kind:?}");
}

#[test]
fn rsyslog_understands_us_as_it_understands_logger() {
    compare_with_logger(Kind::Rsyslog);
}

#[test]
fn syslog_ng_understands_us_as_it_understands_logger() {
    compare_with_logger(Kind::SyslogNg);
}

#[test]
fn every_format_arrives_as_it_is_in_a_file() {
    for kind in Kind::ALL {
        for format in ["common", "json", "logfmt", r#"%h [%{%FT%T}t] "%r" %>s %b "%{User-Agent}i" %D"#] {
            let log = LogServer::start(kind);
            let ways = ways(&log);
            let site = logging(&ways, format, "");
            let server = start(&site);
            send_all(&server);
            let messages = log.wait_for(ways.len() * REQUESTS.len());
            for Way { name, .. } in &ways {
                let lines: Vec<String> =
                    of(&messages, name).iter().map(|message| format!("{}\n", message.text)).collect();
                assert_eq!(lines.concat(), site.read("access.log"), "{kind:?} {name} {format}");
            }
        }
    }
}

#[test]
fn a_loss_is_a_message_like_any_other() {
    for kind in Kind::ALL {
        let mut log = LogServer::stopped(kind);
        let way: Vec<Way> = ways(&log).into_iter().filter(|way| way.name == "tcp-octet-5424").collect();
        // The least there is.
        let site = logging(&way, "common", "structured = true, queue = 512,");
        let server = start(&site);
        let load = Numbered::start(server.address(), 2);
        wait::until("more is asked for than there is room for", || (load.answered() > 4_000).then_some(()));
        let made = load.stop();
        log.restart();
        let sink = wait::until("all is written or lost", || {
            let sink = server.documents("log.syslog").remove(0);
            let count = |place: &str| sink[place].as_u64().expect("a number");
            (count("written") + count("lost") == made.requests()).then_some(sink)
        });
        let lost = sink["lost"].as_u64().expect("a number");
        assert!(lost > 2_000, "{sink}");
        // A smaller batch may have found room behind a larger one that had not, so there may be several.
        let reported: u64 = wait::until("all of the loss is told", || {
            let messages = log.messages();
            let losses: Vec<&Message> = messages.iter().filter(|message| message.msgid == "loss").collect();
            let reported = losses.iter().map(|message| records_lost(message)).sum();
            (reported >= lost).then_some(reported)
        });
        assert_eq!(reported, lost, "{kind:?} {sink}");
    }
}

/// The number that a message of a loss gives, in its text and in its structured data.
#[track_caller]
fn records_lost(message: &Message) -> u64 {
    let number = parameter(&message.structured_data, "records");
    assert!(message.text.starts_with(&format!("# {number} record")), "{message:?}");
    assert_eq!((message.severity.as_str(), message.facility.as_str()), ("warning", "local3"), "{message:?}");
    number.parse().expect("a number")
}

/// The value of a parameter of structured data, as it stands there.
fn parameter<'a>(data: &'a str, name: &str) -> &'a str {
    let (_, rest) = data.split_once(&format!(" {name}=\"")).unwrap_or_else(|| panic!("no {name} in {data}"));
    rest.split_once("\" ").or_else(|| rest.split_once("\"]")).unwrap_or_else(|| panic!("no end in {data}")).0
}

#[test]
fn structured_data_are_the_fields_of_the_record() {
    for kind in Kind::ALL {
        let log = LogServer::start(kind);
        let ways: Vec<Way> = ways(&log).into_iter().filter(|way| way.form == Form::Rfc5424).collect();
        let site = logging(&ways, "common", "structured = true,");
        let server = start(&site);
        send_all(&server);
        let messages = log.wait_for(ways.len() * REQUESTS.len());
        for Way { name, .. } in &ways {
            let data: Vec<&str> =
                of(&messages, name).iter().map(|message| message.structured_data.as_str()).collect();
            let all = |name| data.iter().map(|data| parameter(data, name)).collect::<Vec<_>>();
            assert_eq!(all("status"), ["200", "404", "500", "200", "302"], "{kind:?} {name}");
            assert_eq!(all("target")[3], r"/a\]b%1b", "{kind:?} {name}");
            assert_eq!(all("method"), ["GET", "GET", "GET", "GET", "HEAD"], "{kind:?} {name}");
            assert!(all("client").iter().all(|client| *client == "127.0.0.1"), "{kind:?} {name}: {data:?}");
            assert!(data.iter().all(|data| data.starts_with("[medusa@") && data.ends_with(']')), "{data:?}");
            assert!(of(&messages, name).iter().all(|message| message.text.starts_with("127.0.0.1 - - [")));
        }
    }
}

#[test]
fn events_of_the_server_are_messages_of_their_own_severity() {
    for kind in Kind::ALL {
        let log = LogServer::start(kind);
        let site = Site::script(&format!(
            "web = medusa.http.server {{ listen = '127.0.0.1:0' }}
            web:mount('/', function() error('broken\\27 on purpose') end)
            medusa.log.events(medusa.log.syslog('tcp://{}', {{ facility = 'local3' }}), {{ level = 'warn' }})",
            log.tcp_octet()
        ));
        let server = start(&site);
        assert_eq!(server.get("/").status, 500);
        let message = log.wait_for_text("on purpose");
        assert_eq!(
            (message.severity.as_str(), message.facility.as_str()),
            ("warning", "local3"),
            "{message:?}"
        );
        assert_eq!((message.msgid.as_str(), message.app_name.as_str()), ("event", "medusa"), "{message:?}");
        assert!(message.text.contains(r"broken\x1b on purpose"), "{kind:?} {message:?}");
        assert_eq!(log.messages().len(), 1, "nothing of a lower level");
    }
}

#[test]
fn a_log_server_that_comes_late_is_told_everything() {
    for kind in Kind::ALL {
        let mut log = LogServer::stopped(kind);
        // A datagram of UDP is gone when nobody takes it.
        let ways: Vec<Way> = ways(&log).into_iter().filter(|way| !way.target.starts_with("udp:")).collect();
        let site = logging(&ways, "combined", "");
        let server = start(&site);
        send_all(&server);
        wait::until("every sink has tried", || {
            server.documents("log.syslog").iter().all(|sink| sink["failing"] == true).then_some(())
        });
        log.restart();
        let messages = log.wait_for(ways.len() * REQUESTS.len());
        for Way { name, .. } in &ways {
            let lines: Vec<String> =
                of(&messages, name).iter().map(|message| format!("{}\n", message.text)).collect();
            assert_eq!(lines.concat(), site.read("access.log"), "{kind:?} {name}");
        }
    }
}

#[test]
fn a_log_server_with_a_certificate_of_somebody_else_is_told_nothing() {
    let log = LogServer::start(Kind::Rsyslog);
    let other = LogServer::stopped(Kind::Rsyslog);
    let site = |ca: &Path| {
        format!(
            "web = medusa.http.server {{ listen = '127.0.0.1:0',
                log = medusa.log.syslog('tls://{}', {{ tls = {{ ca = '{}' }} }}) }}
            web:mount('/', function() return 'hello' end)",
            log.tls(),
            ca.display()
        )
    };
    let script = Site::script(&site(&other.ca()));
    let server = start(&script);
    assert_eq!(server.get("/untold").status, 200);
    let sink = wait::until("the sink has tried, and the record waits", || {
        server.documents("log.syslog").into_iter().find(|sink| sink["failing"] == true && sink["queue"] == 1)
    });
    assert!(sink["last_error"].as_str().is_some_and(|error| error.contains("certificate")), "{sink}");
    assert_eq!(sink["written"], 0, "{sink}");
    script.write("site.luau", site(&log.ca()));
    server.reload();
    assert_eq!(server.get("/told").status, 200);
    log.wait_for_text("/told");
    assert!(log.messages().iter().all(|message| !message.text.contains("/untold")));
}

#[test]
fn what_is_too_long_for_a_datagram_is_cut_and_said_so() {
    for kind in Kind::ALL {
        let log = LogServer::start(kind);
        let ways = ways(&log);
        let site = logging(&ways, "combined", "");
        let server = start(&site);
        // Two bytes a letter, so that a cut may fall into one.
        let agent = "\u{e9}".repeat(3_000);
        let answer = server
            .send(format!("GET / HTTP/1.1\r\nHost: t\r\nUser-Agent: {agent}\r\nConnection: close\r\n\r\n"));
        assert_eq!(answer.status, 200);
        let messages = log.wait_for(ways.len());
        let line = site.read("access.log");
        let line = line.trim_end();
        assert!(line.len() > 6_000, "{line}");
        for (Way { name, target, .. }, sink) in ways.iter().zip(server.documents("log.syslog")) {
            let text = &of(&messages, name)[0].text;
            let cut = target.starts_with("udp:");
            assert_eq!(text == line, !cut, "{kind:?} {name}: {text}");
            if cut {
                assert!(line.starts_with(text.as_str()), "{kind:?} {name}: {text}");
                let length = of(&messages, name)[0].raw.len();
                assert!((1_000..=2_048).contains(&length), "{kind:?} {name}: {length} bytes");
            }
            assert_eq!(
                sink["truncated"].as_u64().unwrap_or_default(),
                u64::from(cut),
                "{kind:?} {name}: {sink}"
            );
        }
    }
}
