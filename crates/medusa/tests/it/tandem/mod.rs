//! Other servers behind this one.

mod broken;
mod broken_http2;
mod http2;
mod others;
mod passed;
mod raw;
mod raw_http2;
mod repeated;
mod several;
mod tunnels;

use medusa_testkit::{Server, Site};

use super::support::{MEDUSA, web};

/// A server of one worker, so that it has one pool of connections, before `upstreams` (as the script writes them).
fn proxy(upstreams: &str, options: &str) -> (Site, Server) {
    let site = web(&format!("m = web:mount('/', medusa.handler.proxy({upstreams}, {{ {options} }}))"));
    let server = one_worker(&site);
    (site, server)
}

#[track_caller]
fn one_worker(site: &Site) -> Server {
    MEDUSA.serve(site.path()).arg("--workers").arg("1").start()
}

/// A server whose answers say its name, and whether it is well.
fn named(name: &str) -> (Site, Server) {
    let site = web(&format!("web:mount('/', function() return '{name}' end)"));
    let server = super::support::start(&site);
    (site, server)
}

/// A counter of the one upstream there is.
#[track_caller]
fn upstream(server: &Server, counter: &str) -> u64 {
    server.number("upstream", counter)
}
