//! Load by `wrk`, and the reading of its report.

use std::net::SocketAddr;
use std::time::Duration;

use crate::cmd::Cmd;
use crate::error::{Error, Result};

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
    /// Socket errors and timeouts, and responses other than 2xx and 3xx.
    pub(super) errors: u64,
}

impl Load {
    /// Presses on `http://address/path` and returns what was counted. Errors of the server are counted, not returned.
    pub(super) fn press(self, address: SocketAddr, path: &str) -> Result<Counted> {
        let wrk = Cmd::new("wrk").args([
            format!("-t{}", self.threads),
            format!("-c{}", self.connections),
            format!("-d{}s", self.seconds),
            "--latency".to_owned(),
            format!("http://{address}{path}"),
        ]);
        let output = String::from_utf8_lossy(&wrk.output()?).into_owned();
        parse(&output)
            .ok_or_else(|| Error::Found(format!("`{wrk}` printed no report that can be read:\n{output}")))
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
        errors: errors(after("Socket errors:"), after("Non-2xx or 3xx responses:"))?,
    })
}

/// Adds up both kinds; wrk leaves out a line when all its numbers are 0.
fn errors(socket: Option<&str>, status: Option<&str>) -> Option<u64> {
    let mut sum = 0;
    for part in socket.into_iter().flat_map(|line| line.split(',')) {
        sum += part.split_whitespace().nth(1)?.parse::<u64>().ok()?;
    }
    if let Some(status) = status {
        sum += status.parse::<u64>().ok()?;
    }
    Some(sum)
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
                errors: 0,
            }
        );
    }

    #[test]
    fn every_kind_of_error_counts() {
        let report = REPORT.replace(
            "Requests/sec",
            "  Socket errors: connect 1, read 20, write 300, timeout 4000\n  Non-2xx or 3xx responses: 50000\nRequests/sec",
        );
        assert_eq!(parse(&report).map(|counted| counted.errors), Some(54_321));
    }

    #[test]
    fn what_is_no_report_is_refused() {
        assert_eq!(parse("unable to connect to 127.0.0.1:1 Connection refused\n"), None);
        assert_eq!(parse(&REPORT.replace("7.05ms", "7.05parsecs")), None);
    }
}
