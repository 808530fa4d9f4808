//! Encrypted listeners, as clients and operators meet them: certificates, client certificates, and what is sent elsewhere.

use std::ffi::OsStr;

use medusa_testkit::{Authority, Client, Finished, H2Load, Issued, Load, Server, Site, curl};

use super::live::{Session, established};
use super::support::{MEDUSA, start};

/// An authority, and a site whose server has a certificate of it for `localhost`.
pub(crate) struct Encrypted {
    pub(crate) authority: Authority,
    pub(crate) issued: Issued,
    pub(crate) site: Site,
}

/// The options of an encrypted server.
pub(crate) const TLS: &str = "listen = '127.0.0.1:0', tls = { cert = 'cert.pem', key = 'key.pem' }";

impl Encrypted {
    /// With a script whose server `web` has these options and [`TLS`].
    #[track_caller]
    pub(crate) fn new(options: &str, mounts: &str) -> Self {
        Self::script(&format!("web = medusa.http.server {{ {TLS}, {options} }}\n{mounts}"))
    }

    #[track_caller]
    pub(crate) fn script(script: &str) -> Self {
        let authority = Authority::new("Test");
        let issued = authority.server(&["localhost", "127.0.0.1"]);
        let site = Site::script(script).file("ca.pem", authority.pem());
        install(&site, "", &issued);
        Self { authority, issued, site }
    }

    /// A connection that is encrypted, by HTTP/1.1.
    #[track_caller]
    pub(crate) fn connect(&self, server: &Server) -> Client {
        server.connect().encrypted(self.authority.pem(), "localhost")
    }

    /// The outcome of curl, trusting the authority alone.
    #[track_caller]
    pub(crate) fn curl<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Finished {
        let mut all = vec![OsStr::new("--cacert").to_owned(), self.site.at("ca.pem").into_os_string()];
        all.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        curl(all)
    }
}

/// Writes a certificate and its key: `cert.pem` and `key.pem` behind a prefix. The key is for its owner, as it should be.
#[track_caller]
pub(crate) fn install(site: &Site, prefix: &str, issued: &Issued) {
    use std::os::unix::fs::PermissionsExt as _;
    site.write(&format!("{prefix}cert.pem"), &issued.cert);
    let key = format!("{prefix}key.pem");
    site.write(&key, &issued.key);
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(site.at(&key), private).expect("our own file");
}

/// The URL of a listener by a name that certificates have.
fn at(server: &Server, path: &str) -> String {
    format!("https://localhost:{}{path}", server.address().port())
}

/// What of the connection a handler sees.
const SHOW: &str = "web:mount('/', function(req)
    local tls = req.tls
    return `{req.version} {req.scheme} {tls.version} {tls.alpn} {tls.sni} {req:body()}`
end)";

#[test]
fn curl_gets_what_it_asks_for_by_every_protocol() {
    let it = Encrypted::new("", SHOW);
    let server = start(&it.site);
    for (flags, seen) in [
        (&["--http1.1"][..], "1.1 https TLSv1.3 http/1.1 localhost "),
        (&["--http1.0", "--no-alpn"], "1.0 https TLSv1.3 nil localhost "),
        (&["--http2"], "2 https TLSv1.3 h2 localhost "),
        (&["--http2", "--tls-max", "1.2"], "2 https TLSv1.2 h2 localhost "),
        (&["--http2", "-d", "body"], "2 https TLSv1.3 h2 localhost body"),
        (&["--http1.1", "-d", "body"], "1.1 https TLSv1.3 http/1.1 localhost body"),
    ] {
        let output = it.curl(flags.iter().copied().chain([at(&server, "/").as_str()])).said();
        assert_eq!(output, seen, "{flags:?}");
    }
    let output =
        it.curl(["--tls-max", "1.1", "--tlsv1.0", "--ciphers", "DEFAULT:@SECLEVEL=0", &at(&server, "/")]);
    output.failure(35);
    assert_eq!(it.curl(["--http2", &at(&server, "/")]).said().split(' ').next(), Some("2"), "it goes on");
}

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate() {
    let it = Encrypted::script(
        "web = medusa.http.server { listen = '127.0.0.1:0', tls = { certificates = {
            { cert = 'cert.pem', key = 'key.pem' }, { cert = 'a-cert.pem', key = 'a-key.pem' },
            { cert = 'b-cert.pem', key = 'b-key.pem' } } } }
        web:mount('/', function(req) return `{req.host} {req.tls.sni}` end)",
    );
    install(&it.site, "a-", &it.authority.server(&["a.example"]));
    install(&it.site, "b-", &it.authority.server(&["*.b.example"]));
    let server = start(&it.site);
    let port = server.address().port();
    let asked = |name: &str| {
        it.curl([format!("https://{name}:{port}/"), "--resolve".into(), format!("{name}:{port}:127.0.0.1")])
    };
    // curl checks that the certificate is for the name.
    for name in ["localhost", "a.example", "x.b.example"] {
        assert_eq!(asked(name).said(), format!("{name} {name}"));
    }
    let error = asked("other.example").failure(60);
    assert!(error.contains("matches target host name 'other.example'"), "{error}");
    // Without a name, there is the first.
    assert_eq!(it.curl([server.url("/")]).said(), "127.0.0.1 nil");
}

