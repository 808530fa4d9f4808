//! Connections, from their hand-over to their end: a task each, on the thread of the sessions.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use medusa_proto::with_causes;
use russh::server::run_stream;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{sleep, timeout};

use super::channel::attend;
use super::connection::{Connection, MAX_BEGUN, MAX_CHANNELS};
use super::{Arrival, SshIntake, SshServer};
use crate::arrivals::admission::{Cut, Place};
use crate::identity::Identity;
use crate::session::{Control, Monitor};
use crate::sessions::reached;

/// The time in which the last session of a connection that may have no more is told its end.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl<C: Control> Monitor<C> {
    /// Serves the connections that are handed over by `intake`, for as long as the returned future is polled. Open ones go on
    /// until they end or the thread's runtime does.
    ///
    /// Needs a tokio runtime that can spawn local tasks.
    pub async fn serve_ssh(self, intake: &SshIntake) -> Infallible {
        if let Some(mut arrivals) = intake.0.take() {
            while let Some(arrival) = arrivals.recv().await {
                self.admit(arrival);
            }
        }
        std::future::pending().await
    }

    fn admit(&self, arrival: Arrival) {
        let Arrival { stream, peer, server } = arrival;
        let entered = Cut::of(&stream).and_then(|cut| Ok((cut, TcpStream::from_std(stream)?)));
        let (cut, stream) = match entered {
            Ok(entered) => entered,
            Err(error) => return tracing::warn!(%peer, %error, "an ssh connection was closed"),
        };
        let Some(place) = self.admission().enter(peer.ip().into(), cut.clone(), Instant::now()) else {
            server.counters.refused();
            return tracing::debug!(%peer, "an ssh connection was refused: too many have not logged in");
        };
        let served = serve(self.clone(), server, stream, peer, cut, place);
        spawn_local(served);
    }
}

async fn serve<C: Control>(
    monitor: Monitor<C>,
    server: Arc<SshServer>,
    stream: TcpStream,
    peer: SocketAddr,
    cut: Cut,
    place: Place,
) {
    let _open = server.counters.open();
    let (login, mut logged_in) = watch::channel(None);
    let (starts, mut started) = mpsc::channel(MAX_CHANNELS);
    let settings = &server.settings;
    let deadline = Instant::now() + settings.grace;
    let connection = Connection::new(Arc::clone(&server), peer, monitor.audit().clone(), login, starts);
    let running = timeout(settings.grace, run_stream(Arc::clone(&server.config), stream, connection)).await;
    let mut running = match running {
        Ok(Ok(running)) => running,
        Ok(Err(error)) => return tracing::debug!(%peer, "an ssh connection ended: {}", with_causes(&error)),
        Err(_elapsed) => return tracing::debug!(%peer, "an ssh connection was closed: it said nothing"),
    };
    let (mut channels, mut begun) = (JoinSet::new(), 0);
    let mut identity = None::<Identity>;
    let mut alarm = Box::pin(tokio::time::sleep_until(deadline.into()));
    let ended = loop {
        tokio::select! {
            ended = &mut running => break ended,
            Ok(()) = logged_in.changed(), if identity.is_none() => {
                identity.clone_from(&logged_in.borrow());
                alarm.set(sleep(settings.idle));
                if let Some(identity) = &identity && !place.log_in(identity, Instant::now()) {
                    tracing::warn!(%peer, by = %identity.who, "an ssh connection was closed: there are too many");
                    cut.now();
                }
            }
            // Its sessions end by themselves then, and are told why.
            () = reached(identity.as_ref().and_then(|identity| identity.rights.until)), if channels.is_empty() => {
                tracing::debug!(%peer, "an ssh connection was closed: its rights have ended");
                cut.now();
                break (&mut running).await;
            }
            // One that has ended may still have to be told to its client; the next waits for that.
            Some(start) = started.recv(), if channels.len() < MAX_CHANNELS => {
                begun += 1;
                channels.spawn_local(attend(monitor.clone(), start, settings.idle));
            }
            Some(attended) = channels.join_next(), if !channels.is_empty() => {
                alarm.set(sleep(if begun < MAX_BEGUN { settings.idle } else { LAST_WORDS }));
                if attended.is_err() {
                    tracing::error!(%peer, "an ssh session failed");
                    cut.now();
                }
            }
            // While it has a session, that has a time of its own.
            () = &mut alarm, if identity.is_none() || channels.is_empty() => {
                tracing::debug!(%peer, is_in = identity.is_some(), "an ssh connection was closed: nothing happened on it");
                cut.now();
                alarm.set(sleep(settings.grace));
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, "an ssh connection ended: {}", with_causes(&error));
    }
    cut.now();
}
