//! HTTP Digest: users of `medusa.auth.htdigest`, with curl and by hand.

use medusa_testkit::{Response, Server, Site, curl, wait};

use super::support::{MEDUSA, start};
use super::tls::Encrypted;

const REALM: &str = "The club";

const SITE: &str = r#"
web = medusa.http.server { listen = "127.0.0.1:0", log = medusa.log.file("access.log"), trusted_proxies = { "127.0.0.1" } }
users = medusa.auth.htdigest("users", { realm = "The club" })
local who = function(req) return `{req.user} {req.headers.authorization} {req:body()}` end
web:mount("/", medusa.handler.auth(users, who))
web:mount("/both", medusa.handler.auth(users, who, { schemes = { "digest", "basic" } }))
web:mount("/old/", medusa.handler.rewrite({ strip_prefix = "/old" }, medusa.handler.auth(users, who)))
web:mount("/files/", medusa.handler.auth(users, medusa.handler.put("public")))
"#;

/// A site with ada, whose password is `secret`.
fn site() -> Site {
    let site = Site::script(SITE).file("public/a", "old");
    add_ada(&site);
    site
}

/// Writes the file of users, as `medusa passwd` does.
#[track_caller]
fn add_ada(site: &Site) {
    let file = site.at("users");
    let file = file.to_str().expect("UTF-8");
    let added = MEDUSA.run_reading(["passwd", "--digest", REALM, file, "ada"], "secret\n");
    assert_eq!(added.status.code(), Some(0), "{added}");
}

fn md5(parts: &[&str]) -> String {
    format!("{:x}", md5::compute(parts.join(":")))
}

/// The nonce that a client is told.
#[track_caller]
fn nonce(asked: &Response) -> String {
    let (_, field) = asked.headers.iter().find(|(name, _)| name == "www-authenticate").expect("a challenge");
    let (_, rest) = field.split_once("nonce=\"").expect("a nonce");
    rest.split('"').next().unwrap_or_default().to_owned()
}

/// A client's answer, by MD5.
fn answer(user: &str, password: &str, method: &str, uri: &str, nonce: &str, count: u32) -> String {
    let [who, what] = [md5(&[user, REALM, password]), md5(&[method, uri])];
    let count = format!("{count:08x}");
    let response = md5(&[&who, nonce, &count, "mine", "auth", &what]);
    format!(
        "Digest username=\"{user}\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"{uri}\", algorithm=MD5, qop=auth, nc={count}, \
         cnonce=\"mine\", response=\"{response}\""
    )
}

/// What is answered to a request with these credentials, sent from an address as a proxy says.
#[track_caller]
fn from(server: &Server, address: &str, method: &str, path: &str, field: &str) -> Response {
    server.connect().request(method, path, &[("Authorization", field), ("X-Forwarded-For", address)])
}

#[track_caller]
fn get(server: &Server, path: &str, field: &str) -> Response {
    server.connect().request("GET", path, &[("Authorization", field)])
}

/// Whether a client is told that its password is right and its answer too old.
fn is_stale(answer: &Response) -> bool {
    answer.status == 401
        && answer
            .headers
            .iter()
            .filter(|(name, _)| name == "www-authenticate")
            .all(|(_, value)| value.ends_with("stale=true"))
}

