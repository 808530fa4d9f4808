//! Resolvers, against name servers that are not ours.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use medusa_site::MAX_LOADS;
use medusa_testkit::{Dnsmasq, OwnAddress, Server, Site, Unbound, Zone, wait};

use super::support::{MEDUSA, WEB, start, web};

/// A site whose script makes the resolver `dns`.
fn resolving(constructor: &str) -> (Site, Server) {
    let site = Site::script(&format!("dns = {constructor}"));
    let server = start(&site);
    (site, server)
}

/// A resolver that asks this server, with further options.
fn asking(server: SocketAddr, options: &str) -> (Site, Server) {
    resolving(&format!("medusa.dns.server('{server}', {{ {options} }})"))
}

/// The resolver's answer for a name, joined; or why there is nothing.
#[track_caller]
fn lookup(server: &Server, name: &str, kind: &str) -> String {
    server.eval(&format!(
        "local found, why = dns:lookup('{name}', '{kind}')
        if not found then return why end
        table.sort(found, function(a, b) return medusa.json.encode(a) < medusa.json.encode(b) end)
        for at, record in found do if type(record) == 'table' then found[at] = medusa.json.encode(record) end end
        return table.concat(found, ' ')"
    ))
}

/// The source of the answer to a question.
#[track_caller]
fn source(server: &Server, name: &str) -> String {
    server.eval(&format!("dns:lookup('{name}', 'A').source"))
}

/// The error of a statement that must fail.
#[track_caller]
fn error(server: &Server, statement: &str) -> String {
    let error = server.command(["eval", statement]).failure(1);
    error.lines().next().unwrap_or_default().to_owned()
}

/// A zone with a record of each kind.
fn everything() -> Zone {
    Zone {
        negative: 1,
        ..Zone::new(
            "example",
            &format!(
                "a 60 IN A 192.0.2.1\na 60 IN A 192.0.2.2\na 60 IN AAAA 2001:db8::1\n\
                 one 60 IN CNAME two\ntwo 60 IN CNAME a\nlost 60 IN CNAME nowhere\n\
                 mail 60 IN MX 10 a\nmail 60 IN MX 20 two\ntext 60 IN TXT \"v=1 \" \"two; pieces\"\n\
                 _web._tcp 60 IN SRV 1 2 8080 a\ncaa 60 IN CAA 128 issue \"ca.example\"\n\
                 large 60 IN TXT {}",
                "\"0123456789012345678901234567890123456789\" ".repeat(60)
            ),
        )
    }
}

fn reverse() -> [Zone; 2] {
    [
        Zone::new("2.0.192.in-addr.arpa", "1 60 IN PTR a.example.\n6 60 IN PTR 127.0.0.1."),
        Zone::new(
            "8.b.d.0.1.0.0.2.ip6.arpa",
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0 60 IN PTR a.example.",
        ),
    ]
}

fn zones() -> Vec<Zone> {
    std::iter::once(everything()).chain(reverse()).collect()
}

