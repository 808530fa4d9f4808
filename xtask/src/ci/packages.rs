//! The Debian packages that tests and benches need: looked for by what they bring, installed when run as root.
//!
//! syslog-ng cannot be installed beside rsyslog: it is unpacked below `target/debian/`, which takes no rights.

use std::path::Path;

use crate::cmd::Cmd;
use crate::environment::find_program;
use crate::error::{Error, Result};
use crate::term;
use crate::workspace::Workspace;

/// Something a test needs that Cargo does not bring.
#[derive(Debug)]
struct Need {
    /// The Debian package.
    package: &'static str,
    /// How to see that it is there, whoever installed it: a program by its name, a file by its path, in which `*` is a
    /// directory of any name (the machine's architecture).
    brings: &'static str,
    /// What it is for.
    why: &'static str,
}

const fn need(package: &'static str, brings: &'static str, why: &'static str) -> Need {
    Need { package, brings, why }
}

/// All of them.
const NEEDS: &[Need] = &[
    need("g++", "g++", "Luau is built from C++ source"),
    need("curl", "curl", "a client that is not ours, for tests"),
    need("zstd", "zstd", "reads what we compress, for tests"),
    need("openssl", "openssl", "TLS that is not ours, for tests and benches"),
    need("wrk", "wrk", "load, for reload tests and benches"),
    need("slowhttptest", "slowhttptest", "clients that are slow on purpose, for tests"),
    need(
        "nginx",
        "nginx",
        "a proxy in front and a server behind, for tests; the server benches compare with",
    ),
    need("libnginx-mod-stream", "/usr/lib/nginx/modules/ngx_stream_module.so", "its balancer, for tests"),
    need(
        "libnginx-mod-http-lua",
        "/usr/lib/nginx/modules/ngx_http_lua_module.so",
        "its scripts, for benches",
    ),
    need("lua-nginx-websocket", "/usr/share/lua/5.1/nginx/websocket/server.lua", "its sessions, for benches"),
    need("nghttp2-client", "h2load", "HTTP/2 clients, for tests and benches"),
    need("python3", "python3", "a client that is not ours, for tests"),
    need("nodejs", "node", "an application behind a proxy, for tests"),
    need("tzdata", "/usr/share/zoneinfo/Asia/Kolkata", "time zones, for tests of local time"),
    need("tmux", "tmux", "a terminal, for tests of the prompt"),
    need("chromium", "chromium", "a real browser, for page tests"),
    need("litmus", "litmus", "a WebDAV suite that is not ours, for tests"),
    need("cadaver", "cadaver", "a WebDAV client, for tests"),
    need("rclone", "rclone", "a WebDAV client, for tests"),
    need("davfs2", "/sbin/mount.davfs", "a WebDAV file system, for tests"),
    need("haproxy", "haproxy", "the proxy benches compare with"),
    need("rsyslog", "rsyslogd", "a log server that is not ours, for tests"),
    need("rsyslog-gnutls", "/usr/share/doc/rsyslog-gnutls/copyright", "that log server, over TLS"),
    need("rsyslog-relp", "/usr/share/doc/rsyslog-relp/copyright", "that log server, by RELP"),
    need("systemd", "/lib/systemd/systemd-journald", "the journal, for tests"),
    need("libivykis0", "/usr/lib/*/libivykis.so.0", "syslog-ng needs it, which is unpacked"),
    need("libnet1", "/usr/lib/*/libnet.so.1", "syslog-ng needs it, which is unpacked"),
    need("libwrap0", "/usr/lib/*/libwrap.so.0", "syslog-ng needs it, which is unpacked"),
    need("openssh-client", "ssh", "a client of the monitor that is not ours, for tests"),
    need("putty-tools", "plink", "another client of the monitor, for tests"),
    need("python3-asyncssh", "/usr/lib/python3/dist-packages/asyncssh/__init__.py", "a third, for tests"),
    need("ssh-audit", "ssh-audit", "an audit of what the monitor offers, for tests"),
    need("unbound", "unbound", "a name server, for tests and benches"),
    need("dnsmasq-base", "dnsmasq", "another name server, for tests"),
];

/// The package that is unpacked, and what it brings, from its root.
const UNPACKED: Need =
    need("syslog-ng-core", "usr/sbin/syslog-ng", "another log server, for tests; unpacked below target/");

