//! The formats as wholes: golden lines, and no record that breaks a line.

use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::access::{Peer, Timestamp, Version};
use crate::event::Level;

fn sample() -> Record<'static> {
    Record {
        time: Timestamp::from_micros(971_211_336_000_042),
        peer: Peer::Ip([127, 0, 0, 1].into()),
        name: None,
        user: Some("frank"),
        method: "GET",
        target: "/apache_pb.gif",
        version: Version::Http10,
        host: Some("example.org:8080"),
        status: 200,
        bytes: 2326,
        duration_us: 1500,
        referer: Some(b"http://www.example.com/start.html"),
        user_agent: Some(b"Mozilla/4.08 [en] (Win98; I ;Nav)"),
        server: "web",
        id: None,
    }
}

fn line(format: Format, record: &Record<'_>) -> String {
    let mut out = Vec::new();
    Encoder::new(format).encode(&(*record).into(), -7 * 3600, &mut out);
    out.push(b'\n');
    String::from_utf8(out).expect("a line is UTF-8")
}

#[test]
fn common_is_apaches_example() {
    assert_eq!(
        line(Format::Common, &sample()),
        "127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] \"GET /apache_pb.gif HTTP/1.0\" 200 2326\n"
    );
}

#[test]
fn combined_is_apaches_example() {
    assert_eq!(
        line(Format::Combined, &sample()),
        "127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] \"GET /apache_pb.gif HTTP/1.0\" 200 2326 \
         \"http://www.example.com/start.html\" \"Mozilla/4.08 [en] (Win98; I ;Nav)\"\n"
    );
}

#[test]
fn what_is_absent_is_a_dash() {
    let bare = Record {
        peer: Peer::Unix,
        user: None,
        method: "",
        target: "",
        host: None,
        status: 400,
        bytes: 0,
        referer: None,
        user_agent: None,
        ..sample()
    };
    assert_eq!(
        line(Format::Combined, &bare),
        "unix: - - [10/Oct/2000:13:55:36 -0700] \"-\" 400 - \"-\" \"-\"\n"
    );
    assert_eq!(
        line(Format::Json, &bare),
        concat!(
            r#"{"@timestamp":"2000-10-10T20:55:36.000042Z","ecs":{"version":"8.11.0"},"service":{"name":"web"},"#,
            r#""source":{"address":"unix:"},"http":{"version":"1.0","request":{"method":""},"#,
            r#""response":{"status_code":400,"body":{"bytes":0}}},"url":{"original":""},"#,
            r#""event":{"duration":1500000}}"#,
            "\n"
        )
    );
}

#[test]
fn json_names_every_field_as_the_schema_does() {
    assert_eq!(
        line(Format::Json, &sample()),
        concat!(
            r#"{"@timestamp":"2000-10-10T20:55:36.000042Z","ecs":{"version":"8.11.0"},"service":{"name":"web"},"#,
            r#""source":{"ip":"127.0.0.1"},"user":{"name":"frank"},"#,
            r#""http":{"version":"1.0","request":{"method":"GET","referrer":"http://www.example.com/start.html"},"#,
            r#""response":{"status_code":200,"body":{"bytes":2326}}},"#,
            r#""url":{"original":"/apache_pb.gif","domain":"example.org","port":8080},"#,
            r#""user_agent":{"original":"Mozilla/4.08 [en] (Win98; I ;Nav)"},"event":{"duration":1500000}}"#,
            "\n"
        )
    );
}

#[test]
fn a_forged_line_stays_inside_its_quotes() {
    let forged = Record {
        user: Some("a - - [x]"),
        user_agent: Some(b"\" 200 1\n10.0.0.1 - root [now] \"GET / HTTP/1.1\" 200 1"),
        ..sample()
    };
    let combined = line(Format::Combined, &forged);
    assert_eq!(combined.matches('\n').count(), 1);
    assert!(combined.contains(r"- a\x20-\x20-\x20[x] ["), "{combined}");
    assert!(
        combined.ends_with("\"\\\" 200 1\\x0a10.0.0.1 - root [now] \\\"GET / HTTP/1.1\\\" 200 1\"\n"),
        "{combined}"
    );
}

#[test]
fn lost_records_are_told_in_the_stream() {
    let from = Timestamp::from_micros(971_211_336_000_042);
    let loss = Loss { records: 1532, from, to: Timestamp::from_micros(from.micros() + 2_000_000) };
    let mut out = Vec::new();
    Encoder::new("%h".parse().expect("a template")).encode_loss(&loss, -7 * 3600, &mut out);
    out.push(b'\n');
    Encoder::new(Format::Logfmt).encode_loss(&loss, 0, &mut out);
    out.push(b'\n');
    Encoder::new(Format::Combined).encode_loss(&loss, -7 * 3600, &mut out);
    out.push(b'\n');
    Encoder::new(Format::Json).encode_loss(&Loss { records: 1, ..loss }, 0, &mut out);
    assert_eq!(
        String::from_utf8(out).expect("UTF-8"),
        concat!(
            "# 1532 records lost between 10/Oct/2000:13:55:36 -0700 and 10/Oct/2000:13:55:38 -0700\n",
            "time=2000-10-10T20:55:38.000042Z level=warn msg=\"records lost\" records=1532 ",
            "from=2000-10-10T20:55:36.000042Z to=2000-10-10T20:55:38.000042Z\n",
            "# 1532 records lost between 10/Oct/2000:13:55:36 -0700 and 10/Oct/2000:13:55:38 -0700\n",
            r#"{"@timestamp":"2000-10-10T20:55:38.000042Z","ecs":{"version":"8.11.0"},"log":{"level":"warn"},"#,
            r#""message":"1 record lost between 2000-10-10T20:55:36.000042Z and 2000-10-10T20:55:38.000042Z"}"#,
        )
    );
}

