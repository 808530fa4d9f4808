//! The monitor by the line protocol of 1997, as its own client speaks it.
//!
//! That client is `monitor_client.py` of medusa 0.5.4 (`PyPI`): Python 2, which is nowhere any more. So [`OldClient`] sends what it
//! sends and awaits what it awaits, to the byte:
//!
//! - it takes all bytes before the first `\r\n` for the timestamp (`collect_incoming_data`, with `terminator` set to that);
//! - it pushes `hex_digest (timestamp + password) + '\r\n'`, where `hex_digest` joins `hex (ord (x))[2:]` of each byte of the MD5;
//! - it shows what comes from then on, as it comes;
//! - it pushes what is typed with `'\n'` replaced by `'\r\n'`, and closes the socket, both ways, at the end of its input.
//!
//! The prompts (`>>> `, `... `), the answer to `exit` and to `\004` (`BCNU\r\n`, and the end), and the end without a word after a wrong
//! password are those of its server, `monitor.py`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use medusa_testkit::{Client, Server, Site, wait};

use super::support::{MEDUSA, WEB, start};

const PASSWORD: &str = "not 12345";

/// What the server says when somebody has logged in.
const WELCOME: &str = concat!("Medusa ", env!("CARGO_PKG_VERSION"), "; `exit` leaves\r\n>>> ");

/// A site with an old client's server, which has these options.
fn site(options: &str) -> Site {
    let script = format!("{WEB}old = medusa.monitor.classic {{ password_file = 'password', {options} }}");
    let site = Site::script(&script);
    give_password(&site, PASSWORD);
    site
}

fn give_password(site: &Site, password: &str) {
    site.write("password", format!("{password}\n"));
    fs::set_permissions(site.at("password"), Permissions::from_mode(0o600)).expect("changed");
}

/// `hex_digest` of `monitor_client.py`.
fn hex_digest(text: &str) -> String {
    let digits: Vec<_> = md5::compute(text).iter().map(|byte| format!("{byte:x}")).collect();
    digits.concat()
}

/// The client of 1997.
struct OldClient(Client);

impl OldClient {
    /// Connects by TCP to the last listener of a server.
    fn of(server: &Server) -> Self {
        let listeners = server.documents("listener");
        let address = listeners.last().and_then(|last| last["address"].as_str()).expect("a listener");
        Self(Client::connect(address.parse().expect("an address")))
    }

    /// What comes, to the end of `end`.
    #[track_caller]
    fn until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let byte = self.0.read_some(1);
            assert!(!byte.is_empty(), "closed after {:?}", String::from_utf8_lossy(&read));
            read.extend(byte);
        }
        String::from_utf8(read).expect("text")
    }

    /// Closes the socket, as the client does at the end of its input.
    fn close(self) {
        drop(self);
    }

    /// Vanishes.
    fn reset(self) {
        self.0.reset();
    }

    /// The timestamp.
    fn timestamp(&mut self) -> String {
        let timestamp = self.until("\r\n").trim_end().to_owned();
        let (seconds, fraction) = timestamp.split_once('.').expect("a fraction");
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        assert!(digits(seconds) && digits(fraction), "{timestamp}");
        timestamp
    }

    /// Logs in; returns what was sent.
    fn log_in(&mut self) -> String {
        let answer = hex_digest(&(self.timestamp() + PASSWORD)) + "\r\n";
        self.0.send(&answer);
        assert_eq!(self.until(">>> "), WELCOME);
        answer
    }

    /// Types a line, and returns what comes to the next prompt.
    #[track_caller]
    fn typed(&mut self, line: impl AsRef<[u8]>) -> String {
        self.0.send([line.as_ref(), b"\r\n"].concat());
        self.until(">>> ")
    }
}

/// A client of a server that has logged in.
fn logged_in(server: &Server) -> OldClient {
    let mut client = OldClient::of(server);
    client.log_in();
    client
}

/// The sessions by this protocol.
fn sessions(server: &Server) -> usize {
    server.eval("sessions()").matches("  classic  ").count()
}

/// Whether the oldest session runs something.
fn runs(server: &Server) -> bool {
    server.eval("medusa.monitor.sessions()[1].running ~= nil") == "true"
}

/// A session of the original client, to the byte.
fn replay(mut client: OldClient) {
    client.log_in();
    assert_eq!(client.typed("1 + 1"), "2\r\n>>> ");
    assert_eq!(client.typed(""), ">>> ");
    assert_eq!(client.typed("x = 20"), ">>> ");
    client.0.send("function twice(n)\r\n");
    assert_eq!(client.until("... "), "... ");
    client.0.send("  return n * 2\r\n");
    assert_eq!(client.until("... "), "... ");
    assert_eq!(client.typed("end"), ">>> ");
    assert_eq!(client.typed("print('one\\ntwo') return twice(x + 1)"), "one\r\ntwo\r\n42\r\n>>> ");
    assert_eq!(client.typed("print('\\27[2J')"), "\\u{1b}[2J\r\n>>> ");
    assert!(client.typed("error('no')").starts_with("statement:1: no"));
    // An empty line ends what wants more.
    client.0.send("function half(n)\r\n");
    assert_eq!(client.until("... "), "... ");
    let told = client.typed("");
    assert!(told.contains("statement:") && told.ends_with("\r\n>>> "), "{told:?}");
    client.0.send("exit\r\n");
    assert_eq!(client.0.read(6), b"BCNU\r\n");
    client.0.expect_close();
}

