//! Connections, from their hand-over to their end: a task each, on the thread of the sessions.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use medusa_net::Stream;
use medusa_proto::with_causes;
use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::challenge::{Challenge, MAX_ANSWER};
use super::talk::{Ear, LineTalk, Mouth};
use super::typed::TypedLine;
use super::{ClassicArrival, ClassicIntake, ClassicServer};
use crate::arrivals::Caller;
use crate::arrivals::admission::{Cut, Place};
use crate::arrivals::guesses::GUESSES;
use crate::audit::Auditor;
use crate::identity::{FrontEnd, Identity, Whence};
use crate::login_files::{self, blocking};
use crate::session::{Control, Monitor};
use crate::socket::Peer;
use crate::statement::{Left, Shows as _};

/// What a client is told that has logged in.
const WELCOME: &str = concat!("Medusa ", env!("CARGO_PKG_VERSION"), "; `exit` leaves\r\n");

/// The most bytes that a client's program may have to be answered before a login. Telnet asks for a handful of things.
const MAX_OWED: usize = 1024;

/// The one at the other end.
struct OldClient {
    caller: Caller,
    front_end: FrontEnd,
    /// `from 127.0.0.1`, `uid 0`.
    whence: String,
}

impl OldClient {
    fn of(stream: &Stream) -> io::Result<Self> {
        match stream {
            Stream::Tcp(tcp) => {
                let ip = tcp.peer_addr()?.ip().to_canonical();
                let front_end = FrontEnd::Classic(Whence::Address(ip));
                Ok(Self { caller: ip.into(), front_end, whence: format!("from {ip}") })
            }
            Stream::Unix(unix) => {
                let uid = Peer::of(unix)?.uid;
                let front_end = FrontEnd::Classic(Whence::User(uid));
                Ok(Self { caller: Caller::User(uid), front_end, whence: format!("uid {uid}") })
            }
            Stream::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl<C: Control> Monitor<C> {
    /// Serves the connections that are handed over by `intake`, for as long as the returned future is polled. Open ones go on
    /// until they end or the thread's runtime does.
    ///
    /// Needs a tokio runtime that can spawn local tasks.
    pub async fn serve_classic(self, intake: &ClassicIntake) -> Infallible {
        if let Some(mut arrivals) = intake.0.take() {
            while let Some(arrival) = arrivals.recv().await {
                if let Err(error) = admit(&self, arrival) {
                    tracing::warn!(%error, "a classic connection was closed");
                }
            }
        }
        std::future::pending().await
    }
}

fn admit<C: Control>(monitor: &Monitor<C>, arrival: ClassicArrival) -> io::Result<()> {
    let ClassicArrival { stream, server } = arrival;
    let stream = stream.into_stream()?;
    let (client, cut) = (OldClient::of(&stream)?, Cut::of(&stream)?);
    if let Some(place) = monitor.admission().enter(client.caller, cut, Instant::now()) {
        spawn_local(serve(monitor.clone(), server, stream, client, place));
    } else {
        server.counters.refused();
        tracing::debug!(
            client = client.whence,
            "a classic connection was refused: too many have not logged in"
        );
    }
    Ok(())
}

async fn serve<C: Control>(
    monitor: Monitor<C>,
    server: Arc<ClassicServer>,
    stream: Stream,
    client: OldClient,
    place: Place,
) {
    let _open = server.counters.open();
    let (reader, writer) = split(stream);
    let (mut ear, mut mouth) = (Ear::new(reader), Mouth(writer));
    if let Some(identity) = log_in(&monitor, &server, &client, &mut ear, &mut mouth).await {
        if place.log_in(&identity, Instant::now()) {
            // One that leaves is told no more.
            let _left = attend(&monitor, &server, identity, &mut ear, &mut mouth).await;
        } else {
            tracing::warn!(client = client.whence, "a classic connection was closed: there are too many");
        }
    }
    mouth.end().await;
    ear.linger().await;
}

/// Who it is, once that is shown. Who cannot show it is told nothing, as ever.
async fn log_in<C: Control>(
    monitor: &Monitor<C>,
    server: &ClassicServer,
    client: &OldClient,
    ear: &mut Ear<impl AsyncRead + Unpin>,
    mouth: &mut Mouth<impl AsyncWrite + Unpin>,
) -> Option<Identity> {
    let (settings, OldClient { caller, front_end, whence }) = (&server.settings, client);
    let Ok(challenge) = Challenge::new() else {
        tracing::error!("nobody can log in: the system has no random numbers");
        return None;
    };
    let answer = async {
        mouth.send(format!("{}\r\n", challenge.as_str())).await?;
        answer(ear).await
    };
    let answer = match timeout(settings.grace, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(Left)) => {
            tracing::debug!(client = whence, "a classic connection ended without a login");
            return None;
        }
        Err(_elapsed) => {
            tracing::debug!(client = whence, "a classic connection was closed: it said nothing");
            return None;
        }
    };
    let checked = check(settings.password.clone(), challenge, answer);
    if let Err(wrong) = GUESSES.attempt(*caller, None, checked).await {
        server.counters.failed();
        tracing::warn!(client = whence, "classic: {wrong}");
        let who = format!("classic ({whence})");
        Auditor::refuse_login(monitor.audit(), &who, *front_end, &wrong.to_string());
        return None;
    }
    if !server.is_published.load(Relaxed) {
        tracing::warn!(
            client = whence,
            "classic: this server is not there any more, or not so: a login is refused"
        );
        return None;
    }
    let who = format!("classic (password, {whence})");
    server.counters.logged_in();
    tracing::info!(by = who, role = %settings.role, "a classic login");
    Some(Identity::new(who, "classic", settings.role, *front_end))
}

/// What the client answers, as far as it might be right. What it types behind that is for its session.
async fn answer(ear: &mut Ear<impl AsyncRead + Unpin>) -> Result<String, Left> {
    loop {
        match ear.typed.next() {
            Some(TypedLine::Text(answer)) => return Ok(answer),
            // Nobody's answer.
            Some(_) => return Ok(String::new()),
            None if ear.typed.begun() > MAX_ANSWER || ear.typed.owed() > MAX_OWED => return Ok(String::new()),
            None => ear.hear().await?,
        }
    }
}

/// Whether the answer is that of one who has the password.
async fn check(path: PathBuf, challenge: Challenge, answer: String) -> Option<()> {
    let checked = blocking(move || {
        let password = login_files::password(&path)?;
        Ok(challenge.is_answered_by(answer.as_bytes(), &password))
    });
    match checked.await {
        Ok(is_right) => is_right.then_some(()),
        Err(error) => {
            tracing::error!("nobody can log in by a password: {}", with_causes(&error));
            None
        }
    }
}

/// A session, from its beginning to its end.
async fn attend<C: Control>(
    monitor: &Monitor<C>,
    server: &ClassicServer,
    identity: Identity,
    ear: &mut Ear<impl AsyncRead + Unpin>,
    mouth: &mut Mouth<impl AsyncWrite + Unpin>,
) -> Result<(), Left> {
    let session = match monitor.open(identity, false) {
        Ok(session) => session,
        Err(full) => return mouth.remark(&full.to_string()).await,
    };
    mouth.send(WELCOME).await?;
    LineTalk { session: &session, ear, mouth, idle: server.settings.idle }.run().await
}