#[test]
fn a_format_is_found_by_name() {
    for format in [Format::Common, Format::Combined, Format::Json, Format::Logfmt] {
        assert_eq!(format.name().parse(), Ok(format));
    }
    let template: Format = "%h 100%%".parse().expect("a template");
    assert!(matches!(template, Format::Template(_)));
    assert_eq!(template.name(), "%h 100%%");
    let error = "clf".parse::<Format>().expect_err("no such format");
    assert_eq!(
        error.to_string(),
        "unknown log format \"clf\": use \"common\", \"combined\", \"json\", \"logfmt\", or a template in Apache's \
         letters such as '%h %l %u %t \"%r\" %>s %b'"
    );
    let error = "%h %Z".parse::<Format>().expect_err("no such letter");
    assert!(
        error.to_string().starts_with("log format, character 4: there is no \"%Z\"; there are %h "),
        "{error}"
    );
}

#[test]
fn logfmt_names_every_field() {
    let full = Record { name: Some("localhost"), id: Some("0191"), ..sample() };
    assert_eq!(
        line(Format::Logfmt, &full),
        "time=2000-10-10T20:55:36.000042Z level=info server=web client=127.0.0.1 name=localhost user=frank method=GET \
         target=/apache_pb.gif host=example.org:8080 proto=HTTP/1.0 status=200 bytes=2326 duration_us=1500 \
         referer=http://www.example.com/start.html user_agent=\"Mozilla/4.08 [en] (Win98; I ;Nav)\" id=0191\n"
    );
    let odd = Record {
        user: Some(""),
        method: "",
        target: "",
        host: None,
        status: 400,
        referer: Some(b"null"),
        user_agent: Some(b"a=\"b\"\n"),
        ..sample()
    };
    assert_eq!(
        line(Format::Logfmt, &odd),
        "time=2000-10-10T20:55:36.000042Z level=warn server=web client=127.0.0.1 user= proto=HTTP/1.0 status=400 \
         bytes=2326 duration_us=1500 referer=\"null\" user_agent=\"a=\\\"b\\\"\\u000a\"\n"
    );
}

#[test]
fn the_clients_name_and_the_id_are_shown() {
    let named = Record { name: Some("www.example.com"), id: Some("0191"), ..sample() };
    for format in [Format::Common, Format::Combined] {
        assert!(line(format, &named).starts_with("www.example.com - frank ["));
    }
    let json: serde_json::Value = serde_json::from_str(&line(Format::Json, &named)).expect("JSON");
    assert_eq!(json["source"], serde_json::json!({ "ip": "127.0.0.1", "domain": "www.example.com" }));
    assert_eq!(json["http"]["request"]["id"], "0191");
}

#[test]
fn events_are_lines_in_every_format() {
    let event = Event {
        time: sample().time,
        level: Level::Warn,
        part: "http",
        message: "a response\nbroke \"off\"",
        request: Some("0191"),
    };
    let lines = ["common", "%h %U", "json", "logfmt"].map(|format| {
        let mut out = Vec::new();
        Encoder::new(format.parse().expect("a format")).encode(&event.into(), -7 * 3600, &mut out);
        String::from_utf8(out).expect("UTF-8")
    });
    let text = r#"# 10/Oct/2000:13:55:36 -0700 warn http: a response\x0abroke \"off\""#;
    let json = concat!(
        r#"{"@timestamp":"2000-10-10T20:55:36.000042Z","ecs":{"version":"8.11.0"},"#,
        r#""log":{"level":"warn","logger":"http"},"http":{"request":{"id":"0191"}},"message":"a response\u000abroke \"off\""}"#
    );
    let logfmt = r#"time=2000-10-10T20:55:36.000042Z level=warn part=http msg="a response\u000abroke \"off\"" id=0191"#;
    assert_eq!(lines, [text, text, json, logfmt]);
}

