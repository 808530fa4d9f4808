//! Record types, and what is in a record.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use hickory_proto::rr::RData;

use crate::name;

/// The types of records that can be asked for, by their names, and their numbers (RFC 1035 §3.2.2 and after).
macro_rules! record_types {
    ($($(#[$doc:meta])* $variant:ident = $code:literal $name:literal,)*) => {
        /// The type of a record.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum RecordType {
            $($(#[$doc])* $variant,)*
        }

        impl RecordType {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name, in capitals.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Its number on the wire.
            pub const fn code(self) -> u16 {
                match self {
                    $(Self::$variant => $code,)*
                }
            }
        }
    };
}

record_types! {
    /// An IPv4 address.
    A = 1 "A",
    /// An IPv6 address (RFC 3596).
    Aaaa = 28 "AAAA",
    /// The authorities that may issue certificates (RFC 8659).
    Caa = 257 "CAA",
    /// The name that this is another name of.
    Cname = 5 "CNAME",
    /// How to reach a web server (RFC 9460).
    Https = 65 "HTTPS",
    /// Where mail goes.
    Mx = 15 "MX",
    /// Rules that rewrite names (RFC 3403).
    Naptr = 35 "NAPTR",
    /// A name server.
    Ns = 2 "NS",
    /// A name, for an address.
    Ptr = 12 "PTR",
    /// About the zone.
    Soa = 6 "SOA",
    /// Where a service is (RFC 2782).
    Srv = 33 "SRV",
    /// How to reach a service (RFC 9460).
    Svcb = 64 "SVCB",
    /// The certificate of a server (RFC 6698).
    Tlsa = 52 "TLSA",
    /// Text.
    Txt = 16 "TXT",
}

impl RecordType {
    pub(crate) fn of_code(code: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.code() == code)
    }

    pub(crate) fn wire(self) -> hickory_proto::rr::RecordType {
        self.code().into()
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// In capitals or not.
impl FromStr for RecordType {
    type Err = UnknownRecordType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.iter().copied().find(|kind| kind.name().eq_ignore_ascii_case(text));
        known.ok_or_else(|| UnknownRecordType(text.to_owned()))
    }
}

/// A text that names no [`RecordType`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRecordType(pub String);

impl fmt::Display for UnknownRecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a type of DNS record that can be looked up: use one of ", self.0)?;
        for (number, kind) in RecordType::ALL.iter().enumerate() {
            write!(f, "{}{kind}", if number == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownRecordType {}

/// The data of a record.
///
/// Names are in text, without the dot at their end. What is shown ([`Display`](fmt::Display)) has no control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// The name that this is another name of.
    Cname(Box<str>),
    /// A name server.
    Ns(Box<str>),
    /// A name, for an address.
    Ptr(Box<str>),
    /// Where mail goes.
    Mx {
        /// Lower is tried first.
        preference: u16,
        /// The host that takes it.
        exchange: Box<str>,
    },
    /// Where a service is.
    Srv {
        /// Lower is tried first.
        priority: u16,
        /// The share of those with equal priority.
        weight: u16,
        /// The port.
        port: u16,
        /// The host.
        target: Box<str>,
    },
    /// About the zone.
    Soa {
        /// The first name server.
        mname: Box<str>,
        /// The mail address of who is in charge, its `@` written as a dot.
        rname: Box<str>,
        /// The zone's version.
        serial: u32,
        /// Seconds between two looks at it by its other servers.
        refresh: u32,
        /// Seconds between two looks, after one that failed.
        retry: u32,
        /// Seconds until the other servers forget it.
        expire: u32,
        /// Seconds that its negative answers hold, at most.
        minimum: u32,
    },
    /// Text, in pieces of at most 255 bytes that belong together.
    Txt(Box<[Box<[u8]>]>),
    /// The authorities that may issue certificates.
    Caa {
        /// Whether an authority that does not understand the tag must not issue.
        critical: bool,
        /// What is said: `issue`, `issuewild`, `iodef`.
        tag: Box<str>,
        /// What is said of it.
        value: Box<[u8]>,
    },
    /// Any other record, as text.
    Other(Box<str>),
}

impl Data {
    pub(crate) fn of(data: &RData) -> Self {
        match data {
            RData::A(address) => Self::A(address.0),
            RData::AAAA(address) => Self::Aaaa(address.0),
            RData::CNAME(target) => Self::Cname(name::text(target)),
            RData::NS(server) => Self::Ns(name::text(server)),
            RData::PTR(target) => Self::Ptr(name::text(target)),
            RData::MX(mx) => Self::Mx { preference: mx.preference, exchange: name::text(&mx.exchange) },
            RData::SRV(srv) => Self::Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: name::text(&srv.target),
            },
            RData::SOA(soa) => Self::Soa {
                mname: name::text(&soa.mname),
                rname: name::text(&soa.rname),
                serial: soa.serial,
                refresh: soa.refresh.cast_unsigned(),
                retry: soa.retry.cast_unsigned(),
                expire: soa.expire.cast_unsigned(),
                minimum: soa.minimum,
            },
            RData::TXT(txt) => Self::Txt(txt.txt_data.clone()),
            RData::CAA(caa) => Self::Caa {
                critical: caa.issuer_critical,
                tag: caa.tag.as_str().into(),
                value: caa.value.as_slice().into(),
            },
            other => Self::Other(other.to_string().into()),
        }
    }

    /// The address in it.
    pub const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::A(address) => Some(IpAddr::V4(*address)),
            Self::Aaaa(address) => Some(IpAddr::V6(*address)),
            _ => None,
        }
    }

    /// The name it points to, if that is all it does.
    pub const fn name(&self) -> Option<&str> {
        match self {
            Self::Cname(name) | Self::Ns(name) | Self::Ptr(name) => Some(name),
            _ => None,
        }
    }

    /// About how many bytes it takes.
    pub(crate) fn weight(&self) -> usize {
        let inside = match self {
            Self::A(_) | Self::Aaaa(_) => 0,
            Self::Cname(name)
            | Self::Ns(name)
            | Self::Ptr(name)
            | Self::Mx { exchange: name, .. }
            | Self::Srv { target: name, .. }
            | Self::Other(name) => name.len(),
            Self::Soa { mname, rname, .. } => mname.len() + rname.len(),
            Self::Txt(pieces) => pieces.iter().map(|piece| piece.len() + size_of::<Box<[u8]>>()).sum(),
            Self::Caa { tag, value, .. } => tag.len() + value.len(),
        };
        size_of::<Self>() + inside
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A(address) => address.fmt(f),
            Self::Aaaa(address) => address.fmt(f),
            Self::Cname(name) | Self::Ns(name) | Self::Ptr(name) => f.write_str(name),
            Self::Mx { preference, exchange } => write!(f, "{preference} {exchange}"),
            Self::Srv { priority, weight, port, target } => write!(f, "{priority} {weight} {port} {target}"),
            Self::Soa { mname, rname, serial, refresh, retry, expire, minimum } => {
                write!(f, "{mname} {rname} {serial} {refresh} {retry} {expire} {minimum}")
            }
            Self::Txt(pieces) => pieces.iter().try_for_each(|piece| escaped(f, piece)),
            Self::Caa { critical, tag, value } => {
                write!(f, "{} ", u8::from(*critical) << 7)?;
                escaped(f, tag.as_bytes())?;
                f.write_str(" ")?;
                escaped(f, value)
            }
            Self::Other(text) => escaped(f, text.as_bytes()),
        }
    }
}

