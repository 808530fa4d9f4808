//! Many requests at a time on each connection, by `h2load`: HTTP/2, encrypted or not.

use std::fmt;
use std::fs;
use std::process::Command;
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::load::Report;
use crate::{PATIENCE, Process};

/// A load under way, of a fixed number of requests.
#[derive(Debug)]
pub struct H2Load {
    process: Process,
    requests: u64,
}

impl H2Load {
    /// Sends `requests` requests for `url` on `connections` connections, `streams` at a time on each. An `http` URL is
    /// asked by prior knowledge. Certificates are not looked at.
    ///
    /// # Panics
    ///
    /// It is not installed (Debian: `apt-get install nghttp2-client`).
    #[track_caller]
    pub fn start(url: &str, requests: u64, connections: u32, streams: u32) -> Self {
        Self::start_with(url, requests, connections, streams, &[])
    }

    /// Does as [`start`](Self::start), with more options of h2load's.
    ///
    /// # Panics
    ///
    /// As for [`start`](Self::start).
    #[track_caller]
    pub fn start_with(url: &str, requests: u64, connections: u32, streams: u32, more: &[&str]) -> Self {
        let mut command = Command::new("h2load");
        command.args([format!("-n{requests}"), format!("-c{connections}"), format!("-m{streams}")]);
        Self { process: Process::start(command.args(more).arg(url)), requests }
    }

    /// Whether all is done.
    pub fn is_done(&self) -> bool {
        self.process.stdout().text().contains("requests: ")
    }

    /// Waits for the end, and asserts that every request had its answer, a good one.
    ///
    /// # Panics
    ///
    /// One had not.
    #[track_caller]
    pub fn expect_clean(self) {
        let report = self.process.finish().success();
        let requests = self.requests;
        let clean = format!(
            "requests: {requests} total, {requests} started, {requests} done, {requests} succeeded, 0 failed, 0 errored, \
             0 timeout"
        );
        assert!(report.contains(&clean), "`{clean}` was expected of h2load:\n{report}");
        assert!(report.contains(&format!("status codes: {requests} 2xx, ")), "{report}");
    }
}

/// A load by h2load that is measured. It has two threads.
#[derive(Debug, Clone, Copy)]
pub struct Multiplexed {
    /// Connections.
    pub connections: u32,
    /// Requests in flight on each, a stream each.
    pub streams: u32,
}

impl Multiplexed {
    /// Presses on a URL, encrypted or not, for so many seconds. An `http` URL is asked by prior knowledge; certificates are
    /// not looked at.
    ///
    /// # Panics
    ///
    /// `h2load` is not installed, or prints what is not a report.
    #[track_caller]
    pub fn press(self, url: &str, seconds: u32) -> Report {
        let log = NamedTempFile::new().expect("a temporary file");
        let mut h2load = Command::new("h2load");
        h2load.args(self.options()).arg(format!("-D{seconds}")).arg("--log-file").arg(log.path()).arg(url);
        let mut process = Process::start(&mut h2load);
        process.wait_within(Duration::from_secs(seconds.into()) + PATIENCE);
        let finished = process.finish();
        let latencies = fs::read_to_string(log.path()).expect("its log");
        let report = parse(&finished.stdout, &latencies);
        report.unwrap_or_else(|| panic!("no report of h2load can be read in this: {finished}"))
    }

    fn options(self) -> [String; 3] {
        ["-t2".to_owned(), format!("-c{}", self.connections), format!("-m{}", self.streams)]
    }
}

/// As it is typed, less what changes from run to run: `h2load -t2 -c16 -m10`.
impl fmt::Display for Multiplexed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "h2load {}", self.options().join(" "))
    }
}

/// Reads the report; latencies come from the log, because the report has no percentiles.
fn parse(report: &str, log: &str) -> Option<Report> {
    let line = |start: &str| report.lines().find_map(|line| line.strip_prefix(start));
    let finished = line("finished in ")?;
    let (elapsed, rest) = finished.split_once(", ")?;
    let requests = line("requests: ")?;
    let mut counted = Report::of_latencies(latencies(log)?, duration(elapsed)?, 0);
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
