//! The neighbour: Debian's nginx, set up as its manual recommends for this work.

use std::net::SocketAddr;
use std::path::Path;

use super::side::{Running, Side, Wire};
use crate::environment;

/// Room for connections in each worker: far more than any load has, but for idle ones.
const CONNECTIONS: u32 = 4096;

/// The way on to an upstream, over connections that are kept, telling it what ours tells.
const PROXY: &str = "proxy_pass http://upstream; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
                     proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr; \
                     proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host; \
                     proxy_set_header X-Request-Id $request_id;";

/// An nginx, and what it serves.
#[derive(Debug)]
pub(super) struct Nginx<'a> {
    /// The documents.
    pub(super) public: &'a Path,
    /// Connections each worker has room for.
    pub(super) connections: u32,
    pub(super) wire: Wire,
    /// Where its access log goes, if it keeps one: Combined, buffered.
    pub(super) access_log: Option<&'a Path>,
    /// Whom it asks for everything, instead of serving documents.
    pub(super) upstream: Option<SocketAddr>,
}

impl<'a> Nginx<'a> {
    /// One that serves these documents by a worker for each core, in the clear and without a log.
    pub(super) fn new(public: &'a Path) -> Self {
        Self { public, connections: CONNECTIONS, wire: Wire::Plain, access_log: None, upstream: None }
    }

    /// Starts it.
    pub(super) fn start(&self) -> Side {
        let is_root = rustix::process::geteuid().is_root();
        let nginx = medusa_testkit::Nginx::start(|address| self.configuration(address, is_root));
        Side {
            name: "nginx",
            address: nginx.address(),
            running: Running::Nginx(nginx),
            wire: self.wire.clone(),
            _site: None,
        }
    }

    fn configuration(&self, address: SocketAddr, is_root: bool) -> String {
        let access_log = match self.access_log {
            None => "access_log off".to_owned(),
            Some(path) => format!("access_log \"{}\" combined buffer=64k flush=1s", path.display()),
        };
        let (root, upstream) = match self.upstream {
            None => ("root \"@public@\"; log_not_found off;".to_owned(), String::new()),
            Some(upstream) => (
                PROXY.to_owned(),
                format!(
                    "upstream upstream {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}"
                ),
            ),
        };
        let values = [
            ("root", root),
            ("upstream", upstream),
            // Started by root, workers would change to a user that may not read a temporary folder.
            ("user", if is_root { "user root;" } else { "" }.to_owned()),
            ("workers", environment::cores().to_string()),
            // What it keeps beside its connections: listeners, logs, files being sent.
            ("files", (u64::from(self.connections) + 2000).to_string()),
            ("connections", self.connections.to_string()),
            ("access_log", access_log),
            ("public", self.public.display().to_string()),
            ("listen", self.listen(address)),
        ];
        let fill = |text: String, (name, value): (&str, String)| text.replace(&format!("@{name}@"), &value);
        values.into_iter().fold(include_str!("nginx.conf").to_owned(), fill)
    }

    /// TLS as its manual recommends: the versions are those of Debian's own configuration less the obsolete ones, the
    /// rest are its defaults.
    fn listen(&self, address: SocketAddr) -> String {
        match &self.wire {
            Wire::Plain => format!("listen {address};"),
            Wire::H2c => format!("listen {address} http2;"),
            Wire::Tls(identity) => format!(
                "listen {address} ssl http2; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate \"{}\"; \
                 ssl_certificate_key \"{}\";",
                identity.certificate.display(),
                identity.key.display()
            ),
        }
    }
}

/// For tests of what presses on a server: one with a small file, `/tiny.bin`.
#[cfg(test)]
pub(super) fn with_a_file(folder: &Path, wire: Wire) -> Side {
    std::fs::write(folder.join("tiny.bin"), [b'm'; 128]).expect("a file");
    let nginx = Nginx { wire, ..Nginx::new(folder) };
    nginx.start()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use super::*;
    use crate::bench::tls::Identity;

    fn nginx(wire: Wire) -> Nginx<'static> {
        Nginx { connections: 50, wire, ..Nginx::new(Path::new("/tmp/a b")) }
    }

    #[test]
    fn the_configuration_names_what_it_is_given() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8099));
        let text = nginx(Wire::Plain).configuration(address, true);
        let lines = ["user root;", "worker_connections 50;", "listen 127.0.0.1:8099;", "root \"/tmp/a b\";"];
        for line in lines {
            assert!(text.contains(line), "{line}");
        }
        assert!(!nginx(Wire::Plain).configuration(address, false).contains("user "));
        assert!(nginx(Wire::Plain).configuration(address, false).contains("access_log off;"));
        let logged = Nginx { access_log: Some(Path::new("/tmp/a.log")), ..nginx(Wire::Plain) };
        let text = logged.configuration(address, false);
        assert!(!text.contains('@'), "{text}");
        assert!(text.contains("access_log \"/tmp/a.log\" combined buffer=64k flush=1s;"), "{text}");
    }

    #[test]
    fn each_wire_has_its_listener() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8099));
        assert_eq!(nginx(Wire::H2c).listen(address), "listen 127.0.0.1:8099 http2;");
        let folder = tempfile::tempdir().expect("a folder");
        let identity = Arc::new(Identity::make(folder.path()).expect("an identity"));
        let listen = nginx(Wire::Tls(Arc::clone(&identity))).listen(address);
        assert!(listen.starts_with("listen 127.0.0.1:8099 ssl http2;"), "{listen}");
        assert!(listen.contains(&identity.key.display().to_string()), "{listen}");
    }
}
