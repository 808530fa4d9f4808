//! The smoke test: the program as a newcomer meets it. Start it on the sample site, fetch the page, stop it.

use std::time::Duration;

use super::program;
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::fetch;
use crate::server::{Server, spoken_status};
use crate::term;
use crate::workspace;

/// How long an unoptimised build may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long it may take to end; nothing is in flight.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// Runs it with the binary of the dev profile.
pub(super) fn run() -> Result {
    let program = program::built()?;
    let state = tempfile::tempdir().map_err(Error::io("create", "a temporary folder"))?;
    let medusa = Cmd::new(program)
        .args(["serve".into(), workspace::root().join("site").into_os_string()])
        .args(["--listen", "127.0.0.1:0", "--state"])
        .args([state.path()]);
    let mut server = Server::start("medusa", &medusa)?;
    let address = server.wait_for_address(READY_WITHIN)?;
    let page = fetch::get(address, "/")?;
    if page.status != 200 || page.body.is_empty() {
        return Err(Error::Found(format!(
            "http://{address}/ answered {} with {} bytes, not 200 with a page; medusa's last lines:\n{}",
            page.status,
            page.body.len(),
            server.last_lines()
        )));
    }
    let status = server.stop(ENDS_WITHIN)?;
    if !status.success() {
        return Err(Error::Found(format!(
            "medusa ended with {} on SIGTERM, not 0; its last lines:\n{}",
            spoken_status(status),
            server.last_lines()
        )));
    }
    term::note(&format!(
        "smoke: http://{address}/ answered {} bytes; SIGTERM ended it well",
        page.body.len()
    ));
    Ok(())
}
