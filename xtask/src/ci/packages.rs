//! The Debian packages that tests and benches need: looked for by what they bring, installed when run as root.

mod unpacked;

use std::path::Path;

use crate::cmd::Cmd;
use crate::environment::find_program;
use crate::error::{Error, Result};
use crate::term;

/// Something a test needs that Cargo does not bring.
#[derive(Debug)]
struct Need {
    /// The Debian package.
    package: &'static str,
    /// How to see that it is there, whoever installed it.
    brings: Brings,
    /// What it is for.
    why: &'static str,
}

#[derive(Debug)]
enum Brings {
    /// A program of this name.
    Program(&'static str),
    /// This file.
    File(&'static str),
    /// A shared library of this name, wherever the machine's architecture has it.
    Library(&'static str),
}

/// All of them.
const NEEDS: &[Need] = &[
    Need { package: "g++", brings: Brings::Program("g++"), why: "Luau is built from C++ source" },
    Need { package: "curl", brings: Brings::Program("curl"), why: "a client that is not ours, for tests" },
    Need { package: "zstd", brings: Brings::Program("zstd"), why: "reads what we compress, for tests" },
    Need {
        package: "openssl",
        brings: Brings::Program("openssl"),
        why: "TLS that is not ours, for tests and benches",
    },
    Need { package: "wrk", brings: Brings::Program("wrk"), why: "load, for reload tests and benches" },
    Need {
        package: "slowhttptest",
        brings: Brings::Program("slowhttptest"),
        why: "clients that are slow on purpose, for tests",
    },
    Need {
        package: "nginx",
        brings: Brings::Program("nginx"),
        why: "a proxy in front, for tests; the server benches compare with",
    },
    Need {
        package: "libnginx-mod-stream",
        brings: Brings::File("/usr/lib/nginx/modules/ngx_stream_module.so"),
        why: "a balancer in front, for tests",
    },
    Need {
        package: "libnginx-mod-http-lua",
        brings: Brings::File("/usr/lib/nginx/modules/ngx_http_lua_module.so"),
        why: "the script handler benches compare with",
    },
    Need {
        package: "lua-nginx-websocket",
        brings: Brings::File("/usr/share/lua/5.1/nginx/websocket/server.lua"),
        why: "the WebSocket benches compare with",
    },
    Need {
        package: "nghttp2-client",
        brings: Brings::Program("h2load"),
        why: "HTTP/2 clients, for tests and benches",
    },
    Need {
        package: "python3",
        brings: Brings::Program("python3"),
        why: "a client that is not ours, for tests",
    },
    Need {
        package: "tzdata",
        brings: Brings::File("/usr/share/zoneinfo/Asia/Kolkata"),
        why: "time zones, for tests of local time",
    },
    Need { package: "tmux", brings: Brings::Program("tmux"), why: "a terminal, for tests of the prompt" },
    Need { package: "chromium", brings: Brings::Program("chromium"), why: "a real browser, for page tests" },
    Need {
        package: "rsyslog",
        brings: Brings::Program("rsyslogd"),
        why: "a log server that is not ours, for tests",
    },
    Need {
        package: "rsyslog-gnutls",
        brings: Brings::File("/usr/share/doc/rsyslog-gnutls/copyright"),
        why: "that log server, over TLS",
    },
    Need {
        package: "rsyslog-relp",
        brings: Brings::File("/usr/share/doc/rsyslog-relp/copyright"),
        why: "that log server, by RELP",
    },
    Need {
        package: "systemd",
        brings: Brings::File("/lib/systemd/systemd-journald"),
        why: "the journal, for tests",
    },
    Need {
        package: "libivykis0",
        brings: Brings::Library("libivykis.so.0"),
        why: "another log server needs it (syslog-ng, unpacked below target/)",
    },
    Need {
        package: "libnet1",
        brings: Brings::Library("libnet.so.1"),
        why: "another log server needs it (syslog-ng, unpacked below target/)",
    },
    Need {
        package: "libwrap0",
        brings: Brings::Library("libwrap.so.0"),
        why: "another log server needs it (syslog-ng, unpacked below target/)",
    },
    Need {
        package: "openssh-client",
        brings: Brings::Program("ssh"),
        why: "a client of the monitor that is not ours, for tests",
    },
    Need {
        package: "putty-tools",
        brings: Brings::Program("plink"),
        why: "another client of the monitor, for tests",
    },
    Need {
        package: "python3-asyncssh",
        brings: Brings::File("/usr/lib/python3/dist-packages/asyncssh/__init__.py"),
        why: "a third client of the monitor, for tests",
    },
    Need {
        package: "ssh-audit",
        brings: Brings::Program("ssh-audit"),
        why: "an audit of what the monitor offers, for tests",
    },
    Need {
        package: "unbound",
        brings: Brings::Program("unbound"),
        why: "a name server, for tests and benches",
    },
    Need {
        package: "dnsmasq-base",
        brings: Brings::Program("dnsmasq"),
        why: "another name server, for tests",
    },
];

impl Need {
    fn is_met(&self) -> bool {
        match self.brings {
            Brings::Program(name) => find_program(name).is_some(),
            Brings::File(path) => Path::new(path).exists(),
            Brings::Library(name) => has_library(name),
        }
    }
}

/// Installs what is missing, or names it when that is not ours to do.
pub(super) fn run() -> Result {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !need.is_met()).collect();
    if !missing.is_empty() {
        install(&missing)?;
    }
    let unpacked = unpacked::run()?;
    if missing.is_empty() && unpacked == 0 {
        term::note("packages: all there");
    }
    Ok(())
}

fn install(missing: &[&Need]) -> Result {
    for need in missing {
        term::note(&format!("missing: {:<24} {}", need.package, need.why));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Error::Found(format!(
            "packages are missing and only root may install them; run\n  sudo apt-get install --no-install-recommends {}",
            names(missing).join(" ")
        )));
    }
    for cmd in installation(&names(missing)) {
        cmd.run()?;
    }
    still_missing(missing)
}

/// Whether a library lies in `/usr/lib` or in one of its directories, one of which is the architecture's.
fn has_library(name: &str) -> bool {
    let root = Path::new("/usr/lib");
    let below = root.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    std::iter::once(root.to_owned()).chain(below).any(|directory| directory.join(name).exists())
}

fn names(needs: &[&Need]) -> Vec<&'static str> {
    needs.iter().map(|need| need.package).collect()
}

