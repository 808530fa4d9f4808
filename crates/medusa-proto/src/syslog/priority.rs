//! PRI: what part of a system speaks, and how much it matters.

use std::fmt;
use std::str::FromStr;

use crate::event::Level;
use crate::format::decimal;

/// The part of a system that a message comes from
/// ([RFC 5424 §6.2.1](https://www.rfc-editor.org/rfc/rfc5424#section-6.2.1)); its number is that of the RFC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are all there is to say")]
pub enum Facility {
    Kern,
    User,
    Mail,
    /// Servers without a facility of their own: the default, as for every web server.
    #[default]
    Daemon,
    Auth,
    Syslog,
    Lpr,
    News,
    Uucp,
    Cron,
    Authpriv,
    Ftp,
    Ntp,
    Audit,
    Alert,
    Clock,
    Local0,
    Local1,
    Local2,
    Local3,
    Local4,
    Local5,
    Local6,
    Local7,
}

impl Facility {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 24] = [
        Self::Kern,
        Self::User,
        Self::Mail,
        Self::Daemon,
        Self::Auth,
        Self::Syslog,
        Self::Lpr,
        Self::News,
        Self::Uucp,
        Self::Cron,
        Self::Authpriv,
        Self::Ftp,
        Self::Ntp,
        Self::Audit,
        Self::Alert,
        Self::Clock,
        Self::Local0,
        Self::Local1,
        Self::Local2,
        Self::Local3,
        Self::Local4,
        Self::Local5,
        Self::Local6,
        Self::Local7,
    ];

    /// Its name in scripts, as `syslog.h` and rsyslog have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kern => "kern",
            Self::User => "user",
            Self::Mail => "mail",
            Self::Daemon => "daemon",
            Self::Auth => "auth",
            Self::Syslog => "syslog",
            Self::Lpr => "lpr",
            Self::News => "news",
            Self::Uucp => "uucp",
            Self::Cron => "cron",
            Self::Authpriv => "authpriv",
            Self::Ftp => "ftp",
            Self::Ntp => "ntp",
            Self::Audit => "audit",
            Self::Alert => "alert",
            Self::Clock => "clock",
            Self::Local0 => "local0",
            Self::Local1 => "local1",
            Self::Local2 => "local2",
            Self::Local3 => "local3",
            Self::Local4 => "local4",
            Self::Local5 => "local5",
            Self::Local6 => "local6",
            Self::Local7 => "local7",
        }
    }
}

impl fmt::Display for Facility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A facility's name that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown syslog facility {0:?}: use \"daemon\", \"local0\" to \"local7\", \"user\", \"auth\", \"authpriv\", \"mail\", \
     \"news\", \"ftp\", \"cron\", \"syslog\", \"lpr\", \"uucp\", \"kern\", \"ntp\", \"audit\", \"alert\" or \"clock\""
)]
pub struct UnknownFacility(pub String);

impl FromStr for Facility {
    type Err = UnknownFacility;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|facility| facility.name() == name)
            .ok_or_else(|| UnknownFacility(name.to_owned()))
    }
}

/// The severity of a message: of the eight of
/// [RFC 5424 §6.2.1](https://www.rfc-editor.org/rfc/rfc5424#section-6.2.1) those that we have a use for, with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Errors, and requests answered with 5xx.
    Error = 3,
    /// Warnings, requests answered with 4xx, and records that were lost.
    Warning = 4,
    /// What an operator wants to know, and all other requests.
    Info = 6,
    /// What a developer wants to know; there is nothing below it.
    Debug = 7,
}

impl From<Level> for Severity {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warn => Self::Warning,
            Level::Info => Self::Info,
            Level::Debug | Level::Trace => Self::Debug,
        }
    }
}

/// `<134>`
pub(super) fn write(facility: Facility, severity: Severity, out: &mut Vec<u8>) {
    out.push(b'<');
    decimal(facility as u8 * 8 + severity as u8, out);
    out.push(b'>');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities_have_the_numbers_of_the_rfc() {
        for (number, facility) in Facility::ALL.into_iter().enumerate() {
            assert_eq!(facility as usize, number);
            assert_eq!(facility.name().parse(), Ok(facility));
        }
        assert_eq!((Facility::Daemon as u8, Facility::Authpriv as u8, Facility::Local7 as u8), (3, 10, 23));
    }

    #[test]
    fn an_unknown_facility_is_told_what_there_is() {
        let message = "local8".parse::<Facility>().expect_err("no such facility").to_string();
        assert!(message.starts_with("unknown syslog facility \"local8\": use "), "{message}");
        let named = |name: &str| message.contains(&format!("\"{name}\"")) || name.starts_with("local");
        assert!(Facility::ALL.into_iter().all(|facility| named(facility.name())), "{message}");
    }

    #[test]
    fn a_priority_is_eight_times_the_facility_and_the_severity() {
        let mut out = Vec::new();
        write(Facility::Local0, Severity::Info, &mut out);
        write(Facility::Kern, Severity::from(Level::Error), &mut out);
        write(Facility::Local7, Severity::from(Level::Trace), &mut out);
        assert_eq!(out, b"<134><3><191>");
    }
}
