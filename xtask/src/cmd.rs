//! Programs to run: built once, run in the repository's root, and shown as the line a person would type.

use std::ffi::OsString;
use std::fmt;
use std::process::{Command, ExitStatus, Stdio};

use crate::error::{Error, Result};
use crate::workspace;

/// A program, its arguments and the environment variables it is given on top of ours.
#[derive(Debug, Clone)]
pub(crate) struct Cmd {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, &'static str)>,
}

impl Cmd {
    /// `program`, found through `PATH`.
    pub(crate) fn new(program: impl Into<OsString>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), environment: Vec::new() }
    }

    /// `cargo` with these words, split at spaces.
    pub(crate) fn cargo(words: &str) -> Self {
        Self::new("cargo").args(words.split_whitespace())
    }

    /// Adds arguments.
    pub(crate) fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable for the program.
    pub(crate) fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    /// The program as the standard library runs it: in the root of the repository, nothing to read on stdin.
    pub(crate) fn to_command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(self.environment.iter().copied());
        command.current_dir(workspace::root()).stdin(Stdio::null());
        command
    }

    /// Runs it to its end; what it prints is seen as it comes.
    pub(crate) fn run(&self) -> Result {
        let status = self.to_command().status().map_err(|source| self.cannot_start(source))?;
        self.succeeded(status)
    }

    /// Runs it to its end and returns its stdout; its stderr is seen as it comes.
    pub(crate) fn output(&self) -> Result<Vec<u8>> {
        let mut command = self.to_command();
        let output = command.stderr(Stdio::inherit()).output().map_err(|source| self.cannot_start(source))?;
        self.succeeded(output.status)?;
        Ok(output.stdout)
    }

    fn succeeded(&self, status: ExitStatus) -> Result {
        if status.success() { Ok(()) } else { Err(Error::Failed { command: self.to_string(), status }) }
    }

    fn cannot_start(&self, source: std::io::Error) -> Error {
        Error::Start { command: self.to_string(), source }
    }
}

/// The line to paste into a shell.
impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(f, "{name}={} ", quoted(value))?;
        }
        write!(f, "{}", quoted(&self.program.to_string_lossy()))?;
        for argument in &self.arguments {
            write!(f, " {}", quoted(&argument.to_string_lossy()))?;
        }
        Ok(())
    }
}

/// The word as a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shown_line_can_be_pasted_into_a_shell() {
        let cmd = Cmd::cargo("doc --no-deps").env("RUSTDOCFLAGS", "-D warnings").args(["it's"]);
        assert_eq!(cmd.to_string(), r"RUSTDOCFLAGS='-D warnings' cargo doc --no-deps 'it'\''s'");
    }

    #[test]
    fn a_failing_program_is_named_with_its_status() {
        let error = Cmd::new("false").run().expect_err("false fails");
        assert_eq!(error.to_string(), "`false` failed (exit status: 1)");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Cmd::new("no-such-program-here").output().expect_err("it does not exist");
        assert!(error.to_string().starts_with("cannot start `no-such-program-here`: "), "{error}");
    }
}
