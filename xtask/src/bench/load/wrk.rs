//! Load by `wrk`, and the reading of its report.

use std::fmt;
use std::io::Write as _;
use std::time::Duration;

use tempfile::NamedTempFile;

use super::{Counted, Errors, Target};
use crate::cmd::Cmd;
use crate::error::{Error, Result};

/// How wrk presses.
#[derive(Debug, Clone, Copy)]
pub(in crate::bench) struct Wrk {
    /// Keep-alive connections. wrk has two threads for them, or one for one.
    pub(in crate::bench) connections: u32,
    /// Seconds a response may take.
    pub(in crate::bench) patience: u32,
    /// A field that every request has beside `Host`.
    pub(in crate::bench) header: Option<&'static str>,
    /// How many requests a connection has in flight.
    pub(in crate::bench) pipeline: Pipeline,
    /// The requests come from so many addresses, all different, by `X-Forwarded-For`; 0: no such field. Not with a
    /// pipeline.
    pub(in crate::bench) clients: u32,
    /// Every answer must be 4xx or 5xx, not 2xx.
    pub(in crate::bench) refused: bool,
}

/// How many requests a connection has in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) enum Pipeline {
    /// One; wrk makes it itself.
    Off,
    /// So many, written at once when the last answer of the batch before has come.
    Deep(u32),
}

/// What makes wrk pipeline: a request that is several. wrk counts every answer, and takes the time of the last.
const SCRIPT: &str = "\
local batch
init = function(args)
  local one = {}
  for i = 1, tonumber(args[1]) do one[i] = wrk.format() end
  batch = table.concat(one)
end
request = function() return batch end
";

/// What makes requests come from many addresses of 10.0.0.0/8, each of wrk's threads from every second one.
const CLIENTS: &str = "\
local threads = 0
setup = function(thread) thread:set(\"first\", threads) threads = threads + 1 end
local most, next
init = function(args) most = tonumber(args[1]) next = first end
request = function()
  next = (next + 2) % most
  local high, low = math.floor(next / 250) % 250, next % 250
  return wrk.format(nil, nil, { [\"X-Forwarded-For\"] = \"10.\" .. math.floor(next / 62500) .. \".\" .. high .. \".\" .. low })
end
";

impl Wrk {
    /// What every bench presses with unless it says otherwise.
    pub(in crate::bench) const USUAL: Self = Self {
        connections: 64,
        patience: 2,
        header: None,
        pipeline: Pipeline::Off,
        clients: 0,
        refused: false,
    };

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
        if let Some((_, argument)) = &script {
            wrk = wrk.args([argument.to_string()]);
        }
        let output = String::from_utf8_lossy(&wrk.output()?).into_owned();
        let mut counted = parse(&output)
            .ok_or_else(|| Error::Found(format!("`{wrk}` printed no report that can be read:\n{output}")))?;
        if self.refused {
            counted.errors.status = counted.requests.abs_diff(counted.errors.status);
        }
        Ok(counted)
    }

    /// The script in a file, and its argument.
    fn script(&self) -> Result<Option<(NamedTempFile, u32)>> {
        let (text, argument) = match (self.pipeline, self.clients) {
            (Pipeline::Deep(depth), _) => (SCRIPT, depth),
            (Pipeline::Off, 0) => return Ok(None),
            (Pipeline::Off, clients) => (CLIENTS, clients),
        };
        let file = NamedTempFile::with_suffix(".lua").and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            Ok(file)
        });
        Ok(Some((file.map_err(Error::io("write", "a script for wrk"))?, argument)))
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
        match self.pipeline {
            Pipeline::Off if self.clients > 0 => write!(f, ", from {} addresses", self.clients),
            Pipeline::Off => Ok(()),
            Pipeline::Deep(depth) => write!(f, ", {depth} in flight each"),
        }
    }
}

/// Reads wrk's report.
fn parse(report: &str) -> Option<Counted> {
    let after = |label: &str| {
        let line = report.lines().find_map(|line| line.trim_start().strip_prefix(label))?;
        Some(line.trim())
    };
    let totals = report.lines().find(|line| line.contains(" requests in "))?;
    Some(Counted {
        requests: totals.split_whitespace().next()?.parse().ok()?,
        bytes: bytes(totals.split_once(", ")?.1.strip_suffix(" read")?)?,
        per_second: after("Requests/sec:")?.parse().ok()?,
        p50: duration(after("50%")?)?,
        p99: duration(after("99%")?)?,
        max: duration(after("Latency")?.split_whitespace().nth(2)?)?,
        errors: errors(after("Socket errors:"), after("Non-2xx or 3xx responses:"))?,
    })
}

/// wrk leaves out a line when all its numbers are 0.
fn errors(socket: Option<&str>, status: Option<&str>) -> Option<Errors> {
    let mut errors = Errors::default();
    for part in socket.into_iter().flat_map(|line| line.split(',')) {
        let (kind, count) = part.trim().split_once(' ')?;
        let place = match kind {
            "connect" => &mut errors.connect,
            "read" => &mut errors.read,
            "write" => &mut errors.write,
            "timeout" => &mut errors.timeout,
            _ => return None,
        };
        *place = count.parse().ok()?;
    }
    if let Some(status) = status {
        errors.status = status.parse().ok()?;
    }
    Some(errors)
}

/// A number and its unit.
fn split_unit(text: &str) -> Option<(f64, &str)> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    Some((number.parse().ok()?, unit))
}

