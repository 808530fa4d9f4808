//! Upstreams that are asked by HTTP/2.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use medusa_testkit::http2::{DATA, END_HEADERS, Http2};
use medusa_testkit::websocket::{FIN, TEXT, frame};
use medusa_testkit::{H2Load, Process, Server, Site, WebSocket, curl, memory, run, wait};
use serde_json::Value;

use super::others::{answers_of_nginx, nginx};
use super::repeated::killed_under_load;
use super::tunnels::session_on_a_stream;
use super::{named, one_worker, proxy, upstream};
use crate::support::{start, web};
use crate::tls::{Encrypted, TLS};
use crate::websocket::extended;

/// The same server by HTTP/2 without TLS.
fn h2c(server: &Server) -> String {
    server.url("").replace("http:", "h2c:")
}

/// An application of Node's `http2`: answers a POST with what it was sent, piece by piece, and with what it was told behind that;
/// other requests with the version they came by. With a key, it is encrypted and takes HTTP/1.1, too, with a `WebSocket` that
/// sends back what comes.
const APPLICATION: &str = r"
const http2 = require('http2'), crypto = require('crypto'), fs = require('fs')
const [port, certificate, key] = process.argv.slice(2)
const answer = (req, res) => {
    if (req.method != 'POST') return res.end(req.httpVersion)
    res.writeHead(200, { 'x-te': req.headers.te || '', 'x-host': req.authority || '' })
    req.on('data', (data) => res.write(data))
    req.on('end', () => {
        res.addTrailers({ 'grpc-status': '0', 'set-cookie': 'a=1', 'x-came': Object.keys(req.trailers).sort().join(' ') })
        res.end()
    })
}
const server = key
    ? http2.createSecureServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key), allowHTTP1: true }, answer)
    : http2.createServer(answer)
server.on('upgrade', (req, socket) => {
    const key = req.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
    const accept = crypto.createHash('sha1').update(key).digest('base64')
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ' + accept + '\r\n\r\n')
    socket.on('error', () => {})
    socket.on('data', (data) => {
        const length = data[1] & 127, mask = data.subarray(2, 6)
        const payload = Buffer.from(data.subarray(6, 6 + length).map((byte, at) => byte ^ mask[at % 4]))
        socket.write(Buffer.concat([Buffer.from([0x81, length]), payload]))
    })
})
server.listen(port, '127.0.0.1')
";

/// A client that sends pieces, each when the one before has come back, and trailers, and says what it was answered.
const CLIENT: &str = r"
const http2 = require('http2')
const session = http2.connect(process.argv[2])
const stream = session.request({ ':method': 'POST', ':path': '/', te: 'trailers' }, { waitForTrailers: true })
const said = { body: '' }
let pieces = 3
stream.on('wantTrailers', () => stream.sendTrailers({
    'x-sum': '1', 'x-real-ip': '10.0.0.1', 'x-forwarded-user': 'root', authorization: 'Basic x' }))
stream.on('response', (headers) => { said.headers = headers; stream.write('piece') })
stream.on('data', (data) => {
    said.body += data
    pieces -= 1
    if (pieces > 0) stream.write('piece'); else if (pieces == 0) stream.end()
})
stream.on('trailers', (trailers) => said.trailers = trailers)
stream.on('close', () => { console.log(JSON.stringify(said)); session.close() })
stream.on('error', (error) => console.log(String(error)))
";

fn node(arguments: &[String]) -> (SocketAddr, Process, Site) {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let address = free.expect("a free port");
    let site = Site::new().file("app.js", APPLICATION).file("client.js", CLIENT);
    let mut node = Command::new("node");
    let process = Process::start(node.arg(site.at("app.js")).arg(address.port().to_string()).args(arguments));
    wait::until("it listens", || TcpStream::connect(address).ok());
    (address, process, site)
}

