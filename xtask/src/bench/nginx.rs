//! The neighbour: Debian's nginx, set up as its manual recommends for this work.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::{fs, io};

use medusa_testkit::Process;

use super::side::{Running, Side, Wire};
use crate::cmd::Cmd;
use crate::environment::find_program;
use crate::error::{Error, Result};

/// Where Debian's packages put dynamic modules.
const MODULES: &str = "/usr/lib/nginx/modules";

/// An nginx, and what it serves.
#[derive(Debug)]
pub(super) struct Nginx<'a> {
    /// The documents.
    pub(super) public: &'a Path,
    pub(super) workers: usize,
    /// Connections each worker has room for.
    pub(super) connections: u32,
    pub(super) wire: Wire,
    /// Where its access log goes, if it keeps one: Combined, buffered.
    pub(super) access_log: Option<&'a Path>,
}

impl Nginx<'_> {
    /// Starts it in `folder`, which is made for its configuration and temporary files.
    pub(super) fn start(&self, folder: &Path) -> Result<Side> {
        let address =
            free_address().map_err(|source| Error::Io { what: "find a free port".into(), source })?;
        fs::create_dir(folder).map_err(Error::io("create", folder))?;
        let file = folder.join("nginx.conf");
        let root = rustix::process::geteuid().is_root();
        let text = self.configuration(address, root);
        fs::write(&file, text).map_err(Error::io("write", &file))?;
        let mut nginx = Command::new(program()?);
        let process = Process::start(nginx.arg("-p").arg(folder).args(["-e", "stderr", "-c"]).arg(file));
        // Its sockets listen before it starts workers; what connects earlier waits in the kernel's queue.
        process.stderr().wait_for("start worker process ");
        Ok(Side { name: "nginx", running: Running::Another(process), address, wire: self.wire.clone() })
    }

    fn configuration(&self, address: SocketAddr, root: bool) -> String {
        // Started by root, workers would change to a user that may not read a temporary folder.
        let user = if root { "user root;" } else { "" };
        let Self { public, workers, connections, .. } = self;
        let public = public.display();
        let listen = self.listen(address);
        // What it keeps beside its connections: listeners, logs, files being sent.
        let files = u64::from(*connections) + 2000;
        let access_log = match self.access_log {
            None => "access_log off".to_owned(),
            Some(path) => format!("access_log \"{}\" combined buffer=64k flush=1s", path.display()),
        };
        format!(
            r#"load_module {MODULES}/ndk_http_module.so;
load_module {MODULES}/ngx_http_lua_module.so;
{user}
daemon off;
pid nginx.pid;
worker_processes {workers};
worker_rlimit_nofile {files};
error_log stderr notice;
events {{
    worker_connections {connections};
}}
http {{
    {access_log};
    sendfile on;
    open_file_cache max=1000;
    keepalive_requests 100000000;
    keepalive_timeout 600s;
    client_header_timeout 600s;
    default_type application/octet-stream;
    types {{ text/plain txt; }}
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    gzip_http_version 1.0;
    gzip_comp_level 5;
    gzip_types text/plain;
    init_by_lua_block {{
        local file = io.open("{public}/text.txt")
        text = file and file:read("*a")
    }}
    server {{
        {listen}
        location / {{
            root "{public}";
            log_not_found off;
        }}
        location = /text.txt {{
            root "{public}";
            gzip on;
        }}
        location = /text {{
            gzip on;
            default_type text/plain;
            content_by_lua_block {{ ngx.print(text) }}
        }}
        location ~ ^/hello/(.*)$ {{
            default_type text/plain;
            content_by_lua_block {{
                ngx.print("Hello, ", ngx.var[1], "!\n")
            }}
        }}
        location = /echo {{
            content_by_lua_block {{
                local socket = require("nginx.websocket.server"):new({{ timeout = 60000, max_payload_len = 65535 }})
                while true do
                    local data, kind = socket:recv_frame()
                    if kind == "text" then
                        socket:send_text(data)
                    elseif kind == "binary" then
                        socket:send_binary(data)
                    else
                        return socket:send_close()
                    end
                end
            }}
        }}
    }}
}}
"#
        )
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

/// The version, as `nginx -v` says it.
pub(super) fn version() -> Result<String> {
    let cmd = Cmd::new(program()?).args(["-v"]);
    let output = cmd.to_command().output();
    let output = output.map_err(|source| Error::Start { command: cmd.to_string(), source })?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(text.trim().trim_start_matches("nginx version: ").to_owned())
}

fn program() -> Result<std::path::PathBuf> {
    find_program("nginx").ok_or_else(|| {
        Error::Found("nginx is not installed; run `cargo xtask ci packages` as root".to_owned())
    })
}

/// A port nobody uses now. nginx cannot report the port it was given for 0, so another program could take this one
/// in between; then nginx says so and the bench fails.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// For tests of what presses on a server: one with a small file, `/tiny.bin`.
#[cfg(test)]
pub(super) fn with_a_file(folder: &Path, wire: Wire) -> Side {
    fs::write(folder.join("tiny.bin"), [b'm'; 128]).expect("a file");
    let nginx = Nginx { public: folder, workers: 1, connections: 1000, wire, access_log: None };
    nginx.start(&folder.join("nginx")).expect("nginx starts")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::bench::tls::Identity;

    fn nginx(wire: Wire) -> Nginx<'static> {
        Nginx { public: Path::new("/tmp/a b"), workers: 3, connections: 50, wire, access_log: None }
    }

    #[test]
    fn the_configuration_names_what_it_is_given() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8099));
        let text = nginx(Wire::Plain).configuration(address, true);
        let lines = [
            "user root;",
            "worker_processes 3;",
            "worker_connections 50;",
            "listen 127.0.0.1:8099;",
            "root \"/tmp/a b\";",
        ];
        for line in lines {
            assert!(text.contains(line), "{line}");
        }
        assert!(!nginx(Wire::Plain).configuration(address, false).contains("user "));
        assert!(nginx(Wire::Plain).configuration(address, false).contains("access_log off;"));
        let logged = Nginx { access_log: Some(Path::new("/tmp/a.log")), ..nginx(Wire::Plain) };
        let text = logged.configuration(address, false);
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
