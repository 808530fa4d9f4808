//! The monitor by SSH, with the client everybody has.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use medusa_testkit::{Server, Site, Tmux, wait};

use super::support::{MEDUSA, is_drawn_anew, start, web};

/// A site with a key in its folder that may log in.
pub(crate) fn site(script: &str) -> Site {
    let site = web(script);
    site.write("keys", make_key(&site, "key"));
    site
}

/// Makes a key, and returns its line.
pub(crate) fn make_key(site: &Site, name: &str) -> String {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f"])
        .arg(site.at(name))
        .status();
    assert!(made.expect("ssh-keygen runs").success());
    site.read(&format!("{name}.pub"))
}

/// The client, on its way to a port.
fn ssh(site: &Site, port: u64) -> Command {
    ssh_by(site, port, "key")
}

/// The same, with a key of this name.
pub(crate) fn ssh_by(site: &Site, port: u64, key: &str) -> Command {
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "/dev/null", "-l", "admin", "-p", &port.to_string()])
        .args(["-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes"])
        .args(["-o", "BatchMode=yes", "-o"])
        .arg(format!("UserKnownHostsFile={}", site.at("known").display()))
        .arg("-i")
        .arg(site.at(key))
        .env_remove("SSH_AUTH_SOCK")
        .stdin(Stdio::null());
    ssh
}

/// The command line of the client with a terminal of its own, as a shell takes it.
pub(crate) fn prompt_by(site: &Site, port: u64, key: &str) -> String {
    let mut client = ssh_by(site, port, key);
    client.args(["-tt", "127.0.0.1"]);
    let quoted = |part: &std::ffi::OsStr| format!("'{}'", part.to_str().expect("text"));
    let line: Vec<_> = std::iter::once(client.get_program()).chain(client.get_args()).map(quoted).collect();
    line.join(" ")
}

/// Has a statement run, and returns the exit status, and what is on standard output and error.
fn ran(site: &Site, port: u64, statement: &str) -> (Option<i32>, String, String) {
    ran_by(site, port, "key", statement)
}

