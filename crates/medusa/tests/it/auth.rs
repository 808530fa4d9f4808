//! `medusa.auth` and `medusa.handler.auth`: who asks is found out, and everybody else is let be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use medusa_testkit::{Client, Finished, Response, Server, Site, Tmux, WebSocket, wait};

use super::guide::guide_example;
use super::support::{MEDUSA, start, web};

/// `secret` by bcrypt; a cost of 4 takes a millisecond.
const SECRET: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

const SITE: &str = r#"
web = medusa.http.server { listen = "127.0.0.1:0", log = medusa.log.file("access.log"), trusted_proxies = { "127.0.0.1" } }
users = medusa.auth.htpasswd("users.htpasswd")
web:mount("/who", medusa.handler.auth(users, function(req)
    return `{req.user} {req.headers.authorization}`
end, { realm = 'The "club"' }))
web:mount("/all", medusa.handler.auth(users, function(req) return req.headers.authorization end, { pass_authorization = true }))
web:mount("/files/", medusa.handler.auth(users, medusa.handler.compress(medusa.handler.files("public"))))
web:mount("/socket", medusa.handler.auth(users, medusa.handler.script("socket.luau")))
web:mount("/open", function(req) return `{req.user}` end)
"#;

const SOCKET: &str = "return function(req) return req:websocket(function(ws) for message in ws do ws:send(req.user .. message) end end) end";

