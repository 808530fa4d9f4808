//! Our side: the release binary on a script that the bench brings.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::side::{Side, Wire};
use serde_json::Value;

use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::server::Server;
use crate::workspace::Workspace;

/// A release build is ready at once; a minute would mean it hangs.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// The program as users run it.
#[derive(Debug)]
pub(super) struct Medusa {
    /// What it is called in messages.
    name: &'static str,
    program: PathBuf,
}

impl Medusa {
    /// Builds it.
    pub(super) fn build() -> Result<Self> {
        Cmd::cargo("build --release --locked --package medusa").run()?;
        Ok(Self { name: "medusa", program: Workspace::read()?.binary("release", "medusa") })
    }

    /// Another build of it, to compare with.
    pub(super) fn other(program: &Path) -> Result<Self> {
        let program = fs::canonicalize(program).map_err(Error::io("find", program))?;
        Ok(Self { name: "other", program })
    }

    /// Writes `files` (name, text), of which one is `site.luau`, into `folder` and serves them. `wire` says what the
    /// script makes of them; for TLS it finds `cert.pem` and `key.pem` beside itself.
    pub(super) fn start(
        &self,
        folder: &Path,
        files: &[(&str, &str)],
        workers: usize,
        wire: Wire,
    ) -> Result<Side> {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        if let Wire::Tls(identity) = &wire {
            for (from, name) in [(&identity.certificate, "cert.pem"), (&identity.key, "key.pem")] {
                fs::copy(from, folder.join(name)).map_err(Error::io("copy", from))?;
            }
        }
        for (name, text) in files {
            let path = folder.join(name);
            fs::write(&path, text).map_err(Error::io("write", &path))?;
        }
        let serve = self
            .command("serve", folder)
            .args(["--workers".to_owned(), workers.to_string()])
            .args([folder.join("site.luau")]);
        let server = Server::start(self.name, &serve)?;
        let address = server.wait_for_address(READY_WITHIN)?;
        Ok(Side::new(self.name, server, address, wire))
    }

    /// Runs a statement in the server of `folder` and returns what it printed, less the last line's end.
    pub(super) fn eval(&self, folder: &Path, statement: &str) -> Result<String> {
        let printed = self.command("eval", folder).args(["--", statement]).output()?;
        Ok(String::from_utf8_lossy(&printed).trim_end().to_owned())
    }

    /// Has the server of `folder` run its script anew.
    pub(super) fn reload(&self, folder: &Path) -> Result {
        let reload = self.command("reload", folder);
        let done = reload.to_command().output().map_err(Error::io("start", &self.program))?;
        if done.status.success() {
            return Ok(());
        }
        Err(Error::Found(format!("`{reload}` failed: {}", String::from_utf8_lossy(&done.stderr).trim_end())))
    }

    /// What the server of `folder` says of itself.
    pub(super) fn status(&self, folder: &Path) -> Result<Value> {
        let status = self.command("status", folder).args(["--json"]);
        let printed = status.output()?;
        serde_json::from_slice(&printed)
            .map_err(|error| Error::Found(format!("`{status}` printed no JSON: {error}")))
    }

    fn command(&self, name: &str, folder: &Path) -> Cmd {
        let state = folder.join("state");
        Cmd::new(&self.program).args([name, "--state"]).args([state])
    }
}