#[test]
fn many_requests_share_few_connections() {
    let it = Encrypted::script(&format!(
        "local function version(req) return req.version .. ' ' .. req.scheme .. ' ' .. req.host end
        web = medusa.http.server {{ {TLS} }}
        web:mount('/', version)
        plain = medusa.http.server {{ listen = {{ '127.0.0.1:0', 'unix:app.sock' }} }}
        plain:mount('/', version)"
    ));
    let behind = start(&it.site);
    let (tls, plain) = (behind.address_of(0).port(), behind.address_of(1).port());
    let ca = it.site.at("ca.pem").display().to_string();
    let unix = it.site.at("app.sock").display().to_string();
    let host = "host = 'localhost'";
    for (upstream_url, options, version) in [
        (format!("h2c://127.0.0.1:{plain}"), String::new(), "2 http"),
        (format!("http://127.0.0.1:{plain}"), "http = '2'".to_owned(), "2 http"),
        (format!("http://127.0.0.1:{plain}"), String::new(), "1.1 http"),
        (format!("unix:{unix}"), "http = '2'".to_owned(), "2 http"),
        (format!("https://localhost:{tls}"), format!("ca = '{ca}', {host}"), "2 https"),
        (format!("https://localhost:{tls}"), format!("ca = '{ca}', {host}, http = '2'"), "2 https"),
        (format!("https://localhost:{tls}"), format!("ca = '{ca}', {host}, http = '1.1'"), "1.1 https"),
        // By HTTP/2, it answers for those names alone that its certificate has.
        (format!("https://localhost:{tls}"), format!("ca = '{ca}'"), "1.1 https"),
    ] {
        let (_site, server) = proxy(&format!("'{upstream_url}'"), &options);
        let asked = if options.contains(host) { "localhost" } else { "test" };
        assert_eq!(server.get("/").text(), format!("{version} {asked}"), "{upstream_url} {options}");
        H2Load::start(&server.url("/"), 2000, 2, 50).expect_clean();
        let counts = ["requests", "failures", "repeated", "active"].map(|counter| upstream(&server, counter));
        // One was sent both ways.
        let both = u64::from(upstream_url.starts_with("https") && asked == "test");
        assert_eq!(counts, [2001 + both, 0, 0, 0], "{upstream_url} {options}");
        if version.starts_with('2') {
            let connections = upstream(&server, "connections");
            assert!(connections <= 2, "{upstream_url} {options}: {connections} connections");
            assert_eq!(upstream(&server, "idle"), connections, "{upstream_url} {options}");
        }
    }
}

#[test]
fn there_are_as_many_streams_as_an_upstream_allows() {
    let site = Site::script(
        "web = medusa.http.server { listen = '127.0.0.1:0', limits = { streams = 2 } }
        local n = 0
        web:mount('/', function()
            n += 1
            while n < 5 do medusa.sleep(0.01) end
            return 'all are here'
        end)",
    );
    let behind = start(&site);
    let (_site, server) = proxy(&format!("'{}'", h2c(&behind)), "keep_alive = 1");
    let mut clients: Vec<_> = (0..5).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.response().text(), "all are here");
    }
    assert_eq!(upstream(&server, "connections"), 3);
    wait::until("they are let go", || (behind.number("listener", "open") == 0).then_some(()));
    assert_eq!(upstream(&server, "idle"), 0);
}

#[test]
fn pieces_and_trailers_go_both_ways() {
    let (address, _node, app) = node(&[]);
    let (_site, server) = proxy(&format!("'h2c://{address}'"), "");
    let said = run("node", [app.at("client.js").into_os_string(), server.url("").into()]).success();
    let said: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(said["body"], "piecepiecepiece", "{said}");
    assert_eq!(said["headers"]["x-te"], "trailers", "{said}");
    assert_eq!(said["headers"]["x-host"], server.address().to_string(), "{said}");
    assert_eq!(said["trailers"]["grpc-status"], "0", "{said}");
    assert_eq!(said["trailers"]["set-cookie"], Value::Null, "{said}");
    assert_eq!(said["trailers"]["x-came"], "x-sum", "who it is, a client does not say there either: {said}");
    // To HTTP/1.1, without the trailers.
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n");
    client.send("x".repeat(100_000));
    let answer = client.response();
    assert_eq!((answer.status, answer.body.len()), (200, 100_000));
    assert_eq!(answer.header("grpc-status"), None);
    assert_eq!(curl([server.url("/x")]).said(), "2.0");
    assert_eq!((upstream(&server, "connections"), upstream(&server, "failures")), (1, 0));
}

