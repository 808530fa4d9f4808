//! `medusa.handler.login`: on the real binary, by curl, by a real browser, and by those who forge.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use medusa_testkit::browser::Browser;
use medusa_testkit::http2::{self, Http2};
use medusa_testkit::{Client, Response, Server, Site, WebSocket, curl, wait};

use super::guide::guide_example;
use super::support::{MEDUSA, start, web};

/// `secret` by bcrypt; a cost of 4 takes a millisecond.
const SECRET: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
/// The same by SHA-1.
const SECRET_SHA: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

const SITE: &str = r#"
web = medusa.http.server { listen = "127.0.0.1:0", trusted_proxies = { "127.0.0.1" } }
users = medusa.auth.htpasswd("users.htpasswd")
local function who(req) return { headers = { ["content-type"] = "text/html" }, body = `<p>inside: {req.user} {req.headers.cookie}</p>` } end
web:mount("/club/", medusa.handler.login(users, who, { title = "The club" }))
web:mount("/files/", medusa.handler.login(users, medusa.handler.files("public")))
web:mount("/script/", medusa.handler.login(users, medusa.handler.script("script.luau")))
web:mount("/proxy/", medusa.handler.login(users, medusa.handler.proxy("unix:FOLDER/behind.sock")))
web:mount("/socket/", medusa.handler.login(users, medusa.handler.script("socket.luau")))
web:mount("/own/", medusa.handler.login(users, who, { page = function(req)
    return { html = nil, headers = { ["content-type"] = "text/html" },
        body = `own {req.status} {req.args.error} {req.args.action} {req.args.next}` }
end, cookie = "own" }))
behind = medusa.http.server { listen = "unix:behind.sock" }
behind:mount("/", function(req) return `behind {req.headers.cookie}` end)
"#;

const SOCKET: &str = "return function(req) return req:websocket(function(ws) for message in ws do ws:send(req.user .. message) end end) end";

fn script(site: &Site) -> String {
    SITE.replace("FOLDER", site.path().to_str().expect("UTF-8"))
}

fn site() -> Site {
    let site = Site::new();
    site.write("site.luau", script(&site));
    site.file("public/a", "hello")
        .file("script.luau", "return function(req) return req.user end")
        .file("socket.luau", SOCKET)
        .file("users.htpasswd", format!("ada:{SECRET}\nbob:{SECRET}\n"))
}

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const BROWSER: (&str, &str) = ("Accept", "text/html,*/*;q=0.8");

#[track_caller]
fn post(client: &mut Client, path: &str, fields: &[(&str, &str)], body: &str) -> Response {
    let mut head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in fields {
        head.extend([name, ": ", value, "\r\n"]);
    }
    client.send(format!("{head}\r\n{body}"));
    client.response()
}

/// Logs in, and returns the cookie.
#[track_caller]
fn log_in(server: &Server, mount: &str, user: &str) -> String {
    let form = format!("username={user}&password=secret");
    let answer = post(&mut server.connect(), &format!("{mount}.login"), &[FORM], &form);
    assert_eq!((answer.status, answer.header("location")), (303, Some("./")), "{}", answer.text());
    let cookie = answer.header("set-cookie").expect("a cookie");
    cookie.split(';').next().expect("a cookie").to_owned()
}

#[track_caller]
fn with(server: &Server, path: &str, cookie: &str) -> Response {
    server.connect().request("GET", path, &[("Cookie", cookie), BROWSER])
}

