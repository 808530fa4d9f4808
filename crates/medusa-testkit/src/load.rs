//! Many connections at once, each with one request after the other, by `wrk`.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rustix::process::Signal;

use crate::Process;

/// Longer than any test: a load ends when it is told to.
const FOREVER: &str = "600s";

/// One load at a time: two would measure each other. (Between processes, the test runner sees to that.)
static ALONE: Mutex<()> = Mutex::new(());

/// A load under way.
#[derive(Debug)]
pub struct Load {
    wrk: Process,
    _alone: MutexGuard<'static, ()>,
}

/// The outcome of a load.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Report {
    /// Responses that came.
    pub requests: u64,
    /// Bytes that came, heads included.
    pub bytes: u64,
    /// Responses in a second.
    pub per_second: f64,
    /// Connections that could not be made or broke, and requests without an answer in time.
    pub broken: Broken,
    /// Responses that were not 2xx or 3xx.
    pub failed: u64,
    /// Half of the responses came sooner.
    pub p50: Duration,
    /// 99 of 100 responses came sooner.
    pub p99: Duration,
    /// The last to come took so long.
    pub max: Duration,
}

/// The errors of connections, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Broken {
    /// Connections that could not be made.
    pub connect: u64,
    /// Connections that broke while a response was awaited.
    pub read: u64,
    /// Connections that broke while a request was sent.
    pub write: u64,
    /// Requests without an answer within wrk's patience.
    pub timeout: u64,
}

impl Load {
    /// Presses on `path` with `connections` connections, by two threads.
    ///
    /// # Panics
    ///
    /// `wrk` is not installed.
    #[track_caller]
    pub fn start(address: SocketAddr, path: &str, connections: u32) -> Self {
        Self::on(&format!("http://{address}{path}"), connections)
    }

    /// Presses on a URL, encrypted or not, as [`start`](Self::start) does. Certificates are not looked at.
    ///
    /// # Panics
    ///
    /// `wrk` is not installed.
    #[track_caller]
    pub fn on(url: &str, connections: u32) -> Self {
        let alone = ALONE.lock();
        let mut wrk = Command::new("wrk");
        wrk.args(["-t2", &format!("-c{connections}"), "-d", FOREVER, "--latency"]);
        wrk.arg(url);
        Self { wrk: Process::start(&mut wrk), _alone: alone }
    }

    /// Ends it and returns what it came to. The last response of each connection may not be waited for.
    ///
    /// # Panics
    ///
    /// wrk has ended before, or prints what is not a report.
    #[track_caller]
    pub fn stop(mut self) -> Report {
        self.wrk.signal(Signal::INT);
        let finished = self.wrk.finish();
        Report::parse(&finished.stdout)
            .unwrap_or_else(|| panic!("no report of wrk can be read in this: {finished}"))
    }
}

impl Report {
    /// Asserts that every request had its answer, a good one, and that there were some.
    #[track_caller]
    pub fn expect_clean(&self) {
        assert!(
            self.requests > 0 && self.broken == Broken::default() && self.failed == 0,
            "requests were lost: {self:?}"
        );
    }

    /// Reads what `wrk --latency` prints; `None` if that is no report.
    pub fn parse(report: &str) -> Option<Self> {
        let after = |label: &str| report.lines().find_map(|line| line.trim_start().strip_prefix(label));
        let totals = report.lines().find(|line| line.contains(" requests in "))?;
        Some(Self {
            requests: totals.split_whitespace().next()?.parse().ok()?,
            bytes: bytes(totals.split_once(", ")?.1.strip_suffix(" read")?)?,
            per_second: after("Requests/sec:")?.trim().parse().ok()?,
            // A line whose numbers are all 0 is left out.
            broken: after("Socket errors:").map_or(Some(Broken::default()), broken)?,
            failed: after("Non-2xx or 3xx responses:").map_or(Some(0), |count| count.trim().parse().ok())?,
            p50: duration(after("50%")?)?,
            p99: duration(after("99%")?)?,
            max: duration(after("Latency")?.split_whitespace().nth(2)?)?,
        })
    }
}

/// Reads `connect 1, read 2, write 3, timeout 4`.
fn broken(counts: &str) -> Option<Broken> {
    let mut broken = Broken::default();
    for count in counts.split(',') {
        let (kind, count) = count.trim().split_once(' ')?;
        let place = match kind {
            "connect" => &mut broken.connect,
            "read" => &mut broken.read,
            "write" => &mut broken.write,
            "timeout" => &mut broken.timeout,
            _ => return None,
        };
        *place = count.parse().ok()?;
    }
    Some(broken)
}

/// A number and its unit.
fn split_unit(text: &str) -> Option<(f64, &str)> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    Some((number.parse().ok()?, unit))
}

/// wrk writes `12.34us`, `1.20ms`, `2.00s`, `1.50m`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text.trim())?;
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
Running 10m test @ http://127.0.0.1:8099/
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
Transfer/sec:     18.91MB
";

    #[test]
    fn a_report_is_read() {
        let report = Report::parse(REPORT).expect("a report");
        let [p50, p99, max] = [735, 7_050, 22_060].map(Duration::from_micros);
        let broken = Broken::default();
        let (bytes, per_second) = (37 << 19, 80_963.58);
        assert_eq!(report, Report { requests: 81_036, bytes, per_second, broken, failed: 0, p50, p99, max });
        report.expect_clean();
    }

    #[test]
    fn errors_are_told_apart() {
        let errors = "  Socket errors: connect 1, read 20, write 300, timeout 4000\n  Non-2xx or 3xx responses: 50000\n";
        let report = Report::parse(&REPORT.replace("Requests/sec:", &format!("{errors}Requests/sec:")));
        let report = report.expect("a report");
        let broken = Broken { connect: 1, read: 20, write: 300, timeout: 4000 };
        assert_eq!((report.broken, report.failed), (broken, 50_000));
    }

    #[test]
    #[should_panic(expected = "requests were lost")]
    fn no_request_is_not_a_success() {
        let report = Report::parse(&REPORT.replace("81036 requests", "0 requests"));
        report.expect("a report").expect_clean();
    }

    #[test]
    fn what_is_no_report_is_refused() {
        assert_eq!(Report::parse("unable to connect to 127.0.0.1:1 Connection refused\n"), None);
        assert_eq!(Report::parse(&REPORT.replace("7.05ms", "7.05parsecs")), None);
        assert_eq!(Report::parse(&REPORT.replace("18.50MB", "18.50XB")), None);
    }
}
