//! A connection, as its protocol sees it: who logs in, and what is asked for on its channels.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use russh::keys::{HashAlg, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, MethodKind, MethodSet, Pty, Sig};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;

use super::inbox::{self, Inbox, Input};
use super::keys::AuthorizedKey;
use super::outlet::Outlet;
use super::{SshServer, passwords};
use crate::arrivals::guesses::GUESSES;
use crate::audit::{AuditLog, Auditor};
use crate::identity::{FrontEnd, Identity, MAX_REASON, Rights};

/// The most channels of a connection at a time: a client that shares one has a few.
pub(super) const MAX_CHANNELS: usize = 4;

/// The most sessions of a connection in its life. russh keeps some KiB of each that we close, until the connection ends.
pub(super) const MAX_BEGUN: usize = 1000;

/// The most keys that a client may ask about. One with an agent has some.
const MAX_OFFERS: usize = 32;

/// The most of a name or a comment that is shown, in bytes.
const MAX_SHOWN: usize = 64;

/// The longest name of a kind of terminal.
const MAX_TERM: usize = 64;

/// The variable with what a session is for.
const REASON: &str = "MEDUSA_REASON";

/// The name of the subsystem with the protocol in lines of JSON.
const JSON: &str = "medusa-json";

/// A terminal at the client's end.
#[derive(Debug, Clone)]
pub(super) struct ClientTerminal {
    /// Its `$TERM`.
    pub(super) term: String,
    /// Columns.
    pub(super) columns: u16,
    /// Rows.
    pub(super) rows: u16,
}

/// The purpose of a session.
#[derive(Debug)]
pub(super) enum Purpose {
    /// To run this.
    Command(String),
    /// To run what comes.
    Script,
    /// To run what is typed.
    Prompt(ClientTerminal),
    /// To do what requests ask for.
    Json,
}

/// A session to be started.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) purpose: Purpose,
    pub(super) identity: Identity,
    pub(super) inbox: Inbox,
    pub(super) outlet: Outlet,
}

/// A channel.
#[derive(Debug, Default)]
struct Slot {
    terminal: Option<ClientTerminal>,
    /// What its session is for; empty if that was not said.
    reason: String,
    /// Whether it has, or had, its session.
    began: bool,
    input: Option<inbox::Sender>,
}

impl Slot {
    /// Whether its session has ended. Its channel is closed then, which is the last that is heard of it.
    fn is_done(&self) -> bool {
        self.began && self.input.as_ref().is_none_or(inbox::Sender::is_done)
    }
}

/// A connection.
pub(super) struct Connection {
    server: Arc<SshServer>,
    peer: SocketAddr,
    audit: AuditLog,
    /// The one who has shown to be it.
    identity: Option<Identity>,
    /// Told when somebody has logged in.
    login: watch::Sender<Option<Identity>>,
    starts: mpsc::Sender<Start>,
    channels: HashMap<ChannelId, Slot>,
    /// The number of sessions that it has had.
    sessions: usize,
    offers: usize,
}

impl Connection {
    pub(super) fn new(
        server: Arc<SshServer>,
        peer: SocketAddr,
        audit: AuditLog,
        login: watch::Sender<Option<Identity>>,
        starts: mpsc::Sender<Start>,
    ) -> Self {
        Self {
            server,
            peer,
            audit,
            identity: None,
            login,
            starts,
            channels: HashMap::new(),
            sessions: 0,
            offers: 0,
        }
    }

    /// The line for a key, if it may log in.
    async fn authorized(&self, key: &PublicKey) -> Option<AuthorizedKey> {
        let file = Arc::clone(self.server.keys.as_ref()?);
        let (key, from) = (key.clone(), self.peer.ip());
        let found =
            spawn_blocking(move || file.good_lines().iter().find(|known| known.admits(&key, from)).cloned());
        found.await.ok().flatten()
    }

    /// `user` has shown to be it `by` what is remarked as that, and is the `login` whatever it calls itself.
    fn identify(&mut self, user: &str, by: &str, login: String, rights: Rights) {
        let ip = self.peer.ip().to_canonical();
        let who = format!("{} ({by}, from {ip})", named(user));
        self.identity = Some(Identity::new(who, login, rights, FrontEnd::Ssh(ip)));
    }

    fn refuse(&self, login: &str, why: impl fmt::Display) -> Auth {
        self.server.counters.failed();
        let (user, peer) = (named(login), self.peer);
        tracing::warn!(%user, %peer, "ssh: {why}");
        let front_end = FrontEnd::Ssh(peer.ip().to_canonical());
        Auditor::refuse_login(&self.audit, &user, front_end, &why.to_string());
        self.again()
    }

    /// Not so, but the client may try something else.
    fn again(&self) -> Auth {
        let mut methods = vec![MethodKind::PublicKey];
        methods.extend(self.server.settings.passwords.is_some().then_some(MethodKind::Password));
        Auth::Reject { proceed_with_methods: Some(MethodSet::from(&methods[..])), partial_success: false }
    }

    /// Has a session started on a channel.
    fn begin(&mut self, id: ChannelId, purpose: Purpose, session: &mut Session) -> Result<(), russh::Error> {
        let (Some(slot), Some(identity)) = (self.channels.get_mut(&id), &self.identity) else {
            return session.channel_failure(id);
        };
        if slot.began {
            return session.channel_failure(id);
        }
        let (sender, inbox) = inbox::inbox();
        let outlet = Outlet::new(session.handle(), id, slot.terminal.is_some());
        let identity = identity.clone();
        // One that is none is asked for.
        let _none = identity.explain(&slot.reason);
        let start = Start { purpose, identity, inbox, outlet };
        // Before what it says: that comes by the handle, after this.
        session.channel_success(id)?;
        if self.starts.try_send(start).is_err() {
            return session.close(id);
        }
        slot.began = true;
        slot.input = Some(sender);
        self.sessions += 1;
        Ok(())
    }

