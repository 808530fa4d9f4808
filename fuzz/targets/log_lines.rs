//! Lines of logs, in every format and in templates of any text; messages of syslog; server-sent events.

#![no_main]

use libfuzzer_sys::fuzz_target;
use medusa_proto::access::{Loss, Peer, Record, Timestamp, Version};
use medusa_proto::entry::Entry;
use medusa_proto::event::{Event, Level};
use medusa_proto::event_stream;
use medusa_proto::format::{Encoder, Format};
use medusa_proto::syslog::{
    AppName, Facility, SdId, Style, SyslogEncoder, SyslogFraming, SyslogHeader, truncate,
};

#[derive(Debug, arbitrary::Arbitrary)]
struct Input<'a> {
    format: &'a str,
    texts: [&'a str; 7],
    bytes: [Option<&'a [u8]>; 2],
    absent: [bool; 4],
    numbers: [u64; 2],
    time: i64,
    offset: i32,
    status: u16,
    limit: u16,
    octets: bool,
}

fuzz_target!(|input: Input<'_>| {
    let given = |number: usize, text| (!input.absent[number]).then_some(text);
    let [name, user, method, target, host, server, id] = input.texts;
    let record = Record {
        time: Timestamp::from_micros(input.time),
        peer: Peer::Unix,
        name: given(0, name),
        user: given(1, user),
        method,
        target,
        version: Version::Http2,
        host: given(2, host),
        status: input.status,
        bytes: input.numbers[0],
        duration_us: input.numbers[1],
        referer: input.bytes[0],
        user_agent: input.bytes[1],
        server,
        id: given(3, id),
    };
    let event =
        Event { time: record.time, level: Level::Warn, part: name, message: target, request: Some(target) };
    let loss = Loss { records: input.numbers[0], from: record.time, to: record.time };
    let format = input.format.parse().unwrap_or(Format::Json);
    lines(&format, input.offset, &record, &event, &loss);
    messages(&input, format, &record, &event);
    events(&input);
});

fn lines(format: &Format, offset: i32, record: &Record<'_>, event: &Event<'_>, loss: &Loss) {
    let mut encoder = Encoder::new(format.clone());
    let mut out = Vec::new();
    for entry in [Entry::Access(*record), Entry::Event(*event)] {
        out.clear();
        encoder.encode(&entry, offset, &mut out);
        one_line(&out);
        // What was written before has no part in it.
        let again = out.clone();
        out.clear();
        encoder.encode(&entry, offset, &mut out);
        assert_eq!(out, again);
    }
    out.clear();
    encoder.encode_loss(loss, offset, &mut out);
    one_line(&out);
}

/// No character of it ends the line or drives a terminal, but a tab that stands in the template.
fn one_line(line: &[u8]) {
    let control = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
    assert!(!line.iter().any(control), "{}", line.escape_ascii());
    assert!(std::str::from_utf8(line).is_ok(), "{}", line.escape_ascii());
}

fn messages(input: &Input<'_>, format: Format, record: &Record<'_>, event: &Event<'_>) {
    let header = SyslogHeader {
        style: if input.absent[0] { Style::Rfc3164 } else { Style::Rfc5424 },
        facility: Facility::Local0,
        app_name: AppName::default(),
        hostname: input.texts[4].to_owned(),
        procid: input.texts[5].to_owned(),
        structured: (!input.absent[1]).then(SdId::default),
    };
    let mut encoder = SyslogEncoder::new(header, format).with_limit(input.limit.into());
    let framing = if input.octets { SyslogFraming::Octet } else { SyslogFraming::Lf };
    for entry in [Entry::Access(*record), Entry::Event(*event)] {
        let mut out = b"before".to_vec();
        encoder.encode(&entry, input.offset, &mut out);
        let message = out[6..].to_vec();
        one_line(&message);
        truncate(&mut out, 6, usize::from(input.limit));
        let message_length = out.len() - 6;
        assert!(message_length <= usize::from(input.limit).max(message.len().min(message_length)));
        let kept = out[6..].to_vec();
        framing.frame(6, &mut out);
        let framed = &out[6..];
        match framing {
            SyslogFraming::Lf => assert_eq!(framed, [&kept[..], b"\n"].concat()),
            SyslogFraming::Octet => {
                assert_eq!(framed, [kept.len().to_string().as_bytes(), b" ", &kept].concat())
            }
        }
    }
}

/// What was written is one event with the fields that were given, as a browser reads it.
fn events(input: &Input<'_>) {
    let [name, data, id, ..] = input.texts.map(str::as_bytes);
    let event = event_stream::ServerSentEvent {
        event: (!input.absent[0]).then_some(name),
        data: (!input.absent[1]).then_some(data),
        id: (!input.absent[2]).then_some(id),
        retry: (!input.absent[3]).then_some(input.numbers[0]),
    };
    let mut out = Vec::new();
    if event.write(&mut out).is_err() {
        return;
    }
    assert!(out.ends_with(b"\n\n"), "{}", out.escape_ascii());
    let text = std::str::from_utf8(&out).expect("it was made of text");
    let body = text.strip_suffix("\n\n").expect("an empty line at the end");
    assert!(!body.split(['\n', '\r']).any(str::is_empty), "an event that ends early: {text:?}");
    let of = |field: &str| -> Vec<&str> {
        let prefix = format!("{field}:");
        let lines = body.split('\n').filter_map(|line| line.strip_prefix(&prefix));
        lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect()
    };
    let one = |value: Option<&[u8]>| value.map(|value| String::from_utf8_lossy(value).into_owned());
    assert_eq!(of("event"), one(event.event).iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(of("id"), one(event.id).iter().map(String::as_str).collect::<Vec<_>>());
    if let Some(data) = one(event.data) {
        let data = data.replace("\r\n", "\n").replace('\r', "\n");
        assert_eq!(of("data").join("\n"), data);
    }
}
