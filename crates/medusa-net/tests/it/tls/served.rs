//! Encrypted connections of a real listener, on a worker, behind a cork.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use medusa_net::cork::{CorkHandle, CorkIo, DIRECT, cork};
use medusa_net::{Accept, Conn, Listener, Phase, Stream, Tls};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

use super::authority::{Authority, load, options};
use super::pair::{client, in_time};
use crate::support::{parse, tcp, workers};

/// Answers with as much as can be written before the peer has read anything, and says how much that was.
struct Overfill {
    tls: Arc<Tls>,
    written: std::sync::Mutex<Option<oneshot::Sender<usize>>>,
}

impl Accept for Overfill {
    fn accept(&self, stream: Stream, conn: Rc<Conn>) -> Pin<Box<dyn Future<Output = ()>>> {
        let tls = self.tls.clone();
        let written = self.written.lock().expect("not poisoned").take().expect("one connection");
        Box::pin(async move {
            let stream = tls.accept(stream).await.expect("a handshake");
            conn.enter(Phase::Busy);
            let (mut io, handle) = cork(stream, conn);
            let total = poll_fn(|cx| fill(&mut io, cx)).await;
            written.send(total).expect("the test waits");
            write_out(&handle).await;
            // The protocol is done, and keeps the connection.
            let _ = io.read_u8().await;
        })
    }
}

/// Writes until nothing more is taken.
fn fill(io: &mut CorkIo<Stream>, cx: &mut Context<'_>) -> Poll<usize> {
    let chunk = [b'x'; DIRECT];
    let mut total = 0;
    while let Poll::Ready(taken) = Pin::new(&mut *io).poll_write(cx, &chunk) {
        total += taken.expect("the peer is there");
    }
    Poll::Ready(total)
}

/// The duties of drivers at the end of each poll.
async fn write_out(handle: &CorkHandle<Stream>) {
    poll_fn(|cx| {
        ready!(handle.poll_write_out(cx)).expect("the peer is there");
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn the_end_of_a_response_does_not_wait_for_the_next() {
    let authority = Authority::new();
    let tls = load(&options(&[&authority.server(&["a.example"])]));
    let (sender, written) = oneshot::channel();
    let workers = workers(1);
    let listener = Listener::bind(&parse("127.0.0.1:0"), 1).expect("binds");
    let accept = Overfill { tls, written: std::sync::Mutex::new(Some(sender)) };
    listener.prepare(&workers, Arc::new(accept)).await.expect("prepares");
    listener.start();

    let stream = TcpStream::connect(tcp(listener.local_addr())).await.expect("connects");
    let connector = TlsConnector::from(Arc::new(client(&authority)));
    let name = ServerName::try_from("a.example").expect("a name");
    let mut peer = in_time(connector.connect(name, stream)).await.expect("a handshake");
    let total = in_time(written).await.expect("it is told");
    let mut all = vec![0; total];
    in_time(peer.read_exact(&mut all)).await.expect("all of it comes");
    assert!(all.iter().all(|&byte| byte == b'x'));
}
