//! The server's own files, which nobody is served: its users, keys, logs, scripts and state.

use std::fs;
use std::os::unix::fs::symlink;

use medusa_testkit::{Authority, Server, Site};

use super::{MEDUSA, start, web};

/// `secret` by bcrypt.
const USERS: &str = "alice:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n";

/// A site in whose directory all lies that it is made of, mounted with these options.
fn site(options: &str) -> Site {
    let issued = Authority::new("Test").server(&["localhost"]);
    web(&format!(
        "secure = medusa.http.server {{ name = 'secure', listen = '127.0.0.1:0', tls = {{ cert = 'cert.pem', key = 'key.pem' }} }}
        web:set_log(medusa.log.file('access.log'))
        medusa.monitor.ssh {{ listen = '127.0.0.1:0', keys = 'people' }}
        web:mount('/', medusa.handler.files('.', {{ listing = true {options} }}))
        web:mount('/api', medusa.handler.script('api.txt'))
        web:mount('/members/', medusa.handler.auth(medusa.auth.htpasswd('accounts'), medusa.handler.files('public')))"
    ))
    .file("api.txt", "return function() return 'secret' end")
    .file("cert.pem", issued.cert)
    .file("key.pem", issued.key)
    .file("accounts", USERS)
    .file("accounts.bak", USERS)
    .file("people", "")
    .file("access.log.2026-11-23", "")
    .file("public/accounts", "the page of accounts")
    .file("accounts.html", "another page")
}

/// Starts it, with its state in there, too.
fn start_there(site: &Site) -> Server {
    MEDUSA.serve_with_state(site.path(), &site.at("state")).start()
}

const OWN: [&str; 10] = [
    "/api.txt",
    "/accounts",
    "/accounts.bak",
    "/people",
    "/key.pem",
    "/access.log",
    "/access.log.2026-11-23",
    "/site.luau",
    "/state/pid",
    "/state/audit.key",
];

#[test]
fn nobody_is_served_what_the_server_is_made_of() {
    let site = site("");
    symlink(site.at("accounts"), site.at("link")).expect("made");
    let server = start_there(&site);
    let mut client = server.connect();
    for path in OWN.into_iter().chain(["/link"]) {
        let status = client.get(path).status;
        assert!(matches!(status, 400 | 404), "{path}: {status}");
    }
    for (path, text) in [("/public/accounts", "the page of accounts"), ("/accounts.html", "another page")] {
        assert_eq!(client.get(path).text(), text);
    }
    let listed = client.request("GET", "/?format=json", &[]).text();
    for (name, is_listed) in [
        ("accounts", false),
        ("key.pem", false),
        ("link", false),
        ("cert.pem", true),
        ("accounts.html", true),
    ] {
        assert_eq!(listed.contains(&format!("\"{name}\"")), is_listed, "{name}: {listed}");
    }
    // What comes to be there is the server's own from the first moment on, and what a new script does not name any more is not.
    site.write("new", USERS);
    fs::rename(site.at("new"), site.at("accounts")).expect("renamed");
    assert_eq!(client.get("/accounts").status, 404);
    site.write("later", USERS);
    assert_eq!(client.get("/later").status, 200);
    server.eval("later = medusa.auth.htpasswd('later')");
    assert_eq!(client.get("/later").status, 404, "in spite of what was kept of it");
}

#[test]
fn what_is_asked_for_is_served() {
    let site = site(", serve = { 'accounts.bak', '*.log*', 'examples/*.luau' }");
    site.write("examples/a.luau", "return 1");
    let server = start_there(&site);
    let mut client = server.connect();
    for path in OWN.into_iter().chain(["/accounts~", "/state/"]) {
        let status = client.get(path).status;
        let is_asked = path.contains(".bak") || path.contains(".log");
        assert_eq!(status == 200, is_asked, "{path}: {status}");
    }
    assert_eq!(client.get("/examples/a.luau").text(), "return 1");
    assert!(client.request("GET", "/examples/?format=json", &[]).text().contains("a.luau"));
    assert!(!client.request("GET", "/?format=json", &[]).text().contains("state"));
    let refused = server.command(["eval", "medusa.handler.files('state')"]).failure(1);
    assert!(refused.contains("the server's state is in there"), "{refused}");
    let refused = server.command(["eval", "medusa.handler.files('.', { serve = 'a//b' })"]).failure(1);
    assert!(refused.contains("`serve`") && refused.contains("not a pattern"), "{refused}");
}

