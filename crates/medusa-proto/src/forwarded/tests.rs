//! The addresses requests come from, and those that only say so.

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn trusted() -> TrustedProxies {
    TrustedProxies::parse(["10.0.0.0/8", "2001:db8:1::/48"]).expect("good")
}

fn bytes<L: AsRef<[u8]>>(lines: &[L]) -> Vec<&[u8]> {
    lines.iter().map(AsRef::as_ref).collect()
}

/// The client's address and scheme.
fn client(
    peer: &str,
    forwarded: &[&str],
    x_forwarded_for: &[&str],
    x_forwarded_proto: &[&str],
) -> (String, Option<Scheme>) {
    let lines = [forwarded, x_forwarded_for, x_forwarded_proto].map(bytes);
    let [forwarded, x_forwarded_for, x_forwarded_proto] = lines.each_ref().map(Vec::as_slice);
    let fields = ForwardedFields { forwarded, x_forwarded_for, x_forwarded_proto };
    let client = client_behind(Some(ip(peer)), &trusted(), &fields);
    (client.ip.expect("an address").to_string(), client.proto)
}

fn address(peer: &str, x_forwarded_for: &[&str]) -> String {
    client(peer, &[], x_forwarded_for, &[]).0
}

#[test]
fn an_untrusted_peer_is_the_client_whatever_it_says() {
    let client_seen =
        client("192.0.2.7", &["for=10.0.0.1;proto=https"], &["10.0.0.1, 127.0.0.1"], &["https"]);
    assert_eq!(client_seen, ("192.0.2.7".to_owned(), None));
    let client_seen = client("192.0.2.7", &["for=10.0.0.1;proto=https;host=x"], &[], &["https"]);
    assert_eq!(client_seen, ("192.0.2.7".to_owned(), None));
}

