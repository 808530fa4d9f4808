//! `medusa.handler.allow` and `medusa.handler.deny`: who is let in, by address.

use medusa_testkit::{Client, Site, WebSocket};

use super::super::support::start;
use super::{SOCKET, counted, expect_errors, refused_session};

const SITE: &str = "
    web = medusa.http.server { listen = { '127.0.0.1:0', 'unix:web.sock' }, trusted_proxies = { '127.0.0.1' } }
    local list = { '10.0.0.0/8', '2001:db8::/32' }
    local function inside(req) return 'inside' end
    web:mount('/allow', medusa.handler.allow(list, inside))
    web:mount('/deny', medusa.handler.deny(list, inside))
    web:mount('/socket', medusa.handler.allow(list, medusa.handler.script('socket.luau')))
    web:mount('/unix', medusa.handler.allow({ 'unix' }, inside))";

fn site() -> Site {
    Site::script(SITE).file("socket.luau", SOCKET)
}

#[test]
fn the_client_is_whom_the_proxy_speaks_for() {
    let site = site();
    let server = start(&site);
    let mut client = server.connect();
    let mut asks = |path: &str, address: &str| {
        let answer = client.request("GET", path, &[("X-Forwarded-For", address)]);
        assert!(answer.status == 403 || answer.text() == "inside", "{path} {address}");
        answer.status
    };
    for (address, allow, deny) in [
        ("10.0.0.0", 200, 403),
        ("10.255.255.255", 200, 403),
        ("::ffff:10.1.2.3", 200, 403),
        ("2001:db8::1", 200, 403),
        ("11.0.0.0", 403, 200),
        ("2001:db9::1", 403, 200),
        ("203.0.113.7, 10.0.0.1", 200, 403),
        ("10.0.0.1, 203.0.113.7", 403, 200),
    ] {
        assert_eq!((asks("/allow", address), asks("/deny", address)), (allow, deny), "{address}");
    }
    assert_eq!(
        (counted(&server, "handler.allow", "refused"), counted(&server, "handler.deny", "refused")),
        (3, 5)
    );
    server.reload();
    assert_eq!(client.request("GET", "/allow", &[("X-Forwarded-For", "10.0.0.1")]).status, 200);
    assert_eq!(client.get("/allow").status, 403, "the proxy itself is not of the list");
}

#[test]
fn a_session_is_refused_like_any_request() {
    let site = site();
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(refused_session(&mut client, "/socket", &[]).status, 403);
    assert_eq!(client.get("/deny").status, 200, "the connection goes on");
    let mut session = WebSocket::open(client, "/socket", &[("X-Forwarded-For", "10.0.0.1")]);
    session.send("inside");
    assert_eq!(session.text(), "inside");
}

#[test]
fn the_other_end_of_a_unix_socket_is_listed_by_that_name() {
    let site = site();
    let server = start(&site);
    let mut client = Client::connect_unix(&site.at("web.sock"));
    let statuses = ["/allow", "/deny", "/unix"].map(|path| client.get(path).status);
    assert_eq!(statuses, [403, 200, 200]);
    assert_eq!(server.get("/unix").status, 403);
}

#[test]
fn ten_thousand_networks_are_a_list_like_any_other() {
    let site = Site::script(
        "web = medusa.http.server { listen = '127.0.0.1:0', trusted_proxies = { '127.0.0.1' } }
        local list = {}
        for i = 0, 9999 do table.insert(list, `10.{i // 256}.{i % 256}.0/25`) end
        web:mount('/', medusa.handler.allow(list, function() return 'inside' end))",
    );
    let server = start(&site);
    let mut client = server.connect();
    for (address, status) in
        [("10.0.0.127", 200), ("10.39.15.1", 200), ("10.39.15.128", 403), ("10.39.16.0", 403)]
    {
        let answer = client.request("GET", "/", &[("X-Forwarded-For", address)]);
        assert_eq!(answer.status, status, "{address}");
    }
}

#[test]
fn an_entry_with_a_slip_is_an_error_that_says_what_to_write() {
    let site = site();
    let server = start(&site);
    expect_errors(
        &server,
        &[
            ("allow({ '10.1.2.3/8' }, print)", "the network is 10.0.0.0/8, the single address 10.1.2.3"),
            (
                "deny({ '10.0.0.0/33' }, print)",
                "a prefix that is not a number from 0 to 32; the single address is 10.0.0.0",
            ),
            ("allow({ '::1/129' }, print)", "from 0 to 128"),
            (
                "allow({ 'localhost' }, print)",
                "medusa.handler.allow: \"localhost\" is not an address; use one like",
            ),
            ("allow({ 10 }, print)", "every entry must be a string"),
            ("allow({}, print)", "the list is empty"),
            ("allow('10.0.0.0/8', print)", "the networks must be a list of strings"),
            ("allow({ a = '::1' }, print)", "must be a list, without names"),
            ("deny({ '::1' })", "a handler must be a function(req)"),
        ],
    );
}