#[test]
fn over_http2_only_hosts_of_the_certificate_are_served() {
    let it = Encrypted::script(
        "web = medusa.http.server { listen = '127.0.0.1:0', tls = { certificates = {
            { cert = 'cert.pem', key = 'key.pem' }, { cert = 'a-cert.pem', key = 'a-key.pem' } } } }
        web:mount('/', function(req) return req.host end)",
    );
    install(&it.site, "a-", &it.authority.server(&["a.example", "*.b.example"]));
    let server = start(&it.site);
    let port = server.address().port();
    let status = |version: &str, sni: &str, host: &str| {
        let url = format!("https://{sni}:{port}/");
        let (resolve, host) = (format!("{sni}:{port}:127.0.0.1"), format!("Host: {host}"));
        let rest = ["--resolve", &resolve, "-H", &host, "-o", "/dev/null", "-w", "%{http_code}", &url];
        it.curl([version].into_iter().chain(rest)).said()
    };
    for (sni, host, expected) in [
        ("a.example", "a.example", "200"),
        ("a.example", "A.Example:443", "200"),
        ("a.example", "x.b.example", "200"),
        ("x.b.example", "y.b.example", "200"),
        ("x.b.example", "x.y.b.example", "421"),
        ("x.b.example", "b.example", "421"),
        ("a.example", "localhost", "421"),
        ("localhost", "a.example", "421"),
        ("localhost", "127.0.0.1", "200"),
        ("localhost", "elsewhere.example", "421"),
        // Whoever did not say whom it asks for was not shown a certificate for it.
        ("127.0.0.1", "elsewhere.example", "200"),
    ] {
        assert_eq!(status("--http2", sni, host), expected, "{host} on a connection to {sni}");
        assert_eq!(status("--http1.1", sni, host), "200", "{host} on a connection to {sni}");
    }
}

#[test]
fn a_self_signed_certificate_is_made_on_request() {
    let site = Site::script(
        "web = medusa.http.server { listen = '127.0.0.1:0', tls = 'self-signed' }
        web:mount('/', function(req) return req.scheme end)",
    );
    let server = start(&site);
    let error = curl([at(&server, "/")]).failure(60);
    assert!(
        error.contains("self-signed certificate") || error.contains("self signed certificate"),
        "{error}"
    );
    assert_eq!(curl(["-k", &at(&server, "/")]).said(), "https");
    let shown = curl(["-k", "-w", "%{certs}", "-o", "/dev/null", &at(&server, "/")]).said();
    server.reload();
    let after = curl(["-k", "-w", "%{certs}", "-o", "/dev/null", &at(&server, "/")]).said();
    assert!(shown.contains("BEGIN CERTIFICATE"), "{shown}");
    assert_eq!(shown, after, "a reload leaves it as it is");
    let logged = server.stderr().wait_for("made a self-signed certificate");
    let [certificate] = server.documents("certificate").try_into().expect("one certificate");
    assert!(
        certificate["days_left"].as_u64().is_some_and(|days| (300..=400).contains(&days)),
        "{certificate}"
    );
    let fingerprint = certificate["fingerprint"].as_str().expect("a fingerprint");
    assert!(logged.contains(fingerprint), "{logged}");
}

