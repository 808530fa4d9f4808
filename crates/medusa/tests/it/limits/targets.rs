//! What a request of HTTP/2 is for: the same is refused as of HTTP/1.1.

use medusa_testkit::Server;
use medusa_testkit::http2::{END_HEADERS, END_STREAM, HEADERS, Http2, field};

use super::super::support::{start, web};
use super::super::tls::Encrypted;

/// The status of a GET with these fields, in HTTP/2; 0 if the stream or the connection is reset.
#[track_caller]
fn status(server: &Server, fields: &[(&str, &str)]) -> u16 {
    let mut client = Http2::connect(server, &[]);
    let block: Vec<u8> = [(":method", "GET"), (":path", "/")]
        .iter()
        .chain(fields)
        .flat_map(|(name, value)| field(name, value))
        .collect();
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &block);
    client.status(1)
}

#[test]
fn a_host_is_one_in_http_2_too() {
    let site = web("web:mount('/', medusa.handler.https())");
    let server = start(&site);
    let scheme = (":scheme", "http");
    for good in ["a.example", "a.example:8080", "[::1]:8080", "A_b.example"] {
        assert_eq!(status(&server, &[scheme, (":authority", good)]), 301, "{good}");
        assert_eq!(status(&server, &[scheme, ("host", good)]), 301, "{good}");
        assert_eq!(status(&server, &[scheme, (":authority", good), ("host", good)]), 301, "{good}");
        let lower = good.to_ascii_lowercase();
        assert_eq!(status(&server, &[scheme, (":authority", good), ("host", &lower)]), 301, "{good}");
    }
    for bad in ["evil.example/x?", "a.example:", "a b", "user@a.example", "a.example:123456", "a#b", ""] {
        // HTTP/1.1 has an empty one, and one with a colon alone, refused by nobody.
        if bad != "a.example:" {
            assert_eq!(status(&server, &[scheme, ("host", bad)]), 400, "{bad:?}");
        }
    }
    for bad in ["a.example:123456", "user@a.example"] {
        assert_eq!(status(&server, &[scheme, (":authority", bad)]), 400, "{bad:?}");
    }
    assert_eq!(status(&server, &[scheme]), 400, "neither");
    let two = [scheme, ("host", "a.example"), ("host", "a.example")];
    assert_eq!(status(&server, &two), 400, "two of them");
    let others = [scheme, (":authority", "a.example"), ("host", "b.example")];
    assert_eq!(status(&server, &others), 400, "two that differ");
}

#[test]
fn a_scheme_is_ours_and_https_is_encrypted() {
    let site = web("web:mount('/', function() return 'ok' end)");
    let server = start(&site);
    for (scheme, expected) in [("http", 200), ("HTTP", 200), ("https", 421), ("ftp", 421)] {
        if scheme != "HTTP" {
            let fields = [(":scheme", scheme), (":authority", "a.example")];
            assert_eq!(status(&server, &fields), expected, "{scheme}");
        }
        let request = format!("GET {scheme}://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(server.send(request).status, expected, "{scheme}");
    }
}

#[test]
fn nothing_else_is_spoken_where_http_2_was_agreed_on() {
    let it = Encrypted::new("", "web:mount('/', function() return 'ok' end)");
    let server = start(&it.site);
    let script = "import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
context.set_alpn_protocols([sys.argv[3]])
client = context.wrap_socket(socket.create_connection(('127.0.0.1', int(sys.argv[2]))), server_hostname='localhost')
client.sendall(b'GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n')
came = b''
while True:
    more = client.recv(65536)
    if not more: break
    came += more
print(client.selected_alpn_protocol(), b'HTTP/1.1 200' in came)";
    let ca = it.site.at("ca.pem");
    let port = server.address().port().to_string();
    for (protocol, expected) in [("http/1.1", "http/1.1 True"), ("h2", "h2 False")] {
        let ca = ca.to_str().expect("a path in text");
        let output = medusa_testkit::run("python3", ["-c", script, ca, &port, protocol]).said();
        assert_eq!(output.trim_end(), expected);
    }
}
