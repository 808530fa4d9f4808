//! A terminal that is not ours, with a person who types at it.

use std::ffi::OsStr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{PATIENCE, Process};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// A tmux server of its own with one window, in which a command line runs. It ends with it.
#[derive(Debug)]
pub struct Tmux(TempDir);

impl Tmux {
    /// Has a shell run `line` on a screen of 80 by 24.
    ///
    /// # Panics
    ///
    /// tmux is not installed, or fails.
    #[track_caller]
    pub fn run(line: &str) -> Self {
        let tmux = Self(tempfile::tempdir().expect("a temporary directory"));
        let config = tmux.0.path().join("config");
        std::fs::write(&config, "set -g status off\nset -g default-terminal tmux-256color\n")
            .expect("a file");
        let mut start = tmux.command(["-f".as_ref(), config.as_os_str()]);
        start.args(["new-session", "-d", "-x", "80", "-y", "24", line]).env("LC_ALL", "C.UTF-8");
        Process::start(&mut start).finish().success();
        tmux
    }

    fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.0.path().join("socket")).arg("-u").args(args);
        command
    }

    /// Types text as it is.
    #[track_caller]
    pub fn write(&self, text: &str) {
        Process::start(&mut self.command(["send-keys", "-l", "--", text])).finish().success();
    }

    /// Presses keys, by tmux's names of them: `Enter`, `C-c`, `Up`.
    #[track_caller]
    pub fn press<const N: usize>(&self, keys: [&str; N]) {
        Process::start(self.command(["send-keys"]).args(keys)).finish().success();
    }

    /// Pastes text, as by the mouse.
    #[track_caller]
    pub fn paste(&self, text: &str) {
        Process::start(&mut self.command(["set-buffer", "--", text])).finish().success();
        Process::start(&mut self.command(["paste-buffer", "-p"])).finish().success();
    }

    /// Makes the screen so wide.
    #[track_caller]
    pub fn resize(&self, columns: u16) {
        Process::start(&mut self.command(["resize-window", "-x", &columns.to_string()])).finish().success();
    }

    /// What is on the screen, line by line, without blanks at their ends and empty lines at the bottom.
    #[track_caller]
    pub fn screen(&self) -> Vec<String> {
        let text = Process::start(&mut self.command(["capture-pane", "-p"])).finish().success();
        text.trim_end().lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// Waits until the last lines on the screen are these.
    ///
    /// # Panics
    ///
    /// They do not become so.
    #[track_caller]
    pub fn expect(&self, lines: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if screen.ends_with(&lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>()) {
                return;
            }
            assert!(Instant::now() < deadline, "{lines:#?} were expected at the end of {screen:#?}");
            thread::park_timeout(PAUSE);
        }
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _gone = self.command(["kill-server"]).status();
    }
}
