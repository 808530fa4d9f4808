//! Clients that are not ours, each by every protocol it has: HTTP/1.1, HTTP/2 by prior knowledge, both encrypted.

use std::fs;
use std::process::Command;

use medusa_testkit::{Process, Server, browser, curl, run, wait};

use super::tls::Encrypted;

/// A server that is encrypted on its first address and not on its second.
const SCRIPT: &str = "web = medusa.http.server {
        listen = { { address = '127.0.0.1:0', tls = { cert = 'cert.pem', key = 'key.pem' } }, '127.0.0.2:0' },
        log = medusa.log.file('access.log'),
    }
    web:mount('/files/', medusa.handler.files('files'))
    web:mount('/version', function(req) return req.version end)
    web:mount('POST /echo', function(req) return { headers = { ['x-method'] = req.method }, body = req:body() } end)
    web:mount('POST /trailers', function(req) return req:body() .. ' ' .. tostring(req:trailers()['x-sum']) end)
    web:mount('/late/', function(req) medusa.sleep(0.01) return `{req.tail}\\n` end)
    web:mount('POST /sum', function(req)
        local n = 0
        for chunk in req:chunks() do n += #chunk end
        return tostring(n)
    end, { body = 1e9 })
    gate = medusa.shared('gate')
    web:mount('/halves', function()
        return { body = function(write)
            write(string.rep('a', 1000000))
            while not gate:get('go') do medusa.sleep(0.005) end
            write(string.rep('b', 1000000))
        end }
    end)";

/// What is downloaded, in bytes: more than any buffer or window on the way.
const LARGE: usize = 24 << 20;

/// Half of what `/halves` sends, in bytes; it waits between the halves.
const HALF: u64 = 1_000_000;

/// Bytes that are nowhere the same, so that none can be lost or come twice unseen.
fn large() -> Vec<u8> {
    (0..LARGE / 8).flat_map(|at| (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect()
}

#[track_caller]
fn served() -> (Encrypted, Server) {
    let it = Encrypted::script(SCRIPT);
    it.site.write("files/large.bin", large());
    it.site.write("files/page.html", PAGE);
    let server = super::support::start(&it.site);
    (it, server)
}

/// The ways to a path: curl's flag, the URL, and the version that the server should see.
fn ways(server: &Server, path: &str) -> [(&'static str, String, &'static str); 4] {
    let secure = format!("https://localhost:{}{path}", server.address_of(0).port());
    let plain = format!("http://{}{path}", server.address_of(1));
    [
        ("--http1.1", plain.clone(), "1.1"),
        ("--http2-prior-knowledge", plain, "2"),
        ("--http1.1", secure.clone(), "1.1"),
        ("--http2", secure, "2"),
    ]
}

#[test]
fn curl_asks_and_is_answered() {
    let (it, server) = served();
    for (flag, url, version) in ways(&server, "/version") {
        assert_eq!(it.curl([flag, &url]).said(), version);
        let head = it.curl([flag, "-I", &url]).success().to_lowercase();
        let length = format!("\ncontent-length: {}\r", version.len());
        assert!(head.contains(" 200") && head.contains(&length) && head.ends_with("\r\n\r\n"), "{head}");
    }
    // More than the windows of HTTP/2, so that they must be opened again and again.
    let sent = it.site.at("files/large.bin");
    let data = format!("@{}", sent.display());
    for (flag, url, _) in ways(&server, "/echo") {
        let sum = url.replace("/echo", "/sum");
        let sent = it.curl([flag, "--data-binary", &data, &sum]);
        assert!(sent.status.success(), "{sent}the server counts {:?}", server.documents("http.faults"));
        assert_eq!(sent.said(), LARGE.to_string());
        assert_eq!(it.curl([flag, "-d", "some text", &url]).said(), "some text");
        let chunked =
            it.curl([flag, "-H", "Transfer-Encoding: chunked", "-H", "Expect:", "-d", "in chunks", &url]);
        assert_eq!(chunked.said(), "in chunks");
        let expecting = it.curl([flag, "-H", "Expect: 100-continue", "-d", "expected", &url]);
        assert_eq!(expecting.said(), "expected");
    }
}

#[test]
fn a_large_file_arrives_as_it_is() {
    let (it, server) = served();
    let large = large();
    for (at, (flag, url, _)) in ways(&server, "/files/large.bin").into_iter().enumerate() {
        let name = format!("down-{at}");
        let to = it.site.at(&name).display().to_string();
        it.curl([flag, "-o", &to, &url]).success();
        assert!(fs::read(it.site.at(&name)).expect("a download") == large, "{flag} {url}: another file");
        let range = it.curl([flag, "-r", "1048576-1048583", "-o", &to, &url]);
        range.success();
        assert_eq!(fs::read(it.site.at(&name)).expect("a part"), large[1 << 20..(1 << 20) + 8]);
    }
}

#[test]
fn a_download_goes_on_through_reloads() {
    let (it, server) = served();
    for (at, (flag, url, _)) in ways(&server, "/halves").into_iter().enumerate() {
        server.eval("gate:set('go', false)");
        let to = it.site.at(&format!("halves-{at}"));
        let mut curl = Command::new("curl");
        let download =
            Process::start(curl.args(["-q", "-sSN", "-k", "--noproxy", "*", flag, &url, "-o"]).arg(&to));
        // The server waits, and not the client: a client that reads slowly would wait for the kernel's timers.
        wait::until("there is the first half", || (fs::metadata(&to).ok()?.len() == HALF).then_some(()));
        it.site.write("site.luau", format!("{SCRIPT}\nweb:mount('/new-{at}', function() return 'new' end)"));
        server.reload();
        let new = url.replace("/halves", &format!("/new-{at}"));
        assert_eq!(it.curl([flag, &new]).said(), "new");
        server.eval("gate:set('go', true)");
        download.finish().success();
        let halves = fs::read(&to).expect("a download");
        let half = usize::try_from(HALF).expect("small");
        assert!(halves.len() == 2 * half, "{flag} {url}: {} bytes", halves.len());
        assert!(
            halves[..half].iter().all(|byte| *byte == b'a')
                && halves[half..].iter().all(|byte| *byte == b'b')
        );
    }
}

#[test]
fn nghttp_asks_and_is_answered() {
    let (it, server) = served();
    it.site.write("body", "sent by nghttp");
    let body = it.site.at("body").display().to_string();
    for (_, url, _) in ways(&server, "/version").into_iter().filter(|(_, _, version)| *version == "2") {
        let to = |path: &str| url.replace("/version", path);
        assert_eq!(run("nghttp", ["-y", &url]).said(), "2");
        assert_eq!(run("nghttp", ["-y", "-d", &body, &to("/echo")]).said(), "sent by nghttp");
        let with_trailer = ["-y", "-d", &body, "--trailer", "x-sum: 42", &to("/trailers")];
        assert_eq!(run("nghttp", with_trailer).said(), "sent by nghttp 42");
        // Several on one connection, and HEAD.
        let several: Vec<String> = (0..20).map(|number| to(&format!("/late/{number}"))).collect();
        let output = run("nghttp", ["-y"].into_iter().chain(several.iter().map(String::as_str))).success();
        let mut ids: Vec<u32> = output.lines().map(|line| line.parse().expect("a number")).collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..20).collect::<Vec<_>>());
        let head = run("nghttp", ["-y", "-v", "-n", "-H", ":method: HEAD", &url]).success();
        assert!(head.contains(":status: 200") && !head.contains("recv DATA"), "{head}");
    }
}