/// Bytes that anyone may have written, with those escaped that are not printable ASCII (RFC 1035 §5.1).
fn escaped(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for &byte in bytes {
        match byte {
            b'\\' => f.write_str("\\\\")?,
            b' '..=b'~' => fmt::Write::write_char(f, byte as char)?,
            _ => write!(f, "\\{byte:03}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_names_and_numbers() {
        for &kind in RecordType::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(kind.name().to_ascii_lowercase().parse(), Ok(kind));
            assert_eq!(RecordType::of_code(kind.code()), Some(kind));
            assert_eq!(kind.wire().to_string(), kind.name(), "as everyone else calls it");
        }
        let error = "ANY".parse::<RecordType>().expect_err("not a type to ask for");
        assert!(error.to_string().starts_with("\"ANY\" is not a type"), "{error}");
    }

    #[test]
    fn what_is_shown_cannot_harm_a_terminal() {
        let text = Data::Txt(Box::new([Box::from(&b"v=spf1 \x1b[2J"[..]), Box::from(&b"\xff\\ end"[..])]));
        assert_eq!(text.to_string(), "v=spf1 \\027[2J\\255\\\\ end");
        let caa = Data::Caa { critical: true, tag: "issue".into(), value: Box::from(&b"ca.example"[..]) };
        assert_eq!(caa.to_string(), "128 issue ca.example");
    }
}