#[test]
fn the_first_untrusted_address_from_the_end_is_the_client() {
    for (list, expected) in [
        (&["198.51.100.1"][..], "198.51.100.1"),
        (&["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        (&["1.1.1.1, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        (&["1.1.1.1", "198.51.100.1", "10.0.0.2, 10.0.0.3"], "198.51.100.1"),
        (&["10.9.9.9, 198.51.100.1"], "198.51.100.1"),
        (&["198.51.100.1:4711, [2001:db8:1::5]:80"], "198.51.100.1"),
        (&["2001:db8:2::1,2001:db8:1::5"], "2001:db8:2::1"),
        (&["::ffff:198.51.100.1"], "198.51.100.1"),
        (&["198.51.100.1,,", " , "], "198.51.100.1"),
        // All of them trusted: the first one asked.
        (&["10.0.0.9, 10.0.0.2"], "10.0.0.9"),
        (&[""], "10.0.0.1"),
    ] {
        assert_eq!(address("10.0.0.1", list), expected, "{list:?}");
        assert_eq!(address("::ffff:10.0.0.1", list), expected, "{list:?}");
    }
}

#[test]
fn what_is_no_address_ends_the_walk_at_who_wrote_it() {
    for list in [
        &["1.1.1.1, unknown"][..],
        &["1.1.1.1, _hidden"],
        &["1.1.1.1, 198.51.100.1 10.0.0.2"],
        &["1.1.1.1, \"198.51.100.1\""],
        &["1.1.1.1, <script>"],
        &["1.1.1.1, 256.0.0.1"],
    ] {
        assert_eq!(address("10.0.0.1", list), "10.0.0.1", "{list:?}");
    }
    assert_eq!(address("10.0.0.1", &["1.1.1.1, unknown, 10.0.0.2"]), "10.0.0.2");
}

#[test]
fn forwarded_says_the_same_with_more_words() {
    let https = Some(Scheme::Https);
    for (lines, expected) in [
        (&["for=198.51.100.1;proto=https"][..], ("198.51.100.1", https)),
        (
            &["for=1.1.1.1;proto=http, for=198.51.100.1;proto=https, for=10.0.0.2;proto=http"],
            ("198.51.100.1", https),
        ),
        (&["for=1.1.1.1", "For=\"[2001:db8:2::1]:99\";Proto=HTTPS"], ("2001:db8:2::1", https)),
        (&["for=1.1.1.1;proto=http, for=unknown;proto=https"], ("10.0.0.1", https)),
        (&["for=198.51.100.1"], ("198.51.100.1", None)),
        // Quotes that a client left open do not swallow what the proxy wrote.
        (&["for=\"1.1.1.1, for=198.51.100.1;proto=https"], ("198.51.100.1", https)),
        (&["for=\", for=\"198.51.100.1\";proto=https"], ("198.51.100.1", https)),
        (&["for=198.51.100.1;for=1.1.1.1"], ("10.0.0.1", None)),
    ] {
        let found = client("10.0.0.1", lines, &[], &[]);
        assert_eq!(found, (expected.0.to_owned(), expected.1), "{lines:?}");
    }
}

#[test]
fn a_forwarded_field_of_the_clients_own_is_not_read_beside_the_other() {
    let found = client("10.0.0.1", &["for=1.1.1.1;proto=https"], &["198.51.100.1"], &[]);
    assert_eq!(found, ("198.51.100.1".to_owned(), None));
    // Even if there is nothing in the one that proxies write.
    let found = client("10.0.0.1", &["for=1.1.1.1;proto=https"], &[""], &[]);
    assert_eq!(found, ("10.0.0.1".to_owned(), None));
}

#[test]
fn a_scheme_is_read_beside_its_address_or_from_the_end() {
    let (http, https) = (Some(Scheme::Http), Some(Scheme::Https));
    for (addresses, schemes, expected) in [
        ("198.51.100.1", "https", https),
        ("198.51.100.1", "HTTP", http),
        ("198.51.100.1", "wss", None),
        ("198.51.100.1", "", None),
        // Two proxies that add, and a client that tried.
        ("198.51.100.1, 10.0.0.2", "https, http", https),
        ("1.1.1.1, 198.51.100.1, 10.0.0.2", "http, https, http", https),
        // Two addresses and one scheme, and the other way round: what the nearest one wrote.
        ("198.51.100.1, 10.0.0.2", "https", https),
        ("198.51.100.1", "https, http", http),
    ] {
        let found = client("10.0.0.1", &[], &[addresses], &[schemes]);
        assert_eq!(found, ("198.51.100.1".to_owned(), expected), "{addresses} {schemes}");
    }
    // Without addresses there is still the scheme; with `Forwarded`, the one in there counts.
    assert_eq!(client("10.0.0.1", &[], &[], &["https"]), ("10.0.0.1".to_owned(), https));
    let found = client("10.0.0.1", &["for=198.51.100.1;proto=http"], &[], &["https"]);
    assert_eq!(found, ("198.51.100.1".to_owned(), http));
}

#[test]
fn a_proxy_on_this_machine_may_use_a_unix_socket() {
    let fields = ForwardedFields { x_forwarded_for: &[b"198.51.100.1"], ..ForwardedFields::default() };
    let trusted = TrustedProxies::parse(["unix"]).expect("good");
    assert_eq!(client_behind(None, &trusted, &fields).ip, Some(ip("198.51.100.1")));
    assert_eq!(client_behind(None, &TrustedProxies::default(), &fields).ip, None);
}

#[test]
fn the_host_is_the_one_that_the_client_asked_for() {
    let fields = ForwardedFields {
        forwarded: &[b"for=198.51.100.1;host=\"Shop.example\", for=10.0.0.2;host=inner.example"],
        ..ForwardedFields::default()
    };
    let client = client_behind(Some(ip("10.0.0.1")), &trusted(), &fields);
    assert_eq!(client.host.as_deref(), Some("shop.example"));
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

proptest! {
    /// The attack: whatever the client sends, the proxies' own entries decide.
    #[test]
    fn nothing_a_client_sends_changes_its_address(
        sent in proptest::collection::vec("[ -~]{0,40}", 0..3),
        real in addresses(),
        hops in 0..3_u8,
        same_line: bool,
    ) {
        prop_assume!(!trusted().trusts(Some(real)));
        let real = real.to_canonical();
        let (mut x_forwarded_for, mut forwarded) = (sent.clone(), sent);
        for hop in 0..=hops {
            let address: IpAddr = if hop == 0 { real } else { [10, 0, 0, hop].into() };
            x_forwarded_for.push(address.to_string());
            let element = match address {
                IpAddr::V4(ip) => format!("for={ip};proto=https"),
                IpAddr::V6(ip) => format!("for=\"[{ip}]:443\";proto=https"),
            };
            // Some proxies add a line, others to the last line.
            match forwarded.last_mut() {
                Some(line) if same_line => *line = format!("{line}, {element}"),
                _ => forwarded.push(element),
            }
        }
        let (lines, trusted) = (bytes(&x_forwarded_for), trusted());
        let fields = ForwardedFields { x_forwarded_for: &lines, ..ForwardedFields::default() };
        prop_assert_eq!(client_behind(Some(ip("10.0.0.9")), &trusted, &fields).ip, Some(real));

        let lines = bytes(&forwarded);
        let fields = ForwardedFields { forwarded: &lines, ..ForwardedFields::default() };
        let client = client_behind(Some(ip("10.0.0.9")), &trusted, &fields);
        prop_assert_eq!((client.ip, client.proto), (Some(real), Some(Scheme::Https)), "{:?}", forwarded);
    }

    #[test]
    fn bytes_never_panic(peer in addresses(), a: Vec<Vec<u8>>, b: Vec<Vec<u8>>, c: Vec<Vec<u8>>) {
        let everyone = TrustedProxies::parse(["0.0.0.0/0", "::/0"]).expect("good");
        let (a, b, c) = (bytes(&a), bytes(&b), bytes(&c));
        let fields = ForwardedFields { forwarded: &a, x_forwarded_for: &b, x_forwarded_proto: &c };
        let _ = client_behind(Some(peer), &everyone, &fields);
        let fields = ForwardedFields { x_forwarded_for: &[], ..fields };
        let _ = client_behind(Some(peer), &everyone, &fields);
    }
}
