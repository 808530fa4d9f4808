//! Reading of certificates: names, numbers, times.
//!
//! A client's certificate was checked before it comes here, so its authority vouches for it; but an authority signs
//! what it is asked to, commas and line feeds in a name included.
//!
//! Invariant: the texts made here can be taken apart again without doubt. A name is escaped as [RFC 4514] says, control
//! characters as well, so that no `CN` can pretend to be followed by an `O`, nor a log line by another; an alternative
//! name says of which kind it is, so that a mail address can not pass for a host.
//!
//! [RFC 4514]: https://www.rfc-editor.org/rfc/rfc4514

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{self, SHA256};
use x509_parser::asn1_rs::{Any, Tag, ToDer as _};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::nom;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Reads a certificate; an error says what is wrong in a few words.
pub(super) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, String> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err("there is something behind its end".to_owned()),
        Err(nom::Err::Incomplete(_)) => Err("it is cut off".to_owned()),
        Err(nom::Err::Error(error) | nom::Err::Failure(error)) => Err(format!("it is damaged ({error})")),
    }
}

/// The SHA-256 of a certificate: what people compare to see whether two are the same.
pub(super) fn fingerprint(der: &[u8]) -> [u8; 32] {
    sha256(&[der])
}

/// The SHA-256 of the pieces, one behind the other.
pub(super) fn sha256(pieces: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&SHA256);
    for piece in pieces {
        context.update(piece);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The serial number in hexadecimal, as other programs show it: `01AB`.
pub(super) fn serial(certificate: &X509Certificate<'_>) -> String {
    let mut bytes = certificate.raw_serial();
    // A zero in front only says that the number is positive.
    while let [0, rest @ ..] = bytes
        && !rest.is_empty()
    {
        bytes = rest;
    }
    hex(bytes)
}

/// A certificate's time. What lies outside the system's own times becomes the epoch, which is long past.
pub(super) fn time(time: ASN1Time) -> SystemTime {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH)
}

/// The host names and addresses that a server's certificate is for.
pub(super) fn host_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let host = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(escaped_controls(name)),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    };
    alternatives(certificate).iter().filter_map(host).collect()
}

/// The alternative names of a client's certificate, each behind its kind: `DNS:a.example`, `IP:192.0.2.1`,
/// `email:a@example`, `URI:spiffe://a`. Kinds that have no text are left out.
pub(super) fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{}", escaped_controls(name))),
        GeneralName::RFC822Name(name) => Some(format!("email:{}", escaped_controls(name))),
        GeneralName::URI(uri) => Some(format!("URI:{}", escaped_controls(uri))),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| format!("IP:{address}")),
        _ => None,
    };
    alternatives(certificate).iter().filter_map(text).collect()
}

fn alternatives<'a>(certificate: &'a X509Certificate<'a>) -> &'a [GeneralName<'a>] {
    certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .map_or(&[], |extension| &extension.value.general_names)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_not_v4| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// A name as [RFC 4514 §2] writes it: the last part first, `CN=Alice,O=Example\, Inc.,C=DE`.
///
/// [RFC 4514 §2]: https://www.rfc-editor.org/rfc/rfc4514#section-2
pub(super) fn distinguished_name(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_rdn().collect();
    let parts = parts.iter().rev().map(|part| {
        let values: Vec<_> = part.iter().map(attribute).collect();
        values.join("+")
    });
    parts.collect::<Vec<_>>().join(",")
}

/// The common name of a subject that has one, and no more.
pub(super) fn common_name(name: &X509Name<'_>) -> Option<String> {
    let mut all = name.iter_common_name();
    let first = all.next()?;
    if all.next().is_some() { None } else { text(first.attr_value()).map(Cow::into_owned) }
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let value = attribute.attr_value();
    match (short_name(&oid), text(value)) {
        (Some(name), Some(text)) => format!("{name}={}", escaped(&text)),
        // Without a short name, or without a text, the value is its encoding (§2.4).
        (name, _) => {
            let der = value.to_der_vec().unwrap_or_default();
            format!("{}=#{}", name.unwrap_or(&oid), hex(&der))
        }
    }
}

/// The table of RFC 4514 §3, and two that are common and that everyone calls so.
fn short_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return None,
    })
}

/// The text of a value, if it is one.
fn text<'a>(value: &'a Any<'a>) -> Option<Cow<'a, str>> {
    match value.tag() {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::NumericString
        | Tag::VisibleString
        | Tag::T61String => std::str::from_utf8(value.data).ok().map(Cow::Borrowed),
        Tag::BmpString => {
            let units = value.data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            let text: Result<String, _> = char::decode_utf16(units).collect();
            text.ok().map(Cow::Owned)
        }
        _ => None,
    }
}