#[test]
fn plain_http_on_an_encrypted_port_is_told_so() {
    let it = Encrypted::new("", SHOW);
    let server = start(&it.site);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let answer = client.response();
    assert_eq!(answer.status, 400);
    assert!(answer.text().to_lowercase().contains("https"), "{answer:?}");
    client.expect_close();
    assert_eq!(server.number("http.faults", "tls_handshake"), 1);
}

#[test]
fn a_client_is_known_by_its_certificate() {
    for (choice, without) in [("optional", Some("nobody")), ("required", None)] {
        let options = "tls = { cert = 'cert.pem', key = 'key.pem', client_ca = 'clients.pem'";
        let it = Encrypted::script(&format!(
            "web = medusa.http.server {{ listen = '127.0.0.1:0', {options}, client = '{choice}' }} }}
            web:mount('/', function(req)
                local client = req.tls.client
                return if client then `{{client.subject}} by {{client.issuer}}` else 'nobody'
            end)"
        ));
        let clients = Authority::new("Clients");
        it.site.write("clients.pem", clients.pem());
        install(&it.site, "alice-", &clients.client("Alice"));
        install(&it.site, "mallory-", &it.authority.client("Alice"));
        let server = start(&it.site);
        let url = at(&server, "/");
        let asked = |who: &str, version: &str| {
            let (cert, key) = (it.site.at(&format!("{who}-cert.pem")), it.site.at(&format!("{who}-key.pem")));
            let (cert, key) = (cert.display().to_string(), key.display().to_string());
            it.curl([&url, "--cert", &cert, "--key", &key, version])
        };
        for version in ["--http1.1", "--http2"] {
            assert_eq!(asked("alice", version).said(), "CN=Alice by CN=Clients");
            let forged = asked("mallory", version);
            assert!(!forged.status.success() && forged.stdout.is_empty(), "{forged}");
        }
        let stranger = it.curl([&url]);
        assert_eq!(stranger.status.success(), without.is_some(), "{stranger}");
        assert_eq!(stranger.stdout.trim_end(), without.unwrap_or_default());
        assert!(server.number("http.faults", "tls_handshake") >= 2);
    }
}

#[test]
fn only_encrypted_answers_ask_to_stay_encrypted() {
    let it = Encrypted::script(
        "web = medusa.http.server {
            listen = { { address = '127.0.0.1:0', tls = { cert = 'cert.pem', key = 'key.pem' } }, '127.0.0.2:0' },
            hsts = { max_age = 3600, subdomains = true },
        }
        web:mount('/', function() return 'ok' end)",
    );
    let server = start(&it.site);
    for flags in [["--http1.1"], ["--http2"]] {
        for path in ["/", "/../x", "/gone?"] {
            let head = it.curl(["-i", flags[0], &at(&server, path)]).said().to_lowercase();
            let wanted = "\r\nstrict-transport-security: max-age=3600; includesubdomains\r\n";
            assert_eq!(head.matches(wanted).count(), 1, "{path}: {head}");
        }
    }
    let plain = Client::connect(server.address_of(1)).get("/");
    assert_eq!((plain.text().as_str(), plain.header("strict-transport-security")), ("ok", None));
}

/// A script whose plain server sends everybody to the encrypted one.
const BOTH: &str = "
    web = medusa.http.server { listen = '127.0.0.1:0', tls = { cert = 'cert.pem', key = 'key.pem' } }
    web:mount('/', function(req) return `{req.method} {req.path}?{req.query} {req:body()}` end)
    plain = medusa.http.server { listen = '127.0.0.2:0' }";

