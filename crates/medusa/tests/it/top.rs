//! A server in numbers, once a second: in lines, on a screen, in a session.

use std::process::Command;

use medusa_testkit::{Process, Server, Session, Tmux, wait};
use serde_json::{Value, json};

use super::support::{MEDUSA, start, web};

const SITE: &str = "
    web:mount('/fine/{x}', function() return 'fine' end)
    web:mount('/slow', function() medusa.sleep(0.05) return 'slow' end)
    web:mount('/fails', function() error('oh no') end)";

/// The seconds that a session is told of.
struct Seconds(Session);

impl Seconds {
    fn begin(server: &Server, request: &Value) -> Self {
        let mut session = Session::begin(server);
        session.send(request);
        Self(session)
    }

    #[track_caller]
    fn next(&mut self) -> Value {
        self.0.reply()
    }

    /// The next second that is as it should be.
    #[track_caller]
    fn until(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        wait::until("such a second", || Some(self.next()).filter(|second| is_it(second)))
    }
}

#[test]
fn a_second_is_told_in_numbers() {
    let site = web(SITE);
    let server = start(&site);
    let mut seconds = Seconds::begin(&server, &json!({ "version": 1, "op": "top" }));
    let quiet = seconds.next();
    assert_eq!((&quiet["reply"], &quiet["requests"]), (&"top".into(), &0.0.into()), "{quiet}");
    assert!(quiet["p50_ms"].is_null() && quiet["mounts"] == json!([]), "{quiet}");
    assert!(quiet["vms"].as_u64() >= Some(1) && quiet["vm_bytes"].as_u64() > Some(0), "{quiet}");

    let mut client = server.connect();
    for _ in 0..9 {
        assert_eq!(client.get("/slow").text(), "slow");
    }
    let busy = seconds.until(|second| second["mounts"][0]["mount"] == "/slow");
    let p50 = busy["p50_ms"].as_f64().expect("a number");
    assert!(p50 > 40.0 && busy["p99_ms"].as_f64() >= Some(p50), "{busy}");
    assert!(busy["requests"].as_f64() > Some(0.0) && busy["errors"] == 0.0, "{busy}");
    assert!(busy["connections"].as_u64() >= Some(1), "{busy}");
    assert_eq!(client.get("/fails").status, 500);
    let failing = seconds.until(|second| second["errors"].as_f64() > Some(0.0));
    assert_eq!(failing["mounts"][0]["mount"], "/fails");
    assert!(failing["trial"].is_null(), "{failing}");
    server.command(["reload", "--confirm", "300"]).success();
    let tried = seconds.until(|second| !second["trial"].is_null());
    let left = tried["trial"]["seconds"].as_f64().expect("a number");
    assert!(tried["trial"]["generation"] == 2 && left > 200.0 && left <= 300.0, "{tried}");
}

#[test]
fn it_is_in_lines_where_nobody_watches() {
    let server = start(&web(SITE));
    let state = server.state().to_str().expect("text").to_owned();
    let mut command = MEDUSA.command(["top", "-n", "3", "--state", &state]);
    let text = Process::start(&mut command).finish_while(|| drop(server.get("/fine/1"))).success();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines.iter().all(|line| line.contains(" req/s, 0.0 err/s, p50 ")), "{text}");
    assert!(lines.iter().any(|line| line.contains(", busiest /fine/{x} ") && line.ends_with("/s")), "{text}");
    // Whoever has had enough closes the pipe, and it ends.
    let program = MEDUSA.command([""]).get_program().to_owned();
    let mut enough = Command::new("sh");
    enough.arg("-c").arg(format!("'{}' top --state '{state}' | head -n 1", program.display()));
    assert_eq!(Process::start(&mut enough).finish().success().lines().count(), 1);
    let help = server.command(["top", "-n", "0"]).failure(2);
    assert!(help.contains("-n"), "{help}");
}

#[test]
fn sessions_have_it_alone_and_in_statements() {
    let server = start(&web(SITE));
    for statement in ["top(2)", "local n = 2 top(n)"] {
        let text = server.eval(statement);
        assert_eq!(text.lines().filter(|line| line.contains(" req/s, ")).count(), 2, "{statement}: {text}");
    }
    let error = server.command(["eval", "top(0.5)"]).failure(1);
    assert!(error.contains("top: n must be a whole number from 1 to 86400, not 0.5"), "{error}");
    // Without an end it goes on until it is cancelled: by a client that is gone.
    let endless = json!({ "version": 1, "op": "eval", "source": "while true do top() end" });
    let mut seconds = Seconds::begin(&server, &endless);
    assert_eq!(seconds.next()["reply"], "top");
    drop(seconds);
    wait::until("it has ended", || (server.eval("ps()") == "nothing").then_some(()));
}

#[test]
fn on_a_terminal_it_is_drawn_in_place() {
    let server = start(&web(SITE));
    let program = MEDUSA.command([""]).get_program().to_owned();
    let (program, state) = (program.display().to_string(), server.state().display().to_string());
    let tmux = Tmux::run(&format!("trap : INT; '{program}' top --state '{state}'; echo ended; sleep 100"));
    let drawn = |what: &str| {
        wait::until(what, || {
            drop(server.get("/fine/1"));
            let screen = tmux.screen();
            let is_drawn = screen.len() > 6 && screen.iter().any(|line| line.ends_with(" /s  /fine/{x}"));
            is_drawn.then_some(screen)
        })
    };
    drawn("it is drawn");
    let begun = std::time::Instant::now();
    let screen = wait::until("it is drawn thrice", || {
        let screen = drawn("again");
        (begun.elapsed().as_secs() >= 3).then_some(screen)
    });
    assert!(screen[0].starts_with("requests  "), "{screen:#?}");
    assert_eq!(screen.iter().filter(|line| line.starts_with("requests  ")).count(), 1, "{screen:#?}");
    tmux.resize(40);
    let small = wait::until("it is drawn anew", || {
        let screen = drawn("small");
        (screen.iter().filter(|line| line.starts_with("requests  ")).count() == 1).then_some(screen)
    });
    assert!(small.iter().all(|line| line.chars().count() <= 40), "{small:#?}");
    tmux.press(["C-c"]);
    wait::until("it has ended", || tmux.screen().iter().any(|line| line.contains("ended")).then_some(()));
}
