//! `rsyslogd`: its configuration and its command line.

use std::process::Command;

use super::{Place, RELP, RELP_TLS, TCP_LF, TCP_OCTET, TLS, UDP};

/// The fields of [`Message`](super::Message), and rsyslog's properties for them.
const FIELDS: [(&str, &str); 9] = [
    ("raw", "rawmsg"),
    ("facility", "syslogfacility-text"),
    ("severity", "syslogseverity-text"),
    ("hostname", "hostname"),
    ("app_name", "app-name"),
    ("procid", "procid"),
    ("msgid", "msgid"),
    ("structured_data", "structured-data"),
    ("text", "msg"),
];

/// Its configuration. Without a queue (`Direct`) and unbuffered, what is read is written before more is read. Its own
/// messages go to another file, so that nothing but what came is in the first.
pub(super) fn configuration(at: &Place) -> String {
    let ip = at.address.ip();
    let file = |name| at.quoted(name);
    let fields = FIELDS
        .map(|(field, name)| format!("  property(outname=\"{field}\" name=\"{name}\" format=\"jsonf\")\n"))
        .concat();
    format!(
        r#"global(workDirectory={directory} maxMessageSize="64k" preserveFQDN="on" net.enableDNS="off"
    parser.escapeControlCharactersOnReceive="off" parser.permitSlashInProgramName="on")
module(load="imuxsock" sysSock.use="off")
module(load="imudp")
module(load="imtcp")
module(load="imptcp")
module(load="imrelp" ruleset="received")
template(name="fields" type="list" option.jsonf="on") {{
{fields}  property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
}}
ruleset(name="received" queue.type="Direct") {{
  action(type="omfile" file={received} template="fields" asyncWriting="off" flushOnTXEnd="on")
}}
input(type="imuxsock" socket={log} useSysTimeStamp="off" usePIDFromSystem="off" ruleset="received")
input(type="imuxsock" socket={log5424} useSpecialParser="off" parseHostname="on" useSysTimeStamp="off"
    ruleset="received")
input(type="imptcp" path={stream} ruleset="received")
input(type="imudp" address="{ip}" port="{UDP}" ruleset="received")
input(type="imtcp" address="{ip}" port="{TCP_LF}" ruleset="received")
input(type="imtcp" address="{ip}" port="{TCP_OCTET}" ruleset="received")
input(type="imtcp" address="{ip}" port="{TLS}" ruleset="received"
    streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon"
    streamDriver.caFile={ca} streamDriver.certFile={cert} streamDriver.keyFile={key})
input(type="imrelp" address="{ip}" port="{RELP}" maxDataSize="64k")
input(type="imrelp" address="{ip}" port="{RELP_TLS}" maxDataSize="64k" tls="on"
    tls.caCert={ca} tls.myCert={cert} tls.myPrivKey={key}
    tls.authMode="certvalid")
action(type="omfile" file={internal})
"#,
        directory = file("."),
        received = file("received"),
        internal = file("internal"),
        log = file("log"),
        log5424 = file("log5424"),
        stream = file("stream"),
        ca = file("ca.pem"),
        cert = file("cert.pem"),
        key = file("key.pem"),
    )
}

/// In the foreground.
pub(super) fn command(at: &Place) -> Command {
    // Programs of administrators are not in everybody's PATH.
    let mut command = Command::new("/usr/sbin/rsyslogd");
    command.arg("-n").arg("-f").arg(at.file("configuration")).arg("-i").arg(at.file("pid"));
    command
}