#[test]
fn curl_logs_in_by_each_algorithm() {
    let site = site();
    let server = start(&site);
    let ask = |path: &str, more: &[&str]| {
        let url = server.url(path);
        curl(["--digest", "-v", "-u", "ada:secret", &url].into_iter().chain(more.iter().copied()))
    };
    let asked = ask("/", &[]);
    assert_eq!(asked.said(), "ada nil ");
    let asked = ask("/", &[]);
    assert!(asked.stderr.contains("algorithm=SHA-256") && asked.stderr.contains("userhash=true"), "{asked}");
    // Two requests by one nonce, one with a body, and a query that is in the answer.
    let (one, two) = (server.url("/a?b=c"), server.url("/d?e"));
    let asked = curl(["--digest", "-u", "ada:secret", "-d", "body", &one, &two]);
    assert_eq!(asked.said(), "ada nil bodyada nil body");
    assert_eq!(ask("/old/a?b", &[]).said(), "ada nil ", "a target that was changed on the way");
    let put = curl([
        "--digest",
        "-u",
        "ada:secret",
        "-T",
        site.at("public/a").to_str().expect("UTF-8"),
        "-w",
        "%{http_code}",
        &server.url("/files/b"),
    ]);
    assert_eq!((put.said().as_str(), site.read("public/b").as_str()), ("201", "old"));
    let wrong =
        curl(["--digest", "-u", "ada:wrong", "-o", "/dev/null", "-w", "%{http_code}", &server.url("/")]);
    assert_eq!(wrong.said(), "401");
    let basic =
        curl(["--basic", "-u", "ada:secret", "-o", "/dev/null", "-w", "%{http_code}", &server.url("/")]);
    assert_eq!(basic.said(), "401", "a password as it is, where it is not asked for");
    assert_eq!(curl(["--basic", "-u", "ada:secret", &server.url("/both")]).said(), "ada nil ");
    assert_eq!(curl(["--digest", "-u", "ada:secret", &server.url("/both")]).said(), "ada nil ");
    // As Apache's htdigest writes it.
    site.write("users", format!("ada:{REALM}:{}\n", md5(&["ada", REALM, "other"])));
    server.reload();
    let asked = curl(["--digest", "-v", "-u", "ada:other", &server.url("/")]);
    assert!(asked.stderr.contains("algorithm=MD5") && !asked.stderr.contains("SHA-256"), "{asked}");
    assert_eq!(asked.said(), "ada nil ");
    let log = || site.read("access.log");
    wait::until("the log has it", || log().contains("PUT /files/b").then_some(()));
    assert!(log().lines().any(|line| line.contains(" ada ") && line.contains("PUT /files/b")), "{}", log());
}

#[test]
fn curl_logs_in_over_http_2() {
    let it = Encrypted::new(
        "",
        "users = medusa.auth.htdigest('users', { realm = 'The club' })
        web:mount('/', medusa.handler.auth(users, function(req) return `{req.user} {req.version} {req.tls.alpn}` end))",
    );
    add_ada(&it.site);
    let server = start(&it.site);
    let url = format!("https://localhost:{}/a?b", server.address().port());
    assert_eq!(it.curl(["--http2", "--digest", "-u", "ada:secret", &url]).said(), "ada 2 h2");
}

#[test]
fn an_answer_counts_once_for_its_request_whatever_the_worker_and_after_a_reload() {
    let site = site();
    let server = MEDUSA.serve(site.path()).arg("--workers").arg("2").start();
    let asked = server.get("/");
    assert_eq!(asked.status, 401);
    let nonce = nonce(&asked);
    let right = |method: &str, uri: &str, count| answer("ada", "secret", method, uri, &nonce, count);
    let first = right("GET", "/", 1);
    assert_eq!(get(&server, "/", &first).text(), "ada nil ");
    for _ in 0..8 {
        // Each is another connection, and so perhaps another worker.
        assert!(is_stale(&get(&server, "/", &first)), "it was sent before");
    }
    // They may arrive in any order.
    for count in [5, 3, 4, 2, 6] {
        assert_eq!(get(&server, "/", &right("GET", "/", count)).status, 200, "{count}");
    }
    server.reload();
    assert!(is_stale(&get(&server, "/", &right("GET", "/", 3))));
    assert_eq!(get(&server, "/", &right("GET", "/", 7)).status, 200, "the nonce goes on");
    // It is for one method, and one target.
    let other = get(&server, "/", &right("DELETE", "/", 8));
    assert!(other.status == 401 && !is_stale(&other));
    assert_eq!(get(&server, "/a", &right("GET", "/", 8)).status, 400);
    assert_eq!(get(&server, "/?a", &right("GET", "/", 8)).status, 400);
    assert_eq!(get(&server, "/", &right("GET", "/", 8)).status, 200, "none of these was taken");
    let whole = format!("http://{}/", server.address());
    assert_eq!(
        server.connect().request("GET", "/", &[("Authorization", &right("GET", &whole, 9))]).status,
        400,
        "for another host"
    );
    assert_eq!(get(&server, "/", &right("GET", "http://test/", 9)).status, 200, "in the other form");
    // What was made elsewhere, or is too old, is told so only to who knows the password.
    let made_up = answer("ada", "secret", "GET", "/", "made up", 1);
    assert!(is_stale(&get(&server, "/", &made_up)));
    let wrong = get(&server, "/", &answer("ada", "wrong", "GET", "/", "made up", 1));
    assert!(wrong.status == 401 && !is_stale(&wrong));
    let other_realm = right("GET", "/", 10).replace(REALM, "Another");
    let asked = get(&server, "/", &other_realm);
    assert!(asked.status == 401 && !is_stale(&asked));
    let counted = server.documents("handler.auth")[0].clone();
    assert!(counted["stale"].as_u64().is_some_and(|stale| stale >= 10) && counted["users"] == 1, "{counted}");
}

