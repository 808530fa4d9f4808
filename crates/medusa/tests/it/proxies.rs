//! Servers in front of this one: whose word about the client is taken, and whose is not.

use std::net::SocketAddr;

use medusa_testkit::{Client, Nginx, Server, Site, curl, wait};

use super::support::start;
use super::tls::{Encrypted, TLS};

/// Says who asks.
const WHO: &str = "web:mount('/', function(req) return `{req.client} {req.peer} {req.scheme}` end)
    web:mount('/id', function(req) return req.id end)";

/// A server with these options that logs to `access.log`.
fn proxied(options: &str) -> Site {
    Site::script(&format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0', log = medusa.log.file('access.log'), {options} }}\n{WHO}"
    ))
}

const GET: &str = "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";

/// A header of version 2 ([the specification](https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt)).
fn version_2(command: u8, source: Option<SocketAddr>) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.push(0x20 | command);
    let (family, mut addresses) = match source {
        None => (0, Vec::new()),
        Some(SocketAddr::V4(source)) => (0x11, [source.ip().octets(), [127, 0, 0, 1]].concat()),
        Some(SocketAddr::V6(source)) => (0x21, [source.ip().octets(), [0; 16]].concat()),
    };
    if let Some(source) = source {
        addresses.extend(source.port().to_be_bytes());
        addresses.extend(80_u16.to_be_bytes());
        // An extension, PP2_TYPE_NOOP, which is to be skipped.
        addresses.extend([0x04, 0, 2, 7, 7]);
    }
    header.push(family);
    header.extend(u16::try_from(addresses.len()).expect("short").to_be_bytes());
    header.extend(addresses);
    header
}

/// Headers, and who asks by them.
fn headers() -> Vec<(Vec<u8>, &'static str)> {
    let source = |text: &str| Some(text.parse().expect("an address"));
    vec![
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 5555 80\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 5555 80\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (version_2(1, source("192.0.2.8:5555")), "192.0.2.8"),
        (version_2(1, source("[2001:db8::8]:5555")), "2001:db8::8"),
        (version_2(0, None), "127.0.0.1"),
    ]
}

#[test]
fn a_balancer_says_whose_connection_it_is() {
    let site = proxied("proxy_protocol = true");
    let server = start(&site);
    for (header, who) in headers() {
        let mut client = server.connect();
        client.send([&header[..], GET.as_bytes()].concat());
        assert_eq!(client.response().text(), format!("{who} {who} http"));
        client.expect_close();

        // In pieces, as networks have it.
        let mut client = server.connect();
        let (first, rest) = header.split_at(header.len() / 2);
        client.send(first);
        client.until_read();
        client.send([rest, GET.as_bytes()].concat());
        assert_eq!(client.response().text(), format!("{who} {who} http"));
    }
    server.terminate();
    let log = site.read("access.log");
    for (_, who) in headers() {
        let lines = log.lines().filter(|line| line.starts_with(&format!("{who} - - ["))).count();
        assert!(lines >= 2, "{who} in the access log: {log}");
    }
}

#[test]
fn without_its_header_a_connection_is_closed_and_counted() {
    let site = proxied("proxy_protocol = true");
    let server = start(&site);
    let wrong: [&[u8]; 5] = [
        GET.as_bytes(),
        b"PROXY TCP4 192.0.2.7\r\nGET / HTTP/1.1\r\nHost: t\r\n\r\n",
        b"PROXY TCP4 999.0.2.7 127.0.0.1 5555 80\r\nGET / HTTP/1.1\r\nHost: t\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"\r\n\r\n\0\r\nQUIT\n\x91\x11\0\0",
    ];
    for (before, bytes) in wrong.into_iter().enumerate() {
        let mut client = server.connect();
        client.send(bytes);
        // Closed with bytes unread it may be reset; either way, there is no answer.
        assert!(!matches!(client.try_response("GET"), Ok(Some(_))), "{bytes:?} was answered");
        wait::until("it is counted", || {
            let faults = server.documents("http.faults");
            (faults.first()?["proxy_header"].as_u64()? == before as u64 + 1).then_some(())
        });
    }
}

