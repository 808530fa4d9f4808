//! A small line protocol to serve, and what every test needs.

use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use medusa_net::{Accept, Conn, ListenAddr, Listener, Phase, Signal, Stream, Workers, worker};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Longer than any of this takes; only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Serves lines:
///
/// - `worker` is answered with the number of the worker that serves the connection,
/// - `peer` with the peer as the connection knows it,
/// - `panic` panics,
/// - `slow` is answered when [`Lines::go`] is told, as `slow`,
/// - anything else is echoed.
///
/// Ends after the current line when told to finish; `deaf` makes it stop listening to that.
#[derive(Default, Clone)]
pub(crate) struct Lines {
    pub(crate) go: Arc<Notify>,
    pub(crate) slow_began: Arc<Notify>,
}

impl Accept for Lines {
    fn accept(&self, stream: Stream, conn: Rc<Conn>) -> Pin<Box<dyn Future<Output = ()>>> {
        let lines = self.clone();
        Box::pin(async move {
            // A client that goes away is none of the server's business.
            let _ = lines.serve(BufReader::new(stream), &conn).await;
        })
    }
}

impl Lines {
    async fn serve(&self, mut stream: BufReader<Stream>, conn: &Conn) -> std::io::Result<()> {
        let mut deaf = false;
        loop {
            conn.enter(Phase::Idle);
            let mut line = String::new();
            let read = unless_told_to_end(conn, deaf, stream.read_line(&mut line)).await;
            if !matches!(read, Some(Ok(1..))) {
                return Ok(());
            }
            conn.enter(Phase::Busy);
            conn.count_request();
            let answer = match line.trim_end() {
                "worker" => worker::index().to_string(),
                "peer" => conn.peer().to_string(),
                "panic" => panic!("as asked"),
                "slow" => {
                    self.slow_began.notify_one();
                    self.go.notified().await;
                    "slow".to_owned()
                }
                "deaf" => {
                    deaf = true;
                    "deaf".to_owned()
                }
                other => other.to_owned(),
            };
            stream.write_all(format!("{answer}\n").as_bytes()).await?;
        }
    }
}

/// `None` when the connection was told to end before `future` was done.
async fn unless_told_to_end<F: Future>(conn: &Conn, deaf: bool, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if deaf || conn.poll_signal(cx) == Signal::None => Poll::Pending,
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// A listener with its workers and its protocol.
pub(crate) struct Server {
    pub(crate) workers: Workers,
    pub(crate) listener: Arc<Listener>,
    pub(crate) lines: Lines,
}

impl Server {
    pub(crate) async fn start(addr: &str, workers: usize) -> Self {
        let workers = self::workers(workers);
        let listener = Listener::bind(&parse(addr), workers.len()).expect("the address is free");
        let lines = Lines::default();
        listener.prepare(&workers, Arc::new(lines.clone())).await.expect("prepares");
        listener.start();
        Self { workers, listener, lines }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.listener.local_addr()).await
    }
}

/// A client of the line protocol, over TCP.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) async fn connect(addr: &ListenAddr) -> Self {
        let stream = TcpStream::connect(tcp(addr)).await.expect("the server accepts connections");
        Self { stream: BufReader::new(stream) }
    }

    pub(crate) async fn ask(&mut self, line: &str) -> String {
        self.send(line).await;
        self.answer().await
    }

    pub(crate) async fn send(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\n").as_bytes()).await.expect("the server reads");
    }

    /// The next line; empty when the server has closed the connection.
    pub(crate) async fn answer(&mut self) -> String {
        let mut answer = String::new();
        let read = self.stream.read_line(&mut answer);
        let read = tokio::time::timeout(PATIENCE, read).await.expect("an answer in time");
        // A connection that is cut off may be seen as reset.
        if read.is_err() {
            answer.clear();
        }
        answer.trim_end().to_owned()
    }

    /// Whether the server has closed the connection, waiting for that.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        let read = self.stream.read_to_end(&mut rest);
        tokio::time::timeout(PATIENCE, read).await.is_ok() && rest.is_empty()
    }
}

pub(crate) fn workers(count: usize) -> Workers {
    Workers::start(NonZeroUsize::new(count).expect("not 0")).expect("threads start")
}

pub(crate) fn parse(addr: &str) -> ListenAddr {
    addr.parse().expect("a listen address")
}

pub(crate) fn tcp(addr: &ListenAddr) -> std::net::SocketAddr {
    match addr {
        ListenAddr::Tcp(addr) => *addr,
        ListenAddr::Unix(path) => panic!("{} is not a TCP address", path.display()),
    }
}

/// Waits until `condition` holds, looking again after whatever else can run has run.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what} did not happen"));
}

/// Two ends of a TCP connection, the first one the server's.
pub(crate) async fn tcp_pair() -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let connect = TcpStream::connect(listener.local_addr().expect("bound"));
    let (accepted, connected) = tokio::join!(listener.accept(), connect);
    (Stream::Tcp(accepted.expect("accepts").0), connected.expect("connects"))
}
