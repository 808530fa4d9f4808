//! The command line: what each command says, where, and with which exit code.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use medusa_testkit::{Client, PATIENCE, Process, Signal, Site};
use serde_json::Value;

use super::support::{MEDUSA, start, web};

#[test]
fn init_writes_a_site_that_check_is_content_with() {
    let folder = Site::new();
    let site = folder.at("new/site");
    let wrote = MEDUSA.run(["init".as_ref(), site.as_os_str()]).success();
    assert!(wrote.lines().all(|line| line.starts_with("wrote ")) && wrote.contains("site.luau"), "{wrote}");
    let tree = MEDUSA.run(["check".as_ref(), site.as_os_str()]).success();
    for part in [
        "site site.luau",
        "127.0.0.1:8080",
        "mount /hello/{name}: function site.luau:",
        "mount /api/: script handlers/api.luau (site.luau:",
        "log.file",
    ] {
        assert!(tree.contains(part), "{part} was expected in:\n{tree}");
    }
    // A line for each thing that the script says, and one to tell it by.
    assert_eq!(tree.lines().last(), Some("ok: 1 server, 7 mounts, 3 logs"));
    assert!(tree.lines().count() < 30 && !tree.contains("requests"), "{tree}");
    assert!(!site.join("logs").exists() && !site.join(".medusa").exists(), "a check leaves no trace");
    let json = MEDUSA.run(["check".as_ref(), "--json".as_ref(), site.as_os_str()]).success();
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let kinds: Vec<_> =
        json["children"].as_array().expect("parts").iter().map(|part| &part["kind"]).collect();
    assert!(kinds.contains(&&Value::from("http")), "{kinds:?}");
}

#[test]
fn a_check_that_fails_ends_with_a_verdict() {
    let site = web("web:mount('/', 5)");
    let error = MEDUSA.run(["check".as_ref(), site.path()]).failure(1);
    assert!(error.contains("site.luau:2"), "{error}");
    let last = error.lines().last().expect("a verdict");
    assert!(last.starts_with("1 error in ") && last.ends_with("site.luau"), "{error}");
}

#[test]
fn a_check_prints_what_the_script_prints() {
    let site = web("for i = 1, 1000 do print('line', i) end medusa.sleep(0.01) print('last')");
    for flags in [&["check"][..], &["check", "--json"]] {
        let words = flags.iter().map(AsRef::as_ref).chain([site.path().as_os_str()]);
        let done = MEDUSA.run(words);
        assert_eq!(done.status.code(), Some(0), "{done}");
        let lines: Vec<&str> = done.stderr.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[1000]), (1001, "line\t1", "last"), "{done}");
        assert!(!done.stdout.contains("line\t"), "{done}");
    }
    // Also of a script that fails afterwards, whose error comes last.
    let site = web("print('so far') error('no further')");
    let error = MEDUSA.run(["check".as_ref(), site.path()]).failure(1);
    assert!(error.starts_with("so far\n") && error.contains("no further"), "{error}");
}

#[test]
fn a_check_for_programs_tells_errors_to_programs() {
    for (script, line) in [("web:mount('/', 5)", 2), ("web = = 5", 2), ("\nerror('a\\nb')", 3)] {
        let site = web(script);
        let done = MEDUSA.run(["check".as_ref(), "--json".as_ref(), site.path().as_os_str()]);
        assert_eq!(done.status.code(), Some(1), "{done}");
        let json: Value = serde_json::from_str(&done.stdout).expect("JSON");
        let error = &json["error"];
        assert_eq!(
            (error["file"].as_str(), error["line"].as_u64()),
            (Some("site.luau"), Some(line)),
            "{done}"
        );
        let message = error["message"].as_str().expect("a message");
        assert!(message.starts_with(&format!("site.luau:{line}: ")), "{done}");
        assert!(done.stderr.contains("1 error in "), "{done}");
    }
}

#[test]
fn a_level_that_is_none_is_refused_with_those_that_are() {
    for level in ["loud", "info,loud", "medusa_net=loud", ""] {
        let error = MEDUSA.run(["serve", "--log-level", level]).failure(2);
        assert!(error.contains("`warn`") && error.contains("`debug`"), "{error}");
    }
}