#[test]
fn a_directory_that_holds_them_is_told_once() {
    let site = site("");
    site.write("h.luau", "require('m') return function() return 'x' end");
    site.write("m.luau", "return 1");
    let script = site.read("site.luau");
    site.write("site.luau", format!("{script}\nweb:mount('/h', medusa.handler.script('h.luau'))"));
    let told = "site.luau:5: the directory of medusa.handler.files, ";
    let said = MEDUSA.run(["check".as_ref(), site.path()]).to_string();
    let line = said.lines().find(|line| line.contains(told)).unwrap_or_else(|| panic!("{said}"));
    for own in [
        "accounts (users)",
        "people (users)",
        "key.pem (a private key)",
        "access.log (a log)",
        "site.luau (the script)",
    ] {
        assert!(line.contains(own), "{own}: {line}");
    }
    assert!(!line.contains(".medusa"), "it is hidden: {line}");
    assert!(!line.contains("h.luau") && !line.contains("m.luau"), "they are called scripts: {line}");
    let server = start(&site);
    server.stderr().wait_for(told);
    server.reload();
    let times = server.stderr().text().matches(told).count();
    assert_eq!(times, 1);
}

#[test]
fn nobody_publishes_in_its_place() {
    let site = web("users = medusa.auth.htpasswd('public/users')
        web:mount('/', medusa.handler.put('public', { create_directories = true }))
        web:mount('GET /', medusa.handler.files('public'))")
    .file("public/users", USERS)
    .file("public/page", "page");
    let server = start(&site);
    let mut client = server.connect();
    let mut put = |method: &str, path: &str| {
        let own = "Content-Length: 1\r\n\r\nx";
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{own}"));
        client.response().status
    };
    for (method, path, status) in [
        ("PUT", "/users", 403),
        ("DELETE", "/users", 403),
        ("PUT", "/users.bak", 403),
        ("PUT", "/users/below", 403),
        ("PUT", "/page", 204),
        ("PUT", "/users.html", 201),
    ] {
        assert_eq!(put(method, path), status, "{method} {path}");
    }
    assert_eq!(site.read("public/users"), USERS);
    server.stderr().wait_for("site.luau:3: the directory of medusa.handler.put, ");
    fs::remove_file(site.at("public/users")).expect("removed");
    assert_eq!(put("PUT", "/users"), 403, "nor where it was");
}

#[test]
fn nobody_moves_the_directory_of_a_script() {
    let site = web("web:mount('/api', medusa.handler.script('shared/api/h.luau'))
        web:mount('/dav/', medusa.handler.dav('shared'))")
    .file("shared/api/h.luau", "local m = require('shared/lib/m') return function() return m end")
    .file("shared/lib/m.luau", "return 'x'")
    .file("shared/other/page", "page");
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(client.get("/api").text(), "x");
    for (from, status) in [("api", 403), ("lib", 403), ("other", 201)] {
        let to = format!("/dav/{from}-away/");
        let answer = client.request("MOVE", &format!("/dav/{from}/"), &[("Destination", &to)]);
        assert_eq!(answer.status, status, "{from}");
    }
}

#[test]
fn nobody_publishes_where_its_directory_is_missing() {
    let site = web("users = medusa.auth.htpasswd('public/conf/users')
        web:mount('/', medusa.handler.put('public', { create_directories = true }))")
    .file("public/conf/users", USERS);
    let server = start(&site);
    let mut client = server.connect();
    fs::rename(site.at("public/conf"), site.at("elsewhere")).expect("renamed");
    for (path, status) in [("/conf/users", 403), ("/conf/users.bak", 403), ("/conf/page", 201)] {
        client.send(format!("PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"));
        assert_eq!(client.response().status, status, "{path}");
    }
}