    fn push(&mut self, id: ChannelId, input: Input, session: &mut Session) -> Result<(), russh::Error> {
        match self.channels.get(&id).and_then(|slot| slot.input.as_ref()) {
            Some(sender) if !sender.push(input) => self.close(id, session),
            _ => Ok(()),
        }
    }

    /// Closes a channel, whose session ends with its input.
    fn close(&mut self, id: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        if let Some(slot) = self.channels.get_mut(&id) {
            slot.input = None;
        }
        session.close(id)
    }
}

/// A name that a client gives itself: in quotes, unless it can be nothing else.
fn named(user: &str) -> String {
    let is_plain = |char: char| char.is_alphanumeric() || "._-@+".contains(char);
    let name = &user[..user.floor_char_boundary(MAX_SHOWN)];
    if !name.is_empty() && name.chars().all(is_plain) { name.to_owned() } else { format!("{name:?}") }
}

/// A comment that others chose, in one line, and not too long.
fn shown(text: &str) -> String {
    let mut text = medusa_proto::shown::Escaped::line(text).to_string();
    text.truncate(text.floor_char_boundary(MAX_SHOWN));
    text
}

/// Columns or rows as a client tells them: who tells none has as many as terminals have.
fn cells(told: u32, default: u16) -> u16 {
    match u16::try_from(told) {
        Ok(0) | Err(_) => default,
        Ok(told) => told.min(1000),
    }
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        self.offers += 1;
        if self.offers > MAX_OFFERS {
            return Err(russh::Error::Disconnect);
        }
        Ok(if self.authorized(offer.public_key).await.is_some() { Auth::Accept } else { self.again() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let fingerprint = key.public_key.fingerprint(HashAlg::Sha256);
        let Some(known) = self.authorized(key.public_key).await else {
            return Ok(self.refuse(user, format_args!("a login by the key {fingerprint} failed")));
        };
        let comment = shown(known.key.comment().as_str_lossy());
        let by = if comment.is_empty() {
            format!("key {fingerprint}")
        } else {
            format!("key {fingerprint} {comment}")
        };
        self.identify(user, &by, format!("key {fingerprint}"), known.options.rights);
        Ok(Auth::Accept)
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        let Some(file) = self.server.passwords.clone() else { return Ok(self.again()) };
        let ip = self.peer.ip();
        let checked = async { passwords::check(&file, user, password).await.filter(|known| known.admit(ip)) };
        match GUESSES.attempt(ip.into(), Some(user), checked).await {
            Ok(known) => {
                self.identify(user, "password", format!("password of {user}"), known.rights);
                Ok(Auth::Accept)
            }
            Err(wrong) => Ok(self.refuse(user, wrong)),
        }
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> Result<(), Self::Error> {
        self.server.counters.logged_in();
        if let Some(identity) = &self.identity {
            tracing::info!(by = %identity.who, role = %identity.rights.role, "an ssh login");
            Auditor::login(&self.audit, identity);
        }
        self.login.send_replace(self.identity.clone());
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channels.retain(|_, slot| !slot.is_done());
        if self.channels.len() >= MAX_CHANNELS || self.sessions >= MAX_BEGUN {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        // What comes on it comes by the methods below: nothing is read from the channel itself, which is dropped, as one
        // that is kept unread holds up its connection.
        self.channels.insert(channel.id(), Slot::default());
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.channels.remove(&channel);
        Ok(())
    }

    async fn channel_eof(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        self.push(channel, Input::End, session)
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.push(channel, Input::Data(bytes::Bytes::copy_from_slice(data)), session)
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.channels.get_mut(&channel) {
            Some(slot) if !slot.began && term.len() <= MAX_TERM => {
                let (columns, rows) = (cells(columns, 80), cells(rows, 24));
                slot.terminal = Some(ClientTerminal { term: term.to_owned(), columns, rows });
                session.channel_success(channel)
            }
            _ => session.channel_failure(channel),
        }
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        columns: u32,
        rows: u32,
        _: u32,
        _: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let (columns, rows) = (cells(columns, 80), cells(rows, 24));
        if let Some(terminal) = self.channels.get_mut(&channel).and_then(|slot| slot.terminal.as_mut()) {
            (terminal.columns, terminal.rows) = (columns, rows);
        }
        self.push(channel, Input::Resize(columns, rows), session)?;
        session.channel_success(channel)
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        let terminal = self.channels.get(&channel).and_then(|slot| slot.terminal.clone());
        self.begin(channel, terminal.map_or(Purpose::Script, Purpose::Prompt), session)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match std::str::from_utf8(data) {
            Ok(command) => self.begin(channel, Purpose::Command(command.to_owned()), session),
            Err(_) => session.channel_failure(channel),
        }
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if name == JSON {
            self.begin(channel, Purpose::Json, session)
        } else {
            session.channel_failure(channel)
        }
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.channels.get_mut(&channel) {
            Some(slot) if name == REASON && !slot.began && value.len() <= MAX_REASON => {
                value.clone_into(&mut slot.reason);
                session.channel_success(channel)
            }
            _ => session.channel_failure(channel),
        }
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _: bool,
        _: &str,
        _: &str,
        _: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn signal(
        &mut self,
        channel: ChannelId,
        signal: Sig,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match signal {
            Sig::INT | Sig::QUIT => self.push(channel, Input::Interrupt, session),
            Sig::HUP | Sig::KILL | Sig::TERM => self.close(channel, session),
            _ => Ok(()),
        }
    }
}
