//! Upstreams that are not ours, and other ways to them.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use medusa_testkit::{Authority, Nginx, Process, Server, Site, WebSocket, curl, wait};

use super::{one_worker, proxy, upstream};
use crate::support::{MEDUSA, start, web};
use crate::tls::{Encrypted, TLS};

/// An application of Node's own `http`, with a `WebSocket` that sends back what comes (short texts). It closes what is idle
/// after as long as Node does: 5 seconds, which it says by `Keep-Alive`.
const APPLICATION: &str = r"
const http = require('http'), crypto = require('crypto')
let connections = 0
const server = http.createServer((req, res) => {
    if (req.url == '/connections') return res.end(String(connections))
    let length = 0
    req.on('data', (data) => length += data.length)
    req.on('end', () => { res.setHeader('x-length', length); res.write('hello '); res.end(req.headers['x-forwarded-for']) })
})
server.on('connection', () => connections++)
server.on('upgrade', (req, socket) => {
    const key = req.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
    const accept = crypto.createHash('sha1').update(key).digest('base64')
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ' + accept + '\r\n\r\n')
    socket.on('error', () => {})
    socket.on('data', (data) => {
        const length = data[1] & 127, mask = data.subarray(2, 6)
        const payload = Buffer.from(data.subarray(6, 6 + length).map((byte, at) => byte ^ mask[at % 4]))
        if ((data[0] & 15) == 8) return socket.end(Buffer.concat([Buffer.from([0x88, length]), payload]))
        socket.write(Buffer.concat([Buffer.from([0x81, length]), payload]))
    })
})
server.listen(process.argv[2], '127.0.0.1')
";

/// Waits until something listens there.
fn listens(address: SocketAddr) {
    wait::until("it listens", || TcpStream::connect(address).ok());
}

fn node() -> (SocketAddr, Process, Site) {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let address = free.expect("a free port");
    let site = Site::new().file("app.js", APPLICATION);
    let process = Process::start(Command::new("node").arg(site.at("app.js")).arg(address.port().to_string()));
    listens(address);
    (address, process, site)
}

#[test]
fn an_application_of_node_stands_behind() {
    let (address, _process, _app) = node();
    let (_site, server) = proxy(&format!("'http://{address}'"), "");
    let mut client = server.connect();
    for length in [0, 10, 100_000] {
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n{}",
            "x".repeat(length)
        ));
        let answer = client.response();
        assert_eq!(
            (answer.text().as_str(), answer.header("x-length")),
            ("hello 127.0.0.1", Some(length.to_string().as_str()))
        );
    }
    assert_eq!(curl([server.url("/x")]).said(), "hello 127.0.0.1");
    // The one that looked whether it listens, and ours.
    let connections: u32 = client.get("/connections").text().parse().expect("a number");
    assert!(connections <= 3, "{connections} connections for five requests");
    let mut session = WebSocket::connect(server.address(), "/");
    session.send("hello");
    assert_eq!(session.text(), "hello");
    session.close(1000, "");
    assert_eq!(upstream(&server, "failures"), 0);
}

/// Node closes an idle connection after 5 s; ours goes before that, so that nobody's POST meets a closed one.
#[test]
fn node_closes_nothing_that_is_in_use() {
    let (address, _process, _app) = node();
    let (_site, server) = proxy(&format!("'http://{address}'"), "keep_alive = 60");
    let posted = || {
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nx");
        client.response().status
    };
    assert_eq!(posted(), 200);
    assert_eq!(upstream(&server, "idle"), 1);
    wait::until("the connection is let go", || (upstream(&server, "idle") == 0).then_some(()));
    assert_eq!(posted(), 200);
    assert_eq!((upstream(&server, "failures"), upstream(&server, "connections")), (0, 2));
}

/// An nginx, whose listener has an option, with what is asked of [`answers_of_nginx`]; `/told` says this.
pub(super) fn nginx(option: &str, told: &str) -> Nginx {
    let nginx = Nginx::start(|address| {
        format!(
            "master_process off;
            events {{}}
            http {{
                access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f;
                uwsgi_temp_path u; scgi_temp_path s;
                keepalive_requests 100;
                server {{
                    listen {address} {option};
                    root .;
                    location /told {{ return 200 '{told}'; }}
                }}
            }}"
        )
    });
    nginx.folder().write("long.bin", vec![b'x'; 3_000_000]);
    nginx
}