/// The same, with a key of this name.
pub(crate) fn ran_by(site: &Site, port: u64, key: &str, statement: &str) -> (Option<i32>, String, String) {
    let output = ssh_by(site, port, key).args(["127.0.0.1", statement]).output().expect("ssh runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The port where the SSH server listens: the last listener.
pub(crate) fn port(server: &Server) -> u64 {
    let listeners = server.documents("listener");
    let address = listeners.last().and_then(|last| last["address"].as_str()).expect("a listener").to_owned();
    address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

#[test]
fn a_statement_by_ssh_changes_the_running_server() {
    let site = site("medusa.monitor.ssh { listen = '127.0.0.1:0', keys = 'keys' }");
    let server = start(&site);
    let port = port(&server);
    let (status, _, error) = ran(&site, port, "web:mount('/', function() return 'by ssh' end)");
    assert_eq!(status, Some(0), "{error}");
    assert_eq!(server.get("/").text(), "by ssh");
    assert_eq!(ran(&site, port, "1 + 1").1, "2\n");
    let (status, out, error) = ran(&site, port, "nothing.at_all()");
    assert_eq!((status, &*out), (Some(1), ""));
    assert!(error.contains("attempt to index nil"), "{error}");
    let who = ran(&site, port, "medusa.monitor.sessions()[1].who").1;
    assert!(who.starts_with("admin (key SHA256:") && who.contains(" tests, from 127.0.0.1)"), "{who}");
    assert!(ran(&site, port, "sessions()").1.contains("ssh  program  admin"));
    let ssh = &server.documents("monitor.ssh")[0];
    assert_eq!(ssh["logins"], 5);
    assert!(ssh["fingerprint"].as_str().expect("text").starts_with("SHA256:"));
    let made = fs::metadata(server.state().join("ssh_host_ed25519_key")).expect("made");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&made.permissions()) & 0o777, 0o600);
}

#[test]
fn what_was_published_is_said_beside_the_value() {
    let site = site("medusa.monitor.ssh { listen = '127.0.0.1:0', keys = 'keys' }");
    let server = start(&site);
    let (_, out, error) = ran(&site, port(&server), "web:mount('/a', function() end) commit(60)");
    assert!(out.is_empty() && error.contains(" + /a ") && error.contains("unless confirm()"), "{out}{error}");
    server.eval("confirm()");
    let evaluated = server.command(["eval", "web:mount('/b', function() end) commit('why') return 7"]);
    assert!(evaluated.stderr.contains(" + /b "), "{evaluated}");
    assert_eq!(evaluated.said(), "7");
    assert_eq!(server.eval("generations()[1].reason"), "why");
    let error = server.command(["eval", "commit({})"]).failure(1);
    assert!(error.contains("commit: the time of the trial must be a number of seconds, not "), "{error}");
    let help = server.eval("help()");
    assert!(
        help.contains("  probe        Shows the locals of a line of a script, `\"handlers/api.luau:12\"`"),
        "{help}"
    );
}

#[test]
fn a_script_with_an_ssh_server_can_be_checked() {
    let site = site("medusa.monitor.ssh { listen = '127.0.0.1:0', keys = 'keys' }");
    let check = || MEDUSA.run(["check".as_ref(), site.path().as_os_str()]);
    check().success();
    site.write("keys", "role=\"admin\" ssh-ed25519 AAAA");
    let error = check().failure(1);
    assert!(error.contains("keys:1: "), "{error}");
}

#[test]
fn a_reload_looks_at_who_may_log_in_although_nothing_else_has_changed() {
    let site = site("medusa.monitor.ssh { listen = '127.0.0.1:0', keys = 'keys' }");
    let server = start(&site);
    let good = site.read("keys");
    server.command(["reload"]).success();
    site.write("keys", format!("role=\"admin\" {good}"));
    let error = server.command(["reload"]).failure(1);
    assert!(error.contains("keys:1: "), "{error}");
    server.eval("web:mount('/', function() return 'yet' end)");
    site.write("keys", good);
    server.command(["reload"]).success();
    assert_eq!(ran(&site, port(&server), "1 + 1").1, "2\n");
}

#[test]
fn a_key_that_anybody_may_have_added_is_told_by_all_that_looks_at_it_and_lets_nobody_in() {
    let site = site("medusa.monitor.ssh { listen = '127.0.0.1:0', keys = 'keys' }");
    let server = start(&site);
    let port = port(&server);
    let set_mode =
        |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).expect("changed");
    let good = site.read("keys");
    site.write("keys", good + &make_key(&site, "evil"));
    set_mode(&site.at("keys"), 0o666);
    let check = || MEDUSA.run(["check".as_ref(), site.path().as_os_str()]);
    for refused in [check().failure(1), server.command(["reload"]).failure(1)] {
        assert!(refused.contains("others than its owner may write"), "{refused}");
    }
    for _ in 0..2 {
        assert_eq!(ran_by(&site, port, "evil", "1 + 1").0, Some(255));
        assert_eq!(ran(&site, port, "1 + 1").1, "2\n");
    }
    let told = server.stderr().text();
    assert_eq!(told.matches("until that is mended, those log in who could before").count(), 1, "{told}");
    set_mode(&site.at("keys"), 0o644);
    set_mode(site.path(), 0o777);
    let refused = check().failure(1);
    assert!(refused.contains(&format!("chmod go-w {}", site.path().display())), "{refused}");
    set_mode(site.path(), 0o755);
    check().success();
    server.command(["reload"]).success();
    assert_eq!(ran_by(&site, port, "evil", "1 + 1").1, "2\n", "its owner has it there now");
}

#[test]
fn who_only_looks_sees_requests_and_ends_none() {
    let site = site(
        "medusa.monitor.ssh { listen = '127.0.0.1:0', keys = 'keys' } web:mount('/', function() return 'ok' end)",
    );
    site.write("keys", format!("role=\"view\" {}", site.read("key.pub")));
    let server = start(&site);
    let port = port(&server);
    let (status, shown, error) = std::thread::scope(|scope| {
        let looked = scope.spawn(|| ran(&site, port, "trace({ path = '/', status = 200 }, 1, 20)"));
        wait::until("it is on", || (server.number("site", "traces") == 1).then_some(()));
        server.get("/?token=secret");
        looked.join().expect("it ends")
    });
    assert_eq!(status, Some(0), "{error}");
    assert!(shown.starts_with("GET / from 127.0.0.1 at http: / (site.luau:"), "{shown}");
    assert!(shown.ends_with("\n1 request\n"), "{shown}");
    let handlers = ran(&site, port, "handlers()").1;
    assert!(
        handlers.starts_with("/  function ") && handlers.ends_with("generation 1, running)\n"),
        "{handlers}"
    );
    for (statement, why) in [
        ("drain(1)", "drain needs the role \"operate\""),
        ("trace(function() return true end)", "eval needs the role \"program\""),
    ] {
        let (status, _, error) = ran(&site, port, statement);
        assert_eq!(status, Some(1), "{statement}");
        assert!(error.contains(why), "{statement}: {error}");
    }
}

