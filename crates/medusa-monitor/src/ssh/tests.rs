//! Sessions over SSH, with the client everybody has, on a server that only says what it would do.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use medusa_proto::progress::TaskProgress;
use parking_lot::Mutex;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;

use super::{SshIntake, SshServer, SshSettings};
use crate::arrivals::LoginCounters;
use crate::audit::{AuditFiles, AuditLog, LogLimits, Record, RecordKind};
use crate::fake::{Fake, OnDrop};
use crate::protocol::{Done, Failure};
use crate::session::Monitor;
use crate::sessions::Sessions;

/// The time that anything may take, on a machine that does much else.
const DEADLINE: Duration = Duration::from_mins(1);

/// A hash of `secret`, cheap to check.
pub(super) const HASH: &str =
    "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzYWx0$Gh8sW4trBHZt8WsaHG4N08sGiShWjlZo2YT8aGT2WPg";

/// What a statement comes to.
async fn evaluated(
    called: &Mutex<Vec<String>>,
    source: String,
    events: mpsc::Sender<TaskProgress>,
) -> Result<Done, Failure> {
    match source.as_str() {
        "fail" => Err(Failure::new("statement:1: no")),
        "forever" => {
            let _told = OnDrop(|| called.lock().push("dropped".to_owned()));
            called.lock().push("forever".to_owned());
            std::future::pending().await
        }
        "flood" => {
            for _ in 0..100_000 {
                events.try_send(TaskProgress::Output("0123456789".into())).expect("room for all of them");
            }
            Ok(Done::default())
        }
        _ => {
            events.send(TaskProgress::Output("printed".into())).await.expect("the session listens");
            Ok(Done { value: Some(source), ..Done::default() })
        }
    }
}

struct Running {
    folder: tempfile::TempDir,
    port: u16,
    called: Arc<Mutex<Vec<String>>>,
    sessions: Arc<Sessions>,
}

fn settings(folder: &Path) -> SshSettings {
    SshSettings {
        keys: Some(folder.join("keys")),
        passwords: Some(folder.join("passwords")),
        host_key: Some(folder.join("host_key")),
        post_quantum: false,
        idle: DEADLINE,
        grace: DEADLINE,
    }
}

/// Makes a key, and returns its line.
fn make_key(folder: &Path, name: &str) -> String {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "me@laptop", "-f"])
        .arg(folder.join(name))
        .status();
    assert!(made.expect("ssh-keygen runs").success());
    fs::read_to_string(folder.join(format!("{name}.pub"))).expect("a key")
}

/// A server to which the keys `program` and `view` may log in, and `me` with the password `secret`.
fn start() -> Running {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let keys = make_key(at, "program") + "role=\"view\" " + &make_key(at, "view");
    fs::write(at.join("keys"), keys).expect("written");
    fs::write(at.join("passwords"), format!("me:{HASH}\n")).expect("written");

    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("an address").port();
    let (called, sessions) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Sessions>::default());
    let audit = AuditLog::start(at, LogLimits::default(), "a test", Box::new(drop)).expect("a thread");
    let (settings, told, known) = (settings(at), Arc::clone(&called), Arc::clone(&sessions));
    thread::spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
            .expect("a runtime");
        let intake = Arc::<SshIntake>::default();
        let opened = runtime.block_on(settings.open(Arc::<LoginCounters>::default()));
        let server: Arc<SshServer> = Arc::new(opened.expect("its files are good"));
        let hands_over = Arc::clone(&intake);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("accepted");
                stream.set_nonblocking(true).expect("works");
                let peer = stream.peer_addr().expect("an address");
                hands_over.offer(stream, peer, Arc::clone(&server));
            }
        });
        let noted = Arc::clone(&told);
        let control = Fake {
            eval: async move |source, events| evaluated(&told, source, events).await,
            note: move |author| noted.lock().push(author),
        };
        let monitor = Monitor::new(Rc::new(control), known, audit);
        runtime.block_on(async { match monitor.serve_ssh(&intake).await {} });
    });
    Running { folder, port, called, sessions }
}