#[test]
fn a_login_is_for_all_that_is_behind_it() {
    let site = site();
    let server = start(&site);
    for path in ["/club/x", "/files/a", "/script/", "/proxy/", "/socket/"] {
        let asked = server.connect().request("GET", path, &[BROWSER]);
        assert_eq!((asked.status, asked.text().contains("type=\"password\"")), (401, true), "{path}");
        let asked = server.get(path);
        assert_eq!((asked.status, asked.text().as_str()), (401, "You have to log in.\n"), "{path}");
    }
    let cookie = log_in(&server, "/club/", "ada");
    let both = format!("a=1; {cookie}");
    assert_eq!(with(&server, "/club/x", &both).text(), "<p>inside: ada a=1</p>");
    assert_eq!(with(&server, "/script/", &both).text(), "ada");
    assert_eq!(with(&server, "/proxy/", &both).text(), "behind a=1");
    let file = with(&server, "/files/a", &cookie);
    assert_eq!((file.text().as_str(), file.header("cache-control")), ("hello", Some("private, no-cache")));
    let tag = file.header("etag").expect("a tag").to_owned();
    let fields = [("Cookie", cookie.as_str()), ("If-None-Match", &tag)];
    assert_eq!(server.connect().request("GET", "/files/a", &fields).status, 304);
    assert_eq!(with(&server, "/own/", &cookie).status, 401, "that is another login");
    let mut socket = WebSocket::open(server.connect(), "/socket/", &[("Cookie", &cookie)]);
    socket.send("!");
    assert_eq!(socket.text(), "ada!");
    let status = server.documents("handler.login");
    assert!(status.iter().all(|login| login["users"] == 2 && login["logins"] == 1), "{status:?}");
    let key = server.state().join("signing.key");
    assert_eq!(fs::metadata(&key).expect("a key").len(), 32);
}

#[test]
fn an_upgrade_of_nobody_is_refused() {
    let site = site();
    let server = start(&site);
    let upgrade = "GET /socket/ HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for more in ["", "Cookie: login=x\r\n", "Accept: text/html\r\nSec-Fetch-Mode: websocket\r\n"] {
        let answer = server.send(format!("{upgrade}{more}\r\n"));
        assert_eq!((answer.status, answer.text().as_str()), (401, "You have to log in.\n"), "{more}");
    }
}

#[test]
fn curl_keeps_the_session_in_its_jar() {
    let site = site();
    let server = start(&site);
    let jar = site.at("jar");
    let jar = jar.to_str().expect("UTF-8");
    let curl = |args: &[&str]| curl(["-b", jar, "-c", jar].iter().chain(args)).said();
    let (login, inside) = (server.url("/club/.login"), server.url("/club/a?b=c"));
    let form =
        ["-d", "username=ada", "--data-urlencode", "password=secret", "--data-urlencode", "next=a?b=c"];
    let come = curl(&[&form[..], &["-L", "-w", " %{url_effective}", &login]].concat());
    assert_eq!(come, format!("<p>inside: ada nil</p> {inside}"));
    assert_eq!(curl(&[&inside]), "<p>inside: ada nil</p>");
    let out = curl(&[
        "-X",
        "POST",
        "-d",
        "",
        "-w",
        "%{http_code}",
        "-o",
        "/dev/null",
        &server.url("/club/.logout"),
    ]);
    assert_eq!(out, "303");
    assert_eq!(curl(&[&inside]), "You have to log in.");
    assert!(!fs::read_to_string(jar).expect("a jar").contains("login"), "the cookie is gone");
}

#[test]
fn forged_cookies_are_no_login_and_no_error() {
    let site = site();
    let server = start(&site);
    let cookie = log_in(&server, "/club/", "ada");
    let value = cookie.strip_prefix("login=").expect("its name");
    let bytes = URL_SAFE_NO_PAD.decode(value).expect("Base64");
    let changed = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        format!("login={}", URL_SAFE_NO_PAD.encode(bytes))
    };
    let longer = format!("login={}", URL_SAFE_NO_PAD.encode([&bytes[..], b"x"].concat()));
    let forged = [
        "login=".to_owned(),
        "login=\"\"".to_owned(),
        format!("login={}", &value[1..]),
        format!("login={}", &value[..value.len() - 1]),
        format!("login={value}="),
        format!("login={value}%00"),
        format!("login={}", value.to_ascii_lowercase()),
        format!("login={}", "A".repeat(406)),
        format!("login={}", "A".repeat(4000)),
        format!("{cookie}; {cookie}"),
        format!("login=x; {cookie}"),
        format!("__Host-login={value}"),
        format!("Login={value}"),
        format!("own={value}"),
        changed(0, 2),
        changed(3, 9),
        changed(12, 0xff),
        changed(30, 0),
        changed(bytes.len() - 1, b'b'),
        longer,
        "login=\u{fc}".to_owned(),
    ];
    let mut client = server.connect();
    for forged in forged {
        let answer = client.request("GET", "/club/x", &[("Cookie", &forged)]);
        assert_eq!(answer.status, 401, "{forged}");
    }
    assert_eq!(with(&server, "/club/x", &cookie).status, 200);
    let two = [("Cookie", "login=x"), ("Cookie", cookie.as_str())];
    assert_eq!(server.connect().request("GET", "/club/x", &two).status, 401);
}

