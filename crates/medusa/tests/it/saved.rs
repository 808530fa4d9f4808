//! Paths that a script makes of what clients send: they stay where they were meant, and out of the server's state.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use medusa_testkit::Server;

use super::support::{MEDUSA, web};

/// Uploads `x` to `path`, and has it saved as `to`.
#[track_caller]
fn upload(server: &Server, path: &str, to: &str) -> (u16, String) {
    let part =
        |name: &str, value: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"{value}");
    let body = format!(
        "{}{}--b--\r\n",
        part("to", &format!("\r\n\r\n{to}\r\n")),
        part("file", "; filename=\"f\"\r\n\r\nx\r\n")
    );
    let answer = server.send(format!(
        "POST {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=b\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    (answer.status, answer.text())
}

const HANDLER: &str = "function(req)
    local form = req:form()
    local to = req.params.name and 'uploads/' .. req.params.name or form.to
    local saved, why = pcall(form.file.save, form.file, to)
    return saved and 'saved' or tostring(why)
end";

#[test]
fn nothing_a_client_sends_becomes_part_of_the_server() {
    let site = web(&format!(
        "web:mount('POST /main', {HANDLER})
        web:mount('POST /main/{{name}}', {HANDLER})
        web:mount('POST /file', medusa.handler.script('handler.luau'))
        web:mount('POST /file/{{name}}', medusa.handler.script('handler.luau'))"
    ))
    .file("handler.luau", format!("return {HANDLER}"))
    .file("uploads/.keep", "")
    .file("state/.keep", "");
    // The state is where no dot tells, and a way that looks harmless leads there.
    symlink("../state", site.at("uploads/in")).unwrap();
    let server = MEDUSA.serve_with_state(site.path(), &site.at("state")).start();
    for kind in ["/main", "/file"] {
        for (to, why) in [
            (".medusa/control", "begins with a dot"),
            ("uploads/.htaccess", "begins with a dot"),
            ("../elsewhere", "climbs"),
            ("uploads/../site.conf", "climbs"),
            ("state/control", "the server's state directory"),
            ("uploads/in/control", "the server's state directory"),
            ("handler.luau", "would be a script"),
            ("/etc/passwd", "leads out"),
            ("uploads/", "not the name of a file"),
        ] {
            let (status, text) = upload(&server, kind, to);
            assert!(status == 200 && text.contains(why), "{to}: {status} {text}");
        }
        for name in ["..%2F..%2Fx", "..%2fstate%2fcontrol", "%2e%2e%2Fx", "a%2Fb", "in%2Fcontrol"] {
            assert_eq!(upload(&server, &format!("{kind}/{name}"), "").0, 404, "{name}");
        }
        let (_, text) = upload(&server, &format!("{kind}/.hidden"), "");
        assert!(text.contains("begins with a dot"), "{text}");
        assert_eq!(upload(&server, &format!("{kind}/a%5C..%5Cb"), ""), (200, "saved".to_owned()));
        assert!(site.at("uploads/a\\..\\b").is_file());
        // What stands in its place is replaced, not opened: nobody waits for who reads a FIFO.
        let fifo = site.at("uploads/fifo");
        let _ = fs::remove_file(&fifo);
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        assert_eq!(upload(&server, &format!("{kind}/fifo"), ""), (200, "saved".to_owned()));
        assert!(fifo.is_file());
    }
    assert_eq!(server.eval("1 + 1"), "2", "the control socket is what it was");
    assert!(!site.at("x").exists() && !site.at("site.conf").exists());
}

/// A FIFO that nobody writes to, and a device without an end: each is told, or taken for what it is, and nothing waits.
#[test]
fn no_path_in_a_script_is_waited_for() {
    let site = web("web:mount('/', function() return 'ok' end)").file("public/index.html", "x");
    for fifo in ["fifo", "fifo.luau", "public/fifo"] {
        assert!(Command::new("mkfifo").arg(site.at(fifo)).status().unwrap().success());
    }
    symlink("/dev/zero", site.at("zero")).unwrap();
    symlink("/dev/zero", site.at("zero.luau")).unwrap();
    let server = MEDUSA.serve(site.path()).start();
    for name in ["fifo", "zero"] {
        for statement in [
            "medusa.http.server { listen = '127.0.0.1:0', tls = { cert = NAME, key = NAME } }",
            "medusa.http.server { listen = '127.0.0.1:0', tls = { cert = NAME, key = NAME, client_ca = NAME } }",
            "medusa.log.events(medusa.log.socket('tls://127.0.0.1:1', { tls = { ca = NAME } }))",
            "web:mount('/f/', medusa.handler.files(NAME))",
            "web:mount('/f/', medusa.handler.files('public', { not_found = 'fifo' }))",
            "web:mount('/s', medusa.handler.script(NAME .. '.luau'))",
            "require(NAME)",
            "medusa.dns.use(medusa.dns.system { resolv_conf = NAME })",
            "medusa.dns.use(medusa.dns.system { hosts = NAME })",
            "medusa.dns.use(medusa.dns.server('tls://127.0.0.1:853', { ca = NAME }))",
            "medusa.fetch('https://127.0.0.1:1/', { ca = NAME })",
        ] {
            let statement = statement.replace("NAME", &format!("'{name}'"));
            let error = server.command(["eval", &statement]).failure(1);
            assert!(!error.contains("took longer"), "{statement}: {error}");
        }
    }
    // A log may go to a pipe that somebody reads; that nobody does must hold up no one.
    server.command(["eval", "medusa.log.events(medusa.log.file('fifo'))"]);
    assert_eq!(server.eval("1 + 1"), "2");
    assert_eq!(server.get("/").text(), "ok");
    server.terminate();
}
