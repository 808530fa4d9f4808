//! What a login may publish only when somebody else has seen exactly that.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use medusa_monitor::{Client, Op};
use medusa_testkit::{Server, Site, Tmux, wait};
use serde_json::{Value, json};

use super::monitor::{make_key, port, prompt_by, ran_by, site, ssh_by};
use super::support::{MEDUSA, start, web};

const SCRIPT: &str = "medusa.monitor.ssh { listen = '127.0.0.1:0', keys = 'keys' }";

/// A site with a key that needs approval, `key`, and one that is limited to some mounts, `limited`.
fn limited_site() -> Site {
    let site = site(SCRIPT);
    let limited = make_key(&site, "limited");
    site.write("keys", format!("approval {}\nmounts=\"/api/\" {limited}", site.read("key.pub")));
    site
}

/// Who needs approval, in lines of JSON.
struct Agent {
    child: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Agent {
    fn log_in(site: &Site, server: &Server) -> Self {
        let mut child = ssh_by(site, port(server), "key")
            .args(["-s", "127.0.0.1", "medusa-json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ssh runs");
        let requests = child.stdin.take().expect("piped");
        let replies = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, requests, replies }
    }

    /// The last reply to a request.
    #[track_caller]
    fn ask(&mut self, request: Value) -> Value {
        let Value::Object(mut fields) = request else { panic!("not an object: {request}") };
        fields.insert("version".into(), 1.into());
        writeln!(self.requests, "{}", Value::Object(fields)).expect("written");
        loop {
            let mut line = String::new();
            self.replies.read_line(&mut line).expect("a line");
            let reply: Value = serde_json::from_str(&line).expect("JSON");
            if ["done", "failed"].iter().any(|last| reply["reply"] == *last) {
                return reply;
            }
        }
    }

    #[track_caller]
    fn done(&mut self, request: Value) -> Value {
        let reply = self.ask(request.clone());
        assert_eq!(reply["reply"], "done", "{request}: {reply}");
        reply
    }

    #[track_caller]
    fn refused(&mut self, request: Value) -> String {
        let reply = self.ask(request.clone());
        assert_eq!(reply["reply"], "failed", "{request}: {reply}");
        reply["message"].as_str().expect("a text").to_owned()
    }

    #[track_caller]
    fn run(&mut self, statement: &str) {
        self.done(json!({ "op": "eval", "source": statement }));
    }

    /// What it has begun.
    #[track_caller]
    fn preview(&mut self) -> Value {
        self.done(json!({ "op": "preview" }))["preview"].clone()
    }

    /// Begins a change of one statement, and returns what names it.
    #[track_caller]
    fn begin(&mut self, statement: &str) -> String {
        self.run("begin()");
        self.run(statement);
        self.preview()["change"].as_str().expect("a name").to_owned()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn commit() -> Value {
    json!({ "op": "commit" })
}

/// Has somebody at the control socket approve a change.
#[track_caller]
fn approve(server: &Server, change: &str) {
    let told = server.command(["approve", change]).success();
    assert!(told.starts_with(&format!("change {} is approved", &change[..12])), "{told}");
    assert!(told.contains(change), "{told}");
}

#[test]
fn what_was_approved_is_published_once_and_nothing_else() {
    let site = limited_site();
    let server = start(&site);
    let mut agent = Agent::log_in(&site, &server);
    let statement = "web:mount('/x', function() return 'x' end)";
    assert!(agent.refused(json!({ "op": "preview" })).contains("nothing was begun"));
    assert!(agent.refused(commit()).contains("nothing was changed"));
    agent.run("begin()");
    agent.run(statement);
    let preview = agent.preview();
    let change = preview["change"].as_str().expect("a name").to_owned();
    assert_eq!((change.len(), &preview["base"]), (64, &json!(1)));
    assert_eq!(
        (&preview["statements"], &preview["changes"]),
        (&json!(["begin()", statement]), &json!(["+ /x"]))
    );
    assert_eq!(agent.preview()["change"], *change, "it is the same");

    let why = agent.refused(commit());
    let short = &change[..12];
    assert!(why.contains(&format!("change {short} is not approved")), "{why}");
    assert!(why.contains(&format!("approve(\"{short}\")")), "{why}");
    assert!(agent.refused(json!({ "op": "approve", "change": change })).contains("approve is not for you"));
    let shown = server.command(["preview", short]).success();
    let expected =
        format!("> begin()\n> {statement}\n+ /x\nnot approved: `approve(\"{short}\")` does that\n");
    assert!(shown.starts_with(&format!("change {short} of generation 1, eval by admin ")), "{shown}");
    assert!(shown.ends_with(&expected), "{shown}");
    approve(&server, short);
    assert!(server.command(["preview", short]).success().contains("\napproved by uid "));

    // Whatever comes to it makes it another.
    agent.run("return 1");
    let why = agent.refused(commit());
    assert!(why.contains("is not approved") && !why.contains(short), "{why}");
    let gone = server.command(["approve", &change]).failure(1);
    assert!(
        gone.contains("there is no change") && gone.contains("another statement has come to it"),
        "{gone}"
    );
    let change = agent.preview()["change"].as_str().expect("a name").to_owned();
    approve(&server, &change);
    let why = agent.refused(json!({ "op": "eval", "source": "web:mount('/y', function() end) commit()" }));
    assert!(why.contains("`commit()` comes first in its statement"), "{why}");
    let other = "0".repeat(64);
    let why = agent.refused(json!({ "op": "commit", "change": other }));
    assert!(why.contains(&format!("is change {} by now, and not {other}", &change[..12])), "{why}");

    let done = agent.done(json!({ "op": "commit", "change": change, "reason": "\"new\"\n" }));
    let report = done["report"].as_str().expect("a report");
    assert!(report.starts_with("generation 2, approved by uid "), "{report}");
    assert!(report.contains(": + /x  ("), "{report}");
    assert_eq!((server.get("/x").text(), server.get("/y").status), ("x".into(), 404));
    let generations = server.command(["generations"]).success();
    assert!(
        generations.lines().next().is_some_and(|last| last.contains(", approved by uid ")),
        "{generations}"
    );
    assert_eq!(server.eval("generations()[1].reason").trim_end(), "\"new\"");

    // Not twice.
    assert!(server.command(["approve", &change]).failure(1).contains("there is no change"));
    let again = agent.begin("web:mount('/z', function() return 'x' end)");
    assert_ne!(again, change);
    assert!(agent.refused(commit()).contains("is not approved"));
    is_recorded(&server, &change);
}

/// Who approved what, and what became of it.
#[track_caller]
fn is_recorded(server: &Server, change: &str) {
    wait::until("the records are there", || {
        let shown = server.command(["audit", "show", "--json"]).success();
        let records: Vec<Value> =
            shown.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let ok = |record: &Value| record["result"]["ok"].as_str().unwrap_or_default().to_owned();
        let approved = records.iter().find(|record| ok(record).contains(change))?;
        let asked = records.iter().find(|record| record["seq"] == approved["of"])?;
        let committed = records.iter().find(|record| record["effect"]["generation"] == 2)?;
        assert_eq!(asked["text"], format!("approve change=\"{change}\""));
        assert!(asked["who"]["name"].as_str().expect("a name").starts_with("uid "), "{asked}");
        assert!(committed["who"]["name"].as_str().expect("a name").starts_with("admin "), "{committed}");
        assert!(ok(committed).starts_with("generation 2, approved by uid "), "{committed}");
        let diff = committed["effect"]["diff"][0].as_str().expect("a line");
        assert!(diff.starts_with("generation 2, approved by uid "), "{diff}");
        Some(())
    });
}

#[test]
fn no_other_way_publishes_what_has_to_be_approved() {
    let site = limited_site();
    let server = start(&site);
    server.eval("web:mount('/old', function() return 'old' end)");
    let mut agent = Agent::log_in(&site, &server);
    let mut refused = |statement: &str| agent.refused(json!({ "op": "eval", "source": statement }));
    for statement in [
        "web:mount('/x', function() end)",
        "web:mount('/x', function() end) commit(60)",
        "pcall(function() web:mount('/x', function() end) commit() end)",
        "medusa.every(60, function() end)",
        "web.mounts[1]:remove()",
    ] {
        let why = refused(statement);
        assert!(why.contains("has to be approved by somebody else: `begin()` it"), "{statement}: {why}");
    }
    let why = refused("begin() web:mount('/x', function() end) commit()");
    assert!(why.contains("`commit()` comes first in its statement"), "{why}");
    for statement in
        ["reload()", "reload(60)", "rollback(1)", "save('why')", "stop()", "kill(1)", "drain(1)", "reopen()"]
    {
        let why = refused(statement);
        assert!(why.contains("others have to approve what you change"), "{statement}: {why}");
    }
    for statement in
        ["local x = rollback(1)", "local x = save('why')", "local x = drain(1)", "medusa.monitor.kill(1)"]
    {
        let why = refused(statement);
        assert!(why.contains("others have to approve what you change"), "{statement}: {why}");
    }
    assert!(refused("local x = preview()").contains("a statement of its own"));
    assert_eq!(server.eval("#generations()").trim(), "2");

    // What others have on trial is theirs.
    server.eval("web:mount('/theirs', function() end) commit(60)");
    for statement in ["confirm()", "cancel()", "return confirm()", "return cancel()", "return commit(1)"] {
        let why = refused(statement);
        assert!(why.contains("generation 3 is on trial by somebody else"), "{statement}: {why}");
    }
    server.eval("confirm()");
    assert_eq!((server.get("/old").text(), server.get("/x").status), ("old".into(), 404));
}

#[test]
fn an_approval_is_of_the_trial_too_and_of_no_other_base() {
    let site = limited_site();
    let server = start(&site);
    let mut agent = Agent::log_in(&site, &server);
    for (end, status) in [("confirm()", 200), ("cancel()", 404)] {
        let change = agent.begin(&format!("web:mount('/{status}', function() return 'ok' end)"));
        approve(&server, &change);
        agent.done(json!({ "op": "commit", "change": change, "confirm": 60 }));
        agent.run(end);
        assert_eq!(server.get(&format!("/{status}")).status, status, "{end}");
    }
    // What comes behind `commit` is no part of it, nor is it published.
    for (number, (commit, why_not)) in
        [("commit()", "has to be approved by somebody else"), ("commit(600)", "is not confirmed yet")]
            .into_iter()
            .enumerate()
    {
        let change = agent.begin(&format!("web:mount('/seen{number}', function() return 'seen' end)"));
        approve(&server, &change);
        let statement = format!("{commit} web:mount('/late', function() end)");
        let why = agent.refused(json!({ "op": "eval", "source": statement }));
        assert!(why.contains(why_not), "{why}");
        assert_eq!(server.get(&format!("/seen{number}")).text(), "seen", "it was approved");
        assert_eq!(server.get("/late").status, 404, "{commit}");
    }
    agent.run("confirm()");
    // Who is limited approves what is within that.
    let port = port(&server);
    let change = agent.begin("web:mount('/api/x', function() return 'x' end)");
    let approves = |change: &str| ran_by(&site, port, "limited", &format!("approve(\"{change}\")"));
    let (status, out, error) = approves(&change);
    assert_eq!((status, out.starts_with("change ")), (Some(0), true), "{out}{error}");
    agent.done(commit());
    let change = agent.begin("web:mount('/api2', function() end)");
    let (status, _, error) = approves(&change);
    assert_eq!(status, Some(1));
    assert!(error.contains("/api2 is not yours to change: your rights end at the mounts /api/"), "{error}");
    assert!(approves("1234").2.contains("there is no change \"1234\""));
    // The same key approves nothing of its own, and it is not asked what it is called.
    site.write("keys", site.read("key.pub"));
    let (_, _, error) = ran_by(&site, port, "key", &format!("approve(\"{change}\")"));
    assert!(error.contains("was begun by your own login (key SHA256:"), "{error}");

    approve(&server, &change);
    let now: u64 = server
        .eval("web:mount('/theirs', function() end) return #generations() + 1")
        .trim()
        .parse()
        .expect("a number");
    let told = server.command(["approve", &change]).failure(1);
    assert!(told.contains(&format!("was begun on generation {}, and {now} is there now", now - 1)), "{told}");
    let why = agent.refused(commit());
    assert!(why.contains(&format!("was begun on generation {}, and {now} is there now", now - 1)), "{why}");
    assert_eq!(server.get("/api2").status, 404);
    // What is given up is gone.
    let change = agent.begin("web:mount('/late', function() end)");
    agent.run("abort()");
    assert!(server.command(["approve", &change]).failure(1).contains("there is no change"));
    let change = agent.begin("web:mount('/late', function() end)");
    drop(agent);
    wait::until("it goes with its session", || {
        let told = server.command(["approve", &change]);
        (told.failure(1).contains("there is no change")).then_some(())
    });
}

#[test]
fn who_needs_no_approval_may_still_say_what_is_to_be_published() {
    let site = limited_site();
    let server = start(&site);
    let mut client = Client::connect(server.state()).expect("the control socket");
    let mut ask = |op: Op| client.call(&op, |_event| {}).expect("it is done");
    ask(Op::Eval { source: "begin()".into() });
    ask(Op::Eval { source: "web:mount('/x', function() return 'x' end)".into() });
    let change = ask(Op::Preview { change: None }).preview.expect("a change").change;
    let done = ask(Op::Commit { change: Some(change), confirm: None, reason: Some("why".into()) });
    assert!(done.report.expect("a report").starts_with("generation 2: + /x"));
    // What was committed so is, when it is done once more elsewhere, though it has another name there.
    let (again, state) = (web(""), server.state().as_os_str());
    let again = start(&again);
    let into = again.state().as_os_str();
    wait::until("the record is there", || {
        let shown = server.command(["audit", "show"]).success();
        shown.lines().any(|line| line.contains("result of") && line.contains("generation 2")).then_some(())
    });
    let words = ["audit", "replay", "--yes", "--into"].map(AsRef::as_ref);
    MEDUSA.run(words.into_iter().chain([into, "--state".as_ref(), state])).success();
    assert_eq!(again.get("/x").text(), "x");

    let statements = "begin()\nweb:mount('/y', function() return 'x' end)\nreturn commit(nil, { change = '0123456789ab' })\n";
    let words = ["attach", "--state", server.state().to_str().expect("UTF-8")];
    let told = MEDUSA.run_reading(words, statements).failure(1);
    assert!(told.contains("by now, and not 0123456789ab: nothing was published"), "{told}");
    assert_eq!(server.get("/y").status, 404);
}

#[test]
fn a_prompt_tells_what_waits_for_approval() {
    let site = limited_site();
    let server = start(&site);
    let tmux = Tmux::run(&prompt_by(&site, port(&server), "key"));
    tmux.expect(&[">"]);
    let said = |what: &str, part: &str| {
        wait::until(what, || tmux.screen().iter().find(|line| line.contains(part)).cloned())
    };
    for statement in ["begin()", "web:mount('/x', function() return 'x' end)", "preview()"] {
        tmux.write(statement);
        tmux.press(["Enter"]);
        wait::until(statement, || tmux.screen().last().is_some_and(|last| last == "begun>").then_some(()));
    }
    let shown = said("the preview", "not approved: `approve(\"");
    let change = shown.split('"').nth(1).expect("a name").to_owned();
    assert!(tmux.screen().iter().any(|line| line == "+ /x"), "{:?}", tmux.screen());
    approve(&server, &change);
    said("the news", &format!(": change {change} is approved"));
    tmux.write("commit()");
    tmux.press(["Enter"]);
    said("the report", "generation 2, approved by uid ");
    assert_eq!(server.get("/x").text(), "x");
}