#[test]
fn without_a_script_nothing_is_served_that_was_not_named() {
    let site = Site::new().file("secret.txt", "secret");
    for words in [&[][..], &["serve"], &["--listen", "127.0.0.1:0"], &["check"]] {
        let error = MEDUSA.run_in(site.path(), words.iter().copied()).failure(1);
        assert!(error.contains("no site.luau here") && error.contains("serve .`"), "{words:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    assert!(!site.at(".medusa").exists());
}

#[test]
fn a_port_in_use_is_told_by_where_it_was_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let directory = Site::new().file("file.txt", "file");
    let script = web("");
    for site in [&directory, &script] {
        let error = MEDUSA.serve(site.path()).listen(&address).fail().failure(1);
        assert!(error.contains(&format!("--listen: cannot listen on {address}")), "{error}");
        assert!(!error.contains("built-in") && !error.contains("site.luau"), "{error}");
    }
    script.write("site.luau", format!("medusa.http.server {{ listen = '{address}' }}"));
    let error = MEDUSA.serve(script.path()).fail().failure(1);
    assert!(error.contains("site.luau:1: cannot listen"), "{error}");
}

#[test]
fn no_script_is_ever_served() {
    let scripts = ["site.luau", "handler.luau", "sub/module.luau", "sub/LOUD.LUAU"];
    let fill = |site: Site| {
        scripts.iter().fold(site.file("file.txt", "file"), |site, name| site.file(name, "-- secret"))
    };
    let plain = fill(Site::new());
    std::fs::remove_file(plain.at("site.luau")).expect("removed");
    let scripted = fill(Site::new());
    scripted.write(
        "site.luau",
        "medusa.http.server { listen = '127.0.0.1:0' }:mount('/', medusa.handler.files('.', { listing = true, dotfiles = true }))",
    );
    for (site, listen) in [(&plain, true), (&scripted, false)] {
        let serve = MEDUSA.serve(site.path());
        let server = if listen { serve.listen("127.0.0.1:0") } else { serve }.start();
        assert_eq!(server.get("/file.txt").text(), "file");
        for name in scripts {
            for path in [format!("/{name}"), format!("/{}", name.replace(".luau", "%2eluau"))] {
                assert_eq!(server.get(&path).status, 404, "{path}");
            }
        }
        for list in ["/", "/sub/"] {
            let page = server.get(list).text().to_lowercase();
            assert!(!page.contains(".luau"), "{page}");
        }
    }
}

#[test]
fn init_never_overwrites() {
    let site = Site::new().file("public/style.css", "mine");
    let error = MEDUSA.run(["init".as_ref(), site.path()]).failure(1);
    assert!(error.contains("public/style.css exists already, so nothing was written"), "{error}");
    assert_eq!(site.read("public/style.css"), "mine");
    assert!(!site.at("site.luau").exists());
    let twice = site.at("twice");
    MEDUSA.run(["init".as_ref(), twice.as_os_str()]).success();
    MEDUSA.run(["init".as_ref(), twice.as_os_str()]).failure(1);
}

#[test]
fn a_check_binds_nothing() {
    let site = web("");
    let server = start(&site);
    let taken = server.address();
    site.write("site.luau", format!("medusa.http.server {{ listen = '{taken}' }}"));
    MEDUSA.run(["check".as_ref(), site.path()]).success();
    server.eval("1");
}

#[test]
fn status_is_a_tree_or_json() {
    let site = web("web:mount('/', function() return 'x' end)");
    let server = start(&site);
    server.get("/");
    let tree = server.command(["status"]).success();
    assert!(tree.starts_with("medusa ") && tree.contains("└─"), "{tree}");
    assert!(!tree.contains('\x1b'), "colour is for terminals");
    let status = server.status();
    assert_eq!((&status["kind"], status["pid"].as_u64()), (&"medusa".into(), Some(server.pid().into())));
    assert_eq!(server.number("mount", "requests"), 1);
    let address = server.address().to_string();
    assert_eq!(server.documents("listener")[0]["address"], address);
}

#[test]
fn eval_prints_values_and_errors() {
    let site = web("greeting = 'hello'");
    let server = start(&site);
    for (statement, printed) in [
        ("greeting", "hello"),
        ("1 + 1", "2"),
        ("return 1, 'two', nil, true", "1\ttwo\tnil\ttrue"),
        ("local x = 1", ""),
        ("print('one') print('two', 2) return 3", "one\ntwo\t2\n3"),
        ("greeting = 'changed'", ""),
        ("greeting", "changed"),
        ("medusa.json.encode({ 1, 2 })", "[1,2]"),
    ] {
        assert_eq!(server.eval(statement), printed, "{statement}");
    }
    for (statement, expected) in [
        ("error('by design')", "by design"),
        ("nothing()", "nil"),
        ("return return", "return"),
        ("web:mount('/', 5)", "a handler must be a function"),
        ("io.open('/etc/passwd')", "nil"),
        ("os.execute('true')", "nil"),
    ] {
        let failed = server.command(["eval", statement]);
        assert_eq!(failed.stdout, "", "{statement}");
        let message = failed.failure(1);
        assert!(message.contains(expected), "{statement}: {message}");
    }
    let failed = server.command(["eval", "print('before') error('after')"]);
    assert_eq!(failed.stdout, "before\n");
    failed.failure(1);
}

#[test]
fn eval_reads_standard_input() {
    let site = web("");
    let server = start(&site);
    let state = server.state().to_str().expect("UTF-8");
    let statement = "local sum = 0\nfor n = 1, 4 do\n\tsum += n\nend\nreturn sum\n";
    for words in [&["eval", "--state", state][..], &["eval", "-", "--state", state]] {
        assert_eq!(MEDUSA.run_reading(words, statement).success(), "10\n");
    }
    let too_long = format!("return '{}'", "x".repeat(2 << 20));
    let error = MEDUSA.run_reading(["eval", "-", "--state", state], &too_long).failure(1);
    assert!(error.contains("too long"), "{error}");
    assert_eq!(server.eval("1"), "1");
}

#[test]
fn statements_at_the_same_time_wait_for_each_other() {
    let site = web("n = 0");
    let server = start(&site);
    std::thread::scope(|scope| {
        for client in 0..8 {
            let server = &server;
            scope.spawn(move || {
                for round in 0..5 {
                    server.eval(&format!("web:mount('/{client}/{round}', function() return 'x' end)"));
                }
            });
        }
    });
    assert_eq!(server.documents("mount").len(), 40);
}

#[test]
fn without_a_server_there_is_a_clear_answer() {
    let site = web("");
    let path = site.path().to_str().expect("UTF-8");
    for words in
        [&["eval", "1", path][..], &["reload", path], &["status", path], &["stop", path], &["reopen", path]]
    {
        let error = MEDUSA.run(words).failure(1);
        assert!(error.contains("no server is running for") && error.contains("serve"), "{words:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_server_is_found_by_its_path_alone() {
    let site = web("web:mount('/', function() return 'x' end)");
    // Its state directory is beside the script, as nothing else is said.
    let mut server = Process::start(&mut MEDUSA.command(["serve".as_ref(), site.path()]));
    server.stderr().wait_for("medusa: ready");
    assert!(site.at(".medusa/control").exists());
    assert_eq!(MEDUSA.run_in(site.path(), ["eval", "40 + 2"]).success(), "42\n");
    let script = site.at("site.luau");
    assert_eq!(MEDUSA.run(["eval".as_ref(), "40 + 2".as_ref(), script.as_os_str()]).success(), "42\n");
    MEDUSA.run(["stop".as_ref(), site.path()]).success();
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn one_server_at_a_time_has_a_state_directory() {
    let site = web("");
    let server = start(&site);
    let state = server.state().as_os_str();
    let second = || MEDUSA.run(["serve".as_ref(), site.path().as_os_str(), "--state".as_ref(), state]);
    let error = second().failure(1);
    assert!(error.contains("already running") && error.contains(&format!("pid {}", server.pid())), "{error}");
    assert_eq!(server.eval("1"), "1", "the first one is not disturbed");
}

#[test]
fn a_killed_server_leaves_nothing_in_the_way() {
    let site = web("");
    let state = site.at("state");
    let serve = || {
        let words = ["serve".as_ref(), site.path().as_os_str(), "--state".as_ref(), state.as_os_str()];
        let server = Process::start(&mut MEDUSA.command(words));
        server.stderr().wait_for("medusa: ready");
        server
    };
    let mut killed = serve();
    killed.signal(Signal::KILL);
    killed.wait();
    assert!(state.join("control").exists(), "it had no chance to remove it");
    let _again = serve();
    assert_eq!(
        MEDUSA.run(["eval".as_ref(), "1".as_ref(), "--state".as_ref(), state.as_os_str()]).success(),
        "1\n"
    );
}

#[test]
fn a_state_directory_may_have_a_very_long_path() {
    let site = web("");
    let state = site.at(&format!("{}/{}", "a".repeat(120), "b".repeat(120)));
    let words = ["serve".as_ref(), site.path().as_os_str(), "--state".as_ref(), state.as_os_str()];
    let mut server = Process::start(&mut MEDUSA.command(words));
    server.stderr().wait_for("medusa: ready");
    assert_eq!(
        MEDUSA.run(["eval".as_ref(), "1".as_ref(), "--state".as_ref(), state.as_os_str()]).success(),
        "1\n"
    );
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn the_control_socket_is_for_its_user_alone() {
    let site = web("");
    let state = site.at("state");
    let words = ["serve".as_ref(), site.path().as_os_str(), "--state".as_ref(), state.as_os_str()];
    let server = Process::start(&mut MEDUSA.command(words));
    server.stderr().wait_for("medusa: ready");
    let mode = |path| std::fs::metadata(path).expect("it exists").permissions().mode() & 0o777;
    assert_eq!(mode(state.clone()), 0o700);
    assert_eq!(mode(state.join("control")), 0o600);
}

#[test]
fn a_mere_directory_is_served_with_lists() {
    let site = Site::new().file("file.txt", "file").file("sub/inner.txt", "inner");
    let server = MEDUSA.serve(site.path()).listen("127.0.0.1:0").start();
    assert!(server.get("/").text().contains("file.txt"));
    assert!(server.get("/sub/").text().contains("inner.txt"));
    assert_eq!(server.get("/file.txt").text(), "file");
    server.eval("web:mount('/hi', function() return 'hi' end)");
    assert_eq!(server.get("/hi").text(), "hi");
    server.reload();
    assert_eq!(server.get("/hi").status, 404);
    let log = server.terminate();
    assert_eq!(log.lines().count(), 5, "{log}");
}

#[test]
fn a_directory_does_not_show_its_servers_state() {
    let site = Site::new().file("file.txt", "file");
    let mut server =
        Process::start(MEDUSA.command([".", "--listen", "127.0.0.1:0"]).current_dir(site.path()));
    let ready = server.stderr().wait_for("medusa: ready at http://");
    assert!(site.at(".medusa/pid").exists(), "the state directory is in what is served");
    let address =
        ready.split("http://").nth(1).and_then(|url| url.split('/').next()?.parse().ok()).expect(&ready);
    let mut client = Client::connect(address);
    assert!(!client.get("/").text().contains(".medusa"));
    assert_eq!(client.get("/.medusa/pid").status, 404);
    drop(client);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn workers_are_as_many_as_asked_for() {
    let site = web("web:mount('/', medusa.handler.script('handler.luau'))")
        .file("handler.luau", "local n = 0\nreturn function() n += 1 return tostring(n) end");
    let server = MEDUSA.serve(site.path()).arg("--workers").arg("1").start();
    assert_eq!(server.status()["workers"], 1);
    // One worker, one VM, one counter.
    for n in 1..=20 {
        assert_eq!(server.get("/").text(), n.to_string());
    }
    let server = MEDUSA.serve(site.path()).arg("--workers").arg("3").start();
    assert_eq!(server.status()["workers"], 3);
}

#[test]
fn types_and_completions_are_printed() {
    let types = MEDUSA.run(["types"]).success();
    for part in ["declare medusa", "server: (options: HttpServerOptions) -> HttpServer", "export type"] {
        assert!(types.contains(part), "{part} was expected in:\n{types}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = MEDUSA.run(["completions", shell]).success();
        assert!(script.contains("medusa") && script.contains("reload"), "{shell}: {script}");
    }
    let site = Site::new().file("completions", MEDUSA.run(["completions", "bash"]).success());
    let read = Command::new("bash").arg("-n").arg(site.at("completions")).status().expect("bash");
    assert!(read.success(), "bash cannot read its completions");
}

#[test]
fn help_and_version_are_answers() {
    let help = MEDUSA.run(["--help"]).success();
    for part in ["A typical session", "eval", "reload", "Where the configuration lives"] {
        assert!(help.contains(part), "{part} was expected in:\n{help}");
    }
    for command in
        ["serve", "check", "init", "eval", "reload", "status", "reopen", "stop", "types", "completions"]
    {
        let short = MEDUSA.run([command, "-h"]).success();
        assert!(short.lines().all(|line| line.chars().count() <= 100), "{short}");
        assert!(MEDUSA.run([command, "--help"]).success().len() >= short.len());
    }
    assert!(MEDUSA.run(["--version"]).success().starts_with("medusa "));
    MEDUSA.run(["--no-such-flag"]).failure(2);
    MEDUSA.run(["eval", "1", "2", "3"]).failure(2);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let site = web("");
    let server = start(&site);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let words = ["status", "--state", server.state().to_str().expect("UTF-8")];
    let status = MEDUSA.command(words).stdout(writer).status().expect("started");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    let site = web("");
    let server = start(&site);
    let state = server.state().to_str().expect("UTF-8");
    for words in [
        &["status", "--state", state][..],
        &["top", "-n", "2", "--state", state],
        &["eval", "1", "--state", state],
        &["ps", "--json", "--state", state],
        &["diff", "1", "--state", state],
        &["types"],
        &["--help"],
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("there");
        let output = MEDUSA.command(words).stdout(full).output().expect("started");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {told}");
        assert!(told.contains("cannot write to standard output: No space left"), "{words:?}: {told}");
    }
}

#[test]
fn the_service_manager_is_notification() {
    let site = web("");
    let socket = site.at("notify.sock");
    let manager = UnixDatagram::bind(&socket).expect("bound");
    manager.set_read_timeout(Some(PATIENCE)).expect("set");
    let notification = || {
        let mut buffer = [0; 1024];
        let length = manager.recv(&mut buffer).expect("a notification");
        String::from_utf8_lossy(&buffer[..length]).trim().to_owned()
    };
    let mut server = MEDUSA.serve(site.path()).env("NOTIFY_SOCKET", &socket).start();
    assert_eq!(notification(), "READY=1");
    server.reload();
    let reloading = notification();
    assert!(reloading.starts_with("RELOADING=1") && reloading.contains("MONOTONIC_USEC="), "{reloading}");
    assert_eq!(notification(), "READY=1");
    site.write("site.luau", "error('on purpose')");
    server.command(["reload"]).failure(1);
    assert!(notification().starts_with("RELOADING=1"));
    assert_eq!(notification(), "READY=1", "the old site is ready");
    server.signal(Signal::TERM);
    assert_eq!(notification(), "STOPPING=1");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_session_that_leaves_takes_its_statement_along() {
    let site = web("");
    let server = start(&site);
    let state = server.state().as_os_str();
    let words = [
        "eval".as_ref(),
        "print('begun') medusa.sleep(600) web:mount('/late', print)".as_ref(),
        "--state".as_ref(),
        state,
    ];
    let session = Process::start(&mut MEDUSA.command(words));
    session.stdout().wait_for("begun");
    drop(session); // killed
    server.eval("web:mount('/next', function() return 'next' end)");
    assert_eq!(server.get("/next").text(), "next");
    assert_eq!(server.get("/late").status, 404);
}
