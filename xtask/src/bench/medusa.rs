//! Our side: the release binary on a script that the bench brings.

use std::fs;
use std::path::Path;

use medusa_testkit::Site;

use super::side::{Running, Side, Wire};
use crate::cmd::Cmd;
use crate::environment;
use crate::error::{Error, Result};
use crate::workspace::{Workspace, runnable};

/// What ours is called in messages and reports.
pub(super) const NAME: &str = "medusa";

/// The program as users run it.
#[derive(Debug)]
pub(super) struct Medusa {
    /// What it is called in messages.
    name: &'static str,
    program: medusa_testkit::Medusa,
}

impl Medusa {
    /// Builds it.
    pub(super) fn build() -> Result<Self> {
        Cmd::cargo("build --release --locked --package medusa").run()?;
        Ok(Self { name: NAME, program: runnable(&Workspace::read()?.binary("release", "medusa")) })
    }

    /// Another build of it, to compare with.
    pub(super) fn other(program: &Path) -> Result<Self> {
        let program = fs::canonicalize(program).map_err(Error::io("find", program))?;
        Ok(Self { name: "other", program: runnable(&program) })
    }

    /// Serves `site.luau` of `site`, by a worker for each core. `wire` says what the script makes of its listener; for TLS
    /// it finds `cert.pem` and `key.pem` beside itself.
    pub(super) fn start(&self, site: Site, wire: Wire) -> Side {
        if let Wire::Tls(identity) = &wire {
            site.write("cert.pem", &identity.issued.cert);
            site.write("key.pem", &identity.issued.key);
        }
        let serve = self.program.serve(site.at("site.luau")).arg("--workers");
        let server = serve.arg(environment::cores().to_string()).start();
        Side {
            name: self.name,
            address: server.address(),
            running: Running::Ours(server),
            wire,
            _site: Some(site),
        }
    }
}
