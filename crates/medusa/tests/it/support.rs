//! What most tests begin with.

use medusa_testkit::{Medusa, Server, Site};

/// The program under test.
pub(crate) const MEDUSA: Medusa = Medusa::new(env!("CARGO_BIN_EXE_medusa"));

/// The first line of most scripts: one server, on a free port.
pub(crate) const WEB: &str = "web = medusa.http.server { listen = '127.0.0.1:0' }\n";

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
