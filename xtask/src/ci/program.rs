//! The program as the tests run it, which is the one that the other steps run, too.
//!
//! By itself it would be built with fewer features of what it depends on (tests want Tokio's clock that can be stopped):
//! Tokio, all that stands on it and all of ours would be compiled twice.

use std::path::PathBuf;

use crate::cmd::Cmd;
use crate::error::Result;
use crate::workspace::Workspace;

/// Builds it, and all tests.
pub(super) fn build() -> Cmd {
    Cmd::cargo("test --workspace --locked --no-run")
}

/// Its path, for a step that runs it: built, if that was not done before.
pub(super) fn built() -> Result<PathBuf> {
    build().args(["--quiet"]).run()?;
    Ok(Workspace::read()?.binary("debug", "medusa"))
}
