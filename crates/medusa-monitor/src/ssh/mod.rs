//! Sessions over SSH.
//!
//! The Site binds where a server listens, and its workers accept there. A connection that was accepted is handed over
//! ([`SshIntake`]) to the thread that has the sessions of the control socket, where [`Monitor::serve_ssh`] does the rest: no
//! worker has any of its work. A connection that is open keeps the [`SshServer`] it came to, whatever is published
//! meanwhile.
//!
//! - `keys`, `passwords`: who may log in;
//! - `connection`: what the protocol asks for; `channel`: a session on a channel of it.
//!
//! **Invariants:** only this module knows russh. What a client may have us hold before it has logged in is bounded
//! ([`arrivals`](crate::arrivals)), and ends with the grace period; nothing but sessions is granted to those who have: no forwarding,
//! no agent, no files, and of the environment what a session is for.
//!
//! [`Monitor::serve_ssh`]: crate::Monitor::serve_ssh

mod channel;
mod connection;
mod host_key;
mod inbox;
mod keys;
mod options;
mod outlet;
mod passwords;
mod prompt;
mod serve;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use medusa_proto::status::{Status, Value};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey};
use russh::{MethodKind, MethodSet, Preferred, SshId, cipher, compression, kex, mac};

use crate::arrivals::{Intake, LoginCounters};
use crate::login_files::{LoginFile, LoginFileError, blocking};

/// The settings of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshSettings {
    /// The file with the keys that may log in, in the form of OpenSSH's `authorized_keys`.
    pub keys: Option<PathBuf>,
    /// The file with the passwords that may log in; none: keys alone.
    pub passwords: Option<PathBuf>,
    /// The file with the server's own key, made if it is not there. None: there is no state directory, as where a script is only
    /// checked.
    pub host_key: Option<PathBuf>,
    /// Whether keys are exchanged by what a quantum computer does not break alone, which older clients cannot.
    pub post_quantum: bool,
    /// The time that a session may be silent that runs nothing.
    pub idle: Duration,
    /// The time that a login may take.
    pub grace: Duration,
}

/// A server that connections may come to.
pub struct SshServer {
    settings: SshSettings,
    keys: Option<Arc<LoginFile<keys::AuthorizedKey>>>,
    passwords: Option<Arc<LoginFile<passwords::PasswordEntry>>>,
    fingerprint: String,
    counters: Arc<LoginCounters>,
    config: Arc<russh::server::Config>,
}

impl std::fmt::Debug for SshServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SshServer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl SshSettings {
    /// Whether the files say who may log in, in every line. Nothing is made.
    ///
    /// # Errors
    ///
    /// See [`LoginFileError`].
    pub async fn check(&self) -> Result<(), LoginFileError> {
        let settings = self.clone();
        blocking(move || settings.check_blocking()).await
    }

    fn check_blocking(&self) -> Result<(), LoginFileError> {
        if let Some(path) = &self.keys {
            keys::read(path)?.into_iter().collect::<Result<Vec<_>, _>>()?;
        }
        if let Some(path) = &self.passwords {
            passwords::read(path)?.into_iter().collect::<Result<Vec<_>, _>>()?;
        }
        Ok(())
    }

    /// The server, with its own key: read, or made and written. Counts in `counters`.
    ///
    /// # Errors
    ///
    /// See [`LoginFileError`].
    pub async fn open(&self, counters: Arc<LoginCounters>) -> Result<SshServer, LoginFileError> {
        let settings = self.clone();
        blocking(move || {
            settings.check_blocking()?;
            let path = settings.host_key.as_ref().ok_or(LoginFileError::NoHostKey)?;
            let key = host_key::read_or_make(path)?;
            let fingerprint = key.public_key().fingerprint(HashAlg::Sha256).to_string();
            let config = Arc::new(config(key, &settings));
            let keys = settings.keys.as_deref().map(|path| Arc::new(LoginFile::open(path, keys::read)));
            let passwords = settings.passwords.as_deref();
            let passwords = passwords.map(|path| Arc::new(LoginFile::open(path, passwords::read)));
            Ok(SshServer { settings, keys, passwords, fingerprint, counters, config })
        })
        .await
    }

    /// All of them that are told, below `status`.
    pub fn describe(&self, status: Status) -> Status {
        let path = |path: &PathBuf| path.display().to_string();
        status
            .maybe("keys", self.keys.as_ref().map(path))
            .maybe("passwords", self.passwords.as_ref().map(path))
            .field("idle", Value::Seconds(self.idle.as_secs_f64()))
            .field("grace", Value::Seconds(self.grace.as_secs_f64()))
    }
}

impl SshServer {
    /// The fingerprint of its own key: `SHA256:...`.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// The protocol, with algorithms that nobody doubts: key exchanges and host keys on elliptic curves, with ML-KEM or without,
/// authenticated ciphers, MACs over what is encrypted. No compression: of data that a client chose, it tells what is beside it.
fn config(key: PrivateKey, settings: &SshSettings) -> russh::server::Config {
    let mut methods = vec![MethodKind::PublicKey];
    methods.extend(settings.passwords.is_some().then_some(MethodKind::Password));
    let mut exchanges = vec![kex::MLKEM768X25519_SHA256];
    if !settings.post_quantum {
        exchanges.extend([kex::CURVE25519, kex::CURVE25519_PRE_RFC_8731]);
    }
    exchanges.extend([kex::EXTENSION_SUPPORT_AS_SERVER, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER]);
    russh::server::Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-Medusa")),
        methods: MethodSet::from(&methods[..]),
        // What has to take its time does so by itself: that a key is not known is no secret.
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: None,
        keys: vec![key],
        preferred: Preferred {
            kex: Cow::Owned(exchanges),
            key: Cow::Borrowed(&[
                Algorithm::Ed25519,
                Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
                Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
                Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
            ]),
            host_key_certificates: Cow::Borrowed(&[]),
            cipher: Cow::Borrowed(&[cipher::CHACHA20_POLY1305, cipher::AES_256_GCM, cipher::AES_128_GCM]),
            mac: Cow::Borrowed(&[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM]),
            compression: Cow::Borrowed(&[compression::NONE]),
        },
        max_auth_attempts: 6,
        // A client that answers keepalives is never silent for so long: who is has gone, or takes nothing.
        inactivity_timeout: Some(Duration::from_mins(5)),
        keepalive_interval: Some(Duration::from_mins(1)),
        keepalive_max: 3,
        window_size: 256 * 1024,
        maximum_packet_size: 32 * 1024,
        channel_buffer_size: 16,
        nodelay: true,
        ..russh::server::Config::default()
    }
}

/// A connection on its way from the worker that accepted it.
#[derive(Debug)]
pub(crate) struct Arrival {
    stream: TcpStream,
    peer: SocketAddr,
    server: Arc<SshServer>,
}

/// The queue by which workers hand connections over.
#[derive(Debug, Default)]
pub struct SshIntake(Intake<Arrival>);

impl SshIntake {
    /// Hands over a connection, in non-blocking mode. Where nobody takes them, or too many wait, it is closed.
    pub fn offer(&self, stream: TcpStream, peer: SocketAddr, server: Arc<SshServer>) {
        let counters = Arc::clone(&server.counters);
        counters.accepted();
        self.0.offer(Arrival { stream, peer, server }, &counters);
    }
}