#[test]
fn who_is_limited_to_a_mount_changes_no_other() {
    let site = site(
        "medusa.monitor.ssh { listen = '127.0.0.1:0', keys = 'keys' } web:mount('/', function() return 'ok' end)",
    );
    let key = site.read("key.pub");
    site.write("keys", format!("mounts=\"/api/\" {key}"));
    let server = start(&site);
    let port = port(&server);
    let refused = |statement: &str| {
        let (status, _, error) = ran(&site, port, statement);
        assert_eq!(status, Some(1), "{statement}");
        error
    };
    let (status, _, error) = ran(&site, port, "web:mount('/api/x', function() return 'x' end)");
    assert_eq!(status, Some(0), "{error}");
    // However much it publishes, what others have can be gone back to.
    let a_lot = "local m = web:mount('/api/n', print) for i = 1, 40 do commit() m:replace(function() end) end m:remove()";
    let (status, _, error) = ran(&site, port, a_lot);
    assert_eq!(status, Some(0), "{error}");
    let whole = "local all = {} for _, one in generations() do if one.whole then table.insert(all, one.number) end end return all";
    assert_eq!(server.eval(whole).trim(), "{ 43, 42, 41, 40, 39, 38, 37, 36, 1 }");
    site.write("h.luau", "return function() return 'old' end");
    server.eval("for _, path in { '/api/h', '/h' } do web:mount(path, medusa.handler.script('h.luau')) end");
    site.write("h.luau", "return function() return 'new' end");
    for statement in [
        "medusa.upgrade('h')",
        "medusa.upgrade(web.mounts[4])",
        "web:mount('/apix', function() end)",
        "web:mount('/api/y', function() end) web.mounts[1]:remove()",
        "web:mount('/api/z', function() end) web:set_log(medusa.log.file('b.log'))",
        "medusa.every(60, function() end)",
        "medusa.http.server { name = 'other', listen = '127.0.0.1:0' }",
    ] {
        let error = refused(statement);
        assert!(
            error.contains("is not yours to change: your rights end at the mounts /api/"),
            "{statement}: {error}"
        );
    }
    let (status, _, error) = ran(&site, port, "medusa.upgrade(web.mounts[3])");
    assert_eq!(status, Some(0), "{error}");
    assert_eq!((server.get("/h").text(), server.get("/api/h").text()), ("old".into(), "new".into()));
    server.eval("web.mounts[3]:remove() web.mounts[3]:remove()");
    assert_eq!((server.get("/").text(), server.get("/api/x").text()), ("ok".into(), "x".into()));
    assert_eq!(server.eval("#web.mounts"), "2");
    let whole = ["reload()", "stop()", "kill(1)", "save('why')"];
    let in_code = ["local x = save('why')", "local x = kill(1)", "medusa.monitor.kill(1)"];
    for command in whole.into_iter().chain(in_code) {
        assert!(refused(command).contains("concerns the whole server"), "{command}");
    }
    // What another has on trial goes on as it is.
    server.eval("web:mount('/theirs', function() end) commit(60)");
    for command in ["confirm()", "cancel()", "return commit(1)", "return commit(86400)"] {
        let error = refused(command);
        assert!(error.contains("/theirs is not yours to change"), "{command}: {error}");
    }
    assert!(server.documents("unconfirmed")[0]["reverts_in"].as_f64().is_some_and(|left| left > 20.0));
    server.eval("confirm()");
    assert_eq!(ran(&site, port, "web:mount('/api/y', function() end) commit(60)").0, Some(0));
    assert_eq!(ran(&site, port, "cancel()").0, Some(0));
    site.write("keys", format!("expiry-time=\"20200101\" {key}"));
    assert_eq!(ran(&site, port, "status()").0, Some(255), "the time of the key is over");
    // Whoever is in, when it is: what they do ends with it.
    let soon = jiff::Timestamp::now() + std::time::Duration::from_secs(3);
    site.write("keys", format!("expiry-time=\"{}Z\" {key}", soon.strftime("%Y%m%d%H%M%S")));
    let error = refused("medusa.sleep(20) web:mount('/late', function() end)");
    assert!(error.contains("the end of its rights"), "{error}");
    assert_eq!(server.eval("#web.mounts"), "3");
}

