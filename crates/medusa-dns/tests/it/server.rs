//! A name server that does what it is told.

use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, PTR, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record};
use medusa_dns::{CacheOptions, Resolver, ServerAddr, ServerOptions};

/// A question that has come in.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) message: Message,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) tcp: bool,
    pub(crate) from: SocketAddr,
}

/// Steps of the server, in this order.
pub(crate) enum Step {
    /// Sends this.
    Send(Vec<u8>),
    /// Sends this, from another port.
    SendFromElsewhere(Vec<u8>),
    /// Does nothing until the gate opens.
    Wait(Arc<Gate>),
    /// Opens the gate.
    Open(Arc<Gate>),
}

/// Something a server waits for.
#[derive(Default)]
pub(crate) struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(crate) fn open(&self) {
        *self.open.lock().expect("a lock") = true;
        self.opened.notify_all();
    }

    pub(crate) fn wait(&self) {
        let open = self.open.lock().expect("a lock");
        let limit = Duration::from_secs(20);
        drop(self.opened.wait_timeout_while(open, limit, |open| !*open).expect("a lock"));
    }
}

type Script = dyn Fn(&Question) -> Vec<Step> + Send + Sync;

/// The server. It listens on one port, by UDP and TCP.
pub(crate) struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Question>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(script: impl Fn(&Question) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::with(sockets(), script)
    }

    /// One at an address where one was before.
    pub(crate) fn start_at(
        address: ServerAddr,
        script: impl Fn(&Question) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let address = SocketAddr::new(address.ip, address.port.expect("a port"));
        Self::with(sockets_at(address).expect("the port is free again"), script)
    }

    fn with(
        (udp, tcp): (UdpSocket, TcpListener),
        script: impl Fn(&Question) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let address = udp.local_addr().expect("an address");
        let (seen, stop): (Arc<Mutex<Vec<_>>>, Arc<AtomicBool>) = Default::default();
        let work = Work { script: Arc::new(script), seen: Arc::clone(&seen), stop: Arc::clone(&stop) };
        let other = work.clone();
        let threads =
            vec![std::thread::spawn(move || work.udp(&udp)), std::thread::spawn(move || other.tcp(&tcp))];
        Self { address, seen, stop, threads }
    }

    /// One that answers every question for an address with `192.0.2.1`, for `ttl` seconds.
    pub(crate) fn of_one_address(ttl: u32) -> Self {
        Self::start(move |question| vec![Step::Send(question.answer(ttl, &[a("192.0.2.1")]))])
    }

    pub(crate) fn address(&self) -> ServerAddr {
        self.address.into()
    }

    /// The questions so far.
    pub(crate) fn seen(&self) -> Vec<Question> {
        self.seen.lock().expect("a lock").clone()
    }

    /// The questions so far, without those that were repeated because no answer came in time.
    pub(crate) fn asked(&self) -> Vec<String> {
        let mut ids = Vec::new();
        let seen = self.seen();
        let first = seen.iter().filter(|question| {
            let id = (question.message.id, question.to_string()); // of two hundred, some have the same number
            let is_new = !ids.contains(&id);
            ids.push(id);
            is_new
        });
        first.map(ToString::to_string).collect()
    }

    /// A resolver that asks this server.
    pub(crate) fn resolver(&self) -> Arc<Resolver> {
        self.resolver_with(ServerOptions::default())
    }

    pub(crate) fn resolver_with(&self, options: ServerOptions) -> Arc<Resolver> {
        let resolver = Resolver::server(vec![self.address()], options).expect("a resolver");
        resolver.prepare().expect("started");
        resolver
    }

    /// Ends it: its port is closed when this returns.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address)); // wakes the one who accepts
        for thread in self.threads.drain(..) {
            thread.join().expect("the server works");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Options for tests that wait for a timeout, and for answers that come before it on a busy machine.
pub(crate) fn impatient() -> ServerOptions {
    ServerOptions { timeout: Duration::from_secs(1), attempts: 1, ..ServerOptions::default() }
}

/// Options with a cache of such kind.
pub(crate) fn caching(cache: CacheOptions) -> ServerOptions {
    ServerOptions { cache, ..ServerOptions::default() }
}

/// A UDP and a TCP socket with the same port.
fn sockets() -> (UdpSocket, TcpListener) {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    (0..100).find_map(|_| sockets_at(any).ok()).expect("a port that is free for both")
}

fn sockets_at(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let udp = UdpSocket::bind(address)?;
    udp.set_read_timeout(Some(Duration::from_millis(20)))?;
    let tcp = TcpListener::bind(udp.local_addr()?)?;
    Ok((udp, tcp))
}

#[derive(Clone)]
struct Work {
    script: Arc<Script>,
    seen: Arc<Mutex<Vec<Question>>>,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn steps(&self, bytes: &[u8], tcp: bool, from: SocketAddr) -> Vec<Step> {
        let message = Message::from_vec(bytes).expect("the resolver asks properly");
        let query = message.queries.first().expect("a question");
        let (name, kind) = (query.name.to_ascii(), query.query_type.to_string());
        let question = Question { message, name, kind, tcp, from };
        self.seen.lock().expect("a lock").push(question.clone());
        (self.script)(&question)
    }

    fn udp(&self, socket: &UdpSocket) {
        let mut buffer = vec![0; 65_536];
        while !self.stopped() {
            let (length, from) = match socket.recv_from(&mut buffer) {
                Ok(received) => received,
                // A timeout, or that one who asked has gone.
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) =>
                {
                    continue;
                }
                Err(error) => panic!("cannot receive: {error}"),
            };
            for step in self.steps(&buffer[..length], false, from) {
                match step {
                    Step::Send(bytes) => drop(socket.send_to(&bytes, from)), // who asked may have gone
                    Step::SendFromElsewhere(bytes) => {
                        let elsewhere = UdpSocket::bind("127.0.0.1:0").expect("a socket");
                        elsewhere.send_to(&bytes, from).expect("sent");
                    }
                    Step::Wait(gate) => gate.wait(),
                    Step::Open(gate) => gate.open(),
                }
            }
        }
    }

    fn tcp(&self, listener: &TcpListener) {
        let mut connections = Vec::new();
        loop {
            let (stream, from) = listener.accept().expect("a connection");
            if self.stopped() {
                break;
            }
            let work = self.clone();
            connections.push(std::thread::spawn(move || drop(work.connection(stream, from)))); // it ends with its peer
        }
        for connection in connections {
            connection.join().expect("the server works");
        }
    }

    fn connection(&self, mut stream: TcpStream, from: SocketAddr) -> io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_millis(20)))?;
        while !self.stopped() {
            let mut length = [0; 2];
            match stream.peek(&mut length) {
                Ok(2) => {}
                Ok(0) => return Ok(()),
                Ok(_) => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            stream.set_read_timeout(None)?;
            stream.read_exact(&mut length)?;
            let mut message = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut message)?;
            stream.set_read_timeout(Some(Duration::from_millis(20)))?;
            for step in self.steps(&message, true, from) {
                match step {
                    Step::Send(bytes) => {
                        let length = u16::try_from(bytes.len()).expect("a message has at most 64 KiB");
                        stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat())?;
                    }
                    Step::SendFromElsewhere(_) => panic!("a connection is from one place"),
                    Step::Wait(gate) => gate.wait(),
                    Step::Open(gate) => gate.open(),
                }
            }
        }
        Ok(())
    }
}

