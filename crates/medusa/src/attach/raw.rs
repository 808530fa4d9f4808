//! The terminal while it is ours: each key at once, nothing echoed, Ctrl-C a key.
//!
//! **Invariant:** it is given back as it was on every way out that a program can take: a return, an error, a panic. (Signals
//! are returns here.)

use std::io;

use medusa_monitor::terminal::Size;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The modes the terminal had.
#[derive(Debug)]
pub(crate) struct RawMode(Termios);

impl RawMode {
    pub(crate) fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        let this = Self(before);
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        Ok(this)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // What fails here fails for a terminal that is gone.
        let _gone = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}

/// How large the terminal is.
pub(super) fn size() -> io::Result<Size> {
    let size = tcgetwinsize(io::stdout())?;
    Ok(Size { columns: size.ws_col, rows: size.ws_row })
}
