//! Messages as wholes: `logger` is the reference, and every message parses back.

use std::process::Command;

use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::access::{Loss, Peer, Record, Timestamp, Version};
use crate::entry::Entry;
use crate::event::{Event, Level};
use crate::format::Format;

fn header(style: Style) -> SyslogHeader {
    SyslogHeader {
        style,
        facility: Facility::Local0,
        app_name: AppName::default(),
        hostname: "www.example.org".to_owned(),
        procid: "42".to_owned(),
        structured: Some(SdId::default()),
    }
}

fn sample() -> Record<'static> {
    Record {
        time: Timestamp::from_micros(970_387_200_000_042), // the first of a month
        peer: Peer::Ip([192, 0, 2, 1].into()),
        name: None,
        user: None,
        method: "GET",
        target: "/a]b",
        version: Version::Http11,
        host: Some("example.org"),
        status: 404,
        bytes: 7,
        duration_us: 1500,
        referer: None,
        user_agent: None,
        server: "web",
        id: Some("0191"),
    }
}

fn message(header: SyslogHeader, entry: &Entry<'_>) -> String {
    let mut out = Vec::new();
    SyslogEncoder::new(header, Format::Common).encode(entry, -7 * 3600, &mut out);
    String::from_utf8(out).expect("a message is UTF-8")
}

const COMMON: &str = "192.0.2.1 - - [01/Oct/2000:01:00:00 -0700] \"GET /a]b HTTP/1.1\" 404 7";

#[test]
fn a_record_in_rfc5424() {
    let expected = [
        "<132>1 2000-10-01T01:00:00.000042-07:00 www.example.org medusa 42 access ",
        r#"[medusa@32473 client="192.0.2.1" method="GET" target="/a\]b" host="example.org" status="404" "#,
        r#"bytes="7" duration_us="1500" server="web" id="0191"] "#,
        COMMON,
    ];
    assert_eq!(message(header(Style::Rfc5424), &sample().into()), expected.concat());
    let plain = SyslogHeader { structured: None, ..header(Style::Rfc5424) };
    assert_eq!(message(plain, &sample().into()), format!("{}- {COMMON}", expected[0]));
}

#[test]
fn a_record_in_rfc3164() {
    let rest = format!("medusa[42]: {COMMON}");
    let remote = header(Style::Rfc3164);
    assert_eq!(message(remote.clone(), &sample().into()), format!("<132>Oct  1 01:00:00 www {rest}"));
    let local = SyslogHeader { hostname: String::new(), ..remote.clone() };
    assert_eq!(message(local, &sample().into()), format!("<132>Oct  1 01:00:00 {rest}"));
    let address = SyslogHeader { hostname: "192.0.2.7".to_owned(), procid: String::new(), ..remote };
    assert_eq!(
        message(address, &sample().into()),
        format!("<132>Oct  1 01:00:00 192.0.2.7 medusa: {COMMON}")
    );
}

#[test]
fn names_that_would_end_a_field_are_made_harmless() {
    let odd =
        |style| SyslogHeader { hostname: "a b[ü]".to_owned(), procid: "4]: 2".to_owned(), ..header(style) };
    let rest = message(odd(Style::Rfc3164), &sample().into());
    assert_eq!(rest[20..].split_once(COMMON), Some((" a?b??? medusa[4?:?2]: ", "")));
    let rest = message(odd(Style::Rfc5424), &sample().into());
    assert!(rest.contains(" a?b??? medusa 4?:?2 access ["), "{rest}");
    let long = SyslogHeader { hostname: "h".repeat(300), procid: "p".repeat(300), ..header(Style::Rfc5424) };
    let fields = message(long, &sample().into());
    let lengths: Vec<usize> = fields.split(' ').skip(2).take(3).map(str::len).collect();
    assert_eq!(lengths, [255, 6, 128]);
    let none = SyslogHeader { hostname: String::new(), procid: String::new(), ..header(Style::Rfc5424) };
    assert!(message(none, &sample().into()).contains("-07:00 - medusa - access ["));
}

