//! Load by `wrk`.

use std::fmt;
use std::io::Write as _;

use tempfile::NamedTempFile;

use super::{Counted, Target};
use crate::cmd::Cmd;
use crate::error::{Error, Result};

/// A load by wrk.
#[derive(Debug, Clone, Copy)]
pub(in crate::bench) struct Wrk {
    /// Keep-alive connections. wrk has two threads for them, or one for one.
    pub(in crate::bench) connections: u32,
    /// Seconds a response may take.
    pub(in crate::bench) patience: u32,
    /// A field that every request has beside `Host`.
    pub(in crate::bench) header: Option<&'static str>,
    pub(in crate::bench) asks: Asks,
    /// Every answer must be 4xx or 5xx, not 2xx.
    pub(in crate::bench) refused: bool,
}

/// What a connection asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) enum Asks {
    /// The target's path, one request at a time; wrk makes it itself.
    Singly,
    /// So many at once, written when the last answer of the batch before has come.
    Pipelined(u32),
    /// One at a time, from so many addresses, all different, by `X-Forwarded-For`.
    As(u32),
    /// One at a time for these paths in turn, in place of the target's.
    For(&'static [&'static str]),
}

impl Wrk {
    /// What every bench presses with unless it says otherwise.
    pub(in crate::bench) const USUAL: Self =
        Self { connections: 64, patience: 2, header: None, asks: Asks::Singly, refused: false };

    pub(super) fn press(&self, seconds: u32, target: Target<'_>) -> Result<Counted> {
        let script = self.script()?;
        let mut wrk = Cmd::new("wrk").args(self.options()).args([format!("-d{seconds}s")]);
        wrk = wrk.args(["--latency".to_owned(), "--timeout".to_owned(), format!("{}s", self.patience)]);
        if let Some(header) = self.header {
            wrk = wrk.args(["-H", header]);
        }
        if let Some((file, _)) = &script {
            wrk = wrk.args(["-s".as_ref(), file.path().as_os_str()]);
        }
        wrk = wrk.args([target.url()]);
        if let Some((_, arguments)) = script {
            wrk = wrk.args(arguments);
        }
        let output = String::from_utf8_lossy(&wrk.output()?).into_owned();
        let mut counted = Counted::parse(&output)
            .ok_or_else(|| Error::Found(format!("`{wrk}` printed no report that can be read:\n{output}")))?;
        if self.refused {
            counted.failed = counted.requests.abs_diff(counted.failed);
        }
        Ok(counted)
    }

    /// The script in a file, and its arguments.
    fn script(&self) -> Result<Option<(NamedTempFile, Vec<String>)>> {
        let (text, arguments) = match self.asks {
            Asks::Singly => return Ok(None),
            Asks::Pipelined(depth) => (include_str!("pipeline.lua"), vec![depth.to_string()]),
            Asks::As(clients) => (include_str!("clients.lua"), vec![clients.to_string()]),
            Asks::For(paths) => {
                (include_str!("paths.lua"), paths.iter().map(|&path| path.to_owned()).collect())
            }
        };
        let file = NamedTempFile::with_suffix(".lua").and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            Ok(file)
        });
        Ok(Some((file.map_err(Error::io("write", "a script for wrk"))?, arguments)))
    }

    fn options(&self) -> [String; 2] {
        // wrk wants a connection for each of its threads.
        [format!("-t{}", self.connections.min(2)), format!("-c{}", self.connections)]
    }
}

/// As it is typed, less what changes from run to run: `wrk -t2 -c64`.
impl fmt::Display for Wrk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wrk {}", self.options().join(" "))?;
        if let Some(header) = self.header {
            write!(f, " -H '{header}'")?;
        }
        match self.asks {
            Asks::Singly => Ok(()),
            Asks::Pipelined(depth) => write!(f, ", {depth} in flight each"),
            Asks::As(clients) => write!(f, ", from {clients} addresses"),
            Asks::For(paths) => write!(f, ", for {} paths in turn", paths.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_reads_as_it_is_typed() {
        assert_eq!(Wrk::USUAL.to_string(), "wrk -t2 -c64");
        assert_eq!(Wrk { connections: 1, ..Wrk::USUAL }.to_string(), "wrk -t1 -c1");
        let deep = Wrk { header: Some("A: b"), asks: Asks::Pipelined(16), ..Wrk::USUAL };
        assert_eq!(deep.to_string(), "wrk -t2 -c64 -H 'A: b', 16 in flight each");
        let two = Wrk { asks: Asks::For(&["/a", "/b"]), ..Wrk::USUAL };
        assert_eq!(two.to_string(), "wrk -t2 -c64, for 2 paths in turn");
    }
}
