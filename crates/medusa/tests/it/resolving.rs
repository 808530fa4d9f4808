//! Host names in the access log, by a name server that is not ours.

use std::time::{Duration, Instant};

use medusa_testkit::{Server, Site, Unbound, Zone, memory, wait};

use super::support::start;

/// The names of some clients, and the addresses of these names: one of them is a lie.
fn zones() -> [Zone; 3] {
    [
        Zone::new(
            "2.0.192.in-addr.arpa",
            "1 60 IN PTR one.example.\n2 60 IN PTR liar.example.\n3 60 IN PTR 10.0.0.1.",
        ),
        Zone::new(
            "8.b.d.0.1.0.0.2.ip6.arpa",
            "6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0 60 IN PTR six.example.",
        ),
        Zone::new("example", "one 60 IN A 192.0.2.1\nliar 60 IN A 192.0.2.99\nsix 60 IN AAAA 2001:db8::6"),
    ]
}

/// A server that logs the names of its clients, as this name server has them. A proxy says who they are.
fn logging(unbound: &Unbound, resolver: &str, log: &str) -> (Site, Server) {
    let site = Site::script(&format!(
        "dns = medusa.dns.server('{}', {{ {resolver} }})
        web = medusa.http.server {{ listen = '127.0.0.1:0', trusted_proxies = {{ '127.0.0.1' }},
            log = medusa.log.resolving(dns, medusa.log.file('access.log', {{ format = 'common' }}), {{ {log} }}) }}
        web:mount('/', function() return 'hello' end)",
        unbound.address()
    ));
    let server = start(&site);
    (site, server)
}

/// A request of the client with this address.
#[track_caller]
fn ask(server: &Server, client: &str) {
    let request = format!("GET /{client} HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: {client}\r\n\r\n");
    assert_eq!(server.send(request).text(), "hello");
}

/// Waits until so many lines are written, and returns who asked, as logged, by what they asked for.
#[track_caller]
fn clients(site: &Site, server: &Server, count: u64) -> Vec<String> {
    wait::until("the lines are written", || (server.number("log.file", "written") >= count).then_some(()));
    let who = |line: &str| {
        let (who, rest) = line.split_once(' ').expect(line);
        let (_, path) = rest.split_once("GET /").expect(line);
        format!("{} {who}", path.split(' ').next().expect(line))
    };
    let mut clients: Vec<String> = site.read("access.log").lines().map(who).collect();
    clients.sort();
    clients
}

