//! Whom proxies speak for, and which are believed.

#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use medusa_proto::forwarded::{ForwardedFields, TrustedProxies, client_behind};

#[derive(Debug, arbitrary::Arbitrary)]
struct Input<'a> {
    peer: Option<IpAddr>,
    trusted: Vec<&'a str>,
    forwarded: Vec<&'a [u8]>,
    x_forwarded_for: Vec<&'a [u8]>,
    x_forwarded_proto: Vec<&'a [u8]>,
}

fuzz_target!(|input: Input<'_>| {
    let fields = ForwardedFields {
        forwarded: &input.forwarded,
        x_forwarded_for: &input.x_forwarded_for,
        x_forwarded_proto: &input.x_forwarded_proto,
    };
    let peer = input.peer.map(|ip| ip.to_canonical());
    // Of lists that are none, this machine's networks: what follows is walked then.
    let trusted = TrustedProxies::parse(&input.trusted)
        .or_else(|_not_one| TrustedProxies::parse(["private", "unix"]))
        .expect("names");
    let client = client_behind(input.peer, &trusted, &fields);
    if !trusted.trusts(peer) {
        assert_eq!((client.ip, client.proto, &client.host), (peer, None, &None), "nobody is believed");
    }
    if let Some(host) = &client.host {
        assert!(!host.is_empty() && !host.contains(['/', ' ', '\r', '\n', '\0']), "{host:?}");
    }
    assert_eq!(client.ip, client.ip.map(|ip| ip.to_canonical()));
    let nobody = client_behind(input.peer, &TrustedProxies::default(), &fields);
    assert_eq!((nobody.ip, nobody.proto), (peer, None));
});