#[test]
fn malformed_forms_say_what_is_wrong() {
    let site = site();
    let server = start(&site);
    let fine = "username=ada&password=secret";
    let long = format!("username=ada&password={}", "x".repeat(256));
    let huge = format!("{fine}&x={}", "x".repeat(20_000));
    for (fields, body, status) in [
        (&[FORM][..], "", 400),
        (&[FORM], "&&=&%", 400),
        (&[FORM], "username=ada", 400),
        (&[FORM], "username=ada&username=bob&password=secret", 400),
        (&[FORM], "username=%ff&password=secret", 400),
        (&[FORM], "username=a%00da&password=secret", 400),
        (&[FORM], &long, 400),
        (&[FORM], &huge, 413),
        (&[], fine, 415),
        (&[("Content-Type", "application/json")], "{}", 415),
        (&[("Content-Type", "multipart/form-data; boundary=x")], "--x--", 415),
        (&[FORM, ("Sec-Fetch-Site", "cross-site")], fine, 403),
        (&[FORM, ("Origin", "https://evil.example")], fine, 403),
    ] {
        let answer = post(&mut server.connect(), "/club/.login", fields, body);
        assert_eq!((answer.status, answer.header("set-cookie")), (status, None), "{fields:?} {body}");
    }
    let mut broken = server.connect();
    broken.send("POST /club/.login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 90\r\n\r\nusername=ada");
    broken.finish_sending();
    assert_eq!(broken.response().status, 400);
    assert_eq!(with(&server, "/club/", &log_in(&server, "/club/", "ada")).status, 200);
}

#[test]
fn guesses_end_soon_and_the_page_says_for_how_long() {
    let site = site();
    let server = start(&site);
    let guess = |address: &str, password: usize| {
        let form = format!("username=ada&password=guess{password}");
        post(&mut server.connect(), "/club/.login", &[FORM, ("X-Forwarded-For", address)], &form)
    };
    let answers: Vec<_> = (0..25).map(|password| guess("192.0.2.1", password)).collect();
    assert!(answers[..20].iter().all(|answer| answer.status == 401), "twenty are looked at");
    let refused = answers.iter().find(|answer| answer.status == 429).expect("more are not");
    let wait = refused.header("retry-after").expect("a time");
    assert!(
        refused.text().contains("Too many wrong passwords") && refused.text().contains(wait),
        "{}",
        refused.text()
    );
    assert_eq!(guess("192.0.2.2", 0).status, 401, "another may");
}

#[test]
fn sessions_outlive_a_restart_and_those_that_ended_do_not() {
    let site = site();
    let server = start(&site);
    let [first, second, third] = [(); 3].map(|()| log_in(&server, "/club/", "ada"));
    let bobs = log_in(&server, "/club/", "bob");
    server.reload();
    let is_in = |server: &Server, cookie: &str| with(server, "/club/", cookie).status == 200;
    assert!([&first, &second, &third, &bobs].iter().all(|cookie| is_in(&server, cookie)), "after a reload");
    let out = |path: &str, cookie: &str| post(&mut server.connect(), path, &[("Cookie", cookie)], "").status;
    assert_eq!(out("/files/.logout", &first), 303, "the login is one of several mounts");
    assert_eq!([is_in(&server, &first), is_in(&server, &second)], [false, true]);
    let (state, elsewhere) = (tempfile::tempdir().expect("a folder"), self::site());
    let copy = |server: &Server| {
        for name in ["signing.key", "sessions.ended"] {
            fs::copy(server.state().join(name), state.path().join(name)).expect("it is there");
        }
    };
    copy(&server);
    let again = MEDUSA.serve_with_state(elsewhere.path(), state.path()).start();
    assert_eq!([is_in(&again, &first), is_in(&again, &second), is_in(&again, &bobs)], [false, true, true]);
    drop(again);
    assert_eq!(out("/club/.logout-everywhere", &second), 303);
    assert_eq!(
        [is_in(&server, &second), is_in(&server, &third), is_in(&server, &bobs)],
        [false, false, true]
    );
    let later = log_in(&server, "/club/", "ada");
    server.eval("medusa.auth.log_out('bob')");
    assert_eq!([is_in(&server, &later), is_in(&server, &bobs)], [true, false]);
    copy(&server);
    let again = MEDUSA.serve_with_state(elsewhere.path(), state.path()).start();
    assert_eq!([is_in(&again, &third), is_in(&again, &later), is_in(&again, &bobs)], [false, true, false]);
    again.eval("medusa.auth.log_out_all()");
    assert!(!is_in(&again, &later));
    let wrong = again.command(["eval", "medusa.auth.log_out(bobb)"]).failure(1);
    assert!(wrong.contains("medusa.auth.log_out: the user must be a string, not nil"), "{wrong}");
}

