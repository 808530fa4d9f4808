//! What most tests begin with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use medusa_testkit::{Medusa, Process, Server, Session, Site, Tmux, wait};
use serde_json::Value;
use tempfile::TempDir;

/// The program under test.
pub(crate) const MEDUSA: Medusa = Medusa::new(env!("CARGO_BIN_EXE_medusa"));

/// The first line of most scripts: one server, on a free port.
pub(crate) const WEB: &str = "web = medusa.http.server { listen = '127.0.0.1:0' }\n";

/// What `drift` says where nothing differs.
pub(crate) const NO_DRIFT: &str =
    "none: what runs is what is written (what is within tables is not compared)";

/// A directory with a script that begins with [`WEB`].
#[track_caller]
pub(crate) fn web(script: &str) -> Site {
    Site::script(&format!("{WEB}{script}"))
}

/// Starts the script of a directory.
#[track_caller]
pub(crate) fn start(site: &Site) -> Server {
    MEDUSA.serve(site.path()).start()
}

/// Types a long line at the prompt on a clear screen, and sees that the screen may become narrow, and wide again, while the cursor
/// is in the middle of it.
pub(crate) fn is_drawn_anew(tmux: &Tmux) {
    tmux.write(&format!("-- {}", "long ".repeat(14)));
    tmux.press(["M-b", "M-b"]);
    tmux.expect(&[format!("> -- {}", "long ".repeat(14)).trim_end()]);
    for columns in [30, 29, 80] {
        tmux.resize(columns);
        wait::until("the line is drawn once", || {
            let screen = tmux.screen();
            (screen.len() == 75_usize.div_ceil(columns.into()) && screen[0].starts_with("> -- long"))
                .then_some(())
        });
    }
}

/// A text in which no statement has a number: they are those of sessions, of which tests have many.
pub(crate) fn unnumbered(text: &str) -> String {
    let mut parts = text.split("statement-");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '/'));
    rest.fold(first, |text, part| text + "statement" + part)
}

/// A file system of its own, of so many KiB. Gone with the value.
pub(crate) struct SmallDisk {
    /// Holds it: a process that nobody else shares it with.
    holder: Process,
    mounted: TempDir,
}

impl SmallDisk {
    #[track_caller]
    pub(crate) fn new(kib: u32) -> Self {
        let mounted = tempfile::tempdir().expect("a directory");
        let at = mounted.path().display();
        let mount = format!("mount -t tmpfs -o size={kib}k tmpfs '{at}' && echo mounted && exec sleep 600");
        let holder = Process::start(Command::new("unshare").args(["-rm", "sh", "-c", &mount]));
        holder.stdout().wait_for("mounted");
        Self { holder, mounted }
    }

    /// Its path for others.
    pub(crate) fn path(&self) -> PathBuf {
        let inside = self.mounted.path().strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(self.holder.pid().to_string()).join("root").join(inside)
    }
}

/// A statement that shows what comes for as long as it runs, as lines of JSON.
pub(crate) struct Watching(Session);

impl Watching {
    /// Begins it, and waits until the site counts one more in `gauge`.
    #[track_caller]
    pub(crate) fn begin(server: &Server, gauge: &str, statement: &str) -> Self {
        let before = server.number("site", gauge);
        let mut session = Session::begin(server);
        session.eval(statement);
        wait::until("it is on", || (server.number("site", gauge) > before).then_some(()));
        Self(session)
    }

    #[track_caller]
    pub(crate) fn reply(&mut self) -> Value {
        self.0.reply()
    }

    /// The next line that is shown.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let reply = self.reply();
        assert_eq!(reply["reply"], "output", "{reply}");
        reply["text"].as_str().expect("text").to_owned()
    }

    /// What it comes to.
    #[track_caller]
    pub(crate) fn end(mut self) -> String {
        let reply = self.reply();
        assert_eq!(reply["reply"], "done", "{reply}");
        reply["value"].as_str().expect("a value").to_owned()
    }
}

/// The names in a directory; none if it is not there.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