#[test]
fn app_names_are_what_both_protocols_can_carry() {
    for good in ["medusa", "web-1", "a/b_c.d+e@f", &"x".repeat(48)] {
        assert_eq!(good.parse::<AppName>().expect("a name").as_str(), good);
    }
    for bad in ["", "a b", "a:", "a[1]", "ü", "a\n", &"x".repeat(49)] {
        assert_eq!(bad.parse::<AppName>(), Err(BadAppName(bad.to_owned())));
    }
    let error = "a b".parse::<AppName>().expect_err("no name").to_string();
    assert_eq!(error, "bad syslog app name \"a b\": use 1 to 48 letters, digits and \"-_./+@\"");
    assert_eq!("rfc3164".parse(), Ok(Style::Rfc3164));
    assert_eq!("rfc5424".parse(), Ok(Style::Rfc5424));
    assert_eq!("bsd".parse::<Style>(), Err(UnknownStyle("bsd".to_owned())));
}

#[test]
fn events_and_losses_are_messages() {
    let time = Timestamp::from_micros(970_387_200_000_042);
    let event = Event { time, level: Level::Error, part: "http", message: "broke\noff", request: None };
    assert_eq!(
        message(header(Style::Rfc5424), &event.into()),
        "<131>1 2000-10-01T01:00:00.000042-07:00 www.example.org medusa 42 event \
         [medusa@32473 level=\"error\" part=\"http\"] # 01/Oct/2000:01:00:00 -0700 error http: broke\\x0aoff"
    );
    let loss = Loss { records: 3, from: time, to: Timestamp::from_micros(time.micros() + 2_000_000) };
    let mut out = Vec::new();
    SyslogEncoder::new(header(Style::Rfc5424), Format::Common).encode_loss(&loss, 0, &mut out);
    assert_eq!(
        str::from_utf8(&out).expect("UTF-8"),
        "<132>1 2000-10-01T08:00:02.000042+00:00 www.example.org medusa 42 loss [medusa@32473 records=\"3\" \
         from=\"2000-10-01T08:00:00.000042Z\" to=\"2000-10-01T08:00:02.000042Z\"] \
         # 3 records lost between 01/Oct/2000:08:00:00 +0000 and 01/Oct/2000:08:00:02 +0000"
    );
}

#[test]
fn what_does_not_fit_a_datagram_is_left_out_or_cut() {
    let whole = message(header(Style::Rfc5424), &sample().into());
    let plain = message(SyslogHeader { structured: None, ..header(Style::Rfc5424) }, &sample().into());
    let limited = |limit: usize| {
        let mut out = b"before".to_vec();
        let mut encoder = SyslogEncoder::new(header(Style::Rfc5424), Format::Common).with_limit(limit);
        encoder.encode(&sample().into(), -7 * 3600, &mut out);
        String::from_utf8(out).expect("UTF-8").split_off(6)
    };
    assert_eq!(limited(whole.len()), whole);
    assert_eq!(limited(whole.len() - 1), whole[..whole.len() - 1]);
    let element = whole.find("] ").expect("an element") + 1;
    assert_eq!(limited(element), whole[..element]);
    assert_eq!(limited(element - 1), plain[..plain.len().min(element - 1)]);
    assert_eq!(limited(20), whole[..20]);
}

/// Of util-linux, which is part of every Debian.
fn logger(style: &str, more: &[&str], text: &str) -> String {
    let output = Command::new("logger")
        .args(["--no-act", "--stderr", "--server", "127.0.0.1", "--port", "514", "--udp"])
        .args(["--tag", "medusa", "--id=42", "--priority", "local0.warning", style])
        .args(more)
        .args(["--", text])
        .env("TZ", "UTC")
        .output()
        .expect("logger of util-linux");
    let mut message = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(message.pop(), Some('\n'), "{message}");
    message
}

