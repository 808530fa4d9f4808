//! Load by `wrk`, and the reading of its report.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cmd::Cmd;
use crate::error::{Error, Result};

/// Threads of the load generator, and connections.
const THREADS: u32 = 2;
const CONNECTIONS: u32 = 64;
/// Seconds of load that are not counted: caches fill, the allocator settles.
const WARM_UP: u32 = 2;

/// How hard to press.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Threads of the load generator.
    pub(super) threads: u32,
    /// Keep-alive connections, each with one request in flight.
    pub(super) connections: u32,
    /// How long, in seconds.
    pub(super) seconds: u32,
}

/// What wrk counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Counted {
    /// Responses received.
    pub(super) requests: u64,
    /// Responses per second.
    pub(super) per_second: f64,
    /// The latency half of the requests stayed below.
    pub(super) p50: Duration,
    /// The latency 99 of 100 requests stayed below.
    pub(super) p99: Duration,
    /// The highest latency of all.
    pub(super) max: Duration,
    /// What went wrong.
    pub(super) errors: Errors,
}

/// What went wrong, by kind, as wrk tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Errors {
    /// Connections that could not be made.
    pub(super) connect: u64,
    /// Connections that broke while a response was awaited.
    pub(super) read: u64,
    /// Connections that broke while a request was sent.
    pub(super) write: u64,
    /// Requests without an answer within two seconds.
    pub(super) timeout: u64,
    /// Responses other than 2xx and 3xx.
    pub(super) status: u64,
}

impl Load {
    /// What every bench presses with: 2 threads, 64 connections.
    pub(super) fn lasting(seconds: u32) -> Self {
        Self { threads: THREADS, connections: CONNECTIONS, seconds }
    }

    /// The same for two seconds, before anything is counted.
    pub(super) fn warm_up() -> Self {
        Self::lasting(WARM_UP)
    }

    /// Presses on `http://address/path` and returns what was counted. Errors of the server are counted, not returned.
    pub(super) fn press(self, address: SocketAddr, path: &str) -> Result<Counted> {
        let wrk = Cmd::new("wrk")
            .args(self.options())
            .args(["--latency".to_owned(), format!("http://{address}{path}")]);
        let output = String::from_utf8_lossy(&wrk.output()?).into_owned();
        parse(&output)
            .ok_or_else(|| Error::Found(format!("`{wrk}` printed no report that can be read:\n{output}")))
    }

    fn options(self) -> [String; 3] {
        let Self { threads, connections, seconds } = self;
        [format!("-t{threads}"), format!("-c{connections}"), format!("-d{seconds}s")]
    }
}

/// As it is typed: `wrk -t2 -c64 -d5s`.
impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wrk {}", self.options().join(" "))
    }
}

/// Every kind there was: `2 failed reads, 1 failed writes`; `none`.
impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return f.write_str("none");
        }
        let Self { connect, read, write, timeout, status } = self;
        let kinds = [
            (connect, "failed connects"),
            (read, "failed reads"),
            (write, "failed writes"),
            (timeout, "requests that took over two seconds"),
            (status, "answers that are not 2xx"),
        ];
        let told =
            kinds.iter().filter(|(count, _)| **count > 0).map(|(count, kind)| format!("{count} {kind}"));
        f.write_str(&told.collect::<Vec<_>>().join(", "))
    }
}

impl Counted {
    /// Every number, under the names that all reports use.
    pub(super) fn as_json(&self) -> Value {
        json!({
            "requests": self.requests,
            "requests_per_second": self.per_second,
            "p50_seconds": self.p50.as_secs_f64(),
            "p99_seconds": self.p99.as_secs_f64(),
            "max_seconds": self.max.as_secs_f64(),
        })
    }
}

/// Reads wrk's report.
fn parse(report: &str) -> Option<Counted> {
    let after = |label: &str| {
        let line = report.lines().find_map(|line| line.trim_start().strip_prefix(label))?;
        Some(line.trim())
    };
    let requests = report.lines().find(|line| line.contains(" requests in "))?;
    Some(Counted {
        requests: requests.split_whitespace().next()?.parse().ok()?,
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

/// wrk writes `12.34us`, `1.20ms`, `2.00s`, `1.50m`.
fn duration(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
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
  81036 requests in 1.00s, 18.93MB read
Requests/sec:  80963.58
Transfer/sec:     18.91MB
";

    #[test]
    fn a_report_is_read() {
        let counted = parse(REPORT).expect("a report");
        assert_eq!(
            counted,
            Counted {
                requests: 81_036,
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
        assert_eq!(Load::lasting(5).to_string(), "wrk -t2 -c64 -d5s");
    }

    #[test]
    fn errors_are_told_by_kind() {
        let report = REPORT.replace(
            "Requests/sec",
            "  Socket errors: connect 1, read 20, write 300, timeout 4000\n  Non-2xx or 3xx responses: 50000\nRequests/sec",
        );
        let errors = parse(&report).expect("a report").errors;
        assert_eq!(errors, Errors { connect: 1, read: 20, write: 300, timeout: 4000, status: 50_000 });
        assert_eq!(
            errors.to_string(),
            "1 failed connects, 20 failed reads, 300 failed writes, 4000 requests that took over two seconds, \
             50000 answers that are not 2xx"
        );
        assert_eq!(Errors::default().to_string(), "none");
        assert_eq!(Errors { read: 2, ..Errors::default() }.to_string(), "2 failed reads");
    }

    #[test]
    fn what_is_no_report_is_refused() {
        assert_eq!(parse("unable to connect to 127.0.0.1:1 Connection refused\n"), None);
        assert_eq!(parse(&REPORT.replace("7.05ms", "7.05parsecs")), None);
    }
}
