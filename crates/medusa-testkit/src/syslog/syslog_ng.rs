//! `syslog-ng`: its configuration and its command line.
//!
//! Debian has it conflict with rsyslog, so it is unpacked, not installed: see [`Kind::SyslogNg`](super::Kind::SyslogNg).

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Place, TCP_LF, TCP_OCTET, TLS, UDP};

/// Where `cargo xtask ci packages` unpacks it, below the directory that Cargo builds in.
const UNPACKED: &str = "debian/syslog-ng-core";

/// The fields of [`Message`](super::Message), and syslog-ng's macros for them.
const FIELDS: [(&str, &str); 10] = [
    ("raw", "$RAWMSG"),
    ("facility", "$FACILITY"),
    ("severity", "$LEVEL"),
    ("time", "$S_ISODATE"),
    ("hostname", "$HOST"),
    ("app_name", "$PROGRAM"),
    ("procid", "$PID"),
    ("msgid", "$MSGID"),
    ("structured_data", "$SDATA"),
    ("text", "$MSG"),
];

/// Its configuration. The flag `syslog-protocol` has it look for RFC 5424 first; RFC 3164 is understood all the same.
pub(super) fn configuration(at: &Place) -> String {
    let ip = at.address.ip();
    let file = |name| at.quoted(name);
    let fields = FIELDS.map(|(field, name)| format!(" {field}=\\\"{name}\\\"")).concat();
    format!(
        r#"@version: 3.38
options {{
  stats-freq(0); use-dns(no); dns-cache(no); keep-hostname(yes); flush-lines(0); log-msg-size(65536); frac-digits(6);
}};
source received {{
  unix-dgram({log} flags(store-raw-message));
  unix-dgram({log5424} flags(store-raw-message, syslog-protocol));
  unix-stream({stream} flags(store-raw-message, syslog-protocol));
  network(transport("udp") ip("{ip}") port({UDP}) flags(store-raw-message, syslog-protocol));
  network(transport("tcp") ip("{ip}") port({TCP_LF}) flags(store-raw-message, syslog-protocol));
  syslog(transport("tcp") ip("{ip}") port({TCP_OCTET}) flags(store-raw-message));
  syslog(transport("tls") ip("{ip}") port({TLS}) flags(store-raw-message)
    tls(key-file({key}) cert-file({cert}) peer-verify(optional-untrusted)));
}};
destination fields {{ file({received} template("$(format-json --scope none{fields})\n")); }};
log {{ source(received); destination(fields); }};
"#,
        received = file("received"),
        log = file("log"),
        log5424 = file("log5424"),
        stream = file("stream"),
        cert = file("cert.pem"),
        key = file("key.pem"),
    )
}

/// In the foreground.
#[track_caller]
pub(super) fn command(at: &Place) -> Command {
    let root = unpacked();
    let libraries = root.join("usr/lib/syslog-ng");
    let mut command = Command::new(root.join("usr/sbin/syslog-ng"));
    command.args(["-F", "--no-caps"]).arg("--module-path").arg(modules(&libraries));
    command.env("LD_LIBRARY_PATH", libraries);
    for (option, name) in [("-f", "configuration"), ("-R", "persist"), ("-c", "control"), ("-p", "pid")] {
        command.arg(option).arg(at.file(name));
    }
    command
}

/// The directory it is unpacked in: below the directory that this very program was built in.
#[track_caller]
fn unpacked() -> PathBuf {
    let program = env::current_exe().expect("a program knows where it is");
    let found = program.ancestors().map(|directory| directory.join(UNPACKED)).find(|root| root.is_dir());
    found.unwrap_or_else(|| panic!("syslog-ng is needed: run `cargo xtask ci packages`, which unpacks it"))
}

/// The directory of its modules, which has its version for a name.
#[track_caller]
fn modules(libraries: &Path) -> PathBuf {
    let entries = fs::read_dir(libraries).into_iter().flatten().flatten();
    let found = entries.map(|entry| entry.path()).find(|path| path.join("libafsocket.so").exists());
    found.unwrap_or_else(|| panic!("no modules of syslog-ng in {}", libraries.display()))
}