#[test]
fn everybody_is_sent_to_the_encrypted_server() {
    let it = Encrypted::script(BOTH);
    let server = start(&it.site);
    let (secure, plain) = (server.address_of(0).port(), server.address_of(1).port());
    server.eval(&format!("plain:mount('/', medusa.handler.https {{ port = {secure} }})"));
    server.eval("web:mount('/wrong', medusa.handler.https())");
    let resolve = format!("localhost:{plain}:127.0.0.2");
    let url = format!("http://localhost:{plain}/a/b?c=d");
    let follow = |args: &[&str]| it.curl(["-L", "--resolve", &resolve, &url].iter().chain(args)).said();
    assert_eq!(follow(&[]), "GET /a/b?c=d ");
    assert_eq!(follow(&["--http2-prior-knowledge"]), "GET /a/b?c=d ");
    assert_eq!(follow(&["-d", "body"]), "POST /a/b?c=d body", "308: the method and the body come again");

    let mut client = Client::connect(server.address_of(1));
    client.send("GET /x HTTP/1.0\r\n\r\n");
    assert_eq!(client.response().status, 400, "there is no host to redirect to");
    let mut client = Client::connect(server.address_of(1));
    let moved = client.request("GET", "/%0d%0aSet-Cookie:x", &[]);
    let place = moved.header("location").expect("a redirect").to_owned();
    assert_eq!(place, format!("https://test:{secure}/%0d%0aSet-Cookie:x"));
    assert_eq!(moved.header("set-cookie"), None);

    for _ in 0..3 {
        let output = it.curl(["-o", "/dev/null", "-w", "%{http_code}", &at(&server, "/wrong")]).said();
        assert_eq!(output, "404", "not around in circles");
    }
    server.stderr().wait_for("is encrypted already and gets 404");
    let log = server.stderr().text();
    assert_eq!(log.matches("is encrypted already").count(), 1, "{log}");
}

#[test]
fn options_of_redirects_are_looked_at() {
    for (call, reason) in [
        ("https { port = 0 }", "`port` must be a whole number from 1 to 65535, not 0"),
        ("https { port = 65536 }", "not 65536"),
        ("https { port = 1.5 }", "not 1.5"),
        ("https { prot = 1 }", "there is no option \"prot\"; there are: port"),
        ("redirect('//evil.example')", "\"//evil.example\" is no place to redirect to"),
        ("redirect('/a?b', { keep_path = true })", "has a query or a fragment"),
        ("redirect()", "where to must be a string, not nil"),
    ] {
        let site = Site::script(&format!("\nmedusa.handler.{call}"));
        let error = MEDUSA.run([OsStr::new("check"), site.path().as_os_str()]).failure(1);
        assert!(error.contains("site.luau:2: medusa.handler.") && error.contains(reason), "{call}: {error}");
    }
    let site = super::support::web(
        "web:mount('/old/', medusa.handler.redirect('/new', { keep_path = true, permanent = true }))",
    );
    let answer = start(&site).get("/old/a%2fb?c");
    assert_eq!((answer.status, answer.header("location")), (301, Some("/new/a%2fb?c")));
}

/// The certificates of the server, as a client gets them, by openssl.
#[track_caller]
fn shown(server: &Server) -> String {
    curl(["-k", "-o", "/dev/null", "-w", "%{certs}", &at(server, "/")]).success()
}

#[test]
fn renewed_certificates_are_taken_over_under_load() {
    let it = Encrypted::new("", "web:mount('/', function(req) return 'ok' end)");
    let server = start(&it.site);
    let mut kept = it.connect(&server);
    assert_eq!(kept.get("/").text(), "ok");
    let mut seen = vec![shown(&server)];
    let load = Load::on(&server.url("/"), 16);
    let streams = H2Load::start(&server.url("/"), 20_000, 4, 10);
    established(&server, 21);
    let mut session = Session::with(&server);
    while seen.len() < 10 || !streams.is_done() {
        install(&it.site, "", &it.authority.server(&["localhost", "127.0.0.1"]));
        session.reload();
        let now = shown(&server);
        assert!(!seen.contains(&now), "the old certificate is still shown");
        seen.push(now);
        assert_eq!(kept.get("/").text(), "ok", "on the connection that was there before");
        assert_eq!(it.curl([at(&server, "/")]).said(), "ok");
    }
    load.stop().expect_clean();
    streams.expect_clean();
    eprintln!("{} certificates", seen.len());
}

