//! The journal, as systemd's own understands what is sent to it.

use medusa_testkit::{Journald, Site, wait};

use super::support::start;

#[test]
fn the_journal_has_the_fields_of_each_request() {
    let journal = Journald::start();
    let site = Site::new().file("public/a", "hello").file(
        "site.luau",
        format!(
            "web = medusa.http.server {{ listen = '127.0.0.1:0', log = medusa.log.journald {{ path = '{}', \
             identifier = 'medusa-test' }} }}\nweb:mount('/', medusa.handler.files('public'))\n",
            journal.socket().display()
        ),
    );
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(client.request("GET", "/a", &[("User-Agent", "one \"two\"")]).status, 200);
    assert_eq!(client.get("/none").status, 404);
    let messages = journal.messages("medusa-test", 2);
    let field = |at: usize, name: &str| messages[at][name].as_str().unwrap_or_default().to_owned();
    let fields = [
        "PRIORITY",
        "HTTP_CLIENT",
        "HTTP_METHOD",
        "HTTP_TARGET",
        "HTTP_STATUS",
        "HTTP_BYTES",
        "HTTP_USER_AGENT",
    ];
    assert_eq!(fields.map(|name| field(0, name)), ["6", "127.0.0.1", "GET", "/a", "200", "5", "one \"two\""]);
    assert_eq!(["PRIORITY", "HTTP_TARGET", "HTTP_STATUS"].map(|name| field(1, name)), ["4", "/none", "404"]);
    assert!(field(0, "MESSAGE").contains("\"GET /a HTTP/1.1\" 200 5"), "{messages:?}");
    let sink = wait::until("the sink has written both", || {
        let sinks = server.documents("log.journald");
        (sinks[0]["written"] == 2).then(|| sinks[0].clone())
    });
    assert_eq!(sink["lost"], 0, "{sink}");
}

#[test]
fn records_wait_for_a_journal() {
    let site = Site::script(
        "web = medusa.http.server { listen = '127.0.0.1:0', log = medusa.log.journald { path = 'none' } }\n\
         web:mount('/', function() return 'hi' end)\n",
    );
    let server = start(&site);
    assert_eq!(server.get("/").status, 200);
    let journal = Journald::start();
    std::os::unix::fs::symlink(journal.socket(), site.at("none")).expect("a link");
    assert_eq!(journal.messages("medusa", 1)[0]["HTTP_STATUS"], "200");
}