fn installation(packages: &[&str]) -> [Cmd; 2] {
    let apt = || Cmd::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive");
    [
        apt().args(["update", "-q"]),
        apt().args(["install", "-q", "-y", "--no-install-recommends"]).args(packages.iter().copied()),
    ]
}

/// A package that is installed and does not bring what we look for is our mistake: say so here, not in a test.
fn still_missing(needs: &[&Need]) -> Result {
    match needs.iter().find(|need| !need.is_met()) {
        None => Ok(()),
        Some(need) => Err(Error::Found(format!(
            "the package {} is installed and does not bring {:?}; correct NEEDS in xtask/src/ci/packages.rs",
            need.package, need.brings
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_update_and_one_install_without_questions() {
        let [update, install] = installation(&["wrk", "curl"]);
        assert_eq!(update.to_string(), "DEBIAN_FRONTEND=noninteractive apt-get update -q");
        assert_eq!(
            install.to_string(),
            "DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends wrk curl"
        );
    }

    #[test]
    fn a_need_is_met_by_what_it_brings() {
        let need = |brings| Need { package: "x", brings, why: "" };
        assert!(need(Brings::Program("sh")).is_met());
        assert!(!need(Brings::Program("no-such-program-here")).is_met());
        assert!(need(Brings::File("/proc/self/stat")).is_met());
        assert!(need(Brings::Library("libc.so.6")).is_met());
        assert!(!need(Brings::Library("libno-such.so.1")).is_met());
        let wrong = need(Brings::File("/no/such/file"));
        let error = still_missing(&[&wrong]).expect_err("not there").to_string();
        assert!(error.contains("/no/such/file"), "{error}");
    }
}
