//! The neighbour: Debian's nginx, set up as its manual recommends for this work.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use super::side::Side;
use crate::cmd::Cmd;
use crate::environment::find_program;
use crate::error::{Error, Result};
use crate::server::Server;

/// Where Debian's packages put dynamic modules.
const MODULES: &str = "/usr/lib/nginx/modules";
/// The C libraries of nginx load in a moment; a minute would mean it hangs.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Starts nginx in `folder` (configuration, logs, temporary files) with its documents in `public`.
pub(super) fn start(folder: &Path, public: &Path, workers: usize) -> Result<Side> {
    let address = free_address().map_err(|source| Error::Io { what: "find a free port".into(), source })?;
    let file = folder.join("nginx.conf");
    let root = rustix::process::geteuid().is_root();
    let text = configuration(address, public, workers, root);
    fs::write(&file, text).map_err(Error::io("write", &file))?;
    let nginx = Cmd::new(program()?)
        .args(["-p".into(), folder.as_os_str().to_owned()])
        .args(["-e", "stderr", "-c"])
        .args([file]);
    let server = Server::start("nginx", &nginx)?;
    // Its sockets listen before it starts workers; what connects earlier waits in the kernel's queue.
    server.wait_for(READY_WITHIN, |line| line.contains("start worker process ").then_some(()))?;
    Ok(Side::new("nginx", server, address))
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

fn configuration(address: SocketAddr, public: &Path, workers: usize, root: bool) -> String {
    // Started by root, workers would change to a user that may not read a temporary folder.
    let user = if root { "user root;" } else { "" };
    let public = public.display();
    format!(
        r#"load_module {MODULES}/ndk_http_module.so;
load_module {MODULES}/ngx_http_lua_module.so;
{user}
daemon off;
pid nginx.pid;
worker_processes {workers};
error_log stderr notice;
events {{
    worker_connections 4096;
}}
http {{
    access_log off;
    sendfile on;
    open_file_cache max=1000;
    keepalive_requests 1000000;
    default_type application/octet-stream;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen {address};
        location / {{
            root "{public}";
        }}
        location ~ ^/hello/(.*)$ {{
            default_type text/plain;
            content_by_lua_block {{
                ngx.print("Hello, ", ngx.var[1], "!\n")
            }}
        }}
    }}
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_what_it_is_given() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8099));
        let text = configuration(address, Path::new("/tmp/a b"), 3, true);
        for line in ["user root;", "worker_processes 3;", "listen 127.0.0.1:8099;", "root \"/tmp/a b\";"] {
            assert!(text.contains(line), "{line}");
        }
        assert!(!configuration(address, Path::new("/tmp"), 3, false).contains("user "));
    }
}
