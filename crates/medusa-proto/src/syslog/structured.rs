//! STRUCTURED-DATA ([RFC 5424 §6.3](https://www.rfc-editor.org/rfc/rfc5424#section-6.3)): the fields of an entry, so that
//! a receiver need not take the MSG apart.

use std::fmt;
use std::str::FromStr;

use crate::access::{Loss, Record, Timestamp};
use crate::event::Event;
use crate::format::time::{self, Stamp};
use crate::format::{addr, decimal, escape};

/// The name of our structured data: `name@number`, where the number is the private enterprise number of whoever defines
/// what is in it ([RFC 5424 §7.2.2](https://www.rfc-editor.org/rfc/rfc5424#section-7)).
///
/// Medusa has no such number, and names without one are IANA's to give. So the default is `medusa@32473`, with the number
/// that is set aside for examples ([RFC 5612](https://www.rfc-editor.org/rfc/rfc5612)): nobody else's data goes by it, but
/// nothing forbids another program to do as we do. Who has a number of their own should put it here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SdId(String);

impl SdId {
    /// The most characters of a name ([RFC 5424 §6](https://www.rfc-editor.org/rfc/rfc5424#section-6)).
    pub const LONGEST: usize = 32;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for SdId {
    /// `medusa@32473`
    fn default() -> Self {
        Self("medusa@32473".to_owned())
    }
}

impl fmt::Display for SdId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that structured data cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "bad name of structured data {0:?}: use letters, digits and \"-_.\", then \"@\" and a private enterprise number, as in \
     \"medusa@32473\"; {longest} characters at most",
    longest = SdId::LONGEST
)]
pub struct BadSdId(pub String);

impl FromStr for SdId {
    type Err = BadSdId;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        let good = id.len() <= Self::LONGEST
            && id.split_once('@').is_some_and(|(name, number)| is_name(name) && is_number(number));
        if good { Ok(Self(id.to_owned())) } else { Err(BadSdId(id.to_owned())) }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// A number, or several with dots between: a number may be followed by those its owner gives out.
fn is_number(number: &str) -> bool {
    number.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

/// `[medusa@32473 client="127.0.0.1" method="GET" ...]`
pub(super) fn record(id: &SdId, record: &Record<'_>, out: &mut Vec<u8>) {
    start(id, out);
    out.extend_from_slice(b" client=\"");
    addr::peer(record.peer, out);
    out.push(b'"');
    optional(b" name=\"", record.name, out);
    optional(b" user=\"", record.user, out);
    if !(record.method.is_empty() && record.target.is_empty()) {
        text(b" method=\"", record.method, out);
        text(b" target=\"", record.target, out);
    }
    optional(b" host=\"", record.host, out);
    number(b" status=\"", record.status.into(), out);
    number(b" bytes=\"", record.bytes, out);
    number(b" duration_us=\"", record.duration_us, out);
    text(b" server=\"", record.server, out);
    optional(b" id=\"", record.id, out);
    out.push(b']');
}

/// `[medusa@32473 level="warn" part="http"]`
pub(super) fn event(id: &SdId, event: &Event<'_>, out: &mut Vec<u8>) {
    start(id, out);
    text(b" level=\"", event.level.name(), out);
    text(b" part=\"", event.part, out);
    if let Some(id) = event.request {
        text(b" id=\"", id, out);
    }
    out.push(b']');
}

/// `[medusa@32473 records="3" from="2000-10-10T20:55:36.000042Z" to="2000-10-10T20:55:38.000042Z"]`
pub(super) fn loss(id: &SdId, loss: &Loss, out: &mut Vec<u8>) {
    start(id, out);
    number(b" records=\"", loss.records, out);
    instant(b" from=\"", loss.from, out);
    instant(b" to=\"", loss.to, out);
    out.push(b']');
}

fn start(id: &SdId, out: &mut Vec<u8>) {
    out.push(b'[');
    out.extend_from_slice(id.as_str().as_bytes());
}

fn optional(name: &[u8], value: Option<&str>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        text(name, value, out);
    }
}

/// `name` is all that stands before the value: a space, the parameter's name and `="`.
fn text(name: &[u8], value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    escape::param(value.as_bytes(), out);
    out.push(b'"');
}

fn number(name: &[u8], value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    decimal(value, out);
    out.push(b'"');
}

fn instant(name: &[u8], value: Timestamp, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(Stamp::new().rfc3339(value));
    time::micros(value.subsec_micros(), out);
    out.extend_from_slice(b"Z\"");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_needs_a_number() {
        for good in ["medusa@32473", "a.b-c_d@1", "web@32473.7.1"] {
            assert_eq!(good.parse::<SdId>().expect("a name").as_str(), good);
        }
        for bad in ["", "medusa", "@1", "medusa@", "medusa@x", "me dusa@1", "a\"]@1", "a@1@2", "a@1..2"] {
            assert_eq!(bad.parse::<SdId>(), Err(BadSdId(bad.to_owned())));
        }
        assert!(format!("{}@1", "x".repeat(31)).parse::<SdId>().is_err());
        assert_eq!(SdId::default().as_str().parse(), Ok(SdId::default()));
    }
}