/// `www.example.org. A`.
impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.kind)
    }
}

impl Question {
    /// An answer without records.
    pub(crate) fn reply(&self) -> Message {
        let mut message = Message::response(self.message.id, OpCode::Query);
        message.metadata.message_type = MessageType::Response;
        message.metadata.recursion_desired = true;
        message.metadata.recursion_available = true;
        message.add_queries(self.message.queries.clone());
        message
    }

    /// An answer with these records, if they are of the type that was asked for; all belong to the name asked for.
    pub(crate) fn answer(&self, ttl: u32, data: &[RData]) -> Vec<u8> {
        let mut message = self.reply();
        let name = self.message.queries[0].name.clone();
        for data in data.iter().filter(|data| data.record_type() == self.message.queries[0].query_type) {
            message.add_answer(Record::from_rdata(name.clone(), ttl, data.clone()));
        }
        bytes(&message)
    }

    /// An answer with these records, whatever they are.
    pub(crate) fn records(&self, records: &[(&str, u32, RData)]) -> Vec<u8> {
        let mut message = self.reply();
        for (owner, ttl, data) in records {
            message.add_answer(Record::from_rdata(name(owner), *ttl, data.clone()));
        }
        bytes(&message)
    }

    /// That there is no such name, or no such record, with the zone's SOA record.
    pub(crate) fn negative(&self, code: ResponseCode, ttl: u32, minimum: u32) -> Vec<u8> {
        let mut message = self.reply();
        message.metadata.response_code = code;
        let soa = SOA::new(name("ns.example."), name("root.example."), 1, 2, 3, 4, minimum);
        message.add_authority(Record::from_rdata(name("example."), ttl, RData::SOA(soa)));
        bytes(&message)
    }

    /// That it cannot, or does not want to.
    pub(crate) fn code(&self, code: ResponseCode) -> Vec<u8> {
        let mut message = self.reply();
        message.metadata.response_code = code;
        bytes(&message)
    }

    /// An answer that does not fit.
    pub(crate) fn truncated(&self) -> Vec<u8> {
        let mut message = self.reply();
        message.metadata.truncation = true;
        bytes(&message)
    }
}

pub(crate) fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().expect("a message")
}

pub(crate) fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

pub(crate) fn a(address: &str) -> RData {
    RData::A(A(address.parse::<Ipv4Addr>().expect("an address")))
}

pub(crate) fn aaaa(address: &str) -> RData {
    RData::AAAA(AAAA(address.parse::<Ipv6Addr>().expect("an address")))
}

pub(crate) fn cname(target: &str) -> RData {
    RData::CNAME(CNAME(name(target)))
}

pub(crate) fn ptr(target: &str) -> RData {
    RData::PTR(PTR(name(target)))
}

pub(crate) fn txt(text: &str) -> RData {
    RData::TXT(TXT::new(vec![text.to_owned()]))
}