/// wrk writes `12.34us`, `1.20ms`, `2.00s`, `1.50m`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * seconds).ok()
}

/// wrk writes `512.00B`, `18.93MB`, in powers of 1024.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let power = ["B", "KB", "MB", "GB", "TB", "PB"].iter().position(|known| *known == unit)?;
    Some((number * 1024_f64.powi(i32::try_from(power).ok()?)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "\
Running 1s test @ http://127.0.0.1:8099/
  2 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.05ms    1.36ms  22.06ms   91.72%
    Req/Sec    40.73k     5.11k   52.52k    70.00%
  Latency Distribution
     50%  735.00us
     75%    1.19ms
     90%    2.14ms
     99%    7.05ms
  81036 requests in 1.00s, 18.50MB read
Requests/sec:  80963.58
Transfer/sec:     18.48MB
";

    #[test]
    fn a_report_is_read() {
        let counted = parse(REPORT).expect("a report");
        assert_eq!(
            counted,
            Counted {
                requests: 81_036,
                bytes: 37 << 19,
                per_second: 80_963.58,
                p50: Duration::from_micros(735),
                p99: Duration::from_micros(7_050),
                max: Duration::from_micros(22_060),
                errors: Errors::default(),
            }
        );
    }

    #[test]
    fn a_load_reads_as_it_is_typed() {
        assert_eq!(Wrk::USUAL.to_string(), "wrk -t2 -c64");
        assert_eq!(Wrk { connections: 1, ..Wrk::USUAL }.to_string(), "wrk -t1 -c1");
        let deep = Wrk { header: Some("A: b"), pipeline: Pipeline::Deep(16), ..Wrk::USUAL };
        assert_eq!(deep.to_string(), "wrk -t2 -c64 -H 'A: b', 16 in flight each");
    }

    #[test]
    fn errors_are_read() {
        let report = REPORT.replace(
            "Requests/sec",
            "  Socket errors: connect 1, read 20, write 300, timeout 4000\n  Non-2xx or 3xx responses: 50000\nRequests/sec",
        );
        let errors = parse(&report).expect("a report").errors;
        assert_eq!(errors, Errors { connect: 1, read: 20, write: 300, timeout: 4000, status: 50_000 });
    }

    #[test]
    fn what_is_no_report_is_refused() {
        assert_eq!(parse("unable to connect to 127.0.0.1:1 Connection refused\n"), None);
        assert_eq!(parse(&REPORT.replace("7.05ms", "7.05parsecs")), None);
        assert_eq!(parse(&REPORT.replace("18.50MB", "18.50XB")), None);
    }
}
