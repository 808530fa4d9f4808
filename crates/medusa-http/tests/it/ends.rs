//! How a response ends: what its hook is told, and what its record has.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::stream;
use medusa_http::{Body, Delivery, Handler, HandlerFuture, Request, Response};
use medusa_log::{Batch, Flushed, Sink, SinkError};
use medusa_proto::entry::Entry;
use medusa_proto::status::Status;
use tokio::sync::mpsc;

use super::support::{Result, Served};

/// Answers by the request's path, and tells how each response ended.
#[derive(Debug)]
struct Tells(mpsc::Sender<Delivery>);

impl Handler for Tells {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        let _first = request.head.user.set("ada".into());
        let response = Response::text(match request.head.path() {
            "/endless" => {
                Body::Stream(Box::pin(stream::repeat_with(|| Ok(Bytes::from_static(&[b'x'; 8192])))))
            }
            "/stream" => Body::Stream(Box::pin(stream::iter([
                Ok(Bytes::from_static(b"one")),
                Ok(Bytes::from_static(b"two")),
            ]))),
            _ => "text".into(),
        });
        let ends = self.0.clone();
        let response = response.on_end(move |delivery| {
            let _test_is_over = ends.try_send(delivery);
        });
        Box::pin(std::future::ready(Ok(response)))
    }

    fn status(&self) -> Status {
        Status::new("test", "tells")
    }
}

/// Passes on the users of what is recorded.
#[derive(Debug)]
struct Users(mpsc::Sender<Option<String>>);

impl Sink for Users {
    fn check(&self) -> std::result::Result<(), SinkError> {
        Ok(())
    }

    fn prepare(&self) -> std::result::Result<(), SinkError> {
        Ok(())
    }

    fn submit(&self, batch: &Arc<Batch>) {
        for entry in batch.iter() {
            let Entry::Access(record) = entry else { continue };
            let _test_is_over = self.0.try_send(record.user.map(str::to_owned));
        }
    }

    fn flush(&self, _deadline: Instant) -> Flushed {
        Flushed::default()
    }

    fn status(&self) -> Status {
        Status::new("test", "users")
    }
}

#[test]
fn a_hook_is_told_what_was_sent_and_whether_that_is_all() -> Result {
    let (tell, mut ends) = mpsc::channel(8);
    let served = Served::start(Tells(tell), None)?;
    for (request, bytes) in [("GET /", 4), ("HEAD /", 0), ("GET /stream", 6), ("HEAD /stream", 0)] {
        let mut client = served.connect()?;
        write!(client, "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        client.read_to_end(&mut Vec::new())?;
        assert_eq!(served.wait(ends.recv())?, Some(Delivery { bytes, is_whole: true }), "{request}");
    }
    let mut client = served.connect()?;
    client.write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")?;
    client.read_exact(&mut [0; 8192])?;
    drop(client);
    let end = served.wait(ends.recv())?.ok_or("the handler is gone")?;
    assert!(end.bytes >= 8192 && !end.is_whole, "{end:?}");
    Ok(())
}

#[test]
fn the_user_that_a_handler_names_is_in_the_record() -> Result {
    let ((tell, _ends), (record, mut users)) = (mpsc::channel(8), mpsc::channel(8));
    let served = Served::start(Tells(tell), Some(Arc::new(Users(record))))?;
    let mut client = served.connect()?;
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    client.read_to_end(&mut Vec::new())?;
    assert_eq!(served.wait(users.recv())?, Some(Some("ada".to_owned())));
    Ok(())
}