#[test]
fn logger_writes_the_same() {
    let record = Record { target: r#"/"\]"#, id: Some(r#"a"\]"#), ..sample() };
    let event = Event { time: record.time, level: Level::Warn, part: "http", message: "hi", request: None };
    // What logger has to say, less the machine's name and the time, which it does not let us choose.
    let fields = |message: &str| {
        let (priority, rest) = message.split_once(' ').expect("a space after the version");
        let rest = rest.splitn(3, ' ').nth(2).expect("fields after time and name");
        format!("{priority} {rest}")
    };
    let common = message(SyslogHeader { structured: None, ..header(Style::Rfc5424) }, &event.into());
    let text = common.split_once(" - ").expect("no structured data").1;
    assert_eq!(fields(&logger("--rfc5424=notq", &["--msgid", "event"], text)), fields(&common));

    let id = ["--msgid", "access", "--sd-id", "medusa@32473"];
    let parameters = [
        r#"client="192.0.2.1""#,
        r#"method="GET""#,
        r#"target="/\"\\\]""#,
        r#"host="example.org""#,
        r#"status="404""#,
        r#"bytes="7""#,
        r#"duration_us="1500""#,
        r#"server="web""#,
        r#"id="a\"\\\]""#,
    ];
    let more = [&id[..], &parameters.map(|parameter| ["--sd-param", parameter]).concat()].concat();
    let ours = message(header(Style::Rfc5424), &record.into());
    let text = ours.split_once("] ").expect("an element").1;
    assert_eq!(fields(&logger("--rfc5424=notq", &more, text)), fields(&ours));

    let theirs = logger("--rfc3164", &[], COMMON);
    let ours = message(header(Style::Rfc3164), &sample().into());
    let parts = |message: &str| {
        (message[..5].to_owned(), message[21..].split_once(' ').expect("a name").1.to_owned())
    };
    assert_eq!(parts(&theirs), parts(&ours));
    assert_eq!(theirs.as_bytes()[20], b' ', "the time takes fifteen characters: {theirs}");
}

/// A message in RFC 5424, taken apart.
#[derive(Debug, PartialEq)]
struct Parsed {
    priority: u8,
    time: String,
    names: [String; 4],
    /// Of the one element we write.
    parameters: Vec<(String, String)>,
    message: String,
}

/// Reads by the grammar of RFC 5424 §6.
fn parse(message: &str) -> Option<Parsed> {
    let (priority, rest) = message.strip_prefix('<')?.split_once(">1 ")?;
    let mut fields = rest.splitn(6, ' ');
    let mut field = || fields.next().map(str::to_owned);
    let (time, names) = (field()?, [field()?, field()?, field()?, field()?]);
    let rest = fields.next()?;
    let (parameters, message) = match rest.strip_prefix("- ") {
        Some(message) => (Vec::new(), message),
        None => element(rest)?,
    };
    Some(Parsed { priority: priority.parse().ok()?, time, names, parameters, message: message.to_owned() })
}

fn element(text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let (id, mut rest) = text.strip_prefix('[')?.split_once(' ')?;
    id.parse::<SdId>().ok()?;
    let mut parameters = Vec::new();
    loop {
        let (name, value) = rest.split_once("=\"")?;
        let (value, after) = value_of(value)?;
        parameters.push((name.to_owned(), value));
        match after.strip_prefix("] ") {
            Some(message) => return Some((parameters, message)),
            None => rest = after.strip_prefix(' ')?,
        }
    }
}

/// A value and what follows its closing quote. A backslash before any other character is just a backslash.
fn value_of(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        match c {
            '"' => return Some((value, chars.as_str())),
            ']' => return None,
            '\\' if chars.as_str().starts_with(['"', '\\', ']']) => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    None
}

/// As a value is read where hidden characters have been written as `\xHH`.
fn shown(value: &str) -> String {
    let mut escaped = Vec::new();
    for c in value.chars() {
        match c {
            '"' | '\\' | ']' => escaped.push(c as u8),
            c => crate::format::escape::text(c.encode_utf8(&mut [0; 4]).as_bytes(), &mut escaped),
        }
    }
    String::from_utf8(escaped).expect("UTF-8")
}

proptest! {
    #[test]
    fn no_number_is_too_much(
        (micros, offset, status, bytes, duration_us) in any::<(i64, i32, u16, u64, u64)>(),
        limit in 0..600_usize,
    ) {
        let time = Timestamp::from_micros(micros);
        let record = Record { time, status, bytes, duration_us, ..sample() };
        let loss = Loss { records: bytes, from: time, to: time };
        let template = "%t %{end}t %{end:%F %j %A}t %{usec}t %T %D %s %B";
        for format in ["combined", "json", "logfmt", template] {
            for style in [Style::Rfc5424, Style::Rfc3164] {
                let format: Format = format.parse().expect("a format");
                let mut encoder = SyslogEncoder::new(header(style), format).with_limit(limit);
                let mut out = Vec::new();
                encoder.encode(&record.into(), offset, &mut out);
                prop_assert!(out.len() <= limit);
                encoder.encode_loss(&loss, offset, &mut out);
                prop_assert!(out.len() <= 2 * limit);
            }
        }
    }

    #[test]
    fn every_message_parses_back(
        micros in 0..4_102_444_800_000_000_i64,
        minutes in -14 * 60..=14 * 60_i32,
        (user, host, id, name) in (option::of(".*"), option::of(".*"), option::of(".*"), option::of(".*")),
        (method, target, server) in (".+", ".+", ".*"),
        (hostname, procid) in (".*", ".*"),
        (referer, user_agent) in any::<(Option<Vec<u8>>, Option<Vec<u8>>)>(),
        status in 100..600_u16,
        format in 0..3_usize,
    ) {
        let record = Record {
            time: Timestamp::from_micros(micros),
            name: name.as_deref(),
            user: user.as_deref(),
            method: &method,
            target: &target,
            host: host.as_deref(),
            status,
            referer: referer.as_deref(),
            user_agent: user_agent.as_deref(),
            server: &server,
            id: id.as_deref(),
            ..sample()
        };
        let format = [Format::Common, Format::Combined, Format::Json][format].clone();
        let mut out = Vec::new();
        let header = SyslogHeader { hostname, procid, ..header(Style::Rfc5424) };
        SyslogEncoder::new(header.clone(), format.clone()).encode(&record.into(), minutes * 60, &mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        prop_assert!(!text.chars().any(char::is_control), "{text:?}");
        let parsed = parse(&text).expect("a message");

        let severity = match status { 500.. => 3, 400.. => 4, _ => 6 };
        prop_assert_eq!(parsed.priority, 16 * 8 + severity);
        let time: jiff::Timestamp = parsed.time.parse().expect("a time");
        prop_assert_eq!(time.as_microsecond(), micros);
        prop_assert!(parsed.names.iter().all(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic())));
        prop_assert_eq!((parsed.names[1].as_str(), parsed.names[3].as_str()), ("medusa", "access"));
        let expected = [
            ("client", Some("192.0.2.1".to_owned())),
            ("name", name.as_deref().map(shown)),
            ("user", user.as_deref().map(shown)),
            ("method", Some(shown(&method))),
            ("target", Some(shown(&target))),
            ("host", host.as_deref().map(shown)),
            ("status", Some(status.to_string())),
            ("bytes", Some("7".to_owned())),
            ("duration_us", Some("1500".to_owned())),
            ("server", Some(shown(&server))),
            ("id", id.as_deref().map(shown)),
        ];
        let expected: Vec<(String, String)> =
            expected.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        prop_assert_eq!(parsed.parameters, expected);
        let mut line = Vec::new();
        crate::format::Encoder::new(format.clone()).encode(&record.into(), minutes * 60, &mut line);
        prop_assert_eq!(parsed.message.as_bytes(), &line);

        let header = SyslogHeader { style: Style::Rfc3164, hostname: "www".to_owned(), ..header };
        let mut out = Vec::new();
        SyslogEncoder::new(header, format).encode(&record.into(), minutes * 60, &mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        prop_assert!(!text.chars().any(char::is_control), "{text:?}");
        let (before, message) = text.split_once(": ").expect("a tag");
        prop_assert_eq!(&before[20..31], " www medusa");
        prop_assert_eq!(before.split(' ').count(), if before.as_bytes()[9] == b' ' { 6 } else { 5 });
        prop_assert_eq!(message.as_bytes(), &line);
    }
}
