//! Server-sent events: `text/event-stream`, as written
//! ([WHATWG HTML §9.2](https://html.spec.whatwg.org/multipage/server-sent-events.html)).
//!
//! A stream is lines; an event ends at an empty one. Data may hold line breaks, and becomes a line each; a name or an id
//! that held one would let whoever chose it send other events, and is refused.

/// The type of such a stream. There is no other charset than UTF-8.
pub const CONTENT_TYPE: &str = "text/event-stream";

/// A comment: clients skip it, proxies see that the stream lives, and a client that left is noticed.
pub const HEARTBEAT: &[u8] = b":\n\n";

/// One event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerSentEvent<'a> {
    /// Its name, for which the client listens; `message` without one.
    pub event: Option<&'a [u8]>,
    /// The data, any number of lines.
    pub data: Option<&'a [u8]>,
    /// The id that a client that reconnects names as the last it saw.
    pub id: Option<&'a [u8]>,
    /// The time that the client should wait before it reconnects, in milliseconds.
    pub retry: Option<u64>,
}

/// The reason why an event cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Clients ignore an id with NUL, and a line break would end it.
    #[error("`{0}` must not have line breaks or NUL in it: {1:?}")]
    NotOneLine(&'static str, String),
    /// Clients drop an event without data.
    #[error("an event without `data` is dropped by clients; give it some, or only `id` and `retry`")]
    NoData,
    /// There is nothing in it.
    #[error("an event needs `data`, `id` or `retry`")]
    Empty,
}

impl ServerSentEvent<'_> {
    /// Appends the event as it is sent. On an error, `out` is as it was.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), EventError> {
        let event = one_line("event", self.event)?;
        let id = one_line("id", self.id)?;
        if event.is_some() && self.data.is_none() {
            return Err(EventError::NoData);
        }
        if self.data.is_none() && id.is_none() && self.retry.is_none() {
            return Err(EventError::Empty);
        }
        for (field, value) in [("event", event), ("id", id)] {
            if let Some(value) = value {
                write_line(field, value, out);
            }
        }
        if let Some(retry) = self.retry {
            write_line("retry", itoa::Buffer::new().format(retry).as_bytes(), out);
        }
        if let Some(data) = self.data {
            for line in lines(data) {
                write_line("data", line, out);
            }
        }
        out.push(b'\n');
        Ok(())
    }
}

/// Appends `text` as a comment.
pub fn write_comment(text: &[u8], out: &mut Vec<u8>) {
    for line in lines(text) {
        write_line("", line, out);
    }
    out.push(b'\n');
}

fn one_line<'a>(field: &'static str, value: Option<&'a [u8]>) -> Result<Option<&'a [u8]>, EventError> {
    match value {
        Some(value) if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) => {
            Err(EventError::NotOneLine(field, String::from_utf8_lossy(value).into_owned()))
        }
        value => Ok(value),
    }
}

fn write_line(field: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(field.as_bytes());
    // One space after the colon is not part of the value, so that a value may begin with one.
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// The lines of a text, whichever way they end: CR LF, LF or CR. There is always one.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
            rest = None;
            return Some(text);
        };
        let (line, tail) = text.split_at_checked(end)?;
        rest = tail.strip_prefix(b"\r\n").or_else(|| tail.get(1..));
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(event: ServerSentEvent<'_>) -> String {
        let mut out = Vec::new();
        event.write(&mut out).expect("an event that can be sent");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn events_are_written() {
        let data = |data: &'static str| ServerSentEvent {
            data: Some(data.as_bytes()),
            ..ServerSentEvent::default()
        };
        assert_eq!(written(data("hi")), "data: hi\n\n");
        assert_eq!(written(data("")), "data: \n\n");
        assert_eq!(written(data("a\nb\r\nc\rd\n")), "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n");
        let all = ServerSentEvent { event: Some(b"add"), id: Some(b"7"), retry: Some(500), ..data(" x") };
        assert_eq!(written(all), "event: add\nid: 7\nretry: 500\ndata:  x\n\n");
        assert_eq!(written(ServerSentEvent { id: Some(b""), ..ServerSentEvent::default() }), "id: \n\n");
        let mut comment = Vec::new();
        write_comment(b"a\ndata: b", &mut comment);
        assert_eq!(comment, b": a\n: data: b\n\n");
    }

    #[test]
    fn what_would_be_another_event_is_refused() {
        let data = ServerSentEvent { data: Some(b"x"), ..ServerSentEvent::default() };
        for text in [&b"a\n\ndata: evil"[..], b"a\rb", b"a\0"] {
            for event in
                [ServerSentEvent { id: Some(text), ..data }, ServerSentEvent { event: Some(text), ..data }]
            {
                let mut out = b"before".to_vec();
                assert!(matches!(event.write(&mut out), Err(EventError::NotOneLine(..))));
                assert_eq!(out, b"before");
            }
        }
        assert_eq!(ServerSentEvent::default().write(&mut Vec::new()), Err(EventError::Empty));
        let nothing = ServerSentEvent { event: Some(b"a"), ..ServerSentEvent::default() };
        assert_eq!(nothing.write(&mut Vec::new()), Err(EventError::NoData));
    }

    /// Reads a stream as a client does: its events, by the steps of the standard (§9.2.6).
    fn read(stream: &str) -> Vec<(String, String, String)> {
        let (mut name, mut data, mut id) = (String::new(), String::new(), String::new());
        let mut events = Vec::new();
        for line in stream.replace("\r\n", "\n").replace('\r', "\n").split('\n') {
            if line.is_empty() {
                if let Some(data) = data.strip_suffix('\n') {
                    events.push((name.clone(), data.to_owned(), id.clone()));
                }
                (name, data) = (String::new(), String::new());
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut name),
                "data" => data = format!("{data}{value}\n"),
                "id" if !value.contains('\0') => value.clone_into(&mut id),
                _ => {}
            }
        }
        events
    }

    proptest! {
        /// Whatever the parts are, the client sees one event with exactly these, or it is refused here.
        #[test]
        fn a_client_reads_what_was_sent(name in "(?s).{0,6}", data in "(?s)[a\\n\\r:\\x00 ]{0,12}", id in "(?s).{0,6}") {
            let event = ServerSentEvent {
                event: Some(name.as_bytes()), data: Some(data.as_bytes()), id: Some(id.as_bytes()), retry: None,
            };
            let mut out = Vec::new();
            if event.write(&mut out).is_ok() {
                let expected = (name, data.replace("\r\n", "\n").replace('\r', "\n"), id);
                prop_assert_eq!(read(&String::from_utf8_lossy(&out)), vec![expected]);
            } else {
                let broken = |text: &str| text.contains(['\r', '\n', '\0']);
                prop_assert!(broken(&name) || broken(&id));
            }
        }
    }
}
