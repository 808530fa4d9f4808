//! Who changes a running server, by what way, and with what: as histories, logs and waiting lines show it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The author of a change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Author {
    /// The person or program that asked: `uid 0 (pid 4711)`, `SIGHUP`; none where the script acts by itself.
    pub who: Option<Arc<str>>,
    /// The session that asked, by its number, if it was one.
    pub session: Option<u64>,
    /// The way it came.
    pub via: Via,
    /// The thing that was asked for: `reload`, `eval`, `timer at site.luau:40`, `request GET /`.
    pub what: Arc<str>,
    /// All that it may change; none: everything.
    pub scope: Option<Arc<Scope>>,
    /// The login that it came by, whatever name was given there: `key SHA256:...`, `uid 0`; none where there is none.
    pub login: Option<Arc<str>>,
    /// Whether somebody else has to approve what it publishes.
    pub approval: Approval,
}

/// Whether somebody else has to approve what an author publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Approval {
    /// Nobody has to.
    #[default]
    Free,
    /// Somebody has to.
    Needed,
    /// This one has.
    By(Arc<str>),
}

/// What an author may change, where that is not everything: servers with all they have, or mounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Scope {
    /// The names of the servers.
    pub servers: Vec<String>,
    /// The patterns of the mounts; one that ends in `/` stands for all that begin with it, and one without a method for all
    /// methods.
    pub mounts: Vec<String>,
}

/// How many of so many all have together whose rights are limited: half, so that they neither keep others out nor push out what is
/// theirs.
pub const fn limited_share(of_all: usize) -> usize {
    of_all / 2
}

impl Scope {
    /// Whether everything about this server may be changed.
    pub fn has_server(&self, name: &str) -> bool {
        self.servers.iter().any(|server| server == name)
    }

    /// Whether the mount of this pattern may be changed.
    pub fn has_mount(&self, pattern: &str) -> bool {
        let of_all_methods = pattern.split_once(' ').map_or(pattern, |(_method, rest)| rest);
        let is_in = |mount: &String, pattern: &str| {
            pattern == mount || (mount.ends_with('/') && pattern.starts_with(mount))
        };
        self.mounts.iter().any(|mount| is_in(mount, pattern) || is_in(mount, of_all_methods))
    }
}

impl fmt::Display for Scope {
    /// `the servers web, api and the mounts /api/`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [("servers", &self.servers), ("mounts", &self.mounts)];
        let mut and = "";
        for (what, names) in all.into_iter().filter(|(_, names)| !names.is_empty()) {
            write!(f, "{and}the {what} {}", names.join(", "))?;
            and = " and ";
        }
        Ok(())
    }
}

/// The way a change comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// The start of the process.
    Start,
    /// A signal.
    Signal,
    /// The control socket.
    Control,
    /// A request to a handler.
    Request,
    /// A timer.
    Timer,
    /// A log's function.
    Log,
    /// The end of a change's trial: nobody has confirmed it.
    Trial,
}

impl Author {
    /// The author of something that nobody asked for by name.
    pub fn new(via: Via, what: impl Into<Arc<str>>) -> Self {
        let (who, session, scope, login, approval) = Default::default();
        Self { who, session, via, what: what.into(), scope, login, approval }
    }

    /// The same on behalf of `who`.
    #[must_use]
    pub fn by(self, who: impl Into<Arc<str>>) -> Self {
        Self { who: Some(who.into()), ..self }
    }

    /// The same, asked for in a session.
    #[must_use]
    pub fn in_session(self, number: u64) -> Self {
        Self { session: Some(number), ..self }
    }

    /// The same, who may change no more than that.
    #[must_use]
    pub fn within(self, scope: Option<Arc<Scope>>) -> Self {
        Self { scope, ..self }
    }

    /// The same, who came by that login.
    #[must_use]
    pub fn logged_in(self, login: impl Into<Arc<str>>, approval: Approval) -> Self {
        Self { login: Some(login.into()), approval, ..self }
    }

    /// Whether a person waits for it, not the script by itself.
    pub const fn is_operator(&self) -> bool {
        matches!(self.via, Via::Start | Via::Signal | Via::Control | Via::Trial)
    }
}

impl fmt::Display for Author {
    /// `reload by uid 0 (pid 4711)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(who) = &self.who {
            write!(f, " by {who}")?;
        }
        match &self.approval {
            Approval::By(who) => write!(f, ", approved by {who}"),
            Approval::Free | Approval::Needed => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_holds_what_it_names_and_no_more() {
        let scope = Scope { servers: vec!["web".into()], mounts: vec!["/api/".into(), "/x".into()] };
        assert!(scope.has_server("web") && !scope.has_server("web2"));
        assert!(
            ["/api/", "/api/a", "/x", "POST /x", "GET /api/a"].iter().all(|pattern| scope.has_mount(pattern))
        );
        assert!(
            !["/api", "/xy", "/", "a.example/api/", "POST /xy", "POST a.example/x", "log"]
                .iter()
                .any(|pattern| scope.has_mount(pattern))
        );
        assert_eq!(scope.to_string(), "the servers web and the mounts /api/, /x");
    }

    #[test]
    fn shown_with_who_asked_if_anybody_did() {
        let reload = Author::new(Via::Control, "reload").by("uid 0 (pid 4711)");
        assert_eq!(reload.to_string(), "reload by uid 0 (pid 4711)");
        let approved = Author { approval: Approval::By("me".into()), ..reload.clone() };
        assert_eq!(approved.to_string(), "reload by uid 0 (pid 4711), approved by me");
        let timer = Author::new(Via::Timer, "timer at site.luau:40");
        assert_eq!(timer.to_string(), "timer at site.luau:40");
        assert!(reload.is_operator() && !timer.is_operator());
    }
}
