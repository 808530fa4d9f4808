//! What one address can cost with every limit at its default: as many connections and requests as it gets, each holding as
//! much as it can, in every way there is. The address is one that the PROXY protocol tells, as this machine's own have
//! no limits.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use medusa_testkit::http2::{
    DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, WINDOW_UPDATE, field, frame, request,
};
use medusa_testkit::websocket::{BINARY, FIN, TEXT, frame as ws_frame};
use medusa_testkit::{Server, Site, memory};

use super::super::support::start;

/// What an address may cost at its worst, in bytes.
const MOST: u64 = 256 << 20;

/// The number of connections of a kind that are tried: more than the address may have.
const CONNECTIONS: usize = 1100;

/// The time that one kind is gone on with.
const PRESS: Duration = Duration::from_millis(500);

const SCRIPT: &str = "
web = medusa.http.server { listen = { '127.0.0.1:0', { address = '127.0.0.1:0', proxy_protocol = true } } }
web:mount('/ok', medusa.handler.script('ok.luau'))
web:mount('/hold', function() medusa.sleep(30) return 'late' end)
web:mount('/keep', function(req) local body = req:body() medusa.sleep(30) return tostring(#body) end)
web:mount('/form', function(req) local form = req:form() medusa.sleep(30) return tostring(form ~= nil) end)
local big = string.rep('x', 1048576)
web:mount('/big', function() return big end)
web:mount('/stream', function() return { body = function(write) while true do write(big) end end } end)
web:mount('/worker', medusa.handler.script('worker.luau'))
web:mount('/files/', medusa.handler.files('public'))
web:mount('/ws', function(req) return req:websocket(function(ws) for m in ws do ws:send(m) end end) end)
web:mount('/late', function(req) return req:websocket(function(ws) medusa.sleep(30) end) end)
";

const WORKER: &str = "local big = string.rep('x', 1048576)
return function() return { body = function(write) while true do write(big) end end } end";

const OK: &str = "return function() return 'ok' end";

fn target() -> (Site, Server) {
    let site = Site::script(SCRIPT)
        .file("worker.luau", WORKER)
        .file("ok.luau", OK)
        .file("public/large.bin", vec![7; 4 << 20]);
    let server = start(&site);
    (site, server)
}

/// The pressure on a connection of some kind: what is sent first, and what is sent on and on.
struct Kind {
    name: &'static str,
    first: Vec<u8>,
    more: Vec<u8>,
    /// Whether the answer to `first` is waited for.
    upgrades: bool,
}

fn http1(name: &'static str, first: &str, more: Vec<u8>) -> Kind {
    Kind { name, first: first.as_bytes().to_vec(), more, upgrades: false }
}

fn websocket(name: &'static str, path: &str, more: Vec<u8>) -> Kind {
    let first = format!(
        "GET {path} HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    Kind { name, first: first.into_bytes(), more, upgrades: true }
}

/// As many requests as there may be at a time, after a `SETTINGS_INITIAL_WINDOW_SIZE`, and DATA for each if there is a body.
fn http2(name: &'static str, window: u32, head: &[u8], body: &[u8]) -> Kind {
    let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
    let mut first = [PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat();
    first.extend(frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes()));
    let (mut heads, mut more) = (Vec::new(), Vec::new());
    for number in 0..128 {
        let stream = number * 2 + 1;
        let end = if body.is_empty() { END_STREAM } else { 0 };
        heads.extend(frame(HEADERS, END_HEADERS | end, stream, head));
        if !body.is_empty() {
            more.extend(frame(DATA, 0, stream, body));
        }
    }
    first.extend(heads);
    Kind { name, first, more, upgrades: false }
}

fn kinds() -> Vec<Kind> {
    let post = |path: &str, fields: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: 1048576\r\n{fields}\r\n")
    };
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let head = format!("GET /hold HTTP/1.1\r\nHost: t\r\nX: {}\r\n", "x".repeat(60_000));
    let get = |path: &str| request("GET", path);
    let long = [get("/hold"), field("x", &"x".repeat(15_000))].concat();
    let half = {
        let mut half = ws_frame(FIN | BINARY, &vec![0; 1 << 20]);
        half.truncate(1_000_000);
        half
    };
    let body = vec![b'x'; 16 << 10];
    vec![
        websocket("halves of messages", "/ws", half),
        websocket("messages that are not answered", "/late", ws_frame(FIN | BINARY, &vec![0; 1_000_000])),
        websocket("echoes", "/ws", ws_frame(FIN | TEXT, &vec![b'x'; 60_000])),
        http1("bodies that are read", &post("/keep", ""), body.clone()),
        http1("bodies that are not read", &post("/hold", ""), body.clone()),
        http1(
            "forms",
            &post("/form", form),
            b"a=".iter().copied().chain(vec![b'x'; 16_000]).chain(*b"&").collect(),
        ),
        http1("heads without an end", &head, vec![]),
        http1("long answers", "", b"GET /big HTTP/1.1\r\nHost: t\r\n\r\n".to_vec()),
        http1("many answers", "", b"GET /ok HTTP/1.1\r\nHost: t\r\n\r\n".repeat(100)),
        http1("streams of the main VM", "GET /stream HTTP/1.1\r\nHost: t\r\n\r\n", vec![]),
        http1("streams of workers", "GET /worker HTTP/1.1\r\nHost: t\r\n\r\n", vec![]),
        http2("requests that wait", 0, &get("/hold"), b""),
        http2("long heads", 0, &long, b""),
        http2("bodies, in streams", 0, &request("POST", "/hold"), &[0; 8192]),
        http2("bodies that are read, in streams", 0, &request("POST", "/keep"), &[0; 8192]),
        http2("long answers, in streams", 0, &get("/big"), b""),
        http2("long answers that begin", 1, &get("/big"), b""),
        http2("streams, in streams", 1, &get("/stream"), b""),
        http2("streams of workers, in streams", 1, &get("/worker"), b""),
        http2("files, in streams", 1, &get("/files/large.bin"), b""),
    ]
}

/// Opens connections and sends on them what is taken, reading nothing, until the time is over. They stay open.
fn press(address: SocketAddr, kind: &Kind, number: usize, until: Instant) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for at in 0..number {
        if Instant::now() > until {
            break;
        }
        let Ok(mut stream) = TcpStream::connect(address) else { break };
        let _bounded = stream.set_write_timeout(Some(Duration::from_millis(20)));
        let proxy = format!("PROXY TCP4 192.0.2.1 192.0.2.9 {} 80\r\n", 1024 + at);
        let begun = stream.write_all(&[proxy.as_bytes(), &kind.first].concat());
        if begun.is_ok() && kind.upgrades {
            let _bounded = stream.set_read_timeout(Some(Duration::from_secs(2)));
            let _answered = stream.read(&mut [0; 512]);
        }
        open.push(stream);
    }
    let mut going: Vec<(&mut TcpStream, usize)> = open.iter_mut().map(|stream| (stream, 0)).collect();
    for (stream, _) in &going {
        let _bounded = stream.set_nonblocking(true);
    }
    while !kind.more.is_empty() && !going.is_empty() && Instant::now() < until {
        going.retain_mut(|(stream, sent)| match stream.write(&kind.more[*sent..]) {
            Ok(more) => {
                *sent = (*sent + more) % kind.more.len();
                true
            }
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        });
        thread::yield_now();
    }
    open
}

/// Presses a server by connections of these kinds, so many of each at the same time, and returns what it cost at its peak.
#[track_caller]
fn cost(kinds: &[Kind], number: usize) -> u64 {
    let (_site, server) = target();
    let proxied = server.address_of(1);
    for _ in 0..20 {
        assert_eq!(server.get("/ok").text(), "ok");
    }
    memory::forget_peak(server.pid());
    let before = memory::resident(server.pid());
    let until = Instant::now() + PRESS;
    let open: Vec<TcpStream> = thread::scope(|scope| {
        let pressing: Vec<_> =
            kinds.iter().map(|kind| scope.spawn(move || press(proxied, kind, number, until))).collect();
        assert_eq!(server.get("/ok").text(), "ok", "for another meanwhile");
        pressing.into_iter().flat_map(|pressing| pressing.join().expect("it does not panic")).collect()
    });
    assert_eq!(server.get("/ok").text(), "ok", "for another afterwards");
    let cost = memory::peak(server.pid()).saturating_sub(before);
    let names: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
    eprintln!("{:>4} MiB: {} connections of {}", cost >> 20, open.len(), names.join(", "));
    cost
}

#[test]
fn address_at_its_worst_under_load() {
    let kinds = kinds();
    let mut worst = cost(&kinds, CONNECTIONS / kinds.len());
    for kind in &kinds {
        worst = worst.max(cost(std::slice::from_ref(kind), CONNECTIONS));
    }
    assert!(worst <= MOST, "it cost {} MiB", worst >> 20);
}