/// What Python does with `host port ca file`, or without `ca` on a port that is not encrypted.
const PYTHON: &str = r#"
import http.client, ssl, sys
host, port, ca, large = sys.argv[1], int(sys.argv[2]), sys.argv[3], open(sys.argv[4], "rb").read()
if ca == "-":
    connection = http.client.HTTPConnection(host, port, timeout=20)
else:
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["http/1.1"])
    connection = http.client.HTTPSConnection(host, port, timeout=20, context=context)

def ask(method, path, **more):
    connection.request(method, path, **more)
    response = connection.getresponse()
    return response, response.read()

connection.connect()
socket = connection.sock
for _ in range(3):
    response, body = ask("GET", "/version")
    assert (response.status, body) == (200, b"1.1"), body
response, body = ask("HEAD", "/files/large.bin")
assert (body, int(response.headers["content-length"])) == (b"", len(large)), response.headers
response, body = ask("POST", "/echo", body=b"with a length")
assert (body, response.headers["x-method"]) == (b"with a length", "POST"), body
response, body = ask("POST", "/echo", body=iter([b"in ", b"chunks"]), encode_chunked=True,
    headers={"Transfer-Encoding": "chunked"})
assert body == b"in chunks", body
response, body = ask("GET", "/files/large.bin")
assert body == large, "another file"
response, body = ask("GET", "/gone")
assert response.status == 404
assert connection.sock is socket, "it was not one connection"
print("done", response.version)
"#;

#[test]
fn python_asks_and_is_answered() {
    let (it, server) = served();
    let (ca, large) = (it.site.at("ca.pem").display().to_string(), it.site.at("files/large.bin"));
    let large = large.display().to_string();
    let (secure, plain) = (server.address_of(0).port().to_string(), server.address_of(1).port().to_string());
    for args in [["localhost", &secure, &ca, &large], ["127.0.0.2", &plain, "-", &large]] {
        assert_eq!(run("python3", ["-c", PYTHON].into_iter().chain(args)).said(), "done 11");
    }
    let python =
        server.documents("listener").iter().map(|listener| listener["accepted"].as_u64()).collect::<Vec<_>>();
    assert_eq!(python, [Some(1), Some(1)], "a connection for each run");
}

/// A page that asks for more, and writes down how it went.
const PAGE: &str = r#"<!doctype html><html lang="en"><title>page</title><p id="seen">nothing</p><script>
function ask(method, url, body) {
    const request = new XMLHttpRequest();
    request.open(method, url, false);
    request.send(body);
    return request.status + "=" + request.responseText;
}
const parts = ["GET /version", "POST /echo body", "GET /gone"].map(line => ask(...line.split(" ")).slice(0, 12));
parts.push(performance.getEntriesByType("navigation")[0].nextHopProtocol, location.protocol);
document.getElementById("seen").textContent = "seen " + parts.join(" ") + " end";
</script></html>"#;

#[test]
fn a_browser_asks_and_is_answered() {
    let (_it, server) = served();
    for (url, seen) in [
        (
            format!("http://{}/files/page.html", server.address_of(1)),
            "seen 200=1.1 200=body 404=&lt;!doctyp http/1.1 http: end",
        ),
        (
            format!("https://localhost:{}/files/page.html", server.address_of(0).port()),
            "seen 200=2 200=body 404=&lt;!doctyp h2 https: end",
        ),
    ] {
        let document = browser::load_with(&url, &["--ignore-certificate-errors"]);
        assert!(document.contains(seen), "{seen:?} was expected in {document}");
    }
}

#[test]
fn a_certificate_that_a_client_does_not_trust_is_not_accepted() {
    let (_it, server) = served();
    for flag in ["--http1.1", "--http2"] {
        curl([flag, &ways(&server, "/version")[2].1]).failure(60);
    }
}