fn site(hash: &str) -> Site {
    Site::script(SITE)
        .file("public/a", "hello")
        .file("socket.luau", SOCKET)
        .file("users.htpasswd", format!("# members\nada:{hash}\nzoë:{hash}\n"))
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// What a user with that password is answered.
#[track_caller]
fn as_user(client: &mut Client, path: &str, user: &str, password: &str) -> Response {
    client.request("GET", path, &[("Authorization", &basic(user, password))])
}

/// The same, sent from another address, as a proxy says.
#[track_caller]
fn from(server: &Server, address: &str, user: &str, password: &str) -> Response {
    let fields = [("Authorization", &*basic(user, password)), ("X-Forwarded-For", address)];
    server.connect().request("GET", "/who", &fields)
}

#[test]
fn who_is_known_is_let_through() {
    let site = site(SECRET);
    let server = start(&site);
    let mut client = server.connect();
    let asked = client.get("/who");
    assert_eq!(asked.status, 401);
    assert_eq!(asked.header("www-authenticate"), Some(r#"Basic realm="The \"club\"", charset="UTF-8""#));
    assert_eq!(as_user(&mut client, "/who", "ada", "wrong").status, 401);
    assert_eq!(as_user(&mut client, "/who", "eve", "secret").status, 401);
    for _ in 0..2 {
        let known = as_user(&mut client, "/who", "ada", "secret");
        assert_eq!((known.status, known.text().as_str()), (200, "ada nil"));
    }
    assert_eq!(as_user(&mut client, "/who", "zoë", "secret").text(), "zoë nil");
    assert_eq!(as_user(&mut client, "/all", "ada", "secret").text(), basic("ada", "secret"));
    assert_eq!(as_user(&mut client, "/open", "ada", "secret").text(), "nil");
    let file = as_user(&mut client, "/files/a", "ada", "secret");
    assert_eq!((file.status, file.text().as_str()), (200, "hello"));
    assert_eq!(client.get("/files/a").status, 401);
    let log = || site.read("access.log");
    wait::until("the log has all", || log().contains("GET /files/a").then_some(()));
    assert!(log().lines().any(|line| line.contains(" ada ") && line.contains("/who")), "{}", log());
    let status = server.documents("handler.auth");
    assert!(status.iter().all(|auth| auth["users"] == 2 && auth["remembered"] == 2), "{status:?}");
    assert_eq!((&status[0]["wrong_passwords"], &status[0]["logins"]), (&2.into(), &5.into()), "{status:?}");
}

/// A field of the request stood in the log, and before the handler, in the place of the user whose password was checked.
#[test]
fn nobody_says_who_asks_before_that_is_checked() {
    let site = web(r#"
        users = medusa.auth.htpasswd("users.htpasswd")
        web:mount("/{$}", medusa.handler.wrap(function(req, next)
            req.user = req.headers["x-remote-user"]
            return next(req)
        end, medusa.handler.auth(users, function(req) return req.user end)))
    "#)
    .file("users.htpasswd", format!("ada:{SECRET}\n"));
    let server = start(&site);
    let ask = |user: Option<&str>| {
        let login = basic("ada", "secret");
        let fields = user.map(|user| ("X-Remote-User", user)).into_iter().chain([("Authorization", &*login)]);
        let answer = server.connect().request("GET", "/", &fields.collect::<Vec<_>>());
        (answer.status, answer.text())
    };
    assert_eq!(ask(None), (200, "ada".to_owned()));
    assert_eq!(ask(Some("ada")), (200, "ada".to_owned()));
    assert_eq!(ask(Some("root")).0, 500);
    server.stderr().wait_for("has said already that somebody else asks");
}

#[test]
fn the_example_of_the_guide_is_for_members() {
    let site = web(guide_example("## Users and passwords\n"))
        .file("users.htpasswd", format!("alice:{SECRET}\n"))
        .file("admin/index.html", "the inside");
    let server = start(&site);
    let mut client = server.connect();
    let asked = client.get("/admin/");
    assert_eq!((asked.status, asked.text().contains("You have to log in")), (401, true));
    assert!(asked.header("www-authenticate").is_some_and(|value| value.contains("realm=\"Admin\"")));
    assert_eq!(as_user(&mut client, "/admin/", "alice", "secret").text(), "the inside");
    assert_eq!(as_user(&mut client, "/api/x", "alice", "secret").text(), "hello alice");
}

#[test]
fn a_body_of_nobody_is_not_taken() {
    let site = Site::script(&format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0' }}
        web:mount('/', medusa.handler.auth(medusa.auth.users {{ ada = '{SECRET}' }}, function(req) return req:body() end))"
    ));
    let server = start(&site);
    let mut client = server.connect();
    let put = |expects: &str, user: &str| {
        format!(
            "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n{expects}Authorization: {}\r\n\r\n",
            basic(user, "secret")
        )
    };
    // Who waits to be asked for the body is not.
    client.send(put("Expect: 100-continue\r\n", "eve"));
    assert_eq!(client.response().status, 401);
    let mut client = server.connect();
    client.send(put("", "ada") + "hello");
    assert_eq!(client.response().text(), "hello");
}

#[test]
fn credentials_that_are_none_are_refused() {
    let site = site(SECRET);
    let server = start(&site);
    let long = STANDARD.encode("x".repeat(6000));
    let table = [
        ("", 401),
        ("Bearer abc", 401),
        ("Digest username=\"ada\"", 401),
        ("Basic", 400),
        ("Basic ", 400),
        ("Basic %%%", 400),
        ("Basic YWRh", 400),
        ("Basic YWRhOnNlY3JldA== x", 400),
        ("Basic YWRhCjpzZWNyZXQ=", 400),
        (&format!("Basic {long}"), 400),
        ("basic YWRhOnNlY3JldA", 200),
    ];
    for (field, status) in table {
        let answer = server.connect().request("GET", "/who", &[("Authorization", field)]);
        assert_eq!(answer.status, status, "{field}");
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401, "{field}");
    }
    let field = basic("ada", "secret");
    let two = [("Authorization", &*field), ("Authorization", &field)];
    assert_eq!(server.connect().request("GET", "/who", &two).status, 400);
    let stderr = server.stderr().text();
    assert!(!stderr.contains("secret") && !stderr.contains("YWRh"), "{stderr}");
}

#[test]
fn a_websocket_is_for_users() {
    let site = site(SECRET);
    let server = start(&site);
    let asked = server.connect().request(
        "GET",
        "/socket",
        &[
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ],
    );
    assert_eq!((asked.status, asked.header("upgrade")), (401, None));
    let field = basic("ada", "secret");
    let mut session = WebSocket::open(server.connect(), "/socket", &[("Authorization", &field)]);
    session.send("!");
    assert_eq!(session.text(), "ada!");
    server.reload();
    session.send("?");
    assert_eq!(session.text(), "ada?");
}

#[test]
fn a_file_that_changes_is_read_anew_and_a_broken_one_is_not_taken() {
    let site = site(SECRET);
    let server = start(&site);
    let status = |user| as_user(&mut server.connect(), "/who", user, "secret").status;
    let comes = |user, expected| {
        wait::until("the file is looked at", || (status(user) == expected).then_some(()));
    };
    // Whoever asks has the file looked at.
    let told = |part: &str| {
        wait::until(part, || {
            status("ada");
            server.stderr().text().contains(part).then_some(())
        });
    };
    assert_eq!((status("ada"), status("bob")), (200, 401));
    site.write("users.htpasswd", format!("bob:{SECRET}\n"));
    comes("bob", 200);
    assert_eq!(status("ada"), 401);
    site.write("users.htpasswd", format!("ada:{SECRET}\nbob:secret\n"));
    told("users.htpasswd:2: a password that is not hashed");
    assert_eq!((status("ada"), status("bob")), (401, 200));
    let trouble = server.documents("handler.auth")[0]["trouble"].to_string();
    assert!(trouble.contains("users.htpasswd:2: a password that is not hashed"), "{trouble}");
    // Whoever asks for that version is told so, and nothing changes.
    let error = server.command(["reload"]).failure(1);
    assert!(error.contains("users.htpasswd:2") && error.contains("site.luau:3"), "{error}");
    assert_eq!(status("bob"), 200);
    site.write("users.htpasswd", format!("ada:{SECRET}\n"));
    server.reload();
    assert_eq!((status("ada"), status("bob")), (200, 401));
    assert!(server.documents("handler.auth")[0].get("trouble").is_none());
    fs::remove_file(site.at("users.htpasswd")).expect("removed");
    told("cannot read");
    assert_eq!(status("ada"), 200);
}

#[test]
fn what_is_remembered_outlives_a_reload() {
    let site = site(SECRET);
    let server = start(&site);
    assert_eq!(as_user(&mut server.connect(), "/who", "ada", "secret").status, 200);
    server.reload();
    let status = server.documents("handler.auth");
    assert!(status.iter().all(|auth| auth["remembered"] == 1 && auth["logins"] == 1), "{status:?}");
}

#[test]
fn guesses_from_one_address_end_and_others_go_on() {
    let site = site(SECRET);
    let server = start(&site);
    let mut ended = None;
    for guess in 0..30 {
        // One network of IPv6.
        let answer = from(&server, &format!("2001:db8:1:1::{guess:x}"), "ada", &format!("guess {guess}"));
        match answer.status {
            401 => assert!(ended.is_none(), "{guess}"),
            429 => {
                let wait: u64 = answer.header("retry-after").expect("a time").parse().expect("a number");
                assert!((1..=60).contains(&wait), "{wait}");
                ended.get_or_insert(guess);
            }
            other => panic!("{other}"),
        }
    }
    assert!(ended.is_some_and(|ended| (20..25).contains(&ended)), "{ended:?}");
    assert_eq!(from(&server, "2001:db8:1:2::1", "ada", "secret").status, 200);
    assert_eq!(from(&server, "192.0.2.1", "ada", "secret").status, 200);
    server.stderr().wait_for("passwords from 2001:db8:1:1:: are not looked at for now: 20 were wrong");
}

#[test]
fn an_unknown_user_takes_as_long_as_a_wrong_password() {
    // A tenth of a second.
    let site = site(&SECRET.replace("$04$", "$10$"));
    let server = start(&site);
    let fastest = |user: &str| {
        let took = (0..4).map(|guess| {
            let begun = Instant::now();
            assert_eq!(from(&server, "192.0.2.1", user, &format!("{guess}")).status, 401);
            begun.elapsed()
        });
        took.min().expect("several").as_secs_f64()
    };
    let (known, unknown) = (fastest("ada"), fastest("eve"));
    assert!(unknown > known / 3.0 && unknown < known * 3.0, "{known} {unknown}");
}

#[test]
fn while_passwords_are_hashed_others_are_answered() {
    // A second and more.
    let site = site(&SECRET.replace("$04$", "$14$"));
    let server = MEDUSA.serve(site.path()).arg("--workers").arg("1").start();
    server.stderr().wait_for("the cost of bcrypt is 14");
    let mut slow = server.connect();
    slow.send(format!("GET /who HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n\r\n", basic("ada", "x")));
    let mut other = server.connect();
    for _ in 0..10 {
        assert_eq!(other.get("/open").status, 200);
    }
    assert!(!slow.is_readable_within(Duration::ZERO), "the others did not wait for it");
    assert_eq!(slow.response().status, 401);
}

#[test]
fn where_too_many_wait_the_next_is_told_when_to_come_under_load() {
    let site = site(&SECRET.replace("$04$", "$11$"));
    let server = start(&site);
    let statuses: Vec<(u16, bool)> = thread::scope(|scope| {
        let asks: Vec<_> = (0..100)
            .map(|number| {
                let server = &server;
                scope.spawn(move || {
                    let mut client = server.connect();
                    client.give_up_after(Duration::from_mins(1));
                    let fields = [
                        ("Authorization", &*basic("ada", &format!("{number}"))),
                        ("X-Forwarded-For", &format!("192.0.2.{number}")),
                    ];
                    let answer = client.request("GET", "/who", &fields);
                    (answer.status, answer.header("retry-after").is_some())
                })
            })
            .collect();
        asks.into_iter().map(|ask| ask.join().expect("no panic")).collect()
    });
    assert!(statuses.iter().all(|answer| matches!(answer, (401, false) | (503, true))), "{statuses:?}");
    let busy = statuses.iter().filter(|(status, _)| *status == 503).count();
    assert!((15..=40).contains(&busy), "{statuses:?}");
    assert_eq!(server.documents("handler.auth")[0]["busy"], busy);
}

#[test]
fn one_behind_another_lets_those_through_whom_both_know() {
    let site = Site::script(&format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0' }}
        local all, admins = medusa.auth.users {{ ada = '{SECRET}', zoe = '{SECRET}' }}, medusa.auth.users {{ ada = '{SECRET}' }}
        local admin = medusa.handler.auth(admins, function(req) return `{{req.user}} {{req.headers.authorization}}` end)
        web:mount('/', medusa.handler.auth(all, admin, {{ pass_authorization = true }}))"
    ));
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(as_user(&mut client, "/", "ada", "secret").text(), "ada nil");
    assert_eq!(as_user(&mut client, "/", "zoe", "secret").status, 401);
    assert_eq!(client.get("/").status, 401);
}

#[test]
fn a_table_of_users_is_as_good_and_what_cannot_be_is_an_error() {
    let site = Site::script(&format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0' }}
        web:mount('/', medusa.handler.auth(medusa.auth.users {{ ada = '{SECRET}' }}, function(req) return req.user end))"
    ));
    let server = start(&site);
    assert_eq!(as_user(&mut server.connect(), "/", "ada", "secret").text(), "ada");
    let refused = [
        ("medusa.auth.users { ada = 'secret' }", "ada: a password that is not hashed"),
        ("medusa.auth.users { ada = 1 }", "names and hashes are strings"),
        ("medusa.auth.users { ['a:b'] = '{SHA}x' }", "the name of a user has a colon"),
        ("medusa.auth.users()", "give a table of names and hashes"),
        ("medusa.auth.htpasswd('none')", "none: No such file"),
        ("medusa.auth.htpasswd(1)", "the file must be a string"),
        ("medusa.handler.auth({}, function() end)", "the users must come from medusa.auth.htpasswd"),
        ("medusa.handler.auth(medusa.auth.users {}, 1)", "a handler must be a function"),
        (
            "local users = medusa.auth.users {} medusa.handler.auth(users, medusa.handler.compress(medusa.handler.auth(users, function() end)))",
            "behind it is another, which would find no credentials; give this one `pass_authorization = true`",
        ),
        ("medusa.handler.auth(medusa.auth.users {}, function() end, { realm = '' })", "cannot be sent"),
        (
            "medusa.handler.auth(medusa.auth.users {}, function() end, { realms = 'x' })",
            "no option \"realms\"",
        ),
    ];
    for (statement, expected) in refused {
        let error = server.command(["eval", statement]).failure(1);
        assert!(error.contains(expected) && error.contains("statement:1"), "{statement}: {error}");
    }
}

