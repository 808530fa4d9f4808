//! Users whom a function of the script knows, and users who come with a certificate.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use medusa_testkit::{Authority, Client, Issued, Response, Server, Site, WebSocket, known_as, wait};

use super::support::{start, web};
use super::tls::{Encrypted, install};

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[track_caller]
fn ask(server: &Server, path: &str, field: &str) -> Response {
    server.connect().request("GET", path, &[("Authorization", field)])
}

#[test]
fn a_function_knows_users_and_is_asked_once_a_while() {
    let site = web(r#"
        asked = 0
        local users = medusa.auth.users(function(name, password, req)
            asked += 1
            medusa.sleep(0.01)
            if password ~= "secret" then return nil end
            return if name == "ada" then true elseif name == "ADA" then "ada" else false
        end)
        local who = function(req) return `{req.user} {req.headers.authorization} {asked}` end
        web:mount("/", medusa.handler.auth(users, who))
        web:mount("/again", medusa.handler.auth(users, who))
        local forgetful = medusa.auth.users(function() asked += 1 return true end, { remember = 0 })
        web:mount("/forgetful", medusa.handler.auth(forgetful, who))
        local tokens = medusa.auth.tokens(function(token) return if token == "t0ken" then "ci" else nil end)
        web:mount("/token", medusa.handler.auth(tokens, who))
        web:mount("/socket", medusa.handler.auth(users, function(req)
            return req:websocket(function(ws) for message in ws do ws:send(req.user .. message) end end)
        end))
    "#);
    let server = start(&site);
    let (ada, other) = (basic("ada", "secret"), basic("ADA", "secret"));
    for path in ["/", "/again", "/"] {
        assert_eq!(ask(&server, path, &ada).text(), "ada nil 1", "{path}");
    }
    assert_eq!(ask(&server, "/", &other).text(), "ada nil 2", "the name that it said");
    for wrong in [
        basic("ada", "wrong"),
        basic("eve", "secret"),
        basic("ada", ""),
        "Bearer secret".into(),
        "Digest x=y".into(),
    ] {
        assert_eq!(ask(&server, "/", &wrong).status, 401, "{wrong}");
    }
    let asked = server.get("/");
    assert_eq!(asked.header("www-authenticate"), Some("Basic realm=\"Members only\", charset=\"UTF-8\""));
    assert_eq!(server.eval("return asked"), "5");
    assert_eq!([(); 2].map(|()| ask(&server, "/forgetful", &ada).text()), ["ada nil 6", "ada nil 7"]);
    for nobody in ["", " sp", "sp "] {
        assert_eq!(ask(&server, "/forgetful", &basic(nobody, "pw")).status, 401, "{nobody:?}");
    }
    assert_eq!(ask(&server, "/token", "Bearer t0ken").text(), "ci nil 7");
    let wrong = ask(&server, "/token", "Bearer other");
    assert_eq!(
        (wrong.status, wrong.header("www-authenticate").is_some_and(|asked| asked.contains("invalid_token"))),
        (401, true)
    );
    assert_eq!(
        ask(&server, "/token", &ada).header("www-authenticate"),
        Some("Bearer realm=\"Members only\"")
    );
    let mut session = WebSocket::open(server.connect(), "/socket", &[("Authorization", &ada)]);
    session.send("!");
    assert_eq!(session.text(), "ada!");
    server.reload();
    assert_eq!(ask(&server, "/", &ada).text(), "ada nil 1", "another function may know others");
    let stderr = server.stderr().text();
    assert!(!stderr.contains("secret") && !stderr.contains("t0ken"), "{stderr}");
    assert!(!stderr.contains("the function of medusa.auth"), "it was not asked about nobody: {stderr}");
}

#[test]
fn where_the_function_fails_nobody_is_let_in() {
    let site = web(r#"
        local inside = function(req) return "inside" end
        local function by(knows) return medusa.handler.auth(medusa.auth.users(knows), inside) end
        web:mount("/error", by(function(name, password) error("the database is gone") end))
        web:mount("/number", by(function() return 1 end))
        web:mount("/table", by(function() return { status = 200 } end))
        web:mount("/name", by(function() return "a\nb" end))
        web:mount("/empty", by(function() return "" end))
        web:mount("/nothing", by(function() end))
        web:mount("/forever", by(function() while true do end end))
        web:mount("/stopped", by(function() return string.rep("x", 1000) end))
        web:mount("/token", medusa.handler.auth(medusa.auth.tokens(function() return true end), inside))
        web:mount("/file", by("knows.luau"))
    "#)
    .file("knows.luau", "local calls = 0 return function(name, password) calls += 1 if calls > 1 then error('again') end return password == 'secret' end");
    let server = start(&site);
    let secret = basic("ada", "hidden words");
    for (path, status) in [
        ("/error", 500),
        ("/number", 500),
        ("/table", 500),
        ("/name", 500),
        ("/empty", 500),
        ("/nothing", 401),
        ("/forever", 503),
        ("/stopped", 500),
    ] {
        let answer = ask(&server, path, &secret);
        assert_eq!(answer.status, status, "{path}");
        assert!(!answer.text().contains("inside") && !answer.text().contains("database"), "{path}");
    }
    assert_eq!(ask(&server, "/token", "Bearer x").status, 500);
    let stderr = server.stderr().text();
    assert!(
        stderr.contains("the database is gone") && stderr.contains("return the name of the user, true for"),
        "{stderr}"
    );
    assert!(!stderr.contains("hidden"), "{stderr}");
    // A file is loaded by each worker, and what it said outlives a reload that does not change it.
    let known = basic("ada", "secret");
    assert_eq!(ask(&server, "/file", &known).text(), "inside");
    server.reload();
    assert_eq!(ask(&server, "/file", &known).text(), "inside");
    let table = [
        ("medusa.auth.users(1)", "give a table of names and hashes, a function(name, password)"),
        ("medusa.auth.users({}, { remember = 1 })", "a table of users takes no options"),
        (
            "medusa.auth.users(print, { remember = 4000 })",
            "`remember` must be a number of seconds from 0 to 3600",
        ),
        ("medusa.auth.users('none.luau')", "none.luau"),
        ("medusa.auth.tokens({})", "give a function, or the name of a file"),
        (
            "medusa.handler.auth(medusa.auth.tokens(print), print, { schemes = { 'basic' } })",
            "have no passwords",
        ),
    ];
    for (statement, expected) in table {
        let error = server.command(["eval", statement]).failure(1);
        assert!(error.contains(expected), "{statement}: {error}");
    }
}

#[test]
fn guesses_at_a_function_end_and_who_is_remembered_goes_on() {
    let site = Site::script(
        r#"
        web = medusa.http.server { listen = "127.0.0.1:0", trusted_proxies = { "127.0.0.1" } }
        asked = 0
        web:mount("/", medusa.handler.auth(medusa.auth.users(function(name, password)
            asked += 1
            return password == "secret"
        end), function(req) return req.user end))
        "#,
    );
    let server = start(&site);
    let from = |address: &str, password: &str| {
        let field = basic("ada", password);
        server
            .connect()
            .request("GET", "/", &[("Authorization", &*field), ("X-Forwarded-For", address)])
            .status
    };
    assert_eq!(from("192.0.2.1", "secret"), 200);
    let guesses: Vec<_> = (0..25).map(|guess| from("192.0.2.1", &format!("{guess}"))).collect();
    assert!(guesses.starts_with(&[401; 20]) && guesses.ends_with(&[429; 3]), "{guesses:?}");
    assert_eq!((from("192.0.2.1", "secret"), from("192.0.2.2", "secret")), (200, 200));
    let asked: u32 = server.eval("return asked").parse().expect("a number");
    assert!(asked < 25, "{asked}");
    assert_eq!(from("192.0.2.1", "0"), 401, "a guess that is known to be wrong is no other guess");
}

/// A server that asks for certificates, and clients with some.
struct Known {
    it: Encrypted,
    alice: Issued,
}

impl Known {
    fn new(client: &str) -> Self {
        let options = format!(
            "tls = {{ cert = 'cert.pem', key = 'key.pem', client_ca = 'clients.pem', client = '{client}' }}"
        );
        let it = Encrypted::script(&format!(
            "web = medusa.http.server {{ listen = '127.0.0.1:0', {options} }}
            plain = medusa.http.server {{ listen = '127.0.0.1:0' }}
            local who = function(req) return `{{req.user}} {{req.headers.authorization}}` end
            local all = medusa.handler.auth(medusa.auth.certificates(), who)
            web:mount('/', all)
            plain:mount('/', all)
            web:mount('/some', medusa.handler.auth(medusa.auth.certificates {{ users = {{ Alice = 'ada' }} }}, who))
            web:mount('/list', medusa.handler.auth(medusa.auth.certificates {{ users = {{ 'Bob' }} }}, who))
            web:mount('/subject', medusa.handler.auth(medusa.auth.certificates {{ name = 'subject' }}, who))
            web:mount('/fingerprint', medusa.handler.auth(medusa.auth.certificates {{ name = 'fingerprint' }}, who))
            web:mount('/email', medusa.handler.auth(medusa.auth.certificates {{ name = 'email' }}, who))
            web:mount('/socket', medusa.handler.auth(medusa.auth.certificates(), function(req)
                return req:websocket(function(ws) for message in ws do ws:send(req.user .. message) end end)
            end))
            web:mount('/open', function(req) return `{{req.user}} {{req.tls.resumed}}` end)"
        ));
        let clients = Authority::new("Clients");
        it.site.write("clients.pem", clients.pem());
        let alice = clients.client("Alice");
        install(&it.site, "alice-", &alice);
        install(&it.site, "bob-", &clients.client("Bob"));
        install(&it.site, "spaced-", &clients.client(" Alice "));
        install(&it.site, "mallory-", &it.authority.client("Alice"));
        Self { it, alice }
    }

    /// What curl is answered with a certificate, with the status behind it.
    #[track_caller]
    fn ask(&self, server: &Server, who: Option<&str>, path: &str, more: &[&str]) -> Option<String> {
        let url = format!("https://localhost:{}{path}", server.address_of(0).port());
        let mut args = vec![url, "-w".into(), " %{http_code}".into()];
        if let Some(who) = who {
            for (option, file) in [("--cert", "cert"), ("--key", "key")] {
                args.extend([
                    option.into(),
                    self.it.site.at(&format!("{who}-{file}.pem")).display().to_string(),
                ]);
            }
        }
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        let finished = self.it.curl(args);
        finished.status.success().then(|| finished.stdout.lines().last().unwrap_or_default().to_owned())
    }
}

#[test]
fn a_client_is_known_by_its_certificate() {
    let known = Known::new("optional");
    let server = start(&known.it.site);
    let status =
        |answer: Option<String>| answer.and_then(|answer| answer.rsplit(' ').next().map(str::to_owned));
    for version in ["--http1.1", "--http2"] {
        let ask = |who: &str, path: &str| known.ask(&server, Some(who), path, &[version]);
        assert_eq!(ask("alice", "/").as_deref(), Some("Alice nil 200"));
        assert_eq!(ask("bob", "/").as_deref(), Some("Bob nil 200"));
        assert_eq!(ask("alice", "/some").as_deref(), Some("ada nil 200"));
        assert_eq!(status(ask("bob", "/some")).as_deref(), Some("403"));
        assert_eq!(ask("bob", "/list").as_deref(), Some("Bob nil 200"));
        assert_eq!(status(ask("alice", "/list")).as_deref(), Some("403"));
        assert_eq!(ask("alice", "/subject").as_deref(), Some("CN=Alice nil 200"));
        assert!(ask("alice", "/fingerprint").is_some_and(|answer| answer.len() == 64 + " nil 200".len()));
        assert_eq!(status(ask("alice", "/email")).as_deref(), Some("403"), "it has none");
        assert_eq!(
            status(ask("spaced", "/")).as_deref(),
            Some("403"),
            "other servers would take it for Alice"
        );
        assert_eq!(ask("mallory", "/"), None, "of another authority");
        assert_eq!(status(known.ask(&server, None, "/", &[version])).as_deref(), Some("403"));
        assert_eq!(known.ask(&server, None, "/open", &[version]).as_deref(), Some("nil false 200"));
        // What is meant for the handler is left to it.
        let passed = known.ask(&server, Some("alice"), "/", &[version, "-u", "x:y"]);
        assert_eq!(passed.as_deref(), Some("Alice Basic eDp5 200"));
    }
    let plain = Client::connect(server.address_of(1)).get("/");
    assert_eq!((plain.status, plain.header("www-authenticate")), (403, None));
    let counted = server.documents("handler.auth");
    assert!(counted.iter().any(|auth| auth["wrong_certificates"].as_u64() > Some(0)), "{counted:?}");
    for (statement, expected) in [
        ("medusa.auth.certificates { name = 'o' }", "`name` must be one of \"cn\", \"email\""),
        ("medusa.auth.certificates { users = { a = 1 } }", "is a list of names"),
        ("medusa.auth.certificates { users = { a = '' } }", "the name of a user has 1 to 255 bytes"),
        (
            "medusa.handler.auth(medusa.auth.certificates(), print, { schemes = { 'basic' } })",
            "have no passwords",
        ),
    ] {
        let error = server.command(["eval", statement]).failure(1);
        assert!(error.contains(expected), "{statement}: {error}");
    }
}

#[test]
fn a_session_that_is_resumed_and_one_of_websockets_have_the_certificate() {
    let known = Known::new("required");
    let server = start(&known.it.site);
    // Without one, nobody gets as far as a handler.
    assert_eq!(known.ask(&server, None, "/", &[]), None);
    let settings = known_as(&known.alice, known.it.authority.pem());
    let mut resumed = false;
    for _ in 0..3 {
        let mut client = Client::connect(server.address_of(0)).encrypted_by(&settings, "localhost");
        assert_eq!(client.get("/").text(), "Alice nil");
        resumed |= client.get("/open").text() == "nil true";
    }
    assert!(resumed, "a session is resumed, and its user is known");
    let client = Client::connect(server.address_of(0)).encrypted_by(&settings, "localhost");
    let mut session = WebSocket::open(client, "/socket", &[]);
    session.send("!");
    assert_eq!(session.text(), "Alice!");
    // Another authority: its tickets are others, and what one has resumed elsewhere is not resumed here.
    known.it.site.write("clients.pem", Authority::new("Clients").pem());
    server.reload();
    wait::until("the listener has the new authority", || {
        known.ask(&server, Some("alice"), "/", &[]).is_none().then_some(())
    });
}
