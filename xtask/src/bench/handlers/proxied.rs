//! Requests behind a proxy: one upstream, an nginx with small files, behind all three of them.
//!
//! All keep connections to it, tell it who asks, and keep no log. What is measured is the proxy alone; the upstream and the
//! load have their own processes.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use medusa_testkit::{Haproxy, Site};

use crate::bench::compare::{Goal, Subject, Unit};
use crate::bench::load::{Load, Wrk};
use crate::bench::medusa::Medusa;
use crate::bench::nginx::Nginx;
use crate::bench::side::{Running, Side, Wire};
use crate::environment;

/// What is asked for, and of how many bytes it is.
const FILES: [(&str, usize); 2] = [("small.bin", 12), ("4k.bin", 4096)];

/// The upstream, and who stands before it.
#[derive(Debug)]
pub(super) struct Sides {
    upstream: Side,
    nginx: Side,
    haproxy: Side,
    ours: Side,
    _documents: Site,
}

impl Sides {
    /// Starts all.
    pub(super) fn start(medusa: &Medusa) -> Self {
        let documents = Site::new();
        for (name, size) in FILES {
            documents.write(name, vec![b'm'; size]);
        }
        let upstream = Nginx::new(documents.path()).start();
        Self {
            nginx: nginx(documents.path(), upstream.address),
            haproxy: haproxy(upstream.address),
            ours: medusa.start(Site::script(&script(upstream.address)), Wire::Plain),
            upstream,
            _documents: documents,
        }
    }

    /// Each file, beside each neighbour.
    pub(super) fn subjects(&self) -> Vec<Subject<'_>> {
        let beside = |name, path, theirs| {
            let load = Load::Wrk(Wrk::USUAL);
            Subject {
                name,
                load: load.to_string(),
                unit: Unit::Request,
                goal: Goal::AtMost(0.90),
                ours: &self.ours,
                theirs: Some(theirs),
                press: Box::new(move |side, seconds| side.press(&load, seconds, path)),
            }
        };
        vec![
            beside("12 bytes proxied, beside nginx", "/small.bin", &self.nginx),
            beside("12 bytes proxied, beside HAProxy", "/small.bin", &self.haproxy),
            beside("4 KB proxied, beside nginx", "/4k.bin", &self.nginx),
            beside("4 KB proxied, beside HAProxy", "/4k.bin", &self.haproxy),
        ]
    }

    /// Ends them, the upstream last.
    pub(super) fn stop(self) {
        for side in [self.ours, self.haproxy, self.nginx, self.upstream] {
            side.stop();
        }
    }
}

/// Who they are.
pub(super) fn neighbours() -> String {
    format!(
        "{} and {}, as proxies that keep their connections",
        medusa_testkit::Nginx::version(),
        Haproxy::version()
    )
}

fn script(upstream: SocketAddr) -> String {
    format!(
        r#"-- The site of `cargo xtask bench handlers`.
web = medusa.http.server {{ listen = "127.0.0.1:0" }}
web:mount("/", medusa.handler.proxy("http://{upstream}"))
"#
    )
}

fn nginx(documents: &Path, upstream: SocketAddr) -> Side {
    Nginx { upstream: Some(upstream), ..Nginx::new(documents) }.start()
}

fn haproxy(upstream: SocketAddr) -> Side {
    let running = Haproxy::start(|address| {
        let values: [(&str, &dyn fmt::Display); 3] =
            [("threads", &environment::cores()), ("listen", &address), ("upstream", &upstream)];
        let fill = |text: String, (name, value): (&str, &dyn fmt::Display)| {
            text.replace(&format!("@{name}@"), &value.to_string())
        };
        values.into_iter().fold(include_str!("haproxy.cfg").to_owned(), fill)
    });
    Side {
        name: "haproxy",
        address: running.address(),
        running: Running::Haproxy(running),
        wire: Wire::Plain,
        _site: None,
    }
}
