//! Addresses in fields, `Destination` and `If`: the part of their path that is below the mount.
//!
//! Whom the client asked, in its own words, is not known here: TLS may end before this server, and a proxy may have given it another name.
//! So scheme and host of an address are not looked at; what is not below the mount is no place here.

use std::borrow::Cow;

use http::Uri;
use percent_encoding::percent_decode_str;

/// The reason why there is no such place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("it is no address, which begins with `http://`, `https://` or a slash")]
    Malformed,
    #[error("it is not below the address where this directory is mounted")]
    Elsewhere,
}

/// The raw part of an address that is below `mount`, the raw path of the mount.
pub(crate) fn tail<'a>(address: &'a str, mount: &str) -> Result<Cow<'a, str>, AddressError> {
    let address = address.trim();
    let path = if address.starts_with('/') && !address.starts_with("//") {
        let end = address.find(['?', '#']).unwrap_or(address.len());
        Cow::Borrowed(address.get(..end).unwrap_or_default())
    } else {
        let uri: Uri = address.parse().map_err(|_invalid| AddressError::Malformed)?;
        let is_http =
            |scheme: &str| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        if !uri.scheme_str().is_some_and(is_http) {
            return Err(AddressError::Malformed);
        }
        Cow::Owned(uri.path().to_owned())
    };
    if !is_well_formed(&path) {
        return Err(AddressError::Malformed);
    }
    // As many segments as the mount has must be its own, whichever way they are written.
    let mount = mount.strip_suffix('/').unwrap_or(mount);
    let mut rest: &str = &path;
    for segment in mount.split('/').skip(1) {
        let below = rest.strip_prefix('/').ok_or(AddressError::Elsewhere)?;
        let end = below.find('/').unwrap_or(below.len());
        let (first, behind) = below.split_at(end);
        if !percent_decode_str(first).eq(percent_decode_str(segment)) {
            return Err(AddressError::Elsewhere);
        }
        rest = behind;
    }
    let at = path.len() - rest.strip_prefix('/').unwrap_or(rest).len();
    Ok(match path {
        Cow::Borrowed(path) => Cow::Borrowed(path.get(at..).unwrap_or_default()),
        Cow::Owned(path) => Cow::Owned(path.get(at..).unwrap_or_default().to_owned()),
    })
}

/// Whether every `%` begins an escape.
fn is_well_formed(path: &str) -> bool {
    let is_escape =
        |part: &str| part.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    path.split('%').skip(1).all(is_escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_taken_off_whatever_the_host_is() {
        for (address, mount, expected) in [
            ("/dav/a", "/dav/", "a"),
            ("http://example.com/dav/a/b/", "/dav/", "a/b/"),
            ("https://example.com:8443/dav/a%20b", "/dav/", "a%20b"),
            ("HTTPS://other/%64av/a", "/dav/", "a"),
            ("/d%C3%A9/a", "/d%c3%a9/", "a"),
            ("http://[::1]:80/a", "/", "a"),
            ("/dav", "/dav/", ""),
            ("/dav/", "/dav", ""),
            ("/dav/a?x#y", "/dav/", "a"),
            ("http://h", "/", ""),
        ] {
            assert_eq!(tail(address, mount).as_deref(), Ok(expected), "{address}");
        }
    }

    #[test]
    fn what_is_elsewhere_is_told() {
        for (address, mount) in
            [("/a", "/dav/"), ("/davx/a", "/dav/"), ("http://h/", "/dav/"), ("/dav", "/dav/a/")]
        {
            assert_eq!(tail(address, mount), Err(AddressError::Elsewhere), "{address}");
        }
        for address in
            ["", "a", "//h/dav/a", "ftp://h/dav/a", "/dav/%", "/dav/%zz", "/dav/%2", "http:///dav/a", "*"]
        {
            assert_eq!(tail(address, "/dav/"), Err(AddressError::Malformed), "{address}");
        }
    }

    #[test]
    fn what_leads_out_stays_in_the_tail_for_the_store_to_refuse() {
        assert_eq!(tail("/dav/../secret", "/dav/").as_deref(), Ok("../secret"));
        assert_eq!(tail("/dav/%2e%2e/secret", "/dav/").as_deref(), Ok("%2e%2e/secret"));
    }
}
