//! `systemd-journald`: the journal that is not ours, with a `/run` of its own, which nobody else sees.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::{Process, run, wait};

/// What becomes the journal: in its own view of the files, where it may think it is the machine's only one.
const BECOME: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal /run/log/journal && \
                      exec /lib/systemd/systemd-journald";

/// A running journal. Killed when it is dropped.
#[derive(Debug)]
pub struct Journald(Process);

impl Journald {
    /// Starts it, and waits until it listens.
    ///
    /// # Panics
    ///
    /// It does not: it is not installed, or there may be no namespaces.
    #[track_caller]
    pub fn start() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", BECOME]);
        let journald = Self(Process::start(&mut command));
        wait::until("the journal listens", || journald.socket().exists().then_some(()));
        journald
    }

    /// Its address.
    pub fn socket(&self) -> PathBuf {
        self.at("systemd/journal/socket")
    }

    /// The messages of the program that goes by this name, as soon as that are `count` messages or more: by
    /// `journalctl`.
    #[track_caller]
    pub fn messages(&self, identifier: &str, count: usize) -> Vec<Value> {
        wait::until(&format!("the journal has {count} messages"), || {
            let directory = self.at("log/journal").display().to_string();
            let journal =
                run("journalctl", ["-D", &directory, "-t", identifier, "-o", "json", "--all", "-q"]);
            let messages = journal.success();
            let messages = messages.lines().map(|line| serde_json::from_str(line).expect("JSON"));
            let messages: Vec<Value> = messages.collect();
            (messages.len() >= count).then_some(messages)
        })
    }

    /// A path in its own `/run`.
    fn at(&self, path: &str) -> PathBuf {
        format!("/proc/{}/root/run/{path}", self.0.pid()).into()
    }
}
