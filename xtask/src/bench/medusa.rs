//! Our side: the release binary on a script of two mounts.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::server::Server;
use crate::workspace::Workspace;

/// The site, as a user would write it; no `log`, so no access log.
const SITE: &str = r#"-- The site of `cargo xtask bench http`.
web = medusa.http.server { listen = "127.0.0.1:0" }
web:mount("/", medusa.handler.files("public"))
web:mount("/hello/{name}", medusa.handler.script("hello.luau"))
"#;
/// The script handler.
const HELLO: &str = "return function(req) return \"Hello, \" .. req.params.name .. \"!\\n\" end\n";
/// A release build is ready at once; a minute would mean it hangs.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Builds the program as users run it.
pub(super) fn build() -> Result {
    Cmd::cargo("build --release --locked --package medusa").run()
}

/// Starts medusa in `folder`, whose `public` folder holds the documents.
pub(super) fn start(folder: &Path, workers: usize) -> Result<(Server, SocketAddr)> {
    for (name, text) in [("site.luau", SITE), ("hello.luau", HELLO)] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(Error::io("write", &path))?;
    }
    let medusa = Cmd::new(Workspace::read()?.binary("release", "medusa"))
        .args(["serve".into(), folder.join("site.luau").into_os_string()])
        .args(["--workers".to_owned(), workers.to_string()])
        .args(["--state".into(), folder.join("state").into_os_string()]);
    let server = Server::start("medusa", &medusa)?;
    let address = server.wait_for_address(READY_WITHIN)?;
    Ok((server, address))
}
