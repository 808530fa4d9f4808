//! A connection that is lost between its 101 and the other protocol: nothing of it is kept.

use std::io::Write;
use std::sync::Mutex;

use http::{StatusCode, header};
use medusa_http::{Delivery, Handler, HandlerError, HandlerFuture, Request, Response, Upgrade};
use medusa_proto::status::Status;
use tokio::sync::oneshot;

use super::support::{Result, Served};

/// Upgrades the request that gets its parts, when it is let go on.
#[derive(Debug)]
struct Upgrades(Mutex<Option<Parts>>);

#[derive(Debug)]
struct Parts {
    begun: oneshot::Sender<()>,
    go_on: oneshot::Receiver<()>,
    ended: oneshot::Sender<Delivery>,
}

impl Handler for Upgrades {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        if request.body.is_empty() {
            return Box::pin(std::future::ready(Ok(Response::text("unread"))));
        }
        let parts = self.0.lock().expect("no test panics with it").take();
        Box::pin(async move {
            let parts = parts.ok_or_else(|| HandlerError::internal("there was one before"))?;
            let _test_is_over = parts.begun.send(());
            parts.go_on.await.map_err(HandlerError::internal)?;
            drop(request);
            let mut response = Response::status(StatusCode::SWITCHING_PROTOCOLS)
                .with(header::CONNECTION, "upgrade".parse().expect("a value"))
                .with(header::UPGRADE, "test".parse().expect("a value"));
            response.upgrade = Some(Upgrade::new(|_upgraded| Box::pin(std::future::pending())));
            let ended = parts.ended;
            let response = response.on_end(move |delivery| {
                let _test_is_over = ended.send(delivery);
            });
            Ok(response)
        })
    }

    fn status(&self) -> Status {
        Status::new("test", "upgrades")
    }
}

#[test]
fn a_connection_that_breaks_before_the_other_protocol_begins_leaves_nothing_behind() -> Result {
    let (begun, has_begun) = oneshot::channel();
    let (go, go_on) = oneshot::channel();
    let (ended, has_ended) = oneshot::channel();
    let served = Served::start(Upgrades(Mutex::new(Some(Parts { begun, go_on, ended }))), None)?;
    let mut client = served.connect()?;
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
    client.peek(&mut [0])?;
    // hyper would give the connection away when the body is at its end.
    client.write_all(
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: test\r\nContent-Length: 10\r\n\r\n",
    )?;
    served.wait(has_begun)??;
    // With an answer that it has not read, which resets the connection: the 101 cannot be written.
    drop(client);
    go.send(()).expect("the handler waits for it");

    assert!(!served.wait(has_ended)??.is_whole, "it never began");
    let status = served.counters.requests.describe(Status::new("http", ""));
    assert_eq!(status.get("requests"), Some(&2_u64.into()));
    Ok(())
}