#[test]
fn a_nonce_lasts_as_long_as_the_script_says() {
    let site = site();
    site.write(
        "site.luau",
        SITE.replace(
            "(users, who))\nweb:mount(\"/both",
            "(users, who, { nonce_lifetime = 1 }))\nweb:mount(\"/both",
        ),
    );
    let server = start(&site);
    let nonce = nonce(&server.get("/"));
    let mut count = 0;
    wait::until("it is too old", || {
        count += 1;
        is_stale(&get(&server, "/", &answer("ada", "secret", "GET", "/", &nonce, count))).then_some(())
    });
}

#[test]
fn credentials_of_every_malformed_shape_are_refused() {
    let site = site();
    let server = start(&site);
    let right = answer("ada", "secret", "GET", "/", &nonce(&server.get("/")), 1);
    let without = |part: &str| {
        assert!(right.contains(part), "{part}");
        right.replacen(part, "", 1)
    };
    let with = |part: &str, other: &str| {
        assert!(right.contains(part), "{part}");
        right.replacen(part, other, 1)
    };
    let long = "x".repeat(6000);
    let table = [
        (String::new(), 401),
        ("Digest".to_owned(), 400),
        ("Digest x".to_owned(), 400),
        ("Digest ,,,=".to_owned(), 400),
        ("Digest username=\"ada".to_owned(), 400),
        ("Digest username=\"ada\\".to_owned(), 400),
        (format!("Digest {long}"), 400),
        (format!("Digest username=\"{long}\""), 400),
        (format!("Digest {}", "a=b,".repeat(1000)), 400),
        (format!("Digest {}", ",".repeat(6000)), 400),
        (without("username=\"ada\", "), 400),
        (without("realm=\"The club\", "), 400),
        (without("uri=\"/\", "), 400),
        (without("qop=auth, "), 400),
        (without("nc=00000001, "), 400),
        (without("cnonce=\"mine\", "), 400),
        (without("response="), 400),
        (with("qop=auth", "qop=auth-int"), 400),
        (with("nc=00000001", "nc=1"), 400),
        (with("nc=00000001", "nc=00000000"), 400),
        (with("nc=00000001", "nc=-0000001"), 400),
        (with("nc=00000001", "nc=fffffffff"), 400),
        (with("algorithm=MD5", "algorithm=MD5-sess"), 400),
        (with("algorithm=MD5", "algorithm=SHA-256"), 400),
        (with("uri=\"/\"", "uri=\"/a\""), 400),
        (with("uri=\"/\"", "uri=\"/\", uri=\"/a\""), 400),
        (with("username=\"ada\"", "username=\"ada\", username*=UTF-8''ada"), 400),
        (with("username=\"ada\"", "username*=UTF-8''%zz"), 400),
        (with("username=\"ada\"", "username=\"ada\", userhash=true"), 400),
        (with("username=\"ada\"", "username=\"eve\""), 401),
        (with("username=\"ada\"", "username=\"\""), 401),
        (with("username=\"ada\"", &format!("username=\"{}\", userhash=true", "0".repeat(32))), 401),
        (with("cnonce=\"mine\"", "cnonce=\"yours\""), 401),
        (with("nonce=\"", "nonce=\"A"), 401),
        (with("nc=00000001", "nc=00000002"), 401),
        // Of other schemes.
        ("Basic YWRhOnNlY3JldA==".to_owned(), 401),
        ("Basic %%%".to_owned(), 401),
        ("Bearer abc".to_owned(), 401),
        ("Bearer".to_owned(), 401),
        ("Bearer \u{1}".to_owned().replace('\u{1}', "a b,c=\"d"), 401),
        ("Negotiate abc".to_owned(), 401),
        (with("algorithm=MD5", "algorithm=\"md5\", userhash=false, unknown=\"a,b\""), 200),
    ];
    for (field, status) in table {
        let answer = from(&server, "127.0.0.1", "GET", "/", &field);
        assert_eq!(answer.status, status, "{field}");
        let is_asked = answer.headers.iter().any(|(name, _)| name == "www-authenticate");
        assert_eq!(is_asked, status == 401, "{field}");
    }
    let two = [("Authorization", &*right), ("Authorization", &right)];
    assert_eq!(server.connect().request("GET", "/", &two).status, 400);
    let stderr = server.stderr().text();
    let response = right.rsplit('"').nth(1).expect("an answer");
    assert!(!stderr.contains(response) && !stderr.contains("secret"), "{stderr}");
}

