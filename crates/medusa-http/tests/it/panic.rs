//! A handler that panics: one request's 500, and nothing else.

use std::io::{Read, Write};

use medusa_http::{Handler, HandlerFuture, Request, Response};
use medusa_proto::status::Status;

use super::support::{Result, Served};

/// Panics before its future, in it, or not at all.
#[derive(Debug)]
struct Panics;

impl Handler for Panics {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        assert_ne!(request.head.path(), "/at-once", "by design");
        Box::pin(async move {
            tokio::task::yield_now().await;
            assert_ne!(request.head.path(), "/later", "by design");
            Ok(Response::text("fine"))
        })
    }

    fn status(&self) -> Status {
        Status::new("test", "panics")
    }
}

#[test]
fn a_panic_is_answered_500_and_the_connection_goes_on() -> Result {
    let served = Served::start(Panics, None)?;
    let mut stream = served.connect()?;
    for (path, connection) in [("/at-once", "keep-alive"), ("/later", "keep-alive"), ("/", "close")] {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: t\r\nConnection: {connection}\r\n\r\n")?;
    }
    let mut answers = String::new();
    stream.read_to_string(&mut answers)?;
    let statuses: Vec<&str> =
        answers.match_indices("HTTP/1.1 ").map(|(at, _)| &answers[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["500", "500", "200"], "{answers}");
    assert!(answers.ends_with("fine"), "{answers}");
    assert!(!answers.contains("by design"), "{answers}");
    Ok(())
}