#[test]
fn only_trusted_peers_may_send_a_header() {
    for (trusted, answer) in [("'10.0.0.0/8'", None), ("'127.0.0.0/8'", Some("192.0.2.7 192.0.2.7 http"))] {
        let site = proxied(&format!("proxy_protocol = true, trusted_proxies = {{ {trusted} }}"));
        let server = start(&site);
        let mut client = server.connect();
        client.send(format!("PROXY TCP4 192.0.2.7 127.0.0.1 5555 80\r\n{GET}"));
        let address = client.try_response("GET").ok().flatten().map(|answer| answer.text());
        assert_eq!(address.as_deref(), answer, "{trusted}");
        if answer.is_none() {
            assert_eq!(server.number("http.faults", "proxy_header"), 1);
        }
    }
}

#[test]
fn the_header_comes_before_the_encryption() {
    let it = Encrypted::new("proxy_protocol = true", WHO);
    let server = start(&it.site);
    for (header, who) in headers() {
        let mut client = server.connect();
        client.send(header);
        let mut client = client.encrypted(it.authority.pem(), "localhost");
        assert_eq!(client.get("/").text(), format!("{who} {who} https"));
        assert_eq!(client.get("/").text(), format!("{who} {who} https"), "for all of the connection");
    }
    let url = format!("https://localhost:{}/", server.address().port());
    for version in ["--http1.1", "--http2"] {
        let output = it.curl(["--haproxy-protocol", version, &url]).said();
        assert_eq!(output, "127.0.0.1 127.0.0.1 https");
        let refused = it.curl([version, &url]);
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused}");
    }
    assert_eq!(server.number("http.faults", "proxy_header"), 2);
}

#[test]
fn curl_sends_its_own_header() {
    let site = proxied("proxy_protocol = true");
    let server = start(&site);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let from = ["--interface", "127.0.0.3", "--haproxy-protocol", version, &server.url("/")];
        assert_eq!(curl(from).said(), "127.0.0.3 127.0.0.3 http");
    }
}

/// Fields by which proxies tell about their client.
const TOLD: [(&str, &str); 3] = [
    ("X-Forwarded-For", "192.0.2.66, 192.0.2.9"),
    ("X-Forwarded-Proto", "https"),
    ("X-Request-Id", "from-outside"),
];

#[test]
fn a_trusted_proxy_is_believed_and_nobody_else() {
    for (options, who, id) in [
        ("", "127.0.0.1 127.0.0.1 http", None),
        ("trusted_proxies = { '10.0.0.0/8' }", "127.0.0.1 127.0.0.1 http", None),
        ("trusted_proxies = { '127.0.0.1' }", "192.0.2.9 127.0.0.1 https", Some("from-outside")),
        // Who trusts the nearer one is told about the one behind.
        ("trusted_proxies = { 'private', '192.0.2.9' }", "192.0.2.66 127.0.0.1 https", Some("from-outside")),
    ] {
        let site = proxied(options);
        let server = start(&site);
        let mut client = server.connect();
        assert_eq!(client.request("GET", "/", &TOLD).text(), who, "{options}");
        let called = client.request("GET", "/id", &TOLD).text();
        assert_eq!(called == "from-outside", id.is_some(), "{options}: {called}");
        drop(client);
        server.terminate();
        let log = site.read("access.log");
        let client = who.split(' ').next().expect("a word");
        assert!(log.lines().all(|line| line.starts_with(&format!("{client} - - ["))), "{options}: {log}");
    }
}

#[test]
fn forwarded_tells_as_well() {
    let site = proxied("trusted_proxies = { '127.0.0.1' }");
    let server = start(&site);
    let seen_as = |value: &str| server.connect().request("GET", "/", &[("Forwarded", value)]).text();
    assert_eq!(seen_as("for=192.0.2.9;proto=https"), "192.0.2.9 127.0.0.1 https");
    assert_eq!(seen_as("for=\"[2001:db8::9]:4711\";proto=http"), "2001:db8::9 127.0.0.1 http");
    assert_eq!(seen_as("for=unknown"), "127.0.0.1 127.0.0.1 http");
    assert_eq!(seen_as("for=_hidden, for=\""), "127.0.0.1 127.0.0.1 http");
}

