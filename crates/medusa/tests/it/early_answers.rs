//! Answers before the end of what is asked: a client that is still sending must be able to read them.

use medusa_testkit::Server;

use super::support::start;
use super::tls::Encrypted;

/// More than any buffer on the way holds: whoever sends this needs somebody who takes it.
const UPLOAD: usize = 16 << 20;

/// One encrypted address and one that is not. `/refuses` does not look at the body, `/reads` may not have all of it.
#[track_caller]
fn served() -> (Encrypted, Server) {
    let it = Encrypted::script(
        "web = medusa.http.server {
            listen = { { address = '127.0.0.1:0', tls = { cert = 'cert.pem', key = 'key.pem' } }, '127.0.0.2:0' },
            limits = { body = 1000 },
        }
        web:mount('/refuses', function() return { status = 415, body = 'not this' } end)
        web:mount('/reads', function(req) return req:body() end)",
    );
    let server = start(&it.site);
    (it, server)
}

#[test]
fn a_client_that_sends_it_all_first_reads_the_answer() {
    let (it, server) = served();
    let upload = vec![b'x'; UPLOAD];
    for (path, status) in [("/refuses", 415), ("/reads", 413), ("/nowhere", 404)] {
        for framing in [
            format!("Content-Length: {UPLOAD}\r\n\r\n"),
            "Transfer-Encoding: chunked\r\n\r\n1000000\r\n".into(),
        ] {
            for at in [0, 1] {
                let mut client = medusa_testkit::Client::connect(server.address_of(at));
                if at == 0 {
                    client = client.encrypted(it.authority.pem(), "localhost");
                }
                client.send(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{framing}"));
                let sent = client.try_send(&upload);
                assert!(sent.is_ok(), "{path} {at} {framing:?}: {sent:?}");
                assert_eq!(client.response().status, status, "{path} {at} {framing:?}");
            }
        }
    }
}

#[test]
fn curl_is_told() {
    let (it, server) = served();
    let large = it.site.at("large.bin");
    std::fs::write(&large, vec![b'x'; UPLOAD]).expect("a file");
    let large = format!("@{}", large.display());
    let (encrypted, plain) = (server.address_of(0).port(), server.address_of(1));
    for path in ["/refuses", "/nowhere"] {
        let status = if path == "/refuses" { "415" } else { "404" };
        for (flag, base) in [
            ("--http2", format!("https://localhost:{encrypted}")),
            ("--http2-prior-knowledge", format!("http://{plain}")),
            ("--http1.1", format!("https://localhost:{encrypted}")),
            ("--http1.1", format!("http://{plain}")),
        ] {
            let url = format!("{base}{path}");
            for data in ["{}", &large] {
                for at in 0..10 {
                    let args = [
                        flag,
                        "-H",
                        "Expect:",
                        "-o",
                        "/dev/null",
                        "-w",
                        "%{http_code}",
                        "--data-binary",
                        data,
                        &url,
                    ];
                    let output = it.curl(args);
                    assert!(output.stdout.trim_end() == status, "{at}: {flag} {url}: {}", output.stderr);
                }
            }
        }
    }
}