#[test]
fn a_new_password_ends_the_sessions_of_its_user() {
    let site = site();
    let server = start(&site);
    let [adas, bobs] = ["ada", "bob"].map(|user| log_in(&server, "/club/", user));
    site.write("users.htpasswd", format!("ada:{SECRET_SHA}\nbob:{SECRET}\n"));
    wait::until("it counts", || (with(&server, "/club/", &adas).status == 401).then_some(()));
    assert_eq!(with(&server, "/club/", &bobs).status, 200);
    site.write("users.htpasswd", format!("ada:{SECRET_SHA}\n"));
    wait::until("he is gone", || (with(&server, "/club/", &bobs).status == 401).then_some(()));
}

#[test]
fn a_page_of_ones_own() {
    let site = site().file("login.html", "<form method=post action=/file/.login>");
    site.write(
        "site.luau",
        script(&site)
            + "web:mount('/file/', medusa.handler.login(users, medusa.handler.files('public'), { page = 'login.html' }))",
    );
    let server = start(&site);
    let page = |path: &str| server.connect().request("GET", path, &[BROWSER]);
    let own = page("/own/a/b?x");
    assert_eq!((own.status, own.text().as_str()), (401, "own 401 nil ../.login a/b?x"));
    assert_eq!(own.header("cache-control"), Some("no-store"));
    let own = post(&mut server.connect(), "/own/.login", &[FORM], "username=ada&password=no&next=a");
    assert_eq!((own.status, own.text().as_str()), (401, "own 401 wrong .login a"));
    assert_eq!(page("/own/.login?logged-out").text(), "own 200 logged_out .login nil");
    let file = page("/file/a");
    assert_eq!((file.status, file.text().as_str()), (401, "<form method=post action=/file/.login>"));
    let error = |options: &str| {
        site.write(
            "site.luau",
            script(&site) + &format!("web:mount('/x/', medusa.handler.login(users, who, {options}))"),
        );
        server.command(["reload"]).failure(1)
    };
    for (options, told) in [
        ("{ page = 'none.html' }", "there is no such file"),
        ("{ lifetime = 5 }", "`lifetime` must be a number of seconds from 60"),
        ("{ lifetime = 600, absolute = 60 }", "`absolute` is less than `lifetime`"),
        ("{ cookie = 'a b' }", "`cookie` must be a name"),
        ("{ title = '' }", "`title` must be one line"),
        ("{ titel = 'x' }", "there is no option \"titel\""),
    ] {
        assert!(error(options).contains(told), "{options}: {}", error(options));
    }
}