#[test]
fn who_is_limited_to_a_mount_ends_what_is_under_way_there() {
    let site = site(
        "medusa.monitor.ssh { listen = '127.0.0.1:0', keys = 'keys' }
        local function wait() medusa.sleep(50) end
        local function events() return medusa.http.events(function(stream) stream:send('x') wait() end) end
        for _, path in { '/api/', '/other/' } do
            web:mount(path .. 'slow', wait) web:mount(path .. 'events', events)
        end
        medusa.every(0.01, wait)",
    );
    let key = site.read("key.pub");
    site.write("keys", format!("mounts=\"/api/\",role=\"operate\" {key}"));
    let server = start(&site);
    let port = port(&server);
    // Another server has a mount for everything.
    server.eval("medusa.http.server { name = 'other', listen = '127.0.0.1:0' }:mount('/', print)");
    let asks = |path: &str| {
        let mut client = server.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        client
    };
    let mut slow = ["/api/slow", "/other/slow"].map(&asks);
    let mut streams = ["/api/events", "/other/events"].map(&asks);
    for client in &mut streams {
        assert_eq!(client.head().status, 200);
    }
    let run = |what: &str| {
        wait::until(what, || {
            let list = server.command(["ps"]).success();
            let line = list.lines().find(|line| line.contains(what))?;
            line.split_once(' ').map(|(id, _)| id.to_owned())
        })
    };
    for (what, is_own) in
        [("GET /other/slow", false), ("timer", false), ("GET /other/events", false), ("GET /api/slow", true)]
    {
        let id = run(what);
        let (status, _, error) = ran(&site, port, &format!("kill(\"{id}\")"));
        assert_eq!(status, Some(i32::from(!is_own)), "{what}: {error}");
        let why = format!("{id} is not yours to change: your rights end at the mounts /api/");
        assert!(is_own || error.contains(&why), "{what}: {error}");
    }
    assert_eq!(slow[0].response().status, 503);
    let (status, told, error) = ran(&site, port, "drain(1, 0)");
    assert_eq!((status, &*told), (Some(0), "cut off: 0 WebSockets, 1 stream\n"), "{error}");
    let goes_on = |path: &str| {
        server.eval("handlers()").lines().any(|line| line.starts_with(path) && line.contains("under way"))
    };
    wait::until("what is theirs has ended", || (!goes_on("/api/")).then_some(()));
    assert!(goes_on("/other/slow") && goes_on("/other/events"));
    // In code it is the same.
    site.write("keys", format!("mounts=\"/api/\" {key}"));
    let (status, _, error) = ran(&site, port, &format!("local x = kill('{}')", run("GET /other/slow")));
    assert!(status == Some(1) && error.contains("is not yours to change"), "{error}");
    let (_, told, error) = ran(&site, port, "local told = drain(1, 0) return told");
    assert_eq!(told, "cut off: 0 WebSockets, 0 streams\n", "{error}");
    server.command(["drain", "1", "--seconds", "0"]).success();
    let id = run("GET /other/slow");
    server.command(["kill", &id]).success();
    assert_eq!(slow[1].response().status, 503);
}

#[test]
fn who_is_limited_to_a_mount_exchanges_no_script() {
    let site = site(
        "medusa.monitor.ssh { listen = '127.0.0.1:0', keys = 'keys' } web:mount('/', medusa.handler.files('.')) g = 1",
    );
    let key = site.read("key.pub");
    site.write("keys", format!("mounts=\"/api/\",role=\"operate\" {key}"));
    let server = start(&site);
    let port = port(&server);
    site.write("site.luau", site.read("site.luau").replace("g = 1", "g = 2"));
    server.command(["reload"]).success();
    // All mounts are the same, and what else is in the script is not.
    let refused = |command: &str| {
        let (status, _, error) = ran(&site, port, command);
        assert!(
            status == Some(1) && error.contains("the script is not yours to change"),
            "{command}: {error}"
        );
    };
    refused("rollback(1)");
    site.write("site.luau", site.read("site.luau").replace("g = 2", "g = 3"));
    server.command(["reload", "--confirm", "60"]).success();
    refused("confirm()");
    refused("cancel()");
    server.command(["confirm"]).success();
    assert_eq!(server.eval("g"), "3");
}

