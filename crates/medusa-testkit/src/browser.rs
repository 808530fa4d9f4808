//! A page as a real browser sees it: Chromium without a window.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Client, Process, WebSocket, wait};

/// No window, no service of its maker, no cores of others: what a test on a server wants of it.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox", // it refuses to run as root with one, and loads nothing but our own pages here
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage", // containers give it 64 MiB
];

/// Loads `url` with all that belongs to the page, and returns the document as it stands then.
///
/// # Panics
///
/// Chromium is not installed (Debian: `apt-get install chromium`), or fails.
#[track_caller]
pub fn load(url: &str) -> String {
    load_with(url, &[])
}

/// Does as [`load`], with more flags of Chromium's.
///
/// # Panics
///
/// As for [`load`].
#[track_caller]
pub fn load_with(url: &str, flags: &[&str]) -> String {
    let profile = tempfile::tempdir().expect("a temporary directory");
    let mut chromium = Command::new("chromium");
    chromium.args(FLAGS).args(flags).arg(format!("--user-data-dir={}", profile.path().display()));
    Process::start(chromium.args(["--dump-dom", url])).finish().success()
}

/// A browser that stays, and is told what to do by its own protocol
/// ([CDP](https://chromedevtools.github.io/devtools-protocol/)).
#[derive(Debug)]
pub struct Browser {
    /// A page of it.
    page: WebSocket,
    asked: u64,
    _process: Process,
    _profile: TempDir,
}

impl Browser {
    /// Starts one, with a profile of its own and an empty page.
    ///
    /// # Panics
    ///
    /// Chromium is not installed (Debian: `apt-get install chromium`), or does not start.
    #[track_caller]
    pub fn start() -> Self {
        let profile = tempfile::tempdir().expect("a temporary directory");
        let mut chromium = Command::new("chromium");
        chromium.args(FLAGS).args(["--remote-debugging-port=0", "about:blank"]);
        chromium.arg(format!("--user-data-dir={}", profile.path().display()));
        let process = Process::start(&mut chromium);
        let line = process.stderr().wait_for("DevTools listening on ws://");
        let (_, url) = line.split_once("ws://").expect("an address");
        let (address, path) = url.trim().split_once('/').expect("a path");
        let address = address.parse().expect("an address");
        // Under another name it takes nothing.
        let open = |path: String| WebSocket::open(Client::connect(address), &path, &[("Host", "localhost")]);
        let mut browser = open(format!("/{path}"));
        let page = wait::until("there is a page", || {
            let targets = call(&mut browser, 1, "Target.getTargets", &json!({})).ok()?;
            let targets = targets["targetInfos"].as_array()?;
            let page = targets.iter().find(|target| target["type"] == "page")?;
            page["targetId"].as_str().map(str::to_owned)
        });
        let page = open(format!("/devtools/page/{page}"));
        let mut browser = Self { page, asked: 0, _process: process, _profile: profile };
        browser.done("Page.enable", &json!({}));
        browser
    }

    /// Goes to a page, and waits until it is there with all that belongs to it.
    ///
    /// # Panics
    ///
    /// It cannot be loaded.
    #[track_caller]
    pub fn go(&mut self, url: &str) {
        let gone = self.done("Page.navigate", &json!({ "url": url }));
        assert!(gone["errorText"].is_null(), "{url}: {gone}");
        self.wait_for("document.readyState == 'complete'");
    }

    /// Runs a statement in the page, whatever comes of it: it may lead to another.
    #[track_caller]
    pub fn run(&mut self, statement: &str) {
        let _gone = self.evaluated(statement);
    }

    /// What an expression comes to in the page, or the promise that it is.
    ///
    /// # Panics
    ///
    /// It throws.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        self.evaluated(expression).unwrap_or_else(|thrown| panic!("{expression}: {thrown}"))
    }

    /// Waits until an expression is true in the page, be that the one that comes next.
    #[track_caller]
    pub fn wait_for(&mut self, expression: &str) {
        let test = format!("Boolean({expression})");
        wait::until(expression, || (self.evaluated(&test).ok()? == true).then_some(()));
    }

    /// Clicks on what a selector finds first.
    ///
    /// # Panics
    ///
    /// There is nothing.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        self.eval(&format!("document.querySelector({}).click()", json!(selector)));
    }

    /// Chooses files in a field for them.
    ///
    /// # Panics
    ///
    /// There is no such field.
    #[track_caller]
    pub fn choose(&mut self, selector: &str, files: &[&Path]) {
        let document = self.done("DOM.getDocument", &json!({}));
        let root = &document["root"]["nodeId"];
        let field = self.done("DOM.querySelector", &json!({ "nodeId": root, "selector": selector }));
        self.done("DOM.setFileInputFiles", &json!({ "nodeId": field["nodeId"], "files": files }));
    }

    /// Has scripts of pages run, or not.
    #[track_caller]
    pub fn scripts(&mut self, run: bool) {
        self.done("Emulation.setScriptExecutionDisabled", &json!({ "value": !run }));
    }

    /// Makes it a phone's screen, so many pixels wide.
    #[track_caller]
    pub fn phone(&mut self, width: u32) {
        let screen = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": true });
        self.done("Emulation.setDeviceMetricsOverride", &screen);
    }

    /// The value of an expression; an error if it throws, or the page goes.
    #[track_caller]
    fn evaluated(&mut self, expression: &str) -> Result<Value, Value> {
        let given = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true
        });
        let mut answer = self.call("Runtime.evaluate", &given)?;
        match answer["exceptionDetails"].take() {
            Value::Null => Ok(answer["result"]["value"].take()),
            thrown => Err(thrown),
        }
    }

    #[track_caller]
    fn done(&mut self, method: &str, given: &Value) -> Value {
        self.call(method, given).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    #[track_caller]
    fn call(&mut self, method: &str, given: &Value) -> Result<Value, Value> {
        self.asked += 1;
        call(&mut self.page, self.asked, method, given)
    }
}

/// Has something done, and returns what came of it: the result, or why there is none.
#[track_caller]
fn call(socket: &mut WebSocket, id: u64, method: &str, given: &Value) -> Result<Value, Value> {
    socket.send(&json!({ "id": id, "method": method, "params": given }).to_string());
    loop {
        let mut answer: Value = serde_json::from_str(&socket.text()).expect("JSON");
        if answer["method"] == "Page.javascriptDialogOpening" {
            // It asks whether the page may be left. Nobody waits for what comes of saying so.
            let yes =
                json!({ "id": 0, "method": "Page.handleJavaScriptDialog", "params": { "accept": true } });
            socket.send(&yes.to_string());
        }
        // Others are events.
        if answer["id"] == id {
            return if answer["error"].is_null() { Ok(answer["result"].take()) } else { Err(answer) };
        }
    }
}