/// nginx in front of `server`, by HTTP.
#[track_caller]
fn proxy_before(server: &Server) -> Nginx {
    let upstream = server.address();
    Nginx::start(|address| {
        format!(
            "master_process off;
            events {{}}
            http {{
                access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f;
                uwsgi_temp_path u; scgi_temp_path s;
                upstream medusa {{ server {upstream}; keepalive 4; }}
                server {{
                    listen {address};
                    location / {{
                        proxy_pass http://medusa;
                        proxy_http_version 1.1;
                        proxy_set_header Connection '';
                        proxy_set_header Host $host;
                        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                        proxy_set_header X-Forwarded-Proto $scheme;
                        proxy_set_header X-Request-Id $request_id;
                    }}
                }}
            }}"
        )
    })
}

/// nginx in front of `server`, by the PROXY protocol.
#[track_caller]
fn balancer_before(server: &Server) -> Nginx {
    let upstream = server.address();
    Nginx::start(|address| {
        format!(
            "load_module /usr/lib/nginx/modules/ngx_stream_module.so;
            master_process off;
            events {{}}
            stream {{ server {{ listen {address}; proxy_pass {upstream}; proxy_protocol on; }} }}"
        )
    })
}

#[test]
fn nginx_in_front_tells_who_asks() {
    let site = proxied("trusted_proxies = { '127.0.0.1' }");
    let server = start(&site);
    let nginx = proxy_before(&server);
    let url = |path: &str| format!("http://{}{path}", nginx.address());
    for _ in 0..3 {
        let output = curl(["--interface", "127.0.0.4", &url("/")]).said();
        assert_eq!(output, "127.0.0.4 127.0.0.1 http");
    }
    let forged = ["-H", "X-Forwarded-For: 192.0.2.66", "-H", "X-Forwarded-Proto: https"];
    let output = curl(["--interface", "127.0.0.4"].iter().chain(&forged).chain([&url("/").as_str()])).said();
    assert_eq!(output, "127.0.0.4 127.0.0.1 http", "nginx counts more than what its client says");
    let id = curl([url("/id")]).said();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "the id of nginx: {id}");
    assert_eq!(server.number("listener", "accepted"), 1, "one connection of nginx, kept open");
    server.reload();
    assert_eq!(curl([url("/")]).said(), "127.0.0.1 127.0.0.1 http");
    assert_eq!(server.number("listener", "accepted"), 1, "also over a reload");
}

#[test]
fn nginx_in_front_passes_connections_on() {
    let site = proxied("proxy_protocol = true, trusted_proxies = { '127.0.0.1' }");
    let server = start(&site);
    let nginx = balancer_before(&server);
    let url = format!("http://{}/", nginx.address());
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let output = curl(["--interface", "127.0.0.4", version, &url]).said();
        assert_eq!(output, "127.0.0.4 127.0.0.4 http");
        // Behind the header there is the client itself, which nobody trusts.
        let forged =
            curl(["--interface", "127.0.0.4", "-H", "X-Forwarded-For: 192.0.2.66", version, &url]).said();
        assert_eq!(forged, "127.0.0.4 127.0.0.4 http");
    }

    let it = Encrypted::script(&format!(
        "web = medusa.http.server {{ {TLS}, proxy_protocol = true, trusted_proxies = {{ '127.0.0.1' }} }}\n{WHO}"
    ));
    let server = start(&it.site);
    let nginx = balancer_before(&server);
    let url = format!("https://localhost:{}/", nginx.address().port());
    let output = it.curl(["--interface", "127.0.0.4", "--http2", &url]).said();
    assert_eq!(output, "127.0.0.4 127.0.0.4 https");
    let mut client = Client::connect(nginx.address()).encrypted(it.authority.pem(), "localhost");
    assert_eq!(client.get("/").text(), "127.0.0.1 127.0.0.1 https");
}