#[test]
fn passwd_keeps_a_file_of_users() {
    let site = Site::new();
    let path = site.at("users");
    let file = path.to_str().expect("UTF-8");
    let passwd = |user: &str, password: &str| MEDUSA.run_reading(["passwd", file, user], password);
    let told = |finished: Finished| {
        assert_eq!(finished.status.code(), Some(0), "{finished}");
        finished.stderr.trim_end().to_owned()
    };
    assert_eq!(told(passwd("ada", "secret\n")), format!("medusa: added ada to {file}"));
    let mode = |path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("changed");
    let first = site.read("users");
    assert!(
        first.starts_with("ada:$argon2id$v=19$m=19456,t=2,p=1$") && first.lines().count() == 1,
        "{first}"
    );
    passwd("zoë", "pässwörd").success();
    assert_eq!(told(passwd("ada", "another\r\n")), format!("medusa: changed the password of ada in {file}"));
    assert_eq!(mode(&path), 0o640);
    let server = start(
        &Site::script("web = medusa.http.server { listen = '127.0.0.1:0' }
            web:mount('/', medusa.handler.auth(medusa.auth.htpasswd('users'), function(req) return req.user end))")
        .file("users", site.read("users")),
    );
    assert_eq!(as_user(&mut server.connect(), "/", "ada", "another").text(), "ada");
    assert_eq!(as_user(&mut server.connect(), "/", "zoë", "pässwörd").text(), "zoë");
    assert_eq!(as_user(&mut server.connect(), "/", "ada", "secret").status, 401);
    let removed = told(MEDUSA.run(["passwd", "--remove", file, "ada"]));
    assert_eq!(removed, format!("medusa: removed ada from {file}"));
    assert!(!site.read("users").contains("ada"));
    let refused = [
        ("a:b", "x\n", "the name of a user"),
        ("ada", "\n", "a password has 1 to 255 bytes"),
        ("", "x", "no name"),
    ];
    for (user, password, expected) in refused {
        let error = passwd(user, password).failure(1);
        assert!(error.contains(expected), "{error}");
    }
    assert!(MEDUSA.run(["passwd", "--remove", file, "ada"]).failure(1).contains("has no user ada"));
}

#[test]
fn a_token_is_for_programs() {
    let site = Site::script("web = medusa.http.server { listen = '127.0.0.1:0' }
        web:mount('/', medusa.handler.auth(medusa.auth.htpasswd('users'), function(req) return `{req.user} {req.headers.authorization}` end))")
        .file("users", format!("ada:{SECRET}\n"));
    let path = site.at("users");
    let token = MEDUSA.run(["passwd", "--token", path.to_str().expect("UTF-8"), "ci"]).said();
    assert!(token.starts_with("medusa_") && !site.read("users").contains(&token), "{token}");
    let server = start(&site);
    let bearer =
        |token: &str| server.connect().request("GET", "/", &[("Authorization", &format!("Bearer {token}"))]);
    assert_eq!(bearer(&token).text(), "ci nil");
    assert_eq!(as_user(&mut server.connect(), "/", "ci", &token).text(), "ci nil");
    let wrong = bearer("medusa_x");
    assert_eq!(wrong.status, 401);
    assert_eq!(
        wrong.header("www-authenticate"),
        Some("Bearer realm=\"Members only\", error=\"invalid_token\"")
    );
    let asked = server.connect().get("/");
    let challenges: Vec<_> = asked.headers.iter().filter(|(name, _)| name == "www-authenticate").collect();
    assert_eq!((asked.status, challenges.len()), (401, 2), "{challenges:?}");
    assert_eq!(server.number("handler.auth", "wrong_tokens"), 1);
    // A new one takes the place of the old one.
    let path = path.to_str().expect("UTF-8");
    let new = MEDUSA.run(["passwd", "--token", path, "ci"]).said();
    wait::until("the file is looked at", || (bearer(&new).status == 200).then_some(()));
    assert_eq!(bearer(&token).status, 401);
}

/// Waits until a screen shows that.
#[track_caller]
fn shows(tmux: &Tmux, text: &str) {
    wait::until(text, || tmux.screen().iter().any(|line| line.contains(text)).then_some(()));
}

#[test]
fn a_password_is_typed_twice_and_not_shown() {
    let site = Site::new();
    let line =
        format!("{} passwd {} ada; echo done; cat", env!("CARGO_BIN_EXE_medusa"), site.at("users").display());
    let tmux = Tmux::run(&line);
    shows(&tmux, "Password for ada:");
    tmux.write("secres");
    tmux.press(["BSpace"]);
    tmux.write("t");
    tmux.press(["Enter"]);
    shows(&tmux, "Once more:");
    tmux.write("secret");
    tmux.press(["Enter"]);
    shows(&tmux, "done");
    let screen = tmux.screen().join("\n");
    assert!(screen.contains("added ada to") && !screen.contains("secre"), "{screen}");
    assert!(site.read("users").starts_with("ada:$argon2id$"));
    let twice = Tmux::run(&line);
    shows(&twice, "Password for ada:");
    twice.write("one");
    twice.press(["Enter"]);
    shows(&twice, "Once more:");
    twice.press(["C-c"]);
    shows(&twice, "nothing was changed");
    shows(&twice, "done");
}