/// The pairs of a line of logfmt, as go-logfmt reads them.
fn pairs(line: &str) -> Vec<(String, String)> {
    let (mut pairs, mut rest) = (Vec::new(), line);
    while !rest.is_empty() {
        let (key, value) = rest.split_once('=').expect("a key");
        assert!(key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
        let (value, after) = match value.strip_prefix('"') {
            None => value.split_at(value.find(' ').unwrap_or(value.len())),
            Some(quoted) => {
                let (_, after) = quoted.split_at(closing_quote(quoted) + 1);
                value.split_at(value.len() - after.len())
            }
        };
        let value = if value.starts_with('"') {
            serde_json::from_str(value).expect("escapes as in JSON")
        } else {
            assert!(!value.contains(['"', '=']), "{line}");
            value.to_owned()
        };
        pairs.push((key.to_owned(), value));
        rest = after.strip_prefix(' ').unwrap_or_else(|| {
            assert_eq!(after, "", "{line}");
            after
        });
    }
    pairs
}

/// The columns of a text line, as log analysers read them: three words, a bracketed time, then words and quoted text.
fn columns(line: &str) -> usize {
    let words: Vec<&str> = line.splitn(4, ' ').collect();
    assert!(words[..3].iter().all(|word| !word.is_empty()), "{line}");
    let (mut columns, mut rest) = (3, words[3]);
    while !rest.is_empty() {
        let end = match rest.as_bytes()[0] {
            b'"' => closing_quote(&rest[1..]) + 2,
            b'[' => rest.find(']').expect("a closing bracket") + 1,
            _ => rest.find(' ').unwrap_or(rest.len()),
        };
        columns += 1;
        rest = rest[end..].strip_prefix(' ').unwrap_or(&rest[end..]);
    }
    columns
}

/// The place of the quote that no backslash escapes.
fn closing_quote(text: &str) -> usize {
    let mut escaped = false;
    text.find(|c| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    })
    .expect("a closing quote")
}

proptest! {
    #[test]
    fn no_record_breaks_a_line(
        (micros, address, offset) in any::<(i64, std::net::IpAddr, i32)>(),
        (user, host, name, id) in (option::of(".*"), option::of(".*"), option::of(".+"), option::of(".*")),
        (method, target, server) in (".*", ".*", ".*"),
        (status, bytes, duration_us) in any::<(u16, u64, u64)>(),
        (referer, user_agent) in any::<(Option<Vec<u8>>, Option<Vec<u8>>)>(),
    ) {
        let record = Record {
            time: Timestamp::from_micros(micros),
            peer: Peer::Ip(address),
            name: name.as_deref(),
            user: user.as_deref(),
            method: &method,
            target: &target,
            version: Version::Http2,
            host: host.as_deref(),
            status,
            bytes,
            duration_us,
            referer: referer.as_deref(),
            user_agent: user_agent.as_deref(),
            server: &server,
            id: id.as_deref(),
        };
        for (format, expected) in [(Format::Common, 7), (Format::Combined, 9)] {
            let mut out = Vec::new();
            Encoder::new(format).encode(&record.into(), offset, &mut out);
            let line = String::from_utf8(out).expect("UTF-8");
            prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            prop_assert_eq!(columns(&line), expected, "{}", line);
        }
        let json = line(Format::Json, &record);
        prop_assert_eq!(json.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&json).expect("a JSON object");
        prop_assert_eq!(value["url"]["original"].as_str(), Some(target.as_str()));
        prop_assert_eq!(value["user"]["name"].as_str(), user.as_deref());
        prop_assert_eq!(value["http"]["response"]["status_code"].as_u64(), Some(u64::from(status)));
        let agent = user_agent.as_deref().map(String::from_utf8_lossy);
        prop_assert_eq!(value["user_agent"]["original"].as_str(), agent.as_deref());
        prop_assert_eq!(value["source"]["domain"].as_str(), name.as_deref());
        prop_assert_eq!(value["http"]["request"]["id"].as_str(), id.as_deref());

        let logfmt = line(Format::Logfmt, &record);
        let logfmt = logfmt.strip_suffix('\n').expect("a line");
        prop_assert!(!logfmt.chars().any(char::is_control), "{logfmt:?}");
        let pairs = pairs(logfmt);
        let find = |key: &str| pairs.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str());
        prop_assert_eq!(find("user"), user.as_deref());
        prop_assert_eq!(find("user_agent"), agent.as_deref());
        prop_assert_eq!(find("server"), Some(server.as_str()));
        prop_assert_eq!(find("id"), id.as_deref());
        let optional = [user.is_some(), host.is_some(), name.is_some(), id.is_some(), referer.is_some(), agent.is_some()];
        let line_read = if method.is_empty() && target.is_empty() { 0 } else { 2 };
        prop_assert_eq!(pairs.len(), 8 + line_read + optional.into_iter().filter(|there| *there).count());

        for (format, template) in
            [(Format::Common, r#"%h %l %u %t "%r" %>s %b"#), (Format::Combined, r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i""#)]
        {
            let (mut named, mut lettered) = (Vec::new(), Vec::new());
            Encoder::new(format).encode(&record.into(), offset, &mut named);
            Encoder::new(template.parse().expect("a template")).encode(&record.into(), offset, &mut lettered);
            prop_assert_eq!(String::from_utf8(lettered), String::from_utf8(named));
        }
    }
}
