//! `medusa passwd`: the users of a file.
//!
//! **Invariant:** a password is on no screen, in no list of processes and in no history: it is typed, or comes by standard input.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::Path;

use medusa_auth::MAX_PASSWORD;
use medusa_auth::passwd::{Changed, Done, Owner, remove, set, set_token};
use medusa_proto::with_causes;
use zeroize::Zeroizing;

use crate::attach::raw::RawMode;
use crate::term;

/// What becomes of a user.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    Password,
    Token,
    Remove,
}

impl Way {
    /// What flags say, of which there is one at most.
    pub(crate) fn of(remove: bool, token: bool) -> Self {
        match (remove, token) {
            (true, _) => Self::Remove,
            (false, true) => Self::Token,
            (false, false) => Self::Password,
        }
    }
}

/// Gives a user of a file a password or a token, or removes that user.
pub(crate) fn passwd(file: &Path, owner: Owner<'_>, way: Way) -> Result<(), String> {
    let user = owner.user;
    let changed = match way {
        Way::Remove => remove(file, owner),
        Way::Token => set_token(file, user).map(|(changed, token)| {
            term::answer(&*token);
            changed
        }),
        Way::Password => {
            let password = if io::stdin().is_terminal() { typed(user)? } else { piped()? };
            set(file, owner, &password)
        }
    };
    let Changed { done, wrong } = changed.map_err(|error| with_causes(&error))?;
    let file = file.display();
    // Beside a token, which may go elsewhere.
    term::note(match done {
        Done::Added => format!("added {user} to {file}"),
        Done::Replaced => format!("changed the password of {user} in {file}"),
        Done::Removed => format!("removed {user} from {file}"),
    });
    match wrong {
        None => Ok(()),
        Some(wrong) => Err(format!("it is written, but no server will take this file: {wrong}")),
    }
}

/// The first line of standard input.
fn piped() -> Result<Zeroizing<String>, String> {
    let mut line = Zeroizing::new(String::new());
    let most = MAX_PASSWORD as u64 + 2;
    io::stdin()
        .lock()
        .take(most)
        .read_line(&mut line)
        .map_err(|error| format!("cannot read a password from standard input: {error}"))?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    Ok(Zeroizing::new(password.strip_suffix('\r').unwrap_or(password).to_owned()))
}

/// What is typed, twice the same.
fn typed(user: &str) -> Result<Zeroizing<String>, String> {
    let password = ask(&format!("Password for {user}: "))?;
    let again = ask("Once more: ")?;
    if password == again {
        Ok(password)
    } else {
        Err("the two are not the same; nothing was changed".to_owned())
    }
}

/// What is typed behind a prompt, and not shown.
fn ask(prompt: &str) -> Result<Zeroizing<String>, String> {
    let failed = |error| format!("cannot read a password from the terminal: {error}");
    let mut stderr = io::stderr();
    let raw = RawMode::begin().map_err(failed)?;
    let asked = write!(stderr, "{prompt}").and_then(|()| stderr.flush());
    let typed = asked.and_then(|()| line(io::stdin().lock()));
    drop(raw);
    let _gone = writeln!(stderr);
    let typed = typed.map_err(failed)?.ok_or_else(|| "nothing was changed".to_owned())?;
    match std::str::from_utf8(&typed) {
        Ok(typed) => Ok(Zeroizing::new(typed.to_owned())),
        Err(_invalid) => Err("what was typed is not UTF-8; nothing was changed".to_owned()),
    }
}

/// A line of keys; none if it was given up.
fn line(keys: impl BufRead) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const BACKSPACE: u8 = 8;
    const KILL: u8 = 0x15;
    const DELETE: u8 = 0x7f;
    // So that nothing is left of it where it would have had to grow.
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_PASSWORD + 1));
    for key in keys.bytes() {
        match key? {
            b'\r' | b'\n' => return Ok(Some(line)),
            INTERRUPT | END => return Ok(None),
            KILL => line.clear(),
            BACKSPACE | DELETE => {
                // All bytes of a character.
                while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            key if line.len() <= MAX_PASSWORD => line.push(key),
            _ => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_edited_and_not_shown() {
        let typed = |keys: &str| line(keys.as_bytes()).expect("readable").map(|line| line.to_vec());
        assert_eq!(typed("secret\rmore"), Some(b"secret".to_vec()));
        assert_eq!(typed("secreö\u{7f}t\n"), Some(b"secret".to_vec()));
        assert_eq!(typed("\u{8}\u{7f}wrong\u{15}right\r"), Some(b"right".to_vec()));
        assert_eq!(typed("secret\u{3}\r"), None);
        assert_eq!(typed("secret\u{4}\r"), None);
        assert_eq!(typed("secret"), None);
        assert_eq!(typed(&format!("{}\r", "x".repeat(1000))).map(|line| line.len()), Some(MAX_PASSWORD + 1));
    }
}
