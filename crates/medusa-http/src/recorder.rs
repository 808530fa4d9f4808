//! Access records on their way to the logs of their servers, batch by batch. What a record says of a request is gathered in
//! [`record`](crate::record).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use medusa_log::{Recorder, Sink};
use medusa_proto::access::{self, Peer, Record};

use crate::server::Server;

/// The longest that a record waits on its worker before it goes to its sink.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

thread_local! {
    static RECORDER: Recorder = Recorder::new();
}

/// Counts and records a request whose head could not be read: nothing is known of it but who sent it, and its first line.
pub(crate) fn unreadable(server: &Server, peer: Peer, status: StatusCode, line: &str) {
    server.definition.counters.requests.count(status);
    if let Some(sink) = &server.definition.log {
        let (method, target) = words_of(line);
        let record = Record {
            time: SystemTime::now().into(),
            peer,
            name: None,
            user: None,
            method,
            target,
            version: access::Version::Http11,
            host: None,
            status: status.as_u16(),
            bytes: 0,
            duration_us: 0,
            referer: None,
            user_agent: None,
            server: &server.definition.name,
            id: None,
        };
        write(sink, &record);
    }
}

/// The method and the target of a request line, as far as it looks like one: what is no method may be anything.
fn words_of(line: &str) -> (&str, &str) {
    let is_method = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase());
    match line.split_once(' ') {
        Some((method, rest)) if is_method(method) => {
            let end = rest.rfind(" HTTP/").unwrap_or(rest.len());
            (method, &rest[..end])
        }
        _ => ("", ""),
    }
}

/// Gives a record to this worker's recorder. The first one since the last flush arms the timer of the next.
pub(crate) fn write(sink: &Arc<dyn Sink>, record: &Record<'_>) {
    let first = RECORDER.with(|recorder| recorder.record(sink, record));
    if first {
        tokio::task::spawn_local(async {
            tokio::time::sleep(FLUSH_EVERY).await;
            flush();
        });
    }
}

/// Sends this worker's open batches on to their sinks.
pub fn flush() {
    RECORDER.with(Recorder::flush);
}