/// A value as [RFC 4514 §2.4] escapes it, and control characters by their bytes.
///
/// [RFC 4514 §2.4]: https://www.rfc-editor.org/rfc/rfc4514#section-2.4
fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(value.len());
    for (at, char) in value.chars().enumerate() {
        match char {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', char]),
            '#' if at == 0 => out.push_str("\\#"),
            ' ' if at == 0 || at == last => out.push_str("\\ "),
            char if char.is_control() => push_bytes(&mut out, char),
            char => out.push(char),
        }
    }
    out
}

/// Alternative names have no escaping of their own; what does not belong in them is written as in a name.
fn escaped_controls(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for char in value.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            char if char.is_control() => push_bytes(&mut out, char),
            char => out.push(char),
        }
    }
    out
}

fn push_bytes(out: &mut String, char: char) {
    for byte in char.encode_utf8(&mut [0; 4]).bytes() {
        // Writing to a String can not fail.
        let _ = write!(out, "\\{byte:02X}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02X}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::string::BmpString;
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType, SerialNumber};

    fn certificate(prepare: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name.remove(DnType::CommonName);
        prepare(&mut params);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    fn subject(parts: &[(DnType, &str)]) -> String {
        let der = certificate(|params| {
            for (kind, value) in parts {
                params.distinguished_name.push(kind.clone(), *value);
            }
        });
        distinguished_name(parse(&der).expect("a certificate").subject())
    }

    #[test]
    fn names_are_written_backwards_with_short_types() {
        let name = [
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Beispiel GmbH"),
            (DnType::CommonName, "Ålice"),
        ];
        assert_eq!(subject(&name), "CN=Ålice,O=Beispiel GmbH,C=DE");
        assert_eq!(subject(&[]), "");
    }

    #[test]
    fn no_name_can_pretend_to_have_more_parts() {
        let spoofed = subject(&[(DnType::CommonName, "eve,O=Admins+OU=x\nCN=root\\")]);
        assert_eq!(spoofed, "CN=eve\\,O=Admins\\+OU=x\\0ACN=root\\\\");
        assert_eq!(subject(&[(DnType::CommonName, "#1 ")]), "CN=\\#1\\ ");
        assert_eq!(subject(&[(DnType::CommonName, " ")]), "CN=\\ ");
        assert_eq!(subject(&[(DnType::CommonName, "a\"b;<c>\0")]), "CN=a\\\"b\\;\\<c\\>\\00");
    }

    #[test]
    fn a_type_without_a_name_is_its_number_and_encoding() {
        let custom = DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 99999, 1]);
        assert_eq!(subject(&[(custom, "hi")]), "1.3.6.1.4.1.99999.1=#0C026869");
    }

    #[test]
    fn older_encodings_of_text_are_text() {
        let bmp = BmpString::try_from("Zoë, 東").expect("in the plane");
        let der =
            certificate(|params| params.distinguished_name.push(DnType::CommonName, DnValue::BmpString(bmp)));
        assert_eq!(distinguished_name(parse(&der).expect("a certificate").subject()), "CN=Zoë\\, 東");
    }

    #[test]
    fn alternative_names_say_of_which_kind_they_are() {
        let ia5 = |text: &str| text.try_into().expect("ASCII");
        let der = certificate(|params| {
            params.subject_alt_names = vec![
                SanType::DnsName(ia5("a.example")),
                SanType::Rfc822Name(ia5("a@example\r\n")),
                SanType::URI(ia5("spiffe://example/a")),
                SanType::IpAddress("192.0.2.1".parse().expect("an address")),
                SanType::IpAddress("2001:db8::1".parse().expect("an address")),
            ];
        });
        let certificate = parse(&der).expect("a certificate");
        assert_eq!(
            alternative_names(&certificate),
            [
                "DNS:a.example",
                "email:a@example\\0D\\0A",
                "URI:spiffe://example/a",
                "IP:192.0.2.1",
                "IP:2001:db8::1"
            ]
        );
        assert_eq!(host_names(&certificate), ["a.example", "192.0.2.1", "2001:db8::1"]);
    }

    #[test]
    fn serial_numbers_have_no_sign() {
        for (bytes, text) in [(vec![0x80, 1], "8001"), (vec![0x0a], "0A"), (vec![0], "00")] {
            let der = certificate(|params| params.serial_number = Some(SerialNumber::from(bytes.clone())));
            assert_eq!(serial(&parse(&der).expect("a certificate")), text);
        }
    }

    #[test]
    fn damaged_certificates_are_errors() {
        let der = certificate(|_| ());
        for end in 0..der.len() {
            assert!(parse(&der[..end]).is_err(), "cut off after {end} bytes");
        }
        assert!(parse(&[&der[..], b"x"].concat()).is_err());
    }

    #[test]
    fn a_fingerprint_is_the_sha_256() {
        let empty = hex(&fingerprint(b""));
        assert_eq!(empty, "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855");
        assert_eq!(sha256(&[b"a", b"bc"]), fingerprint(b"abc"));
    }
}