#[test]
fn the_original_client_is_answered_to_the_byte_by_tcp() {
    let site = site("listen = '127.0.0.1:0', role = 'program'");
    let server = start(&site);
    let warned = server.stderr().wait_for("for old clients only");
    assert!(warned.contains("WARN") && warned.contains("medusa.monitor.ssh"), "{warned}");
    replay(OldClient::of(&server));
    for left in ["\x04\r\n", "\x04", "  exit\r\n"] {
        let mut client = logged_in(&server);
        client.0.send(left);
        assert_eq!(client.0.read(6), b"BCNU\r\n");
        client.0.expect_close();
    }
    let old = &server.documents("monitor.classic")[0];
    assert_eq!((&old["logins"], &old["failed_logins"]), (&4.into(), &0.into()), "{old}");
    let shown = server.command(["audit", "show"]).success();
    assert!(shown.contains("classic (password, from 127.0.0.1)"), "{shown}");
    assert!(shown.contains("statement: 1 + 1") && !shown.contains(PASSWORD), "{shown}");
}

#[test]
fn the_original_client_is_answered_to_the_byte_by_a_unix_socket() {
    let site = site("listen = 'unix:old.sock', role = 'program'");
    let server = start(&site);
    let mode = fs::metadata(site.at("old.sock")).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o007, 0, "{mode:o}");
    replay(OldClient(Client::connect_unix(&site.at("old.sock"))));
    let shown = server.command(["audit", "show"]).success();
    assert!(shown.contains("classic (password, uid "), "{shown}");
}

#[test]
fn a_wrong_password_and_an_old_answer_let_nobody_in() {
    let site = site("listen = '127.0.0.1:0', role = 'program'");
    let server = start(&site);
    let mut known = OldClient::of(&server);
    let overheard = known.log_in();
    let begun = Instant::now();
    for answer in [overheard, "x".repeat(1000), "GET / HTTP/1.1\r\nHost: x\r\n\r\n".into()] {
        let mut client = OldClient::of(&server);
        client.timestamp();
        client.0.send(&answer);
        client.0.expect_close();
    }
    assert!(begun.elapsed() >= Duration::from_secs(4), "each takes a second");
    let mut client = OldClient::of(&server);
    let wrong = hex_digest(&(client.timestamp() + "not 12346"));
    client.0.send(wrong + "\r\n1 + 1\r\n");
    client.0.expect_close();
    let old = &server.documents("monitor.classic")[0];
    assert_eq!((&old["logins"], &old["failed_logins"]), (&1.into(), &4.into()), "{old}");
    server.stderr().wait_for("a login by a password failed");
    let shown = server.command(["audit", "show"]).success();
    assert!(shown.contains("a login by a password failed"), "{shown}");

    // The password is read at every login.
    give_password(&site, "another");
    let mut client = OldClient::of(&server);
    let answer = hex_digest(&(client.timestamp() + "another"));
    client.0.send(answer + "\r\n");
    assert_eq!(client.until(">>> "), WELCOME);
    assert_eq!(known.typed("1"), "1\r\n>>> ");
}

#[test]
fn it_is_refused_beyond_this_machine() {
    for address in ["0.0.0.0:9998", "192.0.2.1:9998", ":9998", "[::]:9998", "[2001:db8::1]:9998"] {
        let site = site(&format!("listen = '{address}'"));
        let told = MEDUSA.run(["check".as_ref(), site.path().as_os_str()]).failure(1);
        assert!(told.contains("site.luau:2: medusa.monitor.classic: `listen` must be"), "{told}");
        assert!(told.contains("127.0.0.1:9998") && told.contains("`medusa.monitor.ssh`"), "{told}");
    }
    for (options, part) in [
        ("", "`listen` must be an address like \"127.0.0.1:9998\""),
        ("listen = '9998'", "is only a port"),
        ("listen = '127.0.0.1:0', role = 'king'", "`role` must be \"view\", \"operate\" or \"program\""),
        ("listen = '127.0.0.1:0', pasword = 1", "there is no option"),
    ] {
        let site = site(options);
        let told = MEDUSA.run(["check".as_ref(), site.path().as_os_str()]).failure(1);
        assert!(told.contains(part), "{told}");
    }
    let site = site("listen = '[::1]:9998'");
    let check = || MEDUSA.run(["check".as_ref(), site.path().as_os_str()]);
    let told = check().success();
    assert!(told.contains("for old clients only") && told.contains("[::1]:9998"), "{told}");
    fs::set_permissions(site.at("password"), Permissions::from_mode(0o644)).expect("changed");
    let told = check().failure(1);
    assert!(told.contains("site.luau:2: others may read") && told.contains("chmod 600"), "{told}");
    site.write("password", "two\nlines\n");
    fs::set_permissions(site.at("password"), Permissions::from_mode(0o600)).expect("changed");
    assert!(check().failure(1).contains("must hold one password"));
    site.write("password", " \n");
    assert!(check().failure(1).contains("must hold one password"));
    site.write("password", format!("\u{feff}{PASSWORD}\n"));
    let told = check().failure(1);
    assert!(told.contains("begins with a byte order mark") && !told.contains(PASSWORD), "{told}");
    fs::remove_file(site.at("password")).expect("there");
    assert!(check().failure(1).contains("cannot read"));
}