#[test]
fn moving_the_server_ends_no_session() {
    let site = site("medusa.monitor.ssh { listen = '127.0.0.1:0', keys = 'keys' }");
    let server = start(&site);
    let old = port(&server);
    let mut open = ssh(&site, old)
        .args(["-s", "127.0.0.1", "medusa-json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ssh runs");
    let mut input = open.stdin.take().expect("piped");
    let mut replies = BufReader::new(open.stdout.take().expect("piped"));
    let mut eval = |statement: &str| {
        writeln!(input, "{{\"version\":1,\"op\":\"eval\",\"source\":\"{statement}\"}}").expect("written");
        let mut reply = String::new();
        replies.read_line(&mut reply).expect("a line");
        reply
    };
    let moved = eval("medusa.monitor.ssh { listen = '127.0.0.2:0', keys = 'keys' }");
    assert!(moved.contains("\"done\""), "{moved}");
    let new = port(&server);
    assert_ne!(new, old);
    assert!(eval("return 7").contains("\"value\":\"7\""));
    let output = ssh(&site, new).args(["127.0.0.2", "return 8"]).output().expect("ssh runs");
    assert_eq!(String::from_utf8(output.stdout).expect("text"), "8\n");
    wait::until("nobody listens at the old place", || (ran(&site, old, "1").0 == Some(255)).then_some(()));

    let refused = eval("medusa.monitor.ssh { listen = '127.0.0.2:0', keys = 'none' }");
    assert!(refused.contains("cannot read") && refused.contains("none"), "{refused}");
    site.write("keys", "restrict,pty nonsense\n");
    let refused = eval("medusa.monitor.ssh { listen = '127.0.0.1:0', keys = 'keys' }");
    assert!(refused.contains("keys:1: the option \\\"restrict\\\""), "{refused}");
    assert_eq!(port(&server), new, "what was refused has changed nothing");
    drop(input);
    open.wait().expect("it ends");
}

/// What is offered has nothing that an auditor would warn of, but for what is newer than the auditor.
#[test]
fn an_audit_of_what_is_offered_finds_nothing() {
    let site = site("medusa.monitor.ssh { listen = '127.0.0.1:0', keys = 'keys' }");
    let server = start(&site);
    let audit = Command::new("ssh-audit")
        .args(["--no-colors", "--level=warn", "--port", &port(&server).to_string(), "127.0.0.1"])
        .output()
        .expect("ssh-audit runs");
    let text = String::from_utf8(audit.stdout).expect("text");
    let warned = |line: &&str| line.contains("[fail]") || line.contains("[warn]");
    let warned: Vec<_> = text.lines().filter(warned).collect();
    let newer = ["(kex) mlkem768x25519-sha256 ", "(kex) kex-strict-s-v00@openssh.com "];
    let is_known = |line: &&str| {
        line.ends_with("[warn] unknown algorithm") && newer.iter().any(|newer| line.starts_with(newer))
    };
    assert!(warned.iter().all(is_known), "{text}");
    assert!(text.contains("(kex)"), "{text}");
}

#[test]
fn who_may_only_look_sees_what_runs_and_ends_nothing() {
    let site = site(
        "medusa.monitor.ssh { listen = '127.0.0.1:0', keys = 'keys' }
        web:mount('/waits', function() medusa.sleep(25) end)",
    );
    site.write("keys", format!("role=\"view\" {}", site.read("key.pub")));
    let server = start(&site);
    let port = port(&server);
    let mut client = server.connect();
    client.send("GET /waits?token=secret HTTP/1.1\r\nHost: test\r\n\r\n");
    let shown = wait::until("it waits", || {
        let (status, out, error) = ran(&site, port, "ps()");
        assert_eq!(status, Some(0), "{error}");
        (out != "nothing\n").then_some(out)
    });
    assert!(shown.contains("  GET /waits  (site.luau:3)  by 127.0.0.1  waits"), "{shown}");
    let id = shown.split("  ").next().expect("one");
    let (status, _, error) = ran(&site, port, &format!("kill(\"{id}\")"));
    assert_eq!(status, Some(1));
    assert!(error.contains("kill needs the role \"operate\", and yours is \"view\""), "{error}");
    // Who looks is helped, and runs no code for that.
    let (status, overview, error) = ran(&site, port, "help()");
    assert!(status == Some(0) && overview.contains("  explain "), "{overview}{error}");
    let (status, told, error) = ran(&site, port, "help('medusa.http.server')");
    assert!(status == Some(0) && told.starts_with("medusa.http.server(options"), "{told}{error}");
    let (status, _, error) = ran(&site, port, "help('nonsense')");
    assert!(
        status == Some(1) && error.contains("the reference has nothing of the name \"nonsense\""),
        "{error}"
    );
    let (status, _, error) = ran(&site, port, "help(web)");
    assert!(status == Some(1) && error.contains("eval needs the role \"program\""), "{error}");
    server.command(["kill", id]).success();
    assert_eq!(client.response().status, 503);
}

#[test]
fn what_is_asked_for_by_ssh_is_answered() {
    let site = site("medusa.monitor.ssh { listen = '127.0.0.1:0', keys = 'keys' }");
    let server = start(&site);
    let port = port(&server);
    let (status, out, error) = ran(&site, port, "reload(60)");
    assert_eq!(status, Some(0), "{error}");
    assert!(out.starts_with("reloaded: generation 2: ") && out.contains("goes back to 1"), "{out}");
    assert_eq!(ran(&site, port, "confirm()").1, "generation 2 is confirmed\n");
    for statement in ["rollback(-1)", "diff(-1)", "diff(1, 1.5)", "cancel('x')"] {
        let (status, _, error) = ran(&site, port, statement);
        assert_eq!(status, Some(1), "{statement}");
        assert!(error.contains("the generation must be a whole number"), "{statement}: {error}");
    }
    // A client that has said all it wants waits for the answers.
    let mut piped = ssh(&site, port)
        .args(["-s", "127.0.0.1", "medusa-json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ssh runs");
    let mut input = piped.stdin.take().expect("piped");
    for source in ["medusa.sleep(0.3) return 'slow'", "return 'next'"] {
        writeln!(input, "{{\"version\":1,\"op\":\"eval\",\"source\":\"{source}\"}}").expect("written");
    }
    drop(input);
    let output = piped.wait_with_output().expect("it ends");
    let replies = String::from_utf8(output.stdout).expect("text");
    let replies: Vec<_> = replies.lines().collect();
    assert_eq!(replies, [r#"{"reply":"done","value":"slow"}"#, r#"{"reply":"done","value":"next"}"#]);
}

#[test]
fn a_prompt_by_ssh_completes_and_tells_what_others_do() {
    let site = site("medusa.monitor.ssh { listen = '127.0.0.1:0', keys = 'keys' }");
    let server = start(&site);
    let port = port(&server);
    let line = prompt_by(&site, port, "key");
    let tmux = Tmux::run(&format!("{line}; echo ended: $?; sleep 100"));
    tmux.expect(&[">"]);
    tmux.write("web:mounts\t");
    tmux.expect(&["> web.mounts", ".mounts  { Mount }"]);
    tmux.press(["Enter"]);
    tmux.expect(&["> web.mounts", "{}", ">"]);
    tmux.write("local n = #_");
    tmux.press(["Enter"]);
    tmux.write("n");
    tmux.press(["Enter"]);
    tmux.expect(&["> n", "0", ">"]);
    assert_eq!(ran(&site, port, "tostring(n) .. tostring(_)").1, "nilnil\n");
    tmux.write("half");
    assert_eq!(ran(&site, port, "reload(60)").0, Some(0));
    wait::until("the time that is left", || {
        let screen = tmux.screen();
        let last = screen.last().map_or("", String::as_str);
        (last.starts_with("gen 2 reverts in ") && last.ends_with(" s> half")).then_some(())
    });
    assert_eq!(ran(&site, port, "cancel()").0, Some(0));
    wait::until("what was cancelled", || {
        let screen = tmux.screen();
        let said = screen.iter().any(|line| line.starts_with("* cancel by admin"));
        (said && screen.last().is_some_and(|line| line == "> half")).then_some(())
    });
    tmux.press(["C-c", "C-l"]);
    is_drawn_anew(&tmux);
    tmux.press(["C-c"]);
    tmux.write("web:mount('/own', function() end)");
    tmux.press(["Enter"]);
    wait::until("the report", || {
        tmux.screen().iter().any(|line| line.starts_with("generation 4: + ")).then_some(())
    });
    assert_eq!(ran(&site, port, "stop()").0, Some(0));
    wait::until("the farewell", || {
        tmux.screen().iter().any(|line| line.contains("the server is stopping")).then_some(())
    });
}
