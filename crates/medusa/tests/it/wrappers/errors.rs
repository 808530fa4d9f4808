//! `medusa.handler.errors`: own pages in the place of the server's.

use medusa_testkit::{Client, Server, Site, WebSocket};

use super::super::guide::guide_example;
use super::super::support::{start, web};
use super::{SOCKET, expect_errors, refused_session};

const SITE: &str = r#"
web = medusa.http.server { listen = "127.0.0.1:0", limits = { handler = 1 } }
local users = medusa.auth.users {}
local pages = {
    [404] = "errors/404.html",
    ["4xx"] = function(req) return `{req.status} {req.method} {req.path} {req.query} {req.headers.range}` end,
    ["5xx"] = medusa.handler.script("5xx.luau"),
}
local function errors(handler) return medusa.handler.errors(pages, handler) end
local function slow() medusa.sleep(60) return "late" end
web:mount("/files/", errors(medusa.handler.files("public", { cache_control = "max-age=60" })))
web:mount("/own/", errors(medusa.handler.files("public", { not_found = "own.html" })))
web:mount("/auth", errors(medusa.handler.auth(users, print)))
web:mount("/limit", errors(medusa.handler.limit({ rate = 0.01, burst = 1 }, function() return "in time" end)))
web:mount("/reads", errors(function(req) return req:body() end), { body = 3 })
web:mount("/fails", errors(function() error("secret") end))
web:mount("/stopped", errors(medusa.handler.timeout(0.01, slow)))
web:mount("/late", medusa.handler.cors({ origins = "*" }, errors(slow)))
web:mount("/bare", errors(function() return { status = 410 } end))
web:mount("/says", errors(function() return { status = 410, body = "long gone" } end))
web:mount("/taken", medusa.handler.errors(pages, function() return { status = 410, body = "long gone" } end, { intercept = true }))
web:mount("/broken", medusa.handler.errors({ [410] = function() error("the page") end }, function() return { status = 410 } end))
web:mount("/socket", errors(medusa.handler.auth(users, medusa.handler.script("socket.luau"))))
web:mount("/open", errors(medusa.handler.script("socket.luau")))
"#;

fn site() -> Site {
    Site::script(SITE)
        .file("public/a", "hello")
        .file("public/own.html", "their own")
        .file("errors/404.html", "<h1>lost</h1>\n".repeat(200))
        .file("5xx.luau", "return function(req) return `{req.status} from a file, {req.user}` end")
        .file("socket.luau", SOCKET)
}

fn ask(client: &mut Client, method: &str, path: &str) -> (u16, String) {
    let answer = client.request(method, path, &[("Range", "bytes=0-1")]);
    (answer.status, answer.text())
}