/// The faults of a certificate's files, what is said about it, and whether by the file of the key.
fn mistakes(it: &Encrypted) -> Vec<(&'static str, Option<String>, &'static str)> {
    let other = it.authority.server(&["localhost"]);
    let damaged = it.issued.key.replacen("-----END", "*\n-----END", 1);
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGj\n-----END ENCRYPTED PRIVATE KEY-----\n";
    vec![
        ("cert.pem", None, "does not exist"),
        ("key.pem", None, "does not exist"),
        ("cert.pem", Some("garbage".to_owned()), "is not PEM"),
        ("cert.pem", Some(it.issued.key.clone()), "holds no certificate"),
        ("cert.pem", Some("\0\u{1}binary".to_owned()), "is not PEM"),
        ("cert.pem", Some(it.issued.cert.replacen("MII", "AAA", 1)), "can not be understood"),
        ("cert.pem", Some(other.cert), "does not belong to the certificate"),
        ("key.pem", Some(other.key), "does not belong to the certificate"),
        ("key.pem", Some(it.issued.cert.clone()), "holds no private key"),
        ("key.pem", Some(damaged), "is damaged"),
        ("key.pem", Some(locked.to_owned()), "needs a passphrase"),
        ("key.pem", Some(String::new()), "it is empty"),
        ("cert.pem", Some(String::new()), "it is empty"),
    ]
}

#[test]
fn a_certificate_that_can_not_serve_is_refused_with_the_reason() {
    let it = Encrypted::new("", "web:mount('/', function(req) return 'old' end)");
    let good = |name: &str| if name == "cert.pem" { &it.issued.cert } else { &it.issued.key };
    let server = start(&it.site);
    let mut kept = it.connect(&server);
    let (was, keys) = (shown(&server), std::cell::RefCell::new(vec![it.issued.clone()]));
    for (name, content, reason) in mistakes(&it) {
        match content {
            Some(content) => {
                keys.borrow_mut().push(Issued { cert: String::new(), key: content.clone() });
                it.site.write(name, content);
            }
            None => std::fs::remove_file(it.site.at(name)).expect("our own file"),
        }
        let check = MEDUSA.run([OsStr::new("check"), it.site.path().as_os_str()]).failure(1);
        let reload = server.command(["reload"]).failure(1);
        let begin = MEDUSA.serve(it.site.path()).listen("127.0.0.1:0").fail().failure(1);
        for (how, expected) in [("check", check), ("reload", reload), ("start", begin)] {
            assert!(
                expected.contains("site.luau:1: ")
                    && expected.contains(&it.site.at(name).display().to_string()),
                "{how}: {name} should be named: {expected}"
            );
            assert!(expected.contains(reason), "{how}: {reason:?} was expected: {expected}");
            assert!(
                !keys.borrow().iter().any(|issued| issued.leaks_into(&expected)),
                "{how}: a key: {expected}"
            );
        }
        assert_eq!(kept.get("/").text(), "old", "after {name}: {reason}");
        assert_eq!(shown(&server), was, "after {name}: {reason}");
        install(&it.site, "", &it.issued);
        assert_eq!(it.site.read(name), *good(name));
    }
    server.reload();
    let everything =
        server.stderr().text() + &server.status().to_string() + &server.eval("site") + &server.eval("web");
    assert!(!it.issued.leaks_into(&everything), "{everything}");
}

#[test]
fn options_of_certificates_are_looked_at() {
    let it = Encrypted::new("", SHOW);
    let server = start(&it.site);
    for (options, reason) in [
        ("tls = { cert = 'cert.pem' }", "`cert` and `key` belong together"),
        ("tls = {}", "no certificate is given"),
        ("tls = 'selfsigned'", "must be a table or \"self-signed\""),
        ("tls = { cert = 'cert.pem', key = 'key.pem', client = 'perhaps' }", "\"required\" or \"optional\""),
        ("tls = { cert = 'cert.pem', key = 'key.pem', ciphers = 'ALL' }", "there is no option \"ciphers\""),
        ("tls = { cert = 'cert.pem', key = 'key.pem', client_ca = 'key.pem' }", "holds no certificate"),
    ] {
        it.site.write(
            "site.luau",
            format!("\nweb = medusa.http.server {{ listen = '127.0.0.1:0', {options} }}"),
        );
        let error = server.command(["reload"]).failure(1);
        assert!(error.contains("site.luau:2: ") && error.contains(reason), "{options}: {error}");
        assert!(!it.issued.leaks_into(&error), "{error}");
    }
    assert_eq!(it.curl(["--http1.1", &at(&server, "/")]).said(), "1.1 https TLSv1.3 http/1.1 localhost ");
}
