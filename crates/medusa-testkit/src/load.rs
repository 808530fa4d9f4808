//! Many connections at once, each with one request after the other, by `wrk`.

use std::fmt;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rustix::process::Signal;
use tempfile::NamedTempFile;

use crate::{Finished, PATIENCE, Process};

/// Longer than any test: a load ends when it is told to.
const FOREVER: Duration = Duration::from_mins(10);

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
        let wrk = Wrk { connections, ..Wrk::USUAL };
        Self { wrk: Process::start(&mut wrk.command(url, FOREVER, None)), _alone: alone }
    }

    /// Ends it and returns what it came to. The last response of each connection may not be waited for.
    ///
    /// # Panics
    ///
    /// wrk has ended before, or prints what is not a report.
    #[track_caller]
    pub fn stop(mut self) -> Report {
        self.wrk.signal(Signal::INT);
        Report::of(&self.wrk.finish())
    }
}

/// A load by wrk.
#[derive(Debug, Clone, Copy)]
pub struct Wrk {
    /// Keep-alive connections. wrk has two threads for them, or one for one.
    pub connections: u32,
    /// Seconds a response may take.
    pub patience: u32,
    /// A field that every request has beside `Host`.
    pub header: Option<&'static str>,
    /// What each of them asks for.
    pub asks: Asks,
    /// Every answer must be 4xx or 5xx, not 2xx.
    pub refused: bool,
}

/// What a connection asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
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
    /// What most press with.
    pub const USUAL: Self =
        Self { connections: 64, patience: 2, header: None, asks: Asks::Singly, refused: false };

    /// Presses on a URL, encrypted or not, for so many seconds. Certificates are not looked at.
    ///
    /// # Panics
    ///
    /// `wrk` is not installed, or prints what is not a report.
    #[track_caller]
    pub fn press(&self, url: &str, seconds: u32) -> Report {
        let script = self.script();
        let time = Duration::from_secs(seconds.into());
        let mut wrk = Process::start(&mut self.command(url, time, script.as_ref()));
        wrk.wait_within(time + PATIENCE);
        let mut report = Report::of(&wrk.finish());
        if self.refused {
            report.failed = report.requests.abs_diff(report.failed);
        }
        report
    }

    fn command(&self, url: &str, time: Duration, script: Option<&(NamedTempFile, Vec<String>)>) -> Command {
        let mut wrk = Command::new("wrk");
        wrk.args(self.options()).args(["--latency", &format!("-d{}s", time.as_secs())]);
        wrk.args(["--timeout", &format!("{}s", self.patience)]);
        if let Some(header) = self.header {
            wrk.args(["-H", header]);
        }
        if let Some((file, _)) = script {
            wrk.arg("-s").arg(file.path());
        }
        wrk.arg(url).args(script.into_iter().flat_map(|(_, arguments)| arguments));
        wrk
    }

    /// The script in a file, and its arguments.
    fn script(&self) -> Option<(NamedTempFile, Vec<String>)> {
        let (text, arguments) = match self.asks {
            Asks::Singly => return None,
            Asks::Pipelined(depth) => (include_str!("load/pipeline.lua"), vec![depth.to_string()]),
            Asks::As(clients) => (include_str!("load/clients.lua"), vec![clients.to_string()]),
            Asks::For(paths) => {
                (include_str!("load/paths.lua"), paths.iter().map(|&path| path.to_owned()).collect())
            }
        };
        let mut file = NamedTempFile::with_suffix(".lua").expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        Some((file, arguments))
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

impl Report {
    /// Reads what wrk has printed.
    #[track_caller]
    fn of(finished: &Finished) -> Self {
        let report = Self::parse(&finished.stdout);
        report.unwrap_or_else(|| panic!("no report of wrk can be read in this: {finished}"))
    }

    /// The report of a load of which the latency of every response is known, all of which came within `elapsed`.
    pub fn of_latencies(mut latencies: Vec<Duration>, elapsed: Duration, bytes: u64) -> Self {
        latencies.sort_unstable();
        let count = latencies.len();
        let at = |share: f64| {
            let rank = (count as f64 * share).ceil() as usize;
            latencies.get(rank.saturating_sub(1)).copied().unwrap_or_default()
        };
        Self {
            requests: count as u64,
            bytes,
            per_second: count as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE),
            p50: at(0.50),
            p99: at(0.99),
            max: at(1.0),
            ..Self::default()
        }
    }

    /// Asserts that every request had its answer, a good one, and that there were some.
    #[track_caller]
    pub fn expect_clean(&self) {
        assert!(
            self.requests > 0 && self.broken == Broken::default() && self.failed == 0,
            "requests were lost: {self:?}"
        );
    }

    /// Reads what `wrk --latency` prints; `None` if that is no report.
    fn parse(report: &str) -> Option<Self> {
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

    #[test]
    fn a_load_reads_as_it_is_typed() {
        assert_eq!(Wrk::USUAL.to_string(), "wrk -t2 -c64");
        assert_eq!(Wrk { connections: 1, ..Wrk::USUAL }.to_string(), "wrk -t1 -c1");
        let deep = Wrk { header: Some("A: b"), asks: Asks::Pipelined(16), ..Wrk::USUAL };
        assert_eq!(deep.to_string(), "wrk -t2 -c64 -H 'A: b', 16 in flight each");
        let two = Wrk { asks: Asks::For(&["/a", "/b"]), ..Wrk::USUAL };
        assert_eq!(two.to_string(), "wrk -t2 -c64, for 2 paths in turn");
    }

    #[test]
    fn latencies_are_added_up() {
        let latencies = (1..=200).rev().map(Duration::from_millis).collect();
        let counted = Report::of_latencies(latencies, Duration::from_secs(4), 7);
        assert_eq!((counted.requests, counted.bytes), (200, 7));
        assert!((counted.per_second - 50.0).abs() < 1e-9);
        let milliseconds = [counted.p50, counted.p99, counted.max].map(|latency| latency.as_millis());
        assert_eq!(milliseconds, [100, 198, 200]);
        assert_eq!(Report::of_latencies(Vec::new(), Duration::ZERO, 0).max, Duration::ZERO);
    }
}