#[test]
fn what_the_server_says_has_the_pages_of_the_site() {
    let site = site();
    let server = start(&site);
    let mut client = server.connect();
    let fields = [("If-None-Match", "*"), ("Accept-Encoding", "gzip")];
    for _ in 0..2 {
        let lost = client.request("GET", "/files/none?x=1", &fields);
        assert_eq!((lost.status, lost.header("content-type")), (404, Some("text/html; charset=utf-8")));
        assert_eq!(lost.header("content-encoding"), Some("gzip"));
        assert_eq!((lost.header("etag"), lost.header("last-modified")), (None, None));
        assert_eq!(lost.header("cache-control"), None);
    }
    let plain = client.get("/files/none");
    assert_eq!((plain.status, plain.text()), (404, "<h1>lost</h1>\n".repeat(200)));
    let head = client.request("HEAD", "/files/none", &[]);
    assert_eq!((head.status, head.header("content-length")), (404, Some("2800")));
    assert_eq!(ask(&mut client, "GET", "/files/a"), (206, "he".into()));
    assert_eq!(ask(&mut client, "GET", "/own/none"), (404, "their own".into()));
    let refused = client.request("POST", "/files/a?x=1", &[("Range", "bytes=0-1")]);
    assert_eq!((refused.status, refused.text().as_str()), (405, "405 GET /files/a x=1 nil"));
    assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    let unknown = client.get("/auth");
    assert_eq!((unknown.status, unknown.text().as_str()), (401, "401 GET /auth nil nil"));
    assert!(unknown.header("www-authenticate").is_some_and(|asked| asked.starts_with("Basic ")));
    assert_eq!(ask(&mut client, "GET", "/limit"), (200, "in time".into()));
    let often = client.get("/limit");
    assert_eq!((often.status, often.text().as_str()), (429, "429 GET /limit nil nil"));
    assert!(often.header("retry-after").is_some());
    let too_long = server.send("POST /reads HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!((too_long.status, too_long.text().as_str()), (413, "413 GET /reads nil nil"));
    assert_eq!(too_long.header("connection"), Some("close"));
}

#[test]
fn what_fails_has_a_page_and_is_logged_all_the_same() {
    let site = site();
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(ask(&mut client, "GET", "/fails"), (500, "500 from a file, nil".into()));
    server.stderr().wait_for("secret");
    let stopped = client.get("/stopped");
    assert_eq!((stopped.status, stopped.text().as_str()), (503, "503 from a file, nil"));
    assert!(stopped.header("retry-after").is_some());
    let late = client.get("/late");
    assert_eq!((late.status, late.text().as_str()), (503, "503 from a file, nil"));
    assert_eq!(late.header("access-control-allow-origin"), Some("*"));
    server.stderr().wait_for("the handler took longer than 1 s (`limits.handler`)");
    let broken = client.get("/broken");
    assert_eq!((broken.status, broken.text().as_str()), (410, ""), "as it was");
    server.stderr().wait_for("there is no page for 410, as what makes it answers 500");
}

#[test]
fn what_a_handler_says_stays_unless_it_is_asked_for() {
    let site = site();
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(ask(&mut client, "GET", "/bare"), (410, "410 GET /bare nil nil".into()));
    assert_eq!(ask(&mut client, "GET", "/says"), (410, "long gone".into()));
    assert_eq!(ask(&mut client, "GET", "/taken"), (410, "410 GET /taken nil nil".into()));
    let refused = refused_session(&mut server.connect(), "/socket", &[]);
    assert_eq!((refused.status, refused.text().as_str()), (401, "401 GET /socket nil nil"));
    let mut session = WebSocket::connect(server.address(), "/open");
    session.send("hello");
    assert_eq!(session.text(), "hello");
    server.reload();
    session.send("again");
    assert_eq!(session.text(), "again");
}

#[test]
fn a_page_may_change_at_any_time() {
    let site = site();
    let server = start(&site);
    let lost = |server: &Server| server.get("/files/none").text();
    assert!(lost(&server).starts_with("<h1>lost</h1>"));
    site.write("errors/404.html", "another");
    medusa_testkit::wait::until("the other page", || (lost(&server) == "another").then_some(()));
    std::fs::remove_file(site.at("errors/404.html")).expect("it is there");
    medusa_testkit::wait::until("the server's page", || {
        lost(&server).contains("There is nothing at this address").then_some(())
    });
    server.stderr().wait_for("file=404.html");
    let error = server.command(["reload"]).failure(1);
    assert!(
        error.contains("\"errors/404.html\": there is no such file; create it")
            && error.contains("site.luau:"),
        "{error}"
    );
}

#[test]
fn what_is_no_page_is_an_error() {
    let server = start(&web(""));
    expect_errors(
        &server,
        &[
            (
                "errors('404.html', print)",
                "the pages must be a table, { [404] = \"404.html\" }, not \"404.html\"",
            ),
            ("errors({}, print)", "there is no page; give some"),
            (
                "errors({ [200] = print }, print)",
                "a page is for a status from 400 to 599, \"4xx\" or \"5xx\", not for 200",
            ),
            ("errors({ ['3xx'] = print }, print)", "not for \"3xx\""),
            ("errors({ [404] = 'none.html' }, print)", "\"none.html\": there is no such file"),
            ("errors({ [404] = 'site.luau' }, print)", "a script is no page"),
            (
                "errors({ [404] = 1 }, print)",
                "a handler must be a function(req) or come from medusa.handler, not 1",
            ),
            ("errors({ [404] = print }, print, { all = true })", "there is no option \"all\""),
            ("errors({ [404] = print })", "a handler must be a function(req)"),
        ],
    );
}

#[test]
fn the_example_of_the_guide_serves_its_pages() {
    let example = guide_example("puts pages of your own in the place of the server's");
    let site = web(example)
        .file("public/a", "hello")
        .file("errors/404.html", "lost")
        .file("errors/down.html", "down");
    let server = start(&site);
    let lost = server.get("/none");
    assert_eq!((lost.status, lost.text().as_str()), (404, "lost"));
    assert_eq!(server.get("/a").text(), "hello");
    let refused = server.connect().request("DELETE", "/a", &[]);
    assert_eq!((refused.status, refused.text().as_str()), (405, "405: this is not for /a\n"));
}