impl Need {
    fn is_met(&self) -> bool {
        match self.brings.split_once("/*/") {
            Some((above, below)) => {
                let directories = Path::new(above).read_dir().into_iter().flatten().flatten();
                directories.map(|entry| entry.path()).any(|directory| directory.join(below).exists())
            }
            None if self.brings.starts_with('/') => Path::new(self.brings).exists(),
            None => find_program(self.brings).is_some(),
        }
    }

    fn note_missing(&self) {
        term::note(&format!("missing: {:<24} {}", self.package, self.why));
    }
}

/// Installs what is missing, or names it when that is not ours to do.
pub(super) fn run() -> Result {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !need.is_met()).collect();
    if !missing.is_empty() {
        install(&missing)?;
    }
    let unpacked = Workspace::read()?.target_directory.join("debian").join(UNPACKED.package);
    let is_unpacked = unpacked.join(UNPACKED.brings).exists();
    if !is_unpacked {
        UNPACKED.note_missing();
        unpack(UNPACKED.package, &unpacked)?;
        if !unpacked.join(UNPACKED.brings).exists() {
            return Err(does_not_bring(&UNPACKED));
        }
    }
    if missing.is_empty() && is_unpacked {
        term::note("packages: all there");
    }
    Ok(())
}

fn install(missing: &[&Need]) -> Result {
    for need in missing {
        need.note_missing();
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    if !is_root() {
        return Err(Error::Found(format!(
            "packages are missing and only root may install them; run\n  sudo apt-get install --no-install-recommends {}",
            packages.join(" ")
        )));
    }
    update().run()?;
    installation(&packages).run()?;
    still_missing(missing)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn apt_get(words: &str) -> Cmd {
    Cmd::new("apt-get").args(words.split(' ')).env("DEBIAN_FRONTEND", "noninteractive")
}

fn update() -> Cmd {
    apt_get("update -q")
}

fn installation(packages: &[&str]) -> Cmd {
    apt_get("install -q -y --no-install-recommends").args(packages.iter().copied())
}

fn still_missing(needs: &[&Need]) -> Result {
    needs.iter().find(|need| !need.is_met()).map_or(Ok(()), |need| Err(does_not_bring(need)))
}

/// A package that is there and does not bring what we look for is our mistake: say so here, not in a test.
fn does_not_bring(need: &Need) -> Error {
    let Need { package, brings, .. } = need;
    Error::Found(format!(
        "the package {package} is there and does not bring {brings}; correct it in xtask/src/ci/packages.rs"
    ))
}

/// Downloads a package and unpacks it into a directory, which appears whole or not at all. The lists of packages may be
/// older than what the archive still has, or not be there: then they are fetched first, if that is ours to do.
fn unpack(package: &str, to: &Path) -> Result {
    const SCRIPT: &str = "set -e; rm -rf \"$2\" \"$2.part\"; mkdir -p \"$2.part\"; cd \"$2.part\"; \
        apt-get -q download \"$1\"; dpkg-deb --extract ./*.deb .; mv \"$2.part\" \"$2\"";
    let unpack = Cmd::new("sh").args(["-c", SCRIPT, "unpack", package]).args([to]);
    match unpack.run() {
        Err(_) if is_root() => {
            update().run()?;
            unpack.run()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_update_and_one_install_without_questions() {
        assert_eq!(update().to_string(), "DEBIAN_FRONTEND=noninteractive apt-get update -q");
        assert_eq!(
            installation(&["wrk", "curl"]).to_string(),
            "DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends wrk curl"
        );
    }

    #[test]
    fn a_need_is_met_by_what_it_brings() {
        let need = |brings| need("x", brings, "");
        for there in ["sh", "/proc/self/stat", "/usr/lib/*/libc.so.6"] {
            assert!(need(there).is_met(), "{there}");
        }
        for missing in ["no-such-program-here", "/no/such/file", "/usr/lib/*/libno-such.so.1"] {
            assert!(!need(missing).is_met(), "{missing}");
        }
        let wrong = need("/no/such/file");
        let error = still_missing(&[&wrong]).expect_err("not there").to_string();
        assert!(error.contains("/no/such/file"), "{error}");
    }
}