impl Running {
    /// The client, as nobody in particular has it set up.
    fn client(&self, options: &[&str]) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "/dev/null", "-p", &self.port.to_string(), "-l", "me"])
            .args(["-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"])
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", self.folder.path().join("known").display()))
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null())
            .args(options);
        ssh
    }

    fn key(&self, name: &str) -> [String; 6] {
        let path = self.folder.path().join(name).display().to_string();
        ["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-i", &path].map(str::to_owned)
    }

    /// Has the client log in with a key, and do what `rest` says.
    fn with_key(&self, name: &str, options: &[&str], rest: &[&str]) -> Command {
        let mut ssh = self.client(options);
        ssh.args(self.key(name)).arg("127.0.0.1").args(rest);
        ssh
    }

    /// Has it log in with a password.
    fn with_password(&self, password: &str, command: &str) -> Command {
        let ask = self.folder.path().join("ask");
        fs::write(&ask, format!("#!/bin/sh\necho {password}\n")).expect("written");
        set_mode(&ask, 0o700);
        let mut ssh =
            self.client(&["-o", "PreferredAuthentications=password", "-o", "NumberOfPasswordPrompts=1"]);
        ssh.env("SSH_ASKPASS", ask).env("SSH_ASKPASS_REQUIRE", "force").args(["127.0.0.1", command]);
        ssh
    }

    /// Waits until the audit log has as many records of a kind.
    fn recorded(&self, kind: RecordKind, count: usize) -> Vec<Record> {
        let (files, begun) = (AuditFiles::new(self.folder.path()), Instant::now());
        loop {
            let mut records = Vec::new();
            let key = files.key(None).expect("a key");
            files.check(&key, &[], |line| records.extend(Record::decode(line.bytes))).expect("readable");
            records.retain(|record| record.kind == kind);
            if records.len() >= count {
                return records;
            }
            assert!(begun.elapsed() < DEADLINE, "{kind:?}: {records:?}");
            thread::yield_now();
        }
    }

    fn wait_for_call(&self, call: &str) {
        let begun = Instant::now();
        while !self.called.lock().iter().any(|known| known == call) {
            assert!(begun.elapsed() < DEADLINE, "{call}: {:?}", self.called.lock());
            thread::yield_now();
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
}

fn piped(mut ssh: Command) -> Child {
    ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ssh runs")
}

fn give(mut child: Child, input: &[u8]) -> Output {
    child.stdin.take().expect("piped").write_all(input).expect("written");
    child.wait_with_output().expect("it ends")
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn run(mut ssh: Command) -> (Option<i32>, String, String) {
    told(&ssh.output().expect("ssh runs"))
}

#[test]
fn a_command_has_output_and_an_exit_status() {
    let server = start();
    let ran = run(server.with_key("program", &[], &["1 + 1"]));
    assert_eq!(ran, (Some(0), "printed\n1 + 1\n".into(), String::new()));
    let author = server.called.lock().pop().expect("called");
    assert!(author.starts_with("eval by me (key SHA256:"), "{author}");
    assert!(author.ends_with(" me@laptop, from 127.0.0.1)"), "{author}");

    let ran = run(server.with_key("program", &[], &["fail"]));
    assert_eq!(ran, (Some(1), String::new(), "statement:1: no\n".into()));
    let (status, out, _) = run(server.with_key("program", &[], &["flood"]));
    assert_eq!((status, out.len()), (Some(0), 1_100_000));
}

#[test]
fn a_script_is_piped_and_run_as_one() {
    let server = start();
    let output = give(piped(server.with_key("program", &["-T"], &[])), b"local x = 1\nreturn x");
    assert_eq!(told(&output), (Some(0), "printed\nlocal x = 1\nreturn x\n".into(), String::new()));
    let output = give(piped(server.with_key("program", &["-T"], &[])), b"\xff\xfe");
    assert_eq!(told(&output), (Some(1), String::new(), "the script is not UTF-8\n".into()));
}

#[test]
fn a_password_logs_in_and_a_wrong_one_does_not() {
    let server = start();
    let ran = run(server.with_password("secret", "1"));
    assert_eq!(ran, (Some(0), "printed\n1\n".into(), String::new()));
    let author = server.called.lock().pop().expect("called");
    assert_eq!(author, "eval by me (password, from 127.0.0.1)");
    let (status, _, error) = run(server.with_password("Secret", "1"));
    assert_eq!(status, Some(255));
    assert!(error.contains("Permission denied (publickey,password)"), "{error}");
}

#[test]
fn logins_and_refusals_are_recorded() {
    let server = start();
    run(server.with_password("Secret", "1"));
    run(server.with_key("view", &[], &["return 1"]));
    let [failed, denied] = &server.recorded(RecordKind::Refusal, 2)[..] else { panic!("two") };
    let text = |record: &Record| record.text.as_ref().expect("a reason").kept().to_owned();
    assert_eq!((text(failed), failed.session), ("a login by a password failed".into(), None));
    let who = failed.who.as_ref().expect("somebody");
    assert_eq!((&*who.name, who.address.as_deref()), ("me", Some("127.0.0.1")));
    assert!(text(denied).contains("needs the role") && denied.session.is_some(), "{denied:?}");
    let [login, session] = &server.recorded(RecordKind::Login, 2)[..] else { panic!("two") };
    assert_eq!((login.session, session.session, &login.who), (None, denied.session, &session.who));
    let name = &login.who.as_ref().expect("somebody").name;
    assert!(name.starts_with("me (key SHA256:") && name.contains("me@laptop"), "{name}");
    assert_eq!(login.role.as_deref(), Some("view"));
}

#[test]
fn a_key_or_password_that_others_may_have_added_lets_nobody_in() {
    let server = start();
    let at = server.folder.path();
    let check = || {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(settings(at).check()).map_err(|error| error.to_string())
    };
    let strangers = [("keys", make_key(at, "stranger")), ("passwords", format!("you:{HASH}\n"))];
    for (name, line) in strangers {
        // It has read its files.
        assert_eq!((check(), run(server.with_key("program", &[], &["1"])).0), (Ok(()), Some(0)));
        let path = at.join(name);
        set_mode(&path, 0o666);
        let known = fs::read_to_string(&path).expect("there");
        fs::write(&path, known + &line).expect("written");
        let refused = check().expect_err("others may write it");
        assert!(refused.contains("others than its owner may write"), "{refused}");
        let log_ins = |name: &str| run(server.with_key(name, &[], &["1"])).0;
        assert_eq!((log_ins("program"), log_ins("stranger")), (Some(0), Some(255)), "{name}");
        assert_eq!(run(server.with_password("secret", "1")).0, Some(0), "{name}");
        set_mode(&path, 0o644);
        assert_eq!(check(), Ok(()));
        assert_eq!(log_ins("program"), Some(0));
        set_mode(at, 0o777);
        assert!(check().expect_err("others may put another there").contains("chmod go-w"));
        assert_eq!(log_ins("program"), Some(0), "as before");
        set_mode(at, 0o700);
        // What is its owner's, is taken.
        fs::write(&path, fs::read_to_string(&path).expect("there").replace(&line, "")).expect("written");
    }
}

#[test]
fn an_agent_logs_in_with_one_of_its_keys() {
    let server = start();
    let socket = server.folder.path().join("agent");
    let mut agent = Command::new("ssh-agent")
        .args(["-D", "-a"])
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .expect("an agent");
    let begun = Instant::now();
    while !socket.exists() && begun.elapsed() < DEADLINE {
        thread::yield_now();
    }
    make_key(server.folder.path(), "stranger");
    for name in ["stranger", "program"] {
        let path = server.folder.path().join(name);
        let added = Command::new("ssh-add").arg("-q").arg(&path).env("SSH_AUTH_SOCK", &socket).status();
        assert!(added.expect("ssh-add runs").success());
    }
    let mut ssh = server.client(&["-o", "BatchMode=yes", "127.0.0.1", "1"]);
    ssh.env("SSH_AUTH_SOCK", &socket);
    let ran = run(ssh);
    agent.kill().expect("it runs");
    agent.wait().expect("it ends");
    assert_eq!(ran, (Some(0), "printed\n1\n".into(), String::new()));
}

#[test]
fn a_role_allows_what_it_is_for() {
    let server = start();
    let (status, out, error) = run(server.with_key("view", &[], &["return 1"]));
    assert_eq!((status, &*out), (Some(1), ""));
    assert!(error.contains("eval needs the role \"program\", and yours is \"view\""), "{error}");
    let (status, out, _) = run(server.with_key("view", &[], &["status()"]));
    assert_eq!(status, Some(0));
    assert!(out.starts_with("site x"), "{out}");
    assert!(server.called.lock().is_empty());
}

#[test]
fn requests_are_answered_in_lines_of_json() {
    let server = start();
    let lines = b"{\"version\":1,\"op\":\"ping\"}\n{\"version\":1,\"op\":\"sessions\"}\n";
    let output = give(piped(server.with_key("view", &["-s"], &["medusa-json"])), lines);
    let (status, out, error) = told(&output);
    assert_eq!(status, Some(0), "{out} {error}");
    let [first, second] = &out.lines().collect::<Vec<_>>()[..] else { panic!("{out}") };
    assert_eq!(*first, "{\"reply\":\"done\"}");
    assert!(second.contains("\"role\":\"view\",\"front_end\":\"ssh\""), "{second}");
}

#[test]
fn what_is_no_session_is_refused() {
    let server = start();
    let (status, _, _) = run(server.with_key("program", &["-s"], &["sftp"]));
    assert_ne!(status, Some(0));
    let port = server.port.to_string();
    let (status, _, error) = run(server.with_key("program", &["-W", &format!("127.0.0.1:{port}")], &[]));
    assert_ne!(status, Some(0), "{error}");
    let forward = format!("0:127.0.0.1:{port}");
    let (_, _, error) =
        run(server.with_key("program", &["-o", "ExitOnForwardFailure=yes", "-R", &forward], &["1"]));
    assert!(error.contains("forwarding failed"), "{error}");
    assert!(server.called.lock().is_empty());
}

/// As clients do that share a connection: one after the other, and as many at a time as there may be.
#[test]
fn a_shared_connection_has_one_session_after_the_other() {
    let server = start();
    let socket = format!("ControlPath={}", server.folder.path().join("shared").display());
    let mut first = piped(server.with_key("program", &["-o", "ControlMaster=yes", "-o", &socket, "-N"], &[]));
    // Without keys: by the shared connection, or not at all.
    let shared = |command: &str| {
        let mut ssh = server.client(&["-o", &socket, "-o", "BatchMode=yes", "127.0.0.1", command]);
        ssh.stdout(Stdio::piped()).stderr(Stdio::piped());
        ssh
    };
    let is_there = || run(server.client(&["-o", &socket, "-O", "check", "127.0.0.1"])).0 == Some(0);
    let begun = Instant::now();
    while !is_there() {
        assert!(begun.elapsed() < DEADLINE, "no shared connection");
    }
    for number in 0..20 {
        let number = number.to_string();
        assert_eq!(run(shared(&number)), (Some(0), format!("printed\n{number}\n"), String::new()));
    }
    let waiting: Vec<_> = (0..4).map(|_| shared("forever").spawn().expect("ssh runs")).collect();
    let waits = || server.called.lock().iter().filter(|call| *call == "forever").count();
    while waits() < 4 {
        assert!(begun.elapsed() < DEADLINE, "{} at a time", waits());
        thread::yield_now();
    }
    let (status, _, error) = run(shared("one more"));
    assert!(status == Some(255) && error.contains("refused by peer"), "{status:?} {error}");
    for session in server.sessions.list() {
        let number = session.number.to_string();
        assert_eq!(run(server.with_key("program", &[], &[&format!("kill({number})")])).0, Some(0));
    }
    for client in waiting {
        assert_eq!(client.wait_with_output().expect("it ends").status.code(), Some(1));
    }
    assert_eq!(run(shared("again")).0, Some(0));
    first.kill().expect("it runs");
    first.wait().expect("it ends");
}

#[test]
fn a_client_that_leaves_cancels_what_it_runs() {
    let server = start();
    let mut child = piped(server.with_key("program", &[], &["forever"]));
    server.wait_for_call("forever");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    server.wait_for_call("dropped");
}

#[test]
fn a_session_is_ended_by_its_number() {
    let server = start();
    let child = piped(server.with_key("program", &[], &["forever"]));
    server.wait_for_call("forever");
    let number = server.sessions.list()[0].number.to_string();
    let (status, _, _) = run(server.with_key("program", &[], &[&format!("kill({number})")]));
    assert_eq!(status, Some(0));
    let (status, _, error) = told(&child.wait_with_output().expect("it ends"));
    assert_eq!(status, Some(1));
    assert!(error.contains("the session was ended by me (key SHA256:"), "{error}");
}

#[test]
fn a_prompt_runs_what_is_typed_and_ctrl_c_ends_it() {
    let server = start();
    let mut ssh = server.with_key("program", &["-tt"], &[]);
    ssh.env("TERM", "xterm-256color");
    let mut child = piped(ssh);
    let mut input = child.stdin.take().expect("piped");
    input.write_all(b"1 + 1\rforever\r").expect("written");
    server.wait_for_call("forever");
    input.write_all(b"\x03").expect("written");
    server.wait_for_call("dropped");
    input.write_all(b"\x04").expect("written");
    drop(input);
    let (status, out, _) = told(&child.wait_with_output().expect("it ends"));
    assert_eq!(status, Some(0), "{out:?}");
    assert!(out.contains("printed\r\n") && out.contains("interrupted"), "{out:?}");
}

#[test]
fn who_types_what_takes_long_holds_up_nobody() {
    let server = start();
    let mut ssh = server.with_key("view", &["-tt"], &[]);
    ssh.env("TERM", "xterm-256color");
    let mut child = piped(ssh);
    let mut input = child.stdin.take().expect("piped");
    let mut output = child.stdout.take().expect("piped");
    let shown = thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    let row = "a".repeat(32_000);
    input.write_all(format!("{row}\x1b\r{row}").as_bytes()).expect("written");
    input.write_all(&b"\x10\x0e".repeat(100_000)).expect("written");
    let begun = Instant::now();
    while server.sessions.list().is_empty() {
        assert!(begun.elapsed() < DEADLINE);
        thread::yield_now();
    }
    let number = server.sessions.list()[0].number;
    assert_eq!(run(server.with_key("view", &[], &["ping()"])).0, Some(0));
    assert_eq!(run(server.with_key("program", &[], &[&format!("kill({number})")])).0, Some(0));
    let (status, _, error) = told(&child.wait_with_output().expect("it ends"));
    assert_eq!(status, Some(1), "{error}");
    shown.join().expect("no panic").expect("it was read");
}

#[test]
fn clients_that_never_log_in_keep_nobody_out() {
    let server = start();
    let mut hostile = Vec::new();
    for number in 0..500 {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("connected");
        if number % 2 == 0 {
            stream.write_all(b"SSH-2.0-hostile\r\n").expect("written");
        }
        hostile.push(stream);
    }
    let ran = run(server.with_key("program", &[], &["1"]));
    assert_eq!(ran, (Some(0), "printed\n1\n".into(), String::new()));
    let closed = hostile.iter().filter(|stream| {
        stream.set_read_timeout(Some(Duration::from_millis(1))).expect("works");
        let mut ids = Vec::new();
        let read = (&mut &**stream).read_to_end(&mut ids);
        !read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    });
    assert!(closed.count() >= 480);
}

#[test]
fn a_keys_file_that_changes_is_read_anew_and_ends_no_session() {
    let server = start();
    let mut child = piped(server.with_key("program", &["-tt"], &[]));
    let mut input = child.stdin.take().expect("piped");
    input.write_all(b"1\r").expect("written");
    let begun = Instant::now();
    while server.called.lock().is_empty() {
        assert!(begun.elapsed() < DEADLINE);
        thread::yield_now();
    }
    let keys = server.folder.path().join("keys");
    let view = fs::read_to_string(&keys).expect("there");
    let view = view.lines().filter(|line| line.starts_with("role")).collect::<String>();
    fs::write(&keys, format!("restrict nonsense\n{view}\n")).expect("written");
    let (status, _, error) = run(server.with_key("program", &[], &["1"]));
    assert_eq!(status, Some(255), "{error}");
    assert_eq!(run(server.with_key("view", &[], &["ping()"])).0, Some(0));
    input.write_all(b"2\r\x04").expect("written");
    drop(input);
    let (_, out, _) = told(&child.wait_with_output().expect("it ends"));
    assert!(out.contains("printed\r\n2"), "{out:?}");
}

/// The fingerprint of the server's key, once a client has seen it.
fn fingerprint(server: &Running) -> String {
    let output = Command::new("ssh-keygen").arg("-lf").arg(server.folder.path().join("host_key")).output();
    let (_, out, _) = told(&output.expect("ssh-keygen runs"));
    out.split(' ').nth(1).expect("a fingerprint").to_owned()
}

#[test]
fn plink_logs_in() {
    let server = start();
    assert_eq!(run(server.with_key("program", &[], &["1"])).0, Some(0));
    let password = server.folder.path().join("password");
    fs::write(&password, "secret\n").expect("written");
    let plink = |command: &str| {
        let mut plink = Command::new("plink");
        plink
            .env("HOME", server.folder.path())
            .args([
                "-ssh",
                "-batch",
                "-l",
                "me",
                "-P",
                &server.port.to_string(),
                "-hostkey",
                &fingerprint(&server),
            ])
            .arg("-pwfile")
            .arg(&password)
            .args(["127.0.0.1", command])
            .stdin(Stdio::null());
        run(plink)
    };
    let (status, out, error) = plink("1");
    assert_eq!((status, out.replace("\r\n", "\n")), (Some(0), "printed\n1\n".to_owned()), "{error}");
    assert_eq!(plink("fail").0, Some(1));
}

#[test]
fn asyncssh_logs_in() {
    const SCRIPT: &str = "
import asyncio, asyncssh, sys
async def main(port, key):
    async with asyncssh.connect('127.0.0.1', port, username='me', client_keys=[key], known_hosts=None) as conn:
        done = await conn.run('1')
        print(done.exit_status, repr(done.stdout))
        done = await conn.run('fail')
        print(done.exit_status, repr(done.stderr))
        async with conn.create_process(term_type='xterm', term_size=(80, 24)) as process:
            process.change_terminal_size(132, 43)
            process.stdin.write('2\\r\\x04')
            print('printed' in await process.stdout.read())
asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
";
    let server = start();
    let mut python = Command::new("/usr/bin/python3");
    python
        .args(["-W", "ignore", "-c", SCRIPT, &server.port.to_string()])
        .arg(server.folder.path().join("program"));
    let (status, out, error) = run(python);
    assert_eq!(status, Some(0), "{error}");
    assert_eq!(out, "0 'printed\\n1\\n'\n1 'statement:1: no\\n'\nTrue\n");
}