#[test]
fn guesses_from_one_address_end_in_the_same_budget() {
    let site = site();
    let server = start(&site);
    let nonce = nonce(&server.get("/"));
    let ask = |address: &str, password: &str, count| {
        from(&server, address, "GET", "/", &answer("ada", password, "GET", "/", &nonce, count)).status
    };
    assert_eq!(ask("192.0.2.1", "secret", 1), 200);
    let guesses: Vec<u16> =
        (0..25).map(|guess| ask("192.0.2.2", &format!("{guess}"), 1000 + guess)).collect();
    assert!(guesses.starts_with(&[401; 20]) && guesses.ends_with(&[429; 3]), "{guesses:?}");
    assert_eq!(ask("192.0.2.2", "secret", 2), 429, "it is not looked at");
    assert_eq!(ask("192.0.2.1", "secret", 3), 200);
    let basic = from(&server, "192.0.2.2", "GET", "/both", "Basic YWRhOnNlY3JldA==");
    assert_eq!((basic.status, basic.header("retry-after").is_some()), (429, true));
    server.stderr().wait_for("passwords from 192.0.2.2 are not looked at for now: 20 were wrong");
}

#[test]
fn what_cannot_be_is_an_error_with_its_place() {
    let site = site();
    site.write("wrong", "ada:The club:secret\n");
    let server = start(&site);
    let table = [
        ("medusa.auth.htdigest('users')", "name the realm whose users are meant"),
        ("medusa.auth.htdigest('users', { realm = 'a\"b' })", "a realm of Digest has"),
        ("medusa.auth.htdigest('none', { realm = 'x' })", "none: No such file"),
        (
            "medusa.auth.htdigest('wrong', { realm = 'The club' })",
            "wrong:1: what stands behind the realm is no hash",
        ),
        ("medusa.auth.htdigest(1, { realm = 'x' })", "the file must be a string"),
        (
            "medusa.handler.auth(medusa.auth.users {}, print, { schemes = { 'digest' } })",
            "these users cannot do \"digest\": it needs a hash of name, realm and password",
        ),
        ("medusa.handler.auth(users, print, { realm = 'Bar' })", "the users are of the realm \"The club\""),
        ("medusa.handler.auth(users, print, { schemes = {} })", "`schemes` is empty"),
        (
            "medusa.handler.auth(users, print, { schemes = { 'ntlm' } })",
            "`schemes` must be a list of \"basic\" and \"digest\"",
        ),
        ("medusa.handler.auth(users, print, { schemes = { 'basic', 'basic' } })", "each once"),
        (
            "medusa.handler.auth(users, print, { nonce_lifetime = 0 })",
            "`nonce_lifetime` must be a number of seconds from 1",
        ),
    ];
    for (statement, expected) in table {
        let error = server.command(["eval", statement]).failure(1);
        assert!(error.contains(expected) && error.contains("statement:1"), "{statement}: {error}");
    }
    let file = site.at("users");
    let file = file.to_str().expect("UTF-8");
    let passwd = |args: &[&str]| MEDUSA.run_reading(["passwd"].iter().chain(args).copied(), "x\n");
    assert!(passwd(&["--digest", "a:b", file, "ada"]).failure(1).contains("a realm of Digest has"));
    assert!(passwd(&["--digest", REALM, "--token", file, "ada"]).failure(2).contains("cannot be used with"));
    assert!(passwd(&["--digest", "Bar", "--remove", file, "ada"]).failure(1).contains("has no user ada"));
    let removed = passwd(&["--digest", REALM, "--remove", file, "ada"]);
    assert_eq!((removed.status.code(), site.read("users").as_str()), (Some(0), ""), "{removed}");
}
