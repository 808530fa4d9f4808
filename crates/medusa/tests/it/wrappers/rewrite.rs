//! `medusa.handler.rewrite`: another path for the handler.

use medusa_testkit::{Site, WebSocket};

use super::super::support::start;
use super::{SOCKET, expect_errors};

const SITE: &str = "
    web = medusa.http.server { listen = '127.0.0.1:0', log = medusa.log.file('access.log') }
    local function shows(req) return `{req.path} {req.tail} {req.query}` end
    web:mount('/app/', medusa.handler.rewrite({ strip_prefix = '/app', add_prefix = '/v1' }, shows))
    web:mount('/user/{user}', medusa.handler.rewrite({ add_prefix = '/v1' }, function(req) return req.path .. ' ' .. req.params.user end))
    web:mount('/other/', medusa.handler.rewrite({ strip_prefix = '/app' }, shows))
    web:mount('/files/', medusa.handler.rewrite({ strip_prefix = '/files' }, medusa.handler.files('public')))
    web:mount('/socket', medusa.handler.rewrite({ add_prefix = '/v1' }, medusa.handler.script('socket.luau')))";

#[test]
fn the_handler_sees_another_path_and_the_log_the_one_that_came() {
    let site = Site::script(SITE).file("public/a", "hello").file("socket.luau", SOCKET);
    let server = start(&site);
    let mut session = WebSocket::connect(server.address(), "/socket");
    for _ in 0..2 {
        let mut client = server.connect();
        assert_eq!(client.get("/app/a%2Fb/c?d=/app").text(), "/v1/a%2Fb/c a%2Fb/c d=/app");
        assert_eq!(client.get("/app/").text(), "/v1/  nil");
        assert_eq!(client.get("/user/a%20b").text(), "/v1/user/a%20b a b");
        assert_eq!(client.get("/other/x").status, 404);
        assert_eq!(client.get("/files/a").text(), "hello");
        server.reload();
    }
    session.send("after");
    assert_eq!(session.text(), "after");
    drop(session);
    server.terminate();
    assert!(site.read("access.log").contains("GET /app/a%2Fb/c?d=/app HTTP/1.1"));
}

#[test]
fn a_prefix_that_is_none_is_an_error() {
    let server = start(&Site::script("web = medusa.http.server { listen = '127.0.0.1:0' }"));
    expect_errors(
        &server,
        &[
            ("rewrite({}, print)", "nothing is rewritten; give `strip_prefix` or `add_prefix`"),
            ("rewrite({ strip_prefix = '/app/' }, print)", "\"/app/\" is not the beginning of a path"),
            ("rewrite({ add_prefix = 'v1' }, print)", "\"v1\" is not the beginning of a path"),
            (
                "rewrite({ strip = '/a' }, print)",
                "there is no option \"strip\"; there are: strip_prefix, add_prefix",
            ),
        ],
    );
}
