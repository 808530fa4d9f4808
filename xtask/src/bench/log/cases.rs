//! The cases: a log each.

use std::path::Path;

use super::receiver::Receivers;
use crate::bench::load::Asks;

/// The case that all others are compared with: no log.
pub(super) const NONE: &str = "none";
/// The case that those with a log elsewhere are compared with.
pub(super) const FILE: &str = "file";
/// The case that those with host names are compared with.
pub(super) const ADDRESSES: &str = "addresses";

/// A server and its log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Logged {
    /// Its name in the report.
    pub(super) name: &'static str,
    /// What it is about, for the report.
    pub(super) about: &'static str,
    /// Whether nginx stands beside it, and if so, whether it keeps a log.
    pub(super) nginx: Option<bool>,
    /// Whom requests seem to come from.
    pub(super) asks: Asks,
    /// The expression that makes the log, in Luau, in which `UDP`, `TCP`, `STALLED` and `DNS` stand for the addresses of
    /// the receivers; empty for none.
    log: &'static str,
    /// What is promised.
    pub(super) goals: Goals,
}

/// Promises of a case.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Goals {
    /// CPU for each request, divided by that of the server without a log.
    pub(super) cpu: Option<f64>,
    /// p99, divided by that of the log file.
    pub(super) p99: Option<f64>,
}

/// What all have in common.
const LOGGED: Logged = Logged {
    name: NONE,
    about: "no access log",
    nginx: None,
    asks: Asks::Singly,
    log: "",
    goals: Goals { cpu: None, p99: None },
};

pub(super) const CASES: [Logged; 9] = [
    Logged { nginx: Some(false), ..LOGGED },
    Logged {
        name: FILE,
        about: "a file, Combined; nginx with buffer=64k",
        nginx: Some(true),
        log: r#"medusa.log.file("access.log")"#,
        goals: Goals { cpu: Some(1.06), p99: None },
        ..LOGGED
    },
    Logged {
        name: "json",
        about: "a file, JSON",
        log: r#"medusa.log.file("access.json", { format = "json" })"#,
        ..LOGGED
    },
    Logged {
        name: "udp",
        about: "syslog over UDP, RFC 5424",
        log: r#"medusa.log.syslog("udp://UDP")"#,
        ..LOGGED
    },
    Logged {
        name: "tcp",
        about: "syslog over TCP, RFC 5424",
        log: r#"medusa.log.syslog("tcp://TCP")"#,
        ..LOGGED
    },
    STALLED,
    Logged {
        name: "spill",
        about: "syslog over TCP, nobody reads; spill",
        log: r#"medusa.log.syslog("tcp://STALLED", { when_full = "spill" })"#,
        ..STALLED
    },
    MANY,
    Logged {
        name: "names",
        about: "a file, their host names by PTR from unbound",
        log: r#"medusa.log.resolving(medusa.dns.server("DNS"), medusa.log.file("access.log"))"#,
        ..MANY
    },
];

const STALLED: Logged = Logged {
    name: "stalled",
    about: "syslog over TCP, nobody reads; drop_new",
    log: r#"medusa.log.syslog("tcp://STALLED")"#,
    goals: Goals { cpu: None, p99: Some(1.2) },
    ..LOGGED
};

const MANY: Logged = Logged {
    name: ADDRESSES,
    about: "a file, 100,000 addresses",
    asks: Asks::As(100_000),
    log: r#"medusa.log.file("access.log")"#,
    ..LOGGED
};

impl Logged {
    /// The script of its server.
    pub(super) fn site(&self, public: &Path, receivers: &Receivers) -> String {
        let log = receivers.name(self.log);
        let log = if log.is_empty() { log } else { format!(", log = {log}") };
        format!(
            r#"-- The site of `cargo xtask bench log`.
web = medusa.http.server {{ listen = "127.0.0.1:0", trusted_proxies = {{ "127.0.0.1" }}{log} }}
web:mount("/", medusa.handler.files("{}"))
"#,
            public.display()
        )
    }
}
