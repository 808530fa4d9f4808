//! Headers of both versions, whole, in pieces and damaged.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::*;

fn inet(source: &str, destination: &str) -> Header {
    let addr = |text: &str| text.parse().expect("an address");
    Header::Inet { source: addr(source), destination: addr(destination) }
}

/// Reads `bytes`, a whole header.
fn whole(bytes: &[u8]) -> Result<Header, Error> {
    match parse(bytes)? {
        Parsed::Complete { header, len } => {
            assert_eq!(len, bytes.len());
            Ok(header)
        }
        Parsed::Incomplete => panic!("{bytes:?} is incomplete"),
    }
}

/// A header of version 2.
fn v2(version_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("short");
    [&v2::SIGNATURE[..], &[version_command, family], &length.to_be_bytes(), rest].concat()
}

#[test]
fn the_lines_of_the_specification() {
    for (line, header) in [
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            inet("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        ("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", inet("192.168.0.1:56324", "192.168.0.11:443")),
        ("PROXY TCP6 2001:db8::1 ::1 1 0\r\n", inet("[2001:db8::1]:1", "[::1]:0")),
        ("PROXY UNKNOWN\r\n", Header::Unknown),
        ("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", Header::Unknown),
    ] {
        assert_eq!(whole(line.as_bytes()), Ok(header), "{line}");
    }
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
    assert_eq!(longest.len(), 107);
    assert_eq!(whole(longest.as_bytes()), Ok(Header::Unknown));
}

#[test]
fn lines_with_two_meanings_are_refused() {
    for line in [
        "PROXY ",
        "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 ",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3",
        "PROXY TCP4 192.0.2.1  192.0.2.2 1 2",
        "PROXY TCP4 192.0.2.01 192.0.2.2 1 2",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 2",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 ",
        "PROXY TCP4 ::1 ::1 1 2",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2",
        "PROXY tcp4 192.0.2.1 192.0.2.2 1 2",
        "PROXY UDP4 192.0.2.1 192.0.2.2 1 2",
        "PROXY UNKNOWNX",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        "PROXY TCP4\t192.0.2.1 192.0.2.2 1 2",
    ] {
        let refused = parse(format!("{line}\r\n").as_bytes());
        assert_eq!(refused, Err(Error::BadLine(line.to_owned())));
    }
    assert!(matches!(parse(b"PROXY TCP4 \xff\r\n"), Err(Error::BadLine(_))));
    let endless = "PROXY UNKNOWN ".to_owned() + &"x".repeat(1000);
    assert_eq!(parse(endless.as_bytes()), Err(Error::TooLong(107)));
    assert_eq!(parse(&endless.as_bytes()[..107]), Err(Error::TooLong(107)));
    assert_eq!(parse(&endless.as_bytes()[..106]), Ok(Parsed::Incomplete));
}

#[test]
fn what_is_no_header_is_seen_at_its_first_byte() {
    for bytes in
        [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"PUT ", b"PROXX", b"proxy ", b"\r\n\r\n\0\r\nQUIX"]
    {
        assert_eq!(parse(bytes), Err(Error::NotAHeader), "{bytes:?}");
    }
    assert_eq!(parse(b""), Ok(Parsed::Incomplete));
}

#[test]
fn binary_headers_of_every_family() {
    let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];
    let expected = inet("192.0.2.1:56324", "198.51.100.1:443");
    assert_eq!(whole(&v2(0x21, 0x11, &v4)), Ok(expected));
    assert_eq!(whole(&v2(0x21, 0x12, &v4)), Ok(expected), "over datagrams");
    let extensions = [&v4[..], b"\x04\x00\x03abc\x01\x00\x02h2"].concat();
    assert_eq!(whole(&v2(0x21, 0x11, &extensions)), Ok(expected));

    let mut v6 = [0; 36];
    (v6[0], v6[1], v6[15], v6[31], v6[33], v6[35]) = (0x20, 0x01, 1, 2, 3, 4);
    assert_eq!(whole(&v2(0x21, 0x21, &v6)), Ok(inet("[2001::1]:3", "[::2]:4")));
    assert_eq!(whole(&v2(0x21, 0x31, &[0; 216])), Ok(Header::Unix));
    assert_eq!(whole(&v2(0x21, 0x00, b"")), Ok(Header::Unknown));
    assert_eq!(whole(&v2(0x21, 0x00, b"whatever")), Ok(Header::Unknown));
    for family in [0x00, 0x11, 0x99] {
        assert_eq!(whole(&v2(0x20, family, b"abc")), Ok(Header::Local));
    }
}

