//! What most tests begin with.

use medusa_testkit::{Medusa, Server, Site, Tmux, wait};

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
