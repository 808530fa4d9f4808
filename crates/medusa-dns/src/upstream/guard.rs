//! Which datagrams count as a server's answer.
//!
//! Every question has a socket of its own, on a random port, connected to the server: the kernel drops what comes from
//! anywhere else, and reports at once that nobody listens there. (A connected socket also does not tell an attacker, by
//! the kernel's limit on ICMP errors, which port is open.) What gets through is compared with the question here, before
//! hickory looks at it, because hickory gives a question up at the first broken datagram that has its id.
//!
//! **Invariant: a datagram that is not the answer changes nothing but a counter.** An attacker who does not see the
//! question must guess port and id (RFC 5452 §4), and has as many guesses as packets fit in the time of one answer; one
//! that could end the question early would not even have to guess the content.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hickory_resolver::config::ConnectionConfig;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_resolver::net::runtime::{
    DnsUdpSocket, RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime,
};
use hickory_resolver::net::xfer::DnsExchange;
use hickory_resolver::{ConnectionProvider, PoolContext};
use tokio::io::{Interest, ReadBuf};
use tokio::net::{TcpStream, UdpSocket};

use super::Stats;
use super::sent_query::SentQuery;

/// Makes the sockets that hickory uses.
#[derive(Clone)]
pub(super) struct GuardedRuntime {
    tokio: TokioRuntimeProvider,
    stats: Arc<Stats>,
}

impl RuntimeProvider for GuardedRuntime {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = GuardedSocket;
    type Tcp = AsyncIoTokioAsStd<TcpStream>;

    fn create_handle(&self) -> Self::Handle {
        self.tokio.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Tcp>>>> {
        self.tokio.connect_tcp(server, local, timeout)
    }

    /// hickory does not want it connected, since it checks the source by itself; here the kernel does.
    fn bind_udp(
        &self,
        local: SocketAddr,
        server: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Udp>>>> {
        let stats = Arc::clone(&self.stats);
        Box::pin(async move {
            let socket = UdpSocket::bind(local).await?;
            socket.connect(server).await?;
            Ok(GuardedSocket { socket, server, asked: OnceLock::new(), stats })
        })
    }
}

/// Makes connections, and remembers why one could not be made: hickory forgets that.
#[derive(Clone)]
pub(super) struct Connector(GuardedRuntime);

impl Connector {
    pub(super) fn new(stats: Arc<Stats>) -> Self {
        Self(GuardedRuntime { tokio: TokioRuntimeProvider::new(), stats })
    }
}

impl ConnectionProvider for Connector {
    type Conn = DnsExchange<GuardedRuntime>;
    type FutureConn = Pin<Box<dyn Future<Output = Result<Self::Conn, NetError>> + Send>>;
    type RuntimeProvider = GuardedRuntime;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        context: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        let stats = Arc::clone(&self.0.stats);
        let connecting = self.0.new_connection(ip, config, context)?;
        Ok(Box::pin(async move { connecting.await.inspect_err(|error| note(&stats, error)) }))
    }

    fn runtime_provider(&self) -> &GuardedRuntime {
        &self.0
    }
}

fn note(stats: &Stats, error: &NetError) {
    match error {
        NetError::Io(error) => stats.note(&**error),
        error => stats.note(error),
    }
}

/// The socket of one question.
pub(super) struct GuardedSocket {
    socket: UdpSocket,
    server: SocketAddr,
    asked: OnceLock<SentQuery>,
    stats: Arc<Stats>,
}

impl GuardedSocket {
    /// The answer, or that there will be none: that nobody listens at the server's port. The kernel tells so at once, but
    /// only who asks for errors, too.
    async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        loop {
            let ready = self.socket.ready(Interest::READABLE | Interest::ERROR).await?;
            if ready.is_error() {
                match self.socket.try_io(Interest::ERROR, || self.pending_error()) {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                    _ => {}
                }
            }
            match self.socket.try_recv(buffer) {
                Ok(length) => {
                    if let Some(length) = self.answer(buffer, length)? {
                        return Ok((length, self.server));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The error that waits at the socket; that it would block, if there is none.
    fn pending_error(&self) -> io::Result<()> {
        Err(self.socket.take_error()?.unwrap_or_else(|| io::ErrorKind::WouldBlock.into()))
    }

    /// The number of bytes of `buffer`, of which `length` have been received, that are the answer; none, if it is not.
    fn answer(&self, buffer: &mut [u8], length: usize) -> io::Result<Option<usize>> {
        let asked =
            self.asked.get().ok_or_else(|| io::Error::other("an answer before there was a question"))?;
        match asked.answer(buffer, length) {
            Ok(length) => Ok(Some(length)),
            Err(why) => {
                self.stats.stray(why);
                Ok(None)
            }
        }
    }
}

impl DnsUdpSocket for GuardedSocket {
    type Time = TokioTime;

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        loop {
            let mut datagram = ReadBuf::new(buffer);
            ready!(self.socket.poll_recv(cx, &mut datagram))?;
            let length = datagram.filled().len();
            if let Some(length) = self.answer(buffer, length)? {
                return Poll::Ready(Ok((length, self.server)));
            }
        }
    }

    /// Unlike the above, hears at once that the server is not there.
    fn recv_from<'s, 'b, 'f>(
        &'s self,
        buffer: &'b mut [u8],
    ) -> Pin<Box<dyn Future<Output = io::Result<(usize, SocketAddr)>> + Send + 'f>>
    where
        's: 'f,
        'b: 'f,
        Self: 'f,
    {
        Box::pin(async move { self.receive(buffer).await.inspect_err(|error| self.stats.note(error)) })
    }

    fn poll_send_to(&self, cx: &mut Context<'_>, datagram: &[u8], _: SocketAddr) -> Poll<io::Result<usize>> {
        if self.asked.get().is_none() {
            let asked =
                SentQuery::of(datagram).ok_or_else(|| io::Error::other("a question that cannot be read"))?;
            self.asked.get_or_init(|| asked);
        }
        self.socket.poll_send(cx, datagram)
    }
}