#[test]
fn names_are_in_the_log() {
    let unbound = Unbound::start(&zones());
    let (site, server) = logging(&unbound, "", "deadline = 5");
    let asked = ["192.0.2.1", "2001:db8::6", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
    for client in asked {
        ask(&server, client);
    }
    let names = [
        "192.0.2.1 one.example",
        "192.0.2.2 liar.example",
        "192.0.2.3 192.0.2.3",
        "192.0.2.4 192.0.2.4",
        "2001:db8::6 six.example",
    ];
    assert_eq!(clients(&site, &server, 5), names);
    // What is known is not asked for again.
    let asked_before = server.number("dns.server", "misses");
    ask(&server, "192.0.2.1");
    let names = clients(&site, &server, 6);
    assert_eq!(names[..2], ["192.0.2.1 one.example"; 2]);
    assert_eq!(server.number("dns.server", "misses"), asked_before);
    // A reload leaves it as it is.
    server.reload();
    let sink = server.documents("log.resolving").remove(0);
    assert_eq!(
        (&sink["named"], &sink["nameless"], &sink["late"]),
        (&4.into(), &2.into(), &0.into()),
        "{sink}"
    );
}

#[test]
fn a_name_that_is_not_confirmed_is_not_in_the_log() {
    let unbound = Unbound::start(&zones());
    let (site, server) = logging(&unbound, "", "deadline = 5, verify = true");
    // The second time what is known decides.
    for round in 1..=2_u64 {
        for client in ["192.0.2.1", "2001:db8::6", "192.0.2.2", "192.0.2.4"] {
            ask(&server, client);
        }
        let mut names = clients(&site, &server, 4 * round);
        names.dedup();
        let expected = [
            "192.0.2.1 one.example",
            "192.0.2.2 192.0.2.2",
            "192.0.2.4 192.0.2.4",
            "2001:db8::6 six.example",
        ];
        assert_eq!(names, expected, "round {round}");
    }
}

/// The name server does not answer: requests do not notice, lines wait until the deadline, and nothing is lost.
#[test]
fn a_silent_name_server_holds_nobody_up() {
    let mut unbound = Unbound::start(&zones());
    // Its resolver is more patient than the log.
    let (site, server) = logging(&unbound, "timeout = 30, attempts = 1", "deadline = 3");
    ask(&server, "192.0.2.1");
    assert_eq!(clients(&site, &server, 1), ["192.0.2.1 one.example"]);
    unbound.freeze();
    let begun = Instant::now();
    ask(&server, "192.0.2.2");
    ask(&server, "192.0.2.1");
    let names = clients(&site, &server, 3);
    assert_eq!(
        names,
        ["192.0.2.1 one.example", "192.0.2.1 one.example", "192.0.2.2 192.0.2.2"],
        "at the deadline"
    );
    assert!(begun.elapsed() >= Duration::from_secs(3));
    assert_eq!(server.number("log.resolving", "late"), 1);
    // What waits is written when the server ends.
    ask(&server, "192.0.2.4");
    server.terminate();
    assert!(site.read("access.log").contains("192.0.2.4 - - ["), "{}", site.read("access.log"));
}

#[test]
fn a_name_server_that_is_gone_costs_names_and_no_lines() {
    let mut unbound = Unbound::start(&zones());
    let (site, server) = logging(&unbound, "timeout = 0.2, attempts = 1, cache = { failure_ttl = 1 }", "");
    unbound.stop();
    let mut client = server.connect();
    for n in 0..500 {
        let address = format!("192.0.2.{}", n % 250);
        client.send(format!("GET /{address} HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: {address}\r\n\r\n"));
        assert_eq!(client.response().text(), "hello");
    }
    let names = clients(&site, &server, 500);
    assert_eq!(names.len(), 500);
    assert!(
        names.iter().all(|line| line.split_once(' ').is_some_and(|(asked, who)| asked == who)),
        "{names:?}"
    );
    unbound.start_again();
    wait::until("names come back", || {
        let before = server.number("log.file", "written");
        ask(&server, "192.0.2.1");
        clients(&site, &server, before + 1).contains(&"192.0.2.1 one.example".to_owned()).then_some(())
    });
    assert_eq!(server.number("log.file", "lost"), 0);
}

/// As many clients as there may be on a bad day, each with an address of its own.
#[test]
fn many_clients_under_load_are_named_or_not_but_all_logged() {
    const CLIENTS: u32 = 30_000;
    const AT_ONCE: usize = 500;
    let unbound = Unbound::start(&[Zone::new("10.in-addr.arpa", "* 60 IN PTR host.example.")]);
    let (site, server) = logging(&unbound, "", "");
    let before = memory::resident(server.pid());
    let mut client = server.connect();
    let addresses: Vec<String> =
        (0..CLIENTS).map(|n| format!("10.{}.{}.{}", n >> 16, (n >> 8) & 255, n & 255)).collect();
    for addresses in addresses.chunks(AT_ONCE) {
        let requests = addresses.iter().map(|address| {
            format!("GET /{address} HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: {address}\r\n\r\n")
        });
        client.send(requests.collect::<String>());
        for _ in addresses {
            assert_eq!(client.response().status, 200);
        }
    }
    drop(client);
    // Not that nothing waits: the last of them may still be with their worker.
    wait::until("all is passed on", || {
        (server.number("log.file", "written") == u64::from(CLIENTS)).then_some(())
    });
    let grown = memory::resident(server.pid()).saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    let sink = server.documents("log.resolving").remove(0);
    let count = |field: &str| sink[field].as_u64().unwrap_or_else(|| panic!("no {field} in {sink}"));
    let all = count("named") + count("nameless") + count("late") + count("not_asked");
    assert_eq!(all, u64::from(CLIENTS), "{sink}");
    assert!(count("named") > 1_000, "{sink}");
    server.terminate();

    let text = site.read("access.log");
    let mut logged: Vec<&str> =
        text.lines().filter_map(|line| line.split("GET /").nth(1)?.split(' ').next()).collect();
    logged.sort_unstable();
    let mut expected: Vec<&str> = addresses.iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert!(logged == expected, "{} lines for {CLIENTS} requests", logged.len());
    let named = text.lines().filter(|line| line.starts_with("host.example - - [")).count() as u64;
    assert_eq!(named, count("named"));
    for line in text.lines().filter(|line| !line.starts_with("host.example ")) {
        let (who, rest) = line.split_once(' ').expect(line);
        assert!(rest.contains(&format!("GET /{who} ")), "{line}");
    }
}
