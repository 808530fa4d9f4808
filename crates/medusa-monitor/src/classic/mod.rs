//! Sessions by the line protocol of 1997: for telnet, and for the `monitor_client.py` of that time.
//!
//! The server says a time, the client answers with a digest of it and a password ([`challenge`](self)), and then each line is a
//! statement. Nothing is encrypted, so the Site listens on this machine alone.
//!
//! - `challenge`: who may log in;
//! - `telnet`, `typed`: what comes, in lines;
//! - `talk`: a session, as lines show it;
//! - `serve`: connections, from their hand-over to their end.
//!
//! What is old is the protocol: logins are counted and sessions run as everybody's, by [`arrivals`](crate::arrivals) and
//! [`statement`](crate::statement).

mod challenge;
mod serve;
mod talk;
mod telnet;
mod typed;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use medusa_net::Stream;
use medusa_proto::status::{Status, Value};

use crate::arrivals::{Intake, LoginCounters};
use crate::identity::Role;
use crate::login_files::{self, LoginFileError, blocking};

/// The settings of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicSettings {
    /// The file with the one password, which nobody else may read.
    pub password: PathBuf,
    /// The role of whoever logs in.
    pub role: Role,
    /// The time that a session may be silent that runs nothing.
    pub idle: Duration,
    /// The time that a login may take.
    pub grace: Duration,
}

/// A server that connections may come to.
#[derive(Debug)]
pub struct ClassicServer {
    settings: ClassicSettings,
    counters: Arc<LoginCounters>,
    /// Whether it is one of the running Site's: in no other can anybody log in, whenever they came.
    is_published: AtomicBool,
}

impl ClassicServer {
    /// Says whether it is one of the running Site's.
    pub fn set_published(&self, is_published: bool) {
        self.is_published.store(is_published, Relaxed);
    }
}

impl ClassicSettings {
    /// Whether the password can be read, and by nobody else.
    ///
    /// # Errors
    ///
    /// See [`LoginFileError`].
    pub async fn check(&self) -> Result<(), LoginFileError> {
        let path = self.password.clone();
        blocking(move || login_files::password(&path).map(drop)).await
    }

    /// The server. Counts in `counters`.
    ///
    /// # Errors
    ///
    /// See [`LoginFileError`].
    pub async fn open(&self, counters: Arc<LoginCounters>) -> Result<ClassicServer, LoginFileError> {
        self.check().await?;
        Ok(ClassicServer { settings: self.clone(), counters, is_published: AtomicBool::new(false) })
    }

    /// All of them, below `status`.
    pub fn describe(&self, status: Status) -> Status {
        status
            .field("password_file", self.password.display().to_string())
            .field("role", self.role.name())
            .field("idle", Value::Seconds(self.idle.as_secs_f64()))
            .field("grace", Value::Seconds(self.grace.as_secs_f64()))
    }
}

/// A stream that no worker has any more.
#[derive(Debug)]
enum Handed {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Handed {
    fn from_stream(stream: Stream) -> io::Result<Self> {
        match stream {
            Stream::Tcp(tcp) => tcp.into_std().map(Self::Tcp),
            Stream::Unix(unix) => unix.into_std().map(Self::Unix),
            Stream::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn into_stream(self) -> io::Result<Stream> {
        match self {
            Self::Tcp(tcp) => tokio::net::TcpStream::from_std(tcp).map(Stream::Tcp),
            Self::Unix(unix) => tokio::net::UnixStream::from_std(unix).map(Stream::Unix),
        }
    }
}

/// A connection on its way from the worker that accepted it.
#[derive(Debug)]
struct ClassicArrival {
    stream: Handed,
    server: Arc<ClassicServer>,
}

/// The queue by which workers hand connections over.
#[derive(Debug, Default)]
pub struct ClassicIntake(Intake<ClassicArrival>);

impl ClassicIntake {
    /// Hands over a connection. Where nobody takes them, or too many wait, it is closed.
    pub fn offer(&self, stream: Stream, server: Arc<ClassicServer>) {
        let counters = Arc::clone(&server.counters);
        counters.accepted();
        match Handed::from_stream(stream) {
            Ok(stream) => self.0.offer(ClassicArrival { stream, server }, &counters),
            Err(error) => {
                counters.refused();
                tracing::debug!(%error, "a classic connection was closed");
            }
        }
    }
}
