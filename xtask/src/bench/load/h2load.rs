//! HTTP/2 load by `h2load` (nghttp2), and the reading of its report.

use std::fmt;
use std::fs;
use std::time::Duration;

use super::{Counted, Target, of_latencies};
use crate::cmd::Cmd;
use crate::error::{Error, Result};

/// A load by h2load. It has two threads.
#[derive(Debug, Clone, Copy)]
pub(in crate::bench) struct H2load {
    /// Connections.
    pub(in crate::bench) connections: u32,
    /// Requests in flight on each, a stream each.
    pub(in crate::bench) streams: u32,
}

impl H2load {
    pub(super) fn press(self, seconds: u32, target: Target<'_>) -> Result<Counted> {
        let log = tempfile::NamedTempFile::new().map_err(Error::io("create", "a log for h2load"))?;
        let h2load = Cmd::new("h2load")
            .args(self.options())
            .args([format!("-D{seconds}"), "--log-file".to_owned()])
            .args([log.path()])
            .args([target.url()]);
        let output = String::from_utf8_lossy(&h2load.output()?).into_owned();
        let log = fs::read_to_string(log.path()).map_err(Error::io("read", log.path()))?;
        parse(&output, &log)
            .ok_or_else(|| Error::Found(format!("`{h2load}` printed no report that can be read:\n{output}")))
    }

    fn options(self) -> [String; 3] {
        ["-t2".to_owned(), format!("-c{}", self.connections), format!("-m{}", self.streams)]
    }
}

/// As it is typed, less what changes from run to run: `h2load -t2 -c16 -m10`.
impl fmt::Display for H2load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "h2load {}", self.options().join(" "))
    }
}

/// Reads the report; latencies come from the log, because the report has no percentiles.
fn parse(report: &str, log: &str) -> Option<Counted> {
    let line = |start: &str| report.lines().find_map(|line| line.strip_prefix(start));
    let finished = line("finished in ")?;
    let (elapsed, rest) = finished.split_once(", ")?;
    let requests = line("requests: ")?;
    let mut counted = of_latencies(latencies(log)?, duration(elapsed)?, 0);
    counted.requests = number(requests, "succeeded")?;
    counted.per_second = rest.split_whitespace().next()?.parse().ok()?;
    counted.bytes = line("traffic: ")?.split_once('(')?.1.split_once(')')?.0.parse().ok()?;
    counted.broken.read = number(requests, "errored")?;
    counted.broken.timeout = number(requests, "timeout")?;
    let codes = line("status codes: ")?;
    counted.failed = number(codes, "4xx")? + number(codes, "5xx")?;
    Some(counted)
}

/// The number before `label` in `1 total, 2 started`.
fn number(line: &str, label: &str) -> Option<u64> {
    line.split(", ").find_map(|part| part.trim().strip_suffix(label))?.trim().parse().ok()
}

/// The third column of each line: microseconds until the response had ended.
fn latencies(log: &str) -> Option<Vec<Duration>> {
    let each = |line: &str| line.split('\t').nth(2)?.parse().ok().map(Duration::from_micros);
    log.lines().map(each).collect()
}

/// h2load writes `5.01s`, `850.12ms`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => (text.strip_suffix('s')?, 1.0),
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "\
starting benchmark...
finished in 2.00s, 1.50 req/s, 12.20KB/s
requests: 3 total, 13 started, 3 done, 3 succeeded, 0 failed, 1 errored, 2 timeout
status codes: 3 2xx, 0 3xx, 4 4xx, 5 5xx
traffic: 24.00KB (24576) total, 70B (70) headers (space savings 90.00%), 12.00KB (12288) data
                     min         max         mean         sd        +/- sd
time for request:      100us      2.00ms      1.00ms       100us    80.00%
";

    #[test]
    fn a_report_is_read_with_its_log() {
        let log = "1\t200\t100\n2\t200\t300\n3\t200\t2000\n";
        let counted = parse(REPORT, log).expect("a report");
        assert_eq!((counted.requests, counted.bytes), (3, 24_576));
        assert!((counted.per_second - 1.5).abs() < 1e-9);
        assert_eq!(counted.p50, Duration::from_micros(300));
        assert_eq!(counted.max, Duration::from_millis(2));
        assert_eq!((counted.broken.read, counted.broken.timeout, counted.failed), (1, 2, 9));
    }

    #[test]
    fn what_is_no_report_is_refused() {
        assert_eq!(parse("", ""), None);
        assert_eq!(parse(REPORT, "1\t200\n"), None);
        assert_eq!(parse(&REPORT.replace("2.00s", "soon"), ""), None);
    }
}
