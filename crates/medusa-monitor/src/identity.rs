//! The one who has a session: by what way it came, and with what role.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use medusa_proto::author::{Approval, Author, Scope, Via, limited_share};
use serde::{Deserialize, Serialize};

/// The longest reason that is given for a session, in bytes: some lines.
pub const MAX_REASON: usize = 500;

/// The rights of a session. Each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    View,
    /// Change what is published, end sessions, stop the server.
    Operate,
    /// Run code.
    Program,
}

impl Role {
    /// As it is written: `view`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Operate => "operate",
            Self::Program => "program",
        }
    }

    /// The role of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::View, Self::Operate, Self::Program].into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a session may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// The role.
    pub role: Role,
    /// All that it may change; none: everything.
    pub scope: Option<Arc<Scope>>,
    /// The time from which on it may do nothing; none: it has no end.
    pub until: Option<SystemTime>,
    /// Whether somebody else has to approve what it publishes.
    pub approval: bool,
    /// Whether it has to be said first what a session is for.
    pub reason: bool,
}

impl Rights {
    /// Whether their time is over.
    pub fn have_ended(&self) -> bool {
        self.until.is_some_and(|until| SystemTime::now() >= until)
    }

    /// Whether others may do more.
    pub fn are_limited(&self) -> bool {
        self.role == Role::View || self.scope.is_some()
    }

    /// How many of so many there may be of logins with such rights, of limited ones together with all that are.
    pub(crate) fn share(&self, of_all: usize) -> usize {
        if self.are_limited() { limited_share(of_all) } else { of_all }
    }
}

impl From<Role> for Rights {
    fn from(role: Role) -> Self {
        Self { role, scope: None, until: None, approval: false, reason: false }
    }
}

/// The way a session came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrontEnd {
    /// The control socket.
    Socket,
    /// SSH, from an address.
    Ssh(IpAddr),
    /// The line protocol of 1997, on this machine.
    Classic(Whence),
}

/// Where somebody comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whence {
    /// An address.
    Address(IpAddr),
    /// A user of this machine, by a unix socket.
    User(u32),
}

impl fmt::Display for Whence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::User(uid) => write!(f, "uid {uid}"),
        }
    }
}

impl FrontEnd {
    /// As it is shown: `ssh`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Ssh(_) => "ssh",
            Self::Classic(_) => "classic",
        }
    }

    /// Where it comes from; none: by the control socket, which is for one user.
    pub const fn whence(self) -> Option<Whence> {
        match self {
            Self::Socket => None,
            Self::Ssh(address) => Some(Whence::Address(address)),
            Self::Classic(whence) => Some(whence),
        }
    }

    /// The address of the other end, where it has one.
    pub const fn address(self) -> Option<IpAddr> {
        match self.whence() {
            Some(Whence::Address(address)) => Some(address),
            Some(Whence::User(_)) | None => None,
        }
    }
}

/// The one who has a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// As authors of changes and the audit show it: `uid 0 (pid 4711)`. It is one line, without control characters.
    pub who: Arc<str>,
    /// The login it came by, the same whatever name was given there: `key SHA256:...`, `uid 0`.
    pub login: Arc<str>,
    /// What it may do.
    pub rights: Rights,
    /// The way it came.
    pub front_end: FrontEnd,
    /// What its session is for, if that was said.
    reason: OnceLock<Arc<str>>,
}

impl Identity {
    /// One that has said nothing yet.
    pub fn new(
        who: impl Into<Arc<str>>,
        login: impl Into<Arc<str>>,
        rights: impl Into<Rights>,
        front_end: FrontEnd,
    ) -> Self {
        let (who, login, rights) = (who.into(), login.into(), rights.into());
        Self { who, login, rights, front_end, reason: OnceLock::new() }
    }

    /// What its session is for, if that was said.
    pub fn reason(&self) -> Option<&str> {
        self.reason.get().map(|reason| &**reason)
    }

    /// Whether it has to be said first what its session is for.
    pub fn wants_reason(&self) -> bool {
        self.rights.reason && self.reason().is_none()
    }

    /// It is said what its session is for.
    ///
    /// # Errors
    ///
    /// That is nothing or too much, or was said before: the message for whoever says it.
    pub fn explain(&self, reason: &str) -> Result<(), String> {
        let reason = reason.trim();
        if reason.is_empty() || reason.len() > MAX_REASON {
            return Err(format!("the reason for a session must have 1 to {MAX_REASON} bytes"));
        }
        self.reason
            .set(reason.into())
            .map_err(|_again| "the reason for this session was given already".to_owned())
    }

    /// The author of something that it does: `eval by uid 0 (pid 4711)`.
    pub fn doing(&self, what: &str) -> Author {
        let approval = if self.rights.approval { Approval::Needed } else { Approval::Free };
        Author::new(Via::Control, what)
            .by(Arc::clone(&self.who))
            .logged_in(Arc::clone(&self.login), approval)
            .within(self.rights.scope.clone())
    }
}