#[test]
fn binary_headers_that_can_not_be_are_refused() {
    assert_eq!(parse(&v2(0x11, 0x11, &[0; 12])), Err(Error::BadVersion(1)));
    assert_eq!(parse(&v2(0x22, 0x11, &[0; 12])), Err(Error::BadCommand(2)));
    for family in [0x01, 0x10, 0x13, 0x41, 0xff] {
        assert_eq!(parse(&v2(0x21, family, &[0; 300])), Err(Error::BadFamily(family)));
    }
    for (family, needed) in [(0x11, 12), (0x22, 36), (0x31, 216)] {
        let short = v2(0x21, family, &vec![0; needed - 1]);
        assert_eq!(parse(&short), Err(Error::ShortAddresses(needed - 1)));
    }
    assert!(whole(&v2(0x21, 0x11, &[0; MAX_LEN - 16])).is_ok());
    // Told before the bytes come.
    let long = v2(0x21, 0x11, &[0; MAX_LEN - 15]);
    assert_eq!(parse(&long[..16]), Err(Error::TooLong(MAX_LEN)));
}

fn header_bytes() -> impl Strategy<Value = (Vec<u8>, Header)> {
    let v4 = || any::<[u8; 4]>().prop_map(IpAddr::from);
    let v6 = || any::<[u8; 16]>().prop_map(IpAddr::from);
    let pairs = prop_oneof![(v4(), v4()), (v6(), v6())];
    let inets = (pairs, any::<u16>(), any::<u16>()).prop_map(|((source, destination), from, to)| {
        (SocketAddr::new(source, from), SocketAddr::new(destination, to))
    });
    let extensions = proptest::collection::vec(any::<u8>(), 0..400);
    (inets, extensions, any::<bool>()).prop_map(|((source, destination), extensions, text)| {
        let bytes = if text {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (source.port(), destination.port());
            format!("PROXY {family} {} {} {from} {to}\r\n", source.ip(), destination.ip()).into_bytes()
        } else {
            let octets = |ip| match ip {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
            let rest = [octets(source.ip()), octets(destination.ip()), ports, extensions].concat();
            v2(0x21, if source.is_ipv4() { 0x11 } else { 0x21 }, &rest)
        };
        (bytes, Header::Inet { source, destination })
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_and_nothing_behind_it((bytes, header) in header_bytes(), behind: Vec<u8>) {
        let len = bytes.len();
        let all = [bytes, behind].concat();
        prop_assert_eq!(parse(&all), Ok(Parsed::Complete { header, len }));
        for end in 0..len {
            prop_assert_eq!(parse(all.get(..end).expect("within")), Ok(Parsed::Incomplete), "{} of {}", end, len);
        }
    }

    #[test]
    fn bytes_never_panic_and_never_wait_for_long(
        bytes in prop_oneof![
            any::<Vec<u8>>(),
            proptest::collection::vec(any::<u8>(), 0..700).prop_map(|rest| [&v2::SIGNATURE[..], &rest].concat()),
            "PROXY [ -~\r\n]{0,200}".prop_map(String::into_bytes),
        ],
    ) {
        match parse(&bytes) {
            Ok(Parsed::Complete { len, .. }) => prop_assert!(len <= bytes.len() && len <= MAX_LEN),
            Ok(Parsed::Incomplete) => prop_assert!(bytes.len() < MAX_LEN),
            Err(_) => {}
        }
    }
}
