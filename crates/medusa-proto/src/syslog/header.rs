//! The part of a message before MSG, less its structured data.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::priority::{self, Facility, Severity};
use super::structured::SdId;
use crate::access::Timestamp;
use crate::format::time::{self, Stamp};

/// The syslog protocol that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Style {
    /// [RFC 5424](https://www.rfc-editor.org/rfc/rfc5424): microseconds, a time zone, structured data. The default.
    #[default]
    Rfc5424,
    /// [RFC 3164](https://www.rfc-editor.org/rfc/rfc3164): what every syslog understands, and the only one that rsyslog
    /// takes on `/dev/log`. Times are to the second, without year or zone.
    Rfc3164,
}

impl Style {
    /// Its name in a script.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rfc5424 => "rfc5424",
            Self::Rfc3164 => "rfc3164",
        }
    }
}

/// A style's name that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown syslog protocol {0:?}: use \"rfc5424\" or \"rfc3164\"")]
pub struct UnknownStyle(pub String);

impl FromStr for Style {
    type Err = UnknownStyle;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Rfc5424, Self::Rfc3164]
            .into_iter()
            .find(|style| style.name() == name)
            .ok_or_else(|| UnknownStyle(name.to_owned()))
    }
}

/// The name a program goes by in syslog: APP-NAME in RFC 5424, the TAG in RFC 3164.
///
/// 1 to 48 letters, digits and `-_./+@`: nothing that a reader of either protocol could take for the end of the name. RFC
/// 3164 would have 32 characters at most, but no syslog in use insists on it and `logger` sends up to 200.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AppName(String);

impl AppName {
    /// The most characters of a name ([RFC 5424 §6](https://www.rfc-editor.org/rfc/rfc5424#section-6)).
    pub const LONGEST: usize = 48;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for AppName {
    /// `medusa`
    fn default() -> Self {
        Self("medusa".to_owned())
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that syslog could not carry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "bad syslog app name {0:?}: use 1 to {longest} letters, digits and \"-_./+@\"",
    longest = AppName::LONGEST
)]
pub struct BadAppName(pub String);

impl FromStr for AppName {
    type Err = BadAppName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let good = (1..=Self::LONGEST).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./+@".contains(&b));
        if good { Ok(Self(name.to_owned())) } else { Err(BadAppName(name.to_owned())) }
    }
}

/// The header that all messages of a sink share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogHeader {
    /// The protocol.
    pub style: Style,
    /// The part of the system.
    pub facility: Facility,
    /// The program's name.
    pub app_name: AppName,
    /// The machine's name, as full as it is known. RFC 3164 is given it up to the first dot, since that wants no domain.
    ///
    /// Empty: RFC 5424 says `-`, and RFC 3164 leaves it out, as the syslog of the same machine (`/dev/log`) expects: it
    /// would take the name for the program's. What is not printable ASCII becomes `?`, and 255 bytes are kept.
    pub hostname: String,
    /// The process id, or what tells processes apart. Empty: `-` in RFC 5424, and no brackets in RFC 3164. What is not
    /// printable ASCII becomes `?`, and 128 bytes are kept.
    pub procid: String,
    /// RFC 5424: the fields of a record as structured data, under this name, besides the MSG. None: only the MSG.
    pub structured: Option<SdId>,
}

/// The most bytes of HOSTNAME and PROCID ([RFC 5424 §6](https://www.rfc-editor.org/rfc/rfc5424#section-6)).
const LONGEST_HOSTNAME: usize = 255;
const LONGEST_PROCID: usize = 128;

/// Writes headers: all that does not change is made once.
#[derive(Debug)]
pub(super) struct HeaderWriter {
    style: Style,
    facility: Facility,
    /// From after the time to before the MSGID, or to before the MSG in RFC 3164.
    names: Vec<u8>,
    stamp: Stamp,
}

impl HeaderWriter {
    pub(super) fn new(header: &SyslogHeader) -> Self {
        let names = match header.style {
            Style::Rfc5424 => names_5424(header),
            Style::Rfc3164 => names_3164(header),
        };
        Self {
            style: header.style,
            facility: header.facility,
            names: names.into_bytes(),
            stamp: Stamp::new(),
        }
    }

    /// Writes what stands before structured data or, in RFC 3164, the MSG:
    /// `<134>1 2000-10-10T13:55:36.000042-07:00 host medusa 42 access ` or `<134>Oct 10 13:55:36 host medusa[42]: `
    pub(super) fn write(
        &mut self,
        severity: Severity,
        time: Timestamp,
        utc_offset: i32,
        msg_id: &str,
        out: &mut Vec<u8>,
    ) {
        priority::write(self.facility, severity, out);
        match self.style {
            Style::Rfc5424 => {
                out.extend_from_slice(b"1 ");
                out.extend_from_slice(self.stamp.rfc3339_local(time, utc_offset));
                time::micros(time.subsec_micros(), out);
                time::offset(utc_offset, b":", out);
                out.extend_from_slice(&self.names);
                out.extend_from_slice(msg_id.as_bytes());
                out.push(b' ');
            }
            Style::Rfc3164 => {
                out.extend_from_slice(self.stamp.bsd(time, utc_offset));
                out.extend_from_slice(&self.names);
            }
        }
    }
}

fn names_5424(header: &SyslogHeader) -> String {
    let or_nil = |value: String| if value.is_empty() { "-".to_owned() } else { value };
    let host = or_nil(clean(&header.hostname, LONGEST_HOSTNAME));
    let procid = or_nil(clean(&header.procid, LONGEST_PROCID));
    format!(" {host} {} {procid} ", header.app_name)
}

fn names_3164(header: &SyslogHeader) -> String {
    let host = clean(without_domain(&header.hostname), LONGEST_HOSTNAME);
    let procid = clean(&header.procid, LONGEST_PROCID);
    let mut names = String::from(" ");
    if !host.is_empty() {
        names.push_str(&host);
        names.push(' ');
    }
    names.push_str(header.app_name.as_str());
    if !procid.is_empty() {
        names.push('[');
        names.push_str(&procid);
        names.push(']');
    }
    names + ": "
}

/// The first label of a name; an address is kept whole.
fn without_domain(hostname: &str) -> &str {
    match hostname.split_once('.') {
        Some((first, _)) if hostname.parse::<IpAddr>().is_err() => first,
        _ => hostname,
    }
}

/// As much of `text` as a header takes, without what could end a field.
fn clean(text: &str, longest: usize) -> String {
    text.chars()
        .take(longest)
        .map(|c| if c.is_ascii_graphic() && !"[]".contains(c) { c } else { '?' })
        .collect()
}