#[test]
fn who_logs_in_may_look_unless_the_script_says_more() {
    let site = site("listen = '127.0.0.1:0'");
    let server = start(&site);
    let mut client = logged_in(&server);
    let told = client.typed("x = 1");
    assert_eq!(told, "eval needs the role \"program\", and yours is \"view\"\r\n>>> ");
    assert!(client.typed("sessions()").contains("classic  view  classic (password, from 127.0.0.1)"));
    assert_eq!(server.eval("tostring(x)"), "nil");
}

#[test]
fn lines_that_cannot_be_run_are_told_so() {
    let site = site("listen = '127.0.0.1:0', role = 'program'");
    let server = start(&site);
    let mut client = logged_in(&server);
    assert_eq!(client.typed(format!("#'{}'", "x".repeat(1_000_000))), "1000000\r\n>>> ");
    for length in [1024 * 1024 + 1, 5_000_000] {
        let told = client.typed("x".repeat(length));
        assert!(told.starts_with("this is too long: it may have 1048576 bytes"), "{told}");
    }
    assert_eq!(client.typed(b"return '\xe9'"), "the line is not UTF-8\r\n>>> ");
    assert_eq!(client.typed("return 'é'"), "é\r\n>>> ");
    assert_eq!(client.typed("1 + 22\x08\x7f1"), "2\r\n>>> ");
    // Telnet's own bytes are no text, and what they ask for is declined.
    client.0.send(b"\xff\xfd\x03\xff\xfb\x18re\xff\xf1turn 3\r\n");
    assert_eq!(client.0.read(6), b"\xff\xfc\x03\xff\xfe\x18");
    assert_eq!(client.until(">>> "), "3\r\n>>> ");
}

#[test]
fn a_client_that_leaves_cancels_what_it_runs() {
    let site = site("listen = '127.0.0.1:0', role = 'program'");
    let server = start(&site);
    for leaves in [OldClient::close, OldClient::reset] {
        let mut client = logged_in(&server);
        client.0.send("while true do beat = (beat or 0) + 1 medusa.sleep(0.01) end\r\n");
        wait::until("it runs", || runs(&server).then_some(()));
        leaves(client);
        wait::until("its session has ended", || (sessions(&server) == 0).then_some(()));
    }
    let mut killed = logged_in(&server);
    server.eval("medusa.monitor.kill(medusa.monitor.sessions()[1].number)");
    let told = killed.until("\r\n");
    assert!(told.starts_with("the session was ended by "), "{told}");
    killed.0.expect_close();
}

#[test]
fn what_never_ends_is_ended() {
    let site = site("listen = '127.0.0.1:0', role = 'program'");
    let server = start(&site);
    let mut client = logged_in(&server);
    client.0.send("while true do end\r\n2 + 2\r\n");
    let told = client.until(">>> ");
    assert!(told.contains("its CPU budget is used up"), "{told}");
    assert_eq!(client.until(">>> "), "4\r\n>>> ", "what was typed meanwhile waited");
    // Ctrl-C, as telnet has it: interrupt, and tell me from where on I may show again.
    client.0.send("medusa.sleep(1000)\r\n");
    wait::until("it runs", || runs(&server).then_some(()));
    client.0.send(b"\xff\xf4\xff\xfd\x06");
    assert_eq!(client.0.read(3), b"\xff\xfc\x06");
    assert_eq!(client.until(">>> "), "interrupted\r\n>>> ");
    // A session goes on when the site changes, and when its server goes.
    server.reload();
    assert_eq!(client.typed("1"), "1\r\n>>> ");
    assert!(client.typed("old:remove()").starts_with("generation "));
    assert_eq!(client.typed("2"), "2\r\n>>> ");
}

#[test]
fn who_says_nothing_is_closed() {
    let site = site("listen = '127.0.0.1:0', grace = 1, idle = 1");
    let server = start(&site);
    let mut silent = OldClient::of(&server);
    silent.timestamp();
    silent.0.expect_close();
    let mut idle = logged_in(&server);
    assert_eq!(idle.until("\r\n"), "nothing was typed for too long\r\n");
    idle.0.expect_close();
}