#[test]
fn who_takes_no_websocket_over_http2_is_asked_for_it_by_http1() {
    let it = Encrypted::script("");
    let key = ["cert.pem", "key.pem"].map(|name| it.site.at(name).display().to_string());
    let (address, _node, _app) = node(&key);
    let ca = it.site.at("ca.pem").display().to_string();
    let (_site, server) = proxy(&format!("'https://localhost:{}'", address.port()), &format!("ca = '{ca}'"));
    for _ in 0..2 {
        assert_eq!(server.get("/").text(), "2.0");
        let mut session = WebSocket::connect(server.address(), "/");
        session.send("hello");
        assert_eq!(session.text(), "hello");
        let mut http = Http2::connect(&server, &[]);
        http.send(1, END_HEADERS, 1, &extended("websocket", "/", &[("sec-websocket-version", "13")]));
        assert_eq!(http.status(1), 200);
        http.send(DATA, 0, 1, &frame(FIN | TEXT, b"hello"));
        assert_eq!(http.expect(DATA).payload, b"\x81\x05hello");
    }
    assert_eq!(upstream(&server, "failures"), 0);
}

#[test]
fn sessions_take_streams() {
    let site = web("web:mount('/', function(req)
            return req:websocket(function(ws) for message in ws do ws:send(message) end end)
        end)
        web:mount('/page', function() return 'page' end)");
    let behind = start(&site);
    let (_site, server) = proxy(&format!("'{}'", h2c(&behind)), "");
    let mut sessions: Vec<_> = (0..5).map(|_| WebSocket::connect(server.address(), "/")).collect();
    assert_eq!(server.number("handler.proxy", "websockets"), 5);
    for session in &mut sessions {
        session.send("hello");
        assert_eq!(session.text(), "hello");
        let long = "x".repeat(300_000);
        session.send(&long);
        assert_eq!(session.text(), long);
    }
    let http = session_on_a_stream(&server);
    assert_eq!(server.get("/page").text(), "page");
    assert_eq!((behind.number("listener", "accepted"), upstream(&server, "active")), (1, 6));
    for mut session in sessions.drain(1..) {
        session.close(1000, "");
    }
    drop(http);
    wait::until("they have ended", || (upstream(&server, "active") == 1).then_some(()));
    drop(sessions);
    wait::until("it has ended", || (upstream(&server, "active") == 0).then_some(()));
    wait::until("there, too", || (behind.number("listener", "open") == 0).then_some(()));
}

#[test]
fn nginx_stands_behind() {
    let nginx = nginx("http2", "$server_protocol $http_x_forwarded_for $host");
    let (_site, server) = proxy(&format!("'h2c://{}'", nginx.address()), "");
    answers_of_nginx(&server, "HTTP/2.0 127.0.0.1 test");
    // It says goodbye after a hundred requests: nobody notices, whatever is asked for.
    let posted = || server.send("POST /told HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody").status;
    for _ in 0..300 {
        assert_eq!(posted(), 200);
    }
    assert!(upstream(&server, "connections") >= 3);
    assert_eq!(upstream(&server, "failures"), 0);
}

#[test]
fn who_is_killed_loses_no_request_while_another_is_well_under_load() {
    let ((_site_a, a), (_site_b, b)) = (named("a"), named("b"));
    let (_site, server) = proxy(&format!("{{ '{}', '{}' }}", h2c(&a), h2c(&b)), "");
    killed_under_load(&server, a);
}