#[test]
fn over_tls_the_cookie_is_of_this_host() {
    let site = Site::script(
        "web = medusa.http.server { listen = '127.0.0.1:0', tls = 'self-signed' }
        web:mount('/', medusa.handler.login(medusa.auth.users { ada = '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=' }, function(req) return req.user end))",
    );
    let server = start(&site);
    let jar = site.at("jar");
    let jar = jar.to_str().expect("UTF-8");
    let curl = |args: &[&str]| curl(["-k", "--http2", "-b", jar, "-c", jar].iter().chain(args)).said();
    let form = ["-d", "username=ada&password=secret", "-D", "-", "-L", "-w", " %{http_version}"];
    let told = curl(&[&form[..], &[&server.url("/.login")]].concat());
    assert!(
        told.contains("set-cookie: __Host-login=") && told.contains("; Secure; HttpOnly; SameSite=Lax"),
        "{told}"
    );
    assert!(told.ends_with("ada 2"), "{told}");
}

/// A frame that is a request as a whole: its head ends here, and so does the stream.
const HEADERS: u8 = 1;
const WHOLE: u8 = 0x5;

#[test]
fn http2_sends_a_cookie_in_crumbs() {
    let site = site();
    let server = start(&site);
    let cookie = log_in(&server, "/script/", "ada");
    let mut client = Http2::connect(&server, &[]);
    let ask = |crumbs: &[&str]| {
        let mut block = http2::request("GET", "/script/");
        for crumb in crumbs {
            block.extend(http2::field("cookie", crumb));
        }
        block
    };
    client.send(HEADERS, WHOLE, 1, &ask(&["a=1", &cookie, "b=2"]));
    assert_eq!(client.status(1), 200);
    client.send(HEADERS, WHOLE, 3, &ask(&["a=1", "b=2"]));
    assert_eq!(client.status(3), 401);
    client.send(HEADERS, WHOLE, 5, &ask(&[&cookie, &cookie]));
    assert_eq!(client.status(5), 401);
}

#[test]
fn a_browser_logs_in_and_out_and_two_are_logged_out_everywhere() {
    let site = site();
    let server = start(&site);
    let [mut one, mut other] = [Browser::start(), Browser::start()];
    let inside = server.url("/club/a/b?x=1");
    let log_in = |browser: &mut Browser, password: &str| {
        browser.run(&format!(
            "document.querySelector('[name=username]').value = 'ada';
            document.querySelector('[name=password]').value = '{password}';
            document.querySelector('button').click()"
        ));
    };
    for browser in [&mut one, &mut other] {
        browser.go(&inside);
        assert_eq!(browser.eval("document.title"), "The club");
        browser.wait_for("document.activeElement.name == 'username'");
        // The style counts, whatever the policy says of others.
        assert_eq!(browser.eval("getComputedStyle(document.querySelector('button')).display"), "block");
        log_in(browser, "guess");
        browser.wait_for("document.querySelector('[role=alert]')");
        assert_eq!(browser.eval("document.querySelector('[name=username]').value"), "ada");
        browser.wait_for("document.activeElement.name == 'password'");
        log_in(browser, "secret");
        browser.wait_for("document.body.textContent.includes('inside: ada')");
        assert_eq!(browser.eval("location.href"), inside);
        assert_eq!(browser.eval("document.cookie"), "", "no script sees it");
    }
    one.go(&server.url("/club/.logout"));
    one.run("document.querySelector('form[action=\".logout\"] button').click()");
    one.wait_for("document.querySelector('[role=status]')");
    one.go(&inside);
    assert_eq!(one.eval("document.title"), "The club");
    other.go(&inside);
    assert_eq!(other.eval("document.body.textContent.trim()"), "inside: ada nil");
    one.go(&inside);
    log_in(&mut one, "secret");
    one.wait_for("document.body.textContent.includes('inside: ada')");
    one.go(&server.url("/club/.logout"));
    one.run("document.querySelector('form[action=\".logout-everywhere\"] button').click()");
    one.wait_for("document.querySelector('[role=status]')");
    for browser in [&mut one, &mut other] {
        browser.go(&inside);
        assert_eq!(browser.eval("document.title"), "The club");
    }
}

#[test]
fn the_example_of_the_guide_has_a_login() {
    let site = web(guide_example("### A login page\n"))
        .file("users.htpasswd", format!("alice:{SECRET}\n"))
        .file("admin/index.html", "the inside");
    let server = start(&site);
    let cookie = log_in(&server, "/admin/", "alice");
    assert_eq!(with(&server, "/admin/", &cookie).text(), "the inside");
}
