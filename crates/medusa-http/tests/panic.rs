//! A handler that panics: one request's 500, and nothing else.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use medusa_http::{
    Directory, Handler, HandlerFuture, HttpAccept, Listen, Mount, PinnedServer, Request, Response, Server,
    ServerParts,
};
use medusa_net::{ListenAddr, Listener, Workers};
use medusa_proto::status::Status;

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

#[derive(Debug)]
struct Only(Arc<Server>);

impl Directory for Only {
    fn current(&self) -> Option<PinnedServer> {
        Some(Rc::new(Arc::clone(&self.0)))
    }

    fn listen(&self) -> Option<Listen> {
        None
    }
}

#[test]
fn a_panic_is_answered_500_and_the_connection_goes_on() -> Result<(), Box<dyn std::error::Error>> {
    let mount = Mount {
        id: 1,
        pattern: "/".parse()?,
        handler: Arc::new(Panics),
        origin: "test".into(),
        body: None,
        counters: Arc::default(),
    };
    let parts = ServerParts {
        id: 1,
        name: "test".into(),
        listen: Vec::new(),
        mounts: vec![Arc::new(mount)],
        log: None,
        log_origin: "test".into(),
        limits: Arc::default(),
        trusted_proxies: Arc::default(),
        hsts: None,
        security_headers: Arc::new([]),
        counters: Arc::default(),
        origin: "test".into(),
    };
    let server = Server::build(parts).map_err(|conflict| conflict.to_string())?;
    let accept = Arc::new(HttpAccept::new(Arc::new(Only(Arc::new(server)))));
    let workers = Workers::start(NonZeroUsize::MIN)?;
    let listener = Listener::bind(&"127.0.0.1:0".parse()?, workers.len())?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(listener.start(&workers, accept))?;
    let ListenAddr::Tcp(addr) = listener.local_addr() else { return Err("not TCP".into()) };

    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
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
    workers.stop();
    Ok(())
}