#[test]
fn health_is_asked_for_by_http2() {
    let site = web("status = 200
        web:mount('/health', function(req) return { status = if req.version == '2' then status else 500 } end)
        web:mount('/', function() return 'well' end)");
    let behind = start(&site);
    let options = "fall = 2, health = { path = '/health', interval = 0.1, rise = 2 }";
    let (_site, server) = proxy(&format!("{{ '{}', 'h2c://127.0.0.1:1' }}", h2c(&behind)), options);
    let states = || server.documents("upstream").iter().map(|one| one["state"].clone()).collect::<Vec<_>>();
    wait::until("the other is down", || (states() == ["up", "down"]).then_some(()));
    behind.eval("status = 503");
    wait::until("it is down", || (states() == ["down", "down"]).then_some(()));
    server.stderr().wait_for("in a row: the status of its health check is 503");
    behind.eval("status = 204");
    wait::until("it is up", || (states() == ["up", "down"]).then_some(()));
    assert_eq!(server.get("/").text(), "well");
}

#[test]
fn slow_readers_of_a_long_answer_take_no_memory_of_http2_under_load() {
    slow_readers(200, true);
}

/// A thousand of them; the figures are said. They need 4,000 descriptors.
#[test]
#[ignore = "takes a minute, and thousands of descriptors"]
fn a_thousand_slow_readers_take_no_memory_under_load() {
    for is_http2 in [false, true] {
        slow_readers(1000, is_http2);
    }
}

/// Clients that read a little of a long answer, and then a little more: what they take does not grow with what they read.
fn slow_readers(clients: usize, is_http2: bool) {
    const LENGTH: u64 = 100_000_000;
    /// For each, what is read ahead, what is being written, and what is collected for the socket; twice that for what the
    /// allocator keeps.
    const EACH: u64 = 512 * 1024;
    /// Neither server gives up who takes nothing for a minute.
    const WEB: &str = "web = medusa.http.server { listen = '127.0.0.1:0', limits = { write = 0 } }";
    let site = Site::script(&format!("{WEB} web:mount('/', medusa.handler.files('files'))"))
        .file("files/long.bin", "");
    let long = fs::OpenOptions::new().write(true).open(site.at("files/long.bin"));
    long.and_then(|file| file.set_len(LENGTH)).expect("a file of holes");
    let behind = start(&site);
    let url = if is_http2 { h2c(&behind) } else { behind.url("") };
    let site =
        Site::script(&format!("{WEB} web:mount('/', medusa.handler.proxy('{url}', {{ idle_timeout = 0 }}))"));
    let server = one_worker(&site);
    let before = memory::resident(server.pid());
    let mut readers: Vec<_> = (0..clients).map(|_| server.connect()).collect();
    for reader in &mut readers {
        reader.send("GET /long.bin HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(reader.head().header("content-length"), Some("100000000"));
    }
    // Until nothing moves any more.
    let settled = || {
        let (mut last, mut still) = (0, 0);
        wait::until("the upstream is held back", || {
            let now = memory::resident(server.pid());
            still = if now == last { still + 1 } else { 0 };
            last = now;
            (still == 40).then_some(())
        });
        memory::resident(server.pid()).saturating_sub(before)
    };
    let first = settled();
    let mut grown = Vec::new();
    for _ in 0..2 {
        for reader in &mut readers {
            for _ in 0..5 {
                reader.read(100_000);
            }
        }
        grown.push(settled());
    }
    eprintln!(
        "{clients} readers, HTTP/2 {is_http2}: {before} bytes before, {first} with them, then {grown:?}"
    );
    let bound = clients as u64 * EACH;
    assert!(first < bound, "{first} bytes for {clients} clients");
    assert!(
        grown.iter().all(|&grown| grown < first + bound / 4),
        "{first} bytes before, {grown:?} after half a megabyte more to each"
    );
    if is_http2 {
        let connections = upstream(&server, "connections");
        assert!(connections <= clients as u64 / 100 + 1, "{connections} connections");
    }
    // Others are served beside them.
    assert_eq!(server.get("/none").status, 404);
}