/// What goes through from that nginx, over one connection.
pub(super) fn answers_of_nginx(server: &Server, told: &str) {
    let mut client = server.connect();
    assert_eq!(client.get("/told").text(), told);
    let long = client.get("/long.bin");
    assert_eq!(
        (long.status, long.body.len(), long.header("content-length")),
        (200, 3_000_000, Some("3000000"))
    );
    let part = client.request("GET", "/long.bin", &[("Range", "bytes=0-9")]);
    assert_eq!((part.status, part.body.len()), (206, 10));
    let tag = long.header("etag").expect("nginx has one").to_owned();
    assert_eq!(client.request("GET", "/long.bin", &[("If-None-Match", &tag)]).status, 304);
    assert_eq!(client.request("HEAD", "/long.bin", &[]).header("content-length"), Some("3000000"));
    assert_eq!(client.get("/none").status, 404);
    assert_eq!(upstream(server, "connections"), 1);
}

#[test]
fn nginx_stands_behind() {
    let nginx = nginx("", "$http_x_forwarded_for $http_x_forwarded_proto $http_host");
    let (_site, server) = proxy(&format!("'http://{}'", nginx.address()), "");
    answers_of_nginx(&server, "127.0.0.1 http test");
}

#[test]
fn upstreams_may_listen_on_a_unix_socket() {
    let behind_site = Site::script(
        "web = medusa.http.server { listen = { 'unix:app.sock', '127.0.0.1:0' } }
        web:mount('/', function(req) return `{req.host} {req.headers['x-forwarded-for']}` end)",
    );
    let _behind = start(&behind_site);
    let url = format!("'unix:{}'", behind_site.at("app.sock").display());
    let (_site, server) = proxy(&url, "health = { path = '/', interval = 0.1 }");
    for _ in 0..5 {
        assert_eq!(server.get("/").text(), "test 127.0.0.1");
    }
    assert_eq!(upstream(&server, "connections"), 1);
}

#[test]
fn upstreams_may_speak_tls() {
    let it = Encrypted::script(&format!(
        "web = medusa.http.server {{ {TLS} }}
        web:mount('/', function(req) return `{{req.scheme}} {{req.headers['x-forwarded-proto']}}` end)
        web:mount('/ws', function(req) return req:websocket(function(ws) for m in ws do ws:send(m) end end) end)"
    ));
    let behind = start(&it.site);
    let port = behind.address().port();
    // By HTTP/2, it answers for no other host.
    let ca = format!("ca = '{}', host = 'localhost'", it.site.at("ca.pem").display());
    let trusted = |url: &str, options: &str| proxy(&format!("'https://{url}:{port}'"), options);
    for (host, options) in [
        ("localhost", ca.clone()),
        ("127.0.0.1", ca.clone()),
        ("127.0.0.1", format!("{ca}, server_name = 'localhost', health = {{ path = '/' }}")),
        ("127.0.0.1", "insecure = true, host = 'localhost'".to_owned()),
    ] {
        let (_site, server) = trusted(host, &options);
        let mut client = server.connect();
        for _ in 0..3 {
            assert_eq!(client.get("/").text(), "https http", "{host} {options}");
        }
        assert_eq!(upstream(&server, "connections"), 1, "{host} {options}");
        let mut session = WebSocket::connect(server.address(), "/ws");
        session.send("hello");
        assert_eq!(session.text(), "hello");
    }
    for (options, reason) in [
        (String::new(), "UnknownIssuer"),
        (format!("{ca}, server_name = 'other.example'"), "NotValidForName"),
    ] {
        let (_site, server) = trusted("127.0.0.1", &options);
        assert_eq!(server.get("/").status, 502, "{options}");
        let line = server.stderr().wait_for("the TLS handshake failed");
        assert!(line.contains(reason) || line.contains("certificate"), "{line}");
    }
    let another = Authority::new("Another");
    let site = web("").file("another.pem", another.pem());
    let server = one_worker(&site);
    server.eval(&format!(
        "web:mount('/', medusa.handler.proxy('https://localhost:{port}', {{ ca = 'another.pem' }}))"
    ));
    assert_eq!(server.get("/").status, 502);
}

/// One behind the other, as a chain of them: the last sees who the first was asked by.
#[test]
fn they_stand_behind_each_other() {
    let last_site = Site::script(
        "web = medusa.http.server { listen = '127.0.0.1:0', trusted_proxies = { '127.0.0.1' } }
        web:mount('/', function(req) return `{req.client} {req.id}` end)",
    );
    let last = start(&last_site);
    let middle = |behind: &Server| {
        let site = Site::script(&format!(
            "web = medusa.http.server {{ listen = '127.0.0.1:0', trusted_proxies = {{ '127.0.0.1' }} }}
            web:mount('/', medusa.handler.proxy('{}'))",
            behind.url("")
        ));
        let server = MEDUSA.serve(site.path()).start();
        (site, server)
    };
    let (_second_site, second) = middle(&last);
    let (_first_site, first) = middle(&second);
    let told = [("X-Forwarded-For", "192.0.2.9"), ("X-Request-Id", "the-same-everywhere")];
    assert_eq!(first.connect().request("GET", "/", &told).text(), "192.0.2.9 the-same-everywhere");
}
