//! The smoke test: the program as a newcomer meets it. Start it on the sample site, fetch the page, stop it.

use super::program;
use crate::error::{Error, Result};
use crate::term;
use crate::workspace::{self, runnable};

/// Runs it with the binary of the dev profile.
pub(super) fn run() -> Result {
    let site = workspace::root().join("site");
    let server = runnable(&program::built()?).serve(site).listen("127.0.0.1:0").start();
    let (address, page) = (server.address(), server.get("/"));
    if page.status != 200 || page.body.is_empty() {
        let (status, length) = (page.status, page.body.len());
        return Err(Error::Found(format!(
            "http://{address}/ answered {status} with {length} bytes, not 200 with a page; medusa said:\n{}",
            server.stderr().text()
        )));
    }
    server.terminate();
    term::note(&format!(
        "smoke: http://{address}/ answered {} bytes; SIGTERM ended it well",
        page.body.len()
    ));
    Ok(())
}