#[test]
fn records_of_every_kind() {
    let unbound = Unbound::start(&zones());
    let (_site, server) = asking(unbound.address(), "");
    assert_eq!(lookup(&server, "a.example", "A"), "192.0.2.1 192.0.2.2");
    assert_eq!(lookup(&server, "A.EXAMPLE.", "aaaa"), "2001:db8::1");
    assert_eq!(lookup(&server, "one.example", "A"), "192.0.2.1 192.0.2.2", "through two other names");
    assert_eq!(lookup(&server, "one.example", "CNAME"), "two.example");
    assert_eq!(lookup(&server, "text.example", "TXT"), "v=1 two; pieces");
    assert_eq!(lookup(&server, "example", "NS"), "dns.example");
    let mx = r#"{"exchange":"a.example","preference":10} {"exchange":"two.example","preference":20}"#;
    assert_eq!(lookup(&server, "mail.example", "MX"), mx);
    let srv = r#"{"port":8080,"priority":1,"target":"a.example","weight":2}"#;
    assert_eq!(lookup(&server, "_web._tcp.example", "SRV"), srv);
    let caa = r#"{"critical":true,"tag":"issue","value":"ca.example"}"#;
    assert_eq!(lookup(&server, "caa.example", "CAA"), caa);
    assert!(lookup(&server, "example", "SOA").contains(r#""rname":"root.example""#));
    // Without a type: the addresses of a host.
    let all =
        server.eval("local all = dns:lookup('one.example') table.sort(all) return table.concat(all, ' ')");
    assert_eq!(all, "192.0.2.1 192.0.2.2 2001:db8::1");
    assert_eq!(server.eval("dns:lookup('192.0.2.77').source"), "literal");
    // 2,400 bytes do not fit in a datagram.
    assert_eq!(lookup(&server, "large.example", "TXT").len(), 2400);
}

#[test]
fn names_of_addresses() {
    let unbound = Unbound::start(&zones());
    let (_site, server) = asking(unbound.address(), "");
    assert_eq!(server.eval("dns:ptr('192.0.2.1')"), "a.example");
    assert_eq!(server.eval("dns:ptr('2001:db8::1')"), "a.example");
    let none = server.eval("local name, why = dns:ptr('192.0.2.5') return tostring(name) .. ' ' .. why");
    assert_eq!(none, "nil 5.2.0.192.in-addr.arpa: no such name");
    let forged = server.eval("local name, why = dns:ptr('192.0.2.6') return tostring(name) .. ' ' .. why");
    assert_eq!(forged, "nil 192.0.2.6 has a name that is no host's");
}

#[test]
fn what_there_is_not_is_an_answer_for_as_long_as_its_zone_says() {
    let mut unbound = Unbound::start(&[everything()]);
    let (_site, server) = asking(unbound.address(), "");
    assert_eq!(lookup(&server, "b.example", "A"), "b.example: no such name");
    assert_eq!(lookup(&server, "mail.example", "A"), "mail.example has no record of type A");
    // As unbound has it: a name that leads nowhere is there.
    assert_eq!(lookup(&server, "lost.example", "A"), "lost.example has no record of type A");
    let cached = server.eval("dns:cache('b.example')[1].state");
    assert_eq!(cached, "negative");
    let mut with_b = everything();
    with_b.records.push_str("\nb 60 IN A 192.0.2.3\n");
    unbound.change(&with_b);
    // The zone's negative answers hold for a second, whatever the type.
    wait::until("the name is asked for again", || {
        (lookup(&server, "b.example", "A") == "192.0.2.3").then_some(())
    });
}

#[test]
fn an_answer_holds_as_long_as_its_server_says() {
    let zone = |address| Zone::new("example", &format!("short 1 IN A {address}\nlong 300 IN A {address}"));
    let mut unbound = Unbound::start(&[zone("192.0.2.1")]);
    let (_site, server) = asking(unbound.address(), "cache = { prefetch = false }");
    for name in ["short.example", "long.example"] {
        assert_eq!(lookup(&server, name, "A"), "192.0.2.1");
    }
    unbound.change(&zone("192.0.2.2"));
    wait::until("the short one is over", || {
        (lookup(&server, "short.example", "A") == "192.0.2.2").then_some(())
    });
    assert_eq!(lookup(&server, "long.example", "A"), "192.0.2.1");
    assert_eq!(source(&server, "long.example"), "cache");
    let ttl: f64 = server.eval("dns:lookup('long.example', 'A').ttl").parse().expect("a number");
    assert!(ttl > 200.0 && ttl < 300.0, "{ttl}");
    // Forgotten, it is asked for again.
    assert_eq!(server.eval("dns:flush('long.example')"), "1");
    assert_eq!(lookup(&server, "long.example", "A"), "192.0.2.2");
    assert!(server.eval("dns:flush()").parse::<u32>().expect("a number") >= 1);
    assert_eq!(server.eval("#dns:cache()"), "0");
}

#[test]
fn every_protocol_gets_the_same_answers() {
    let unbound = Unbound::start(&[everything()]);
    let ca = unbound.ca();
    let encrypted = |protocol, more: &str| format!("protocol = '{protocol}', ca = '{ca}'{more}");
    for (at, options) in [
        (unbound.address(), "protocol = 'tcp'".to_owned()),
        (unbound.tls(), encrypted("tls", "")),
        (unbound.tls(), encrypted("tls", ", tls_name = 'dns.example'")),
        (unbound.https(), encrypted("https", "")),
    ] {
        let (_site, server) = asking(at, &options);
        assert_eq!(lookup(&server, "a.example", "AAAA"), "2001:db8::1", "{options}");
        assert_eq!(lookup(&server, "large.example", "TXT").len(), 2400, "{options}");
    }
    // Whose certificate is not what it should be is not told what is asked for.
    for options in [encrypted("tls", ", tls_name = 'other.example'"), "protocol = 'tls'".to_owned()] {
        let (_site, server) = asking(unbound.tls(), &format!("{options}, attempts = 1, timeout = 1"));
        let why = error(&server, "dns:lookup('a.example', 'A')");
        assert!(why.contains("a.example: no name server could be asked"), "{why}");
    }
}

#[test]
fn while_its_server_is_away_it_says_what_it_knows_and_fails_fast_otherwise() {
    let zone = Zone::new("example", "a 1 IN A 192.0.2.1\nb 60 IN A 192.0.2.2\nc 60 IN A 192.0.2.3");
    let mut unbound = Unbound::start(&[zone]);
    let options = "timeout = 1, attempts = 1, cache = { prefetch = false, failure_ttl = 1 }";
    let (_site, server) = asking(unbound.address(), options);
    assert_eq!(lookup(&server, "a.example", "A"), "192.0.2.1");

    // It hears, and does not answer.
    unbound.freeze();
    wait::until("what is known is stale", || (source(&server, "a.example") == "stale").then_some(()));
    assert_eq!(lookup(&server, "a.example", "A"), "192.0.2.1");
    let why = error(&server, "dns:lookup('b.example', 'A')");
    assert!(why.contains("b.example: no name server answered in time"), "{why}");
    unbound.thaw();
    wait::until("it answers again", || {
        server.command(["eval", "dns:lookup('b.example', 'A')[1]"]).status.success().then_some(())
    });

    // It is gone.
    unbound.stop();
    let why = error(&server, "dns:lookup('c.example', 'A')");
    assert!(why.contains("c.example: no name server"), "{why}");
    let begun = Instant::now();
    let result = server.eval("local times = 0 for _ = 1, 100 do if not pcall(dns.lookup, dns, 'c.example', 'A') then times += 1 end end return times");
    assert_eq!(result, "100");
    assert!(begun.elapsed() < Duration::from_secs(15), "a failure is remembered: {:?}", begun.elapsed());
    assert_eq!(lookup(&server, "a.example", "A"), "192.0.2.1", "also now");
    unbound.start_again();
    wait::until("it is back", || {
        server.command(["eval", "dns:lookup('c.example', 'A')[1]"]).status.success().then_some(())
    });
    let servers = server.documents("dns.server");
    assert_eq!(servers.len(), 1, "{servers:?}");
    assert!(
        servers[0]["stale"].as_u64() > Some(0) && servers[0]["failures"].as_u64() > Some(1),
        "{servers:?}"
    );
}

#[test]
fn the_second_server_is_asked_when_the_first_does_not_answer() {
    let mut first = Unbound::start(&[Zone::new("example", "a 60 IN A 192.0.2.1\nb 60 IN A 192.0.2.1")]);
    let second = Dnsmasq::start("192.0.2.2 a.example b.example", &[]);
    let (_site, server) = resolving(&format!(
        "medusa.dns.server({{ '{}', '{}' }}, {{ timeout = 0.5 }})",
        first.address(),
        second.address()
    ));
    assert_eq!(lookup(&server, "a.example", "A"), "192.0.2.1");
    first.stop();
    assert_eq!(lookup(&server, "b.example", "A"), "192.0.2.2");
}

/// `dnsmasq` says less than it might: no SOA with what does not exist.
#[test]
fn a_small_networks_server_will_do() {
    let mut dnsmasq =
        Dnsmasq::start("192.0.2.1 a.example\n2001:db8::1 a.example", &["--cname=c.example,a.example"]);
    let (_site, server) = asking(dnsmasq.address(), "");
    assert_eq!(lookup(&server, "c.example", "A"), "192.0.2.1");
    assert_eq!(lookup(&server, "a.example", "AAAA"), "2001:db8::1");
    assert_eq!(server.eval("dns:ptr('192.0.2.1')"), "a.example");
    assert_eq!(lookup(&server, "none.example", "A"), "none.example: no such name");
    let refused = error(&server, "dns:lookup('www.elsewhere.org', 'A')");
    assert!(refused.contains("www.elsewhere.org: the name server answered REFUSED"), "{refused}");
    dnsmasq.change("192.0.2.1 a.example\n192.0.2.9 none.example");
    server.eval("dns:flush()");
    assert_eq!(lookup(&server, "none.example", "A"), "192.0.2.9");
}

#[test]
fn the_systems_way_is_by_its_files() {
    // Nobody is there: what follows comes from the files alone.
    let nobody = OwnAddress::claim();
    let site = Site::script("dns = medusa.dns.system { resolv_conf = 'resolv.conf', hosts = 'hosts' }")
        .file("resolv.conf", format!("nameserver {}\noptions timeout:1 attempts:1\n", nobody.ip()))
        .file("hosts", "192.0.2.50 hidden.corp.example local\n");
    let server = start(&site);
    assert_eq!(server.eval("dns:lookup('local')[1]"), "192.0.2.50");
    assert_eq!(server.eval("dns:lookup('hidden.corp.example')[1]"), "192.0.2.50");
    assert_eq!(server.eval("dns:ptr('192.0.2.50')"), "hidden.corp.example");
    assert_eq!(server.eval("dns:lookup('localhost', 'A')[1]"), "127.0.0.1");
    let why = error(&server, "dns:lookup('a.example', 'A')");
    assert!(why.contains("a.example: no name server"), "{why}");
    site.write("hosts", "192.0.2.51 local\n");
    wait::until("the hosts file is read again", || {
        (server.eval("dns:lookup('local')[1]") == "192.0.2.51").then_some(())
    });
}

#[test]
fn a_reload_keeps_what_is_known_and_the_status_shows_it() {
    let unbound = Unbound::start(&[everything()]);
    let address = unbound.address();
    let (site, server) = asking(address, "");
    assert_eq!(source(&server, "a.example"), "server");
    server.reload();
    assert_eq!(source(&server, "a.example"), "cache");
    let resolver = server.documents("dns.server").remove(0);
    assert_eq!(resolver["name"], address.to_string());
    assert_eq!((&resolver["entries"], &resolver["hits"]), (&1.into(), &1.into()), "{resolver}");
    assert!(server.eval("dns:status()").contains(&address.to_string()));
    let to = &resolver["children"][0];
    assert!(to["queries"].as_u64() == Some(1) && to["answers"].as_u64() == Some(1), "{to}");
    assert!(to["mean_latency"].as_f64() > Some(0.0), "{to}");
    // With other arguments it is another one, and the old one is gone with its script: when nobody can go back to that.
    site.write("site.luau", format!("dns = medusa.dns.server('{address}', {{ attempts = 3 }})"));
    server.reload();
    assert_eq!(source(&server, "a.example"), "server");
    assert_eq!(server.documents("dns.server").len(), 2);
    (0..MAX_LOADS).for_each(|_| server.reload());
    wait::until("the old one is gone", || (server.documents("dns.server").len() == 1).then_some(()));
}

#[test]
fn fetch_finds_hosts_by_the_sites_resolver() {
    let origin_site = web("web:mount('/', function(req) return `hello from {req.host}` end)");
    let origin = start(&origin_site);
    let port = origin.address().port();
    let unbound = Unbound::start(&[Zone::new("example", "www 60 IN A 127.0.0.1")]);
    let resolver = format!("medusa.dns.server('{}')", unbound.address());
    let script = |using: &str| {
        format!("{WEB} dns = {resolver} {using} web:mount('/', medusa.handler.script('fetch.luau'))")
    };
    let site = Site::script(&script("medusa.dns.use(dns)")).file(
        "fetch.luau",
        format!("return function() return medusa.fetch('http://www.example:{port}/').body end"),
    );
    let server = start(&site);
    let url = |host: &str| format!("medusa.fetch('http://{host}:{port}/').body");
    assert_eq!(server.eval(&url("www.example")), "hello from www.example");
    assert_eq!(server.documents("site")[0]["resolver"], unbound.address().to_string());
    assert_eq!(server.get("/").text(), "hello from www.example", "in a handler file, too");
    let why = error(&server, &url("pinned.example"));
    assert!(why.contains("pinned.example: no such name"), "{why}");

    server.eval("dns:pin('pinned.example', { '127.0.0.1' })");
    assert_eq!(server.eval(&url("pinned.example")), "hello from pinned.example");
    assert_eq!(source(&server, "pinned.example"), "pinned");
    assert_eq!(server.eval("dns:unpin('pinned.example')"), "true");
    assert_eq!(server.eval("dns:unpin('pinned.example')"), "false");
    server.eval("dns:pin('pinned.example', '192.0.2.1', 0.05)");
    wait::until("the pin is over", || {
        let found = server.eval("dns:lookup('pinned.example') or 'gone'");
        (found == "gone").then_some(())
    });

    // Hosts of their own each, as connections that are open are used again.
    for host in ["one.example", "two.example", "three.example", "four.example"] {
        server.eval(&format!("dns:pin('{host}', '127.0.0.1')"));
    }
    let why = error(&server, "medusa.dns.use(nil) error('on second thought')");
    assert!(why.contains("on second thought"), "{why}");
    assert_eq!(server.eval(&url("one.example")), "hello from one.example", "a change that fails is none");
    server.eval("medusa.dns.use(nil)");
    let why = error(&server, &url("two.example"));
    assert!(why.contains("two.example"), "the system knows no pins: {why}");
    server.eval("medusa.dns.use(dns)");
    assert_eq!(server.eval(&url("three.example")), "hello from three.example");
    // A script that does not ask for it any more has the system's.
    site.write("site.luau", script(""));
    server.reload();
    assert_eq!(server.eval(&url("localhost")), "hello from localhost");
    error(&server, &url("four.example"));
}

#[test]
fn what_makes_no_sense_is_refused_with_its_line() {
    let refused = |script: &str, why: &str| {
        let site = Site::script(&format!("\n{script}"));
        let error = MEDUSA.run([OsStr::new("check"), site.path().as_os_str()]).failure(1);
        assert!(error.contains("site.luau:2") && error.contains(why), "{script}:\n{error}");
    };
    let dns = "medusa.dns.server('192.0.2.1')";
    refused("medusa.dns.server('dns.example')", "\"dns.example\" is not the address of a name server");
    refused("medusa.dns.server()", "the address of a name server must be a string, not nil");
    refused("medusa.dns.server({})", "a resolver needs a name server");
    let with = |options: &str| format!("medusa.dns.server('192.0.2.1', {{ {options} }})");
    refused(&with("protocol = 'quic'"), "\"quic\" is not a protocol of name servers");
    refused(&with("protocol = 'tls', ca = 'none.pem'"), "none.pem");
    refused(&with("ca = 'ca.pem'"), "`ca` has no meaning for the protocol udp");
    refused(&with("timeout = -1"), "`timeout` must be a number of seconds, 0 or more, not -1");
    refused(&with("timeout = 3600"), "`timeout` is 3600s: it must be between");
    refused(&with("attempts = 1.5"), "`attempts` must be a whole number, not 1.5");
    refused(&with("cache = { size = 1 }"), "there is no option \"size\"");
    refused("medusa.dns.system { hosts = 5 }", "`hosts` must be a string");
    refused("medusa.dns.use('dns')", "expected a resolver, from medusa.dns, found \"dns\"");
    refused(&format!("{dns}:lookup('a', 'ANY')"), "\"ANY\" is not a type of DNS record");
    refused(&format!("{dns}:lookup('a..b', 'A')"), "\"a..b\" cannot be looked up");
    refused(&format!("{dns}:lookup(5)"), "the name must be a string, not 5");
    refused(&format!("{dns}:ptr('a.example')"), "\"a.example\" is not an address");
    refused(&format!("{dns}:pin('a', 'b')"), "\"b\" is not an address");
    refused(&format!("{dns}:pin('a', {{}})"), "cannot pin \"a\" to no address at all");
    refused(&format!("{dns}:pin('a', '::1', -1)"), "the ttl must be a number of seconds");
    let resolving = |arguments: &str| format!("medusa.log.resolving({arguments})");
    refused(&resolving("'dns', medusa.log.file('-')"), "expected a resolver, from medusa.dns, found \"dns\"");
    refused(&resolving(&format!("{dns}, 'a.log'")), "expected a log, from medusa.log, found \"a.log\"");
    let log = |options: &str| resolving(&format!("{dns}, medusa.log.file('-'), {{ {options} }}"));
    refused(&log("deadline = 11"), "`deadline` must be a number of seconds from 0 to 10, not 11");
    refused(&log("verified = true"), "there is no option \"verified\"");
}
