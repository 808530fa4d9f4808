//! A server in numbers, over one second: as `top` shows it, in a line or on a screen.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::shown::Escaped;
use crate::status::Value;

/// The mounts that are named.
pub const MOST_BUSY: usize = 10;

/// A server in numbers, over one second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TopSample {
    /// Requests answered in a second.
    pub requests: f64,
    /// Of those, with a 5xx.
    pub errors: f64,
    /// Half of them took no longer, in milliseconds; none: there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// All but a hundredth took no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    /// Open connections.
    pub connections: u64,
    /// Records that wait to be written by all logs.
    pub logs_waiting: u64,
    /// Records that were lost, since the logs are there.
    pub logs_lost: u64,
    /// Bytes that scripts hold in all VMs.
    pub vm_bytes: u64,
    /// The VMs.
    pub vms: u64,
    /// What is on trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<TopTrial>,
    /// The busiest mounts, at most [`MOST_BUSY`].
    pub mounts: Vec<TopMount>,
}

/// A change on trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopTrial {
    /// The generation.
    pub generation: u64,
    /// The seconds that are left to confirm it.
    pub seconds: f64,
}

/// A mount in numbers, over one second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopMount {
    /// The name of its server.
    pub server: String,
    /// Its pattern.
    pub mount: String,
    /// Requests answered in a second.
    pub requests: f64,
    /// Of those, with a 5xx.
    pub errors: f64,
}

/// A number of something in a second.
fn rate(rate: f64) -> String {
    if rate < 99.95 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

fn millis(millis: Option<f64>) -> String {
    match millis {
        None => "-".to_owned(),
        Some(millis) if millis < 9.995 => format!("{millis:.2} ms"),
        Some(millis) if millis < 99.95 => format!("{millis:.1} ms"),
        Some(millis) => format!("{millis:.0} ms"),
    }
}

impl fmt::Display for TopTrial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gen {} reverts in {:.0} s", self.generation, self.seconds.ceil())
    }
}

impl fmt::Display for TopSample {
    /// `152 req/s, 0.0 err/s, p50 0.41 ms, p99 3.20 ms, 12 open, logs 0 waiting 0 lost, VMs 12.3 MiB, gen 9 reverts in 52 s, busiest /api/ 120/s`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, errors, connections, logs_waiting, logs_lost, vm_bytes, trial, mounts, .. } =
            self;
        let (requests, errors) = (rate(*requests), rate(*errors));
        let (p50, p99) = (millis(self.p50_ms), millis(self.p99_ms));
        write!(f, "{requests} req/s, {errors} err/s, p50 {p50}, p99 {p99}, {connections} open, ")?;
        write!(f, "logs {logs_waiting} waiting {logs_lost} lost, VMs {}", Value::Bytes(*vm_bytes))?;
        if let Some(trial) = trial {
            write!(f, ", {trial}")?;
        }
        if let Some(TopMount { mount, requests, .. }) = mounts.first() {
            write!(f, ", busiest {} {}/s", Escaped::line(mount), rate(*requests))?;
        }
        Ok(())
    }
}

impl TopSample {
    /// For a screen of so many columns and rows, in lines that fit.
    pub fn screen(&self, columns: usize, rows: usize) -> Vec<String> {
        let Self { requests, errors, connections, logs_waiting, logs_lost, vm_bytes, vms, .. } = self;
        let mut lines = vec![
            format!("requests  {:>8} /s", rate(*requests)),
            format!("errors    {:>8} /s", rate(*errors)),
            format!("latency   p50 {}, p99 {}", millis(self.p50_ms), millis(self.p99_ms)),
            format!("open      {connections} connections"),
            format!("logs      {logs_waiting} waiting, {logs_lost} lost"),
            format!("scripts   {} in {vms} VM{}", Value::Bytes(*vm_bytes), if *vms == 1 { "" } else { "s" }),
        ];
        lines.extend(self.trial.as_ref().map(|trial| format!("on trial  {trial}")));
        for TopMount { server, mount, requests, errors } in &self.mounts {
            let mut line = format!("{:>8} /s  ", rate(*requests));
            if *errors > 0.0 {
                let _ = write!(line, "{} err/s  ", rate(*errors));
            }
            let _ = write!(line, "{}", Escaped::line(mount));
            let several = self.mounts.iter().any(|other| other.server != *server);
            if several {
                let _ = write!(line, "  at {}", Escaped::line(server));
            }
            lines.push(line);
        }
        lines.truncate(rows);
        lines.iter().map(|line| line.chars().take(columns).collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> TopSample {
        let mount = |mount: &str, requests, errors| TopMount {
            server: "http".into(),
            mount: mount.into(),
            requests,
            errors,
        };
        TopSample {
            requests: 1520.4,
            errors: 0.5,
            p50_ms: Some(0.412),
            p99_ms: Some(31.96),
            connections: 12,
            logs_waiting: 3,
            logs_lost: 0,
            vm_bytes: 3 << 20,
            vms: 3,
            trial: Some(TopTrial { generation: 9, seconds: 51.2 }),
            mounts: vec![mount("/api/", 1500.0, 0.5), mount("/\u{1b}[2J", 20.4, 0.0)],
        }
    }

    #[test]
    fn a_second_is_a_line() {
        assert_eq!(
            sample().to_string(),
            "1520 req/s, 0.5 err/s, p50 0.41 ms, p99 32.0 ms, 12 open, logs 3 waiting 0 lost, VMs 3.0 MiB, gen 9 reverts in 52 \
             s, busiest /api/ 1500/s"
        );
        let quiet = TopSample::default().to_string();
        assert_eq!(quiet, "0.0 req/s, 0.0 err/s, p50 -, p99 -, 0 open, logs 0 waiting 0 lost, VMs 0 B");
    }

    #[test]
    fn a_screen_is_as_large_as_it_may_be() {
        let lines = sample().screen(40, 24);
        assert_eq!(
            lines,
            [
                "requests      1520 /s",
                "errors         0.5 /s",
                "latency   p50 0.41 ms, p99 32.0 ms",
                "open      12 connections",
                "logs      3 waiting, 0 lost",
                "scripts   3.0 MiB in 3 VMs",
                "on trial  gen 9 reverts in 52 s",
                "    1500 /s  0.5 err/s  /api/",
                "    20.4 /s  /\\u{1b}[2J",
            ]
        );
        assert_eq!(sample().screen(10, 2), ["requests  ", "errors    "]);
    }

    #[test]
    fn a_sample_survives_the_way() {
        for sample in [sample(), TopSample::default()] {
            let json = serde_json::to_string(&sample).expect("JSON");
            assert_eq!(serde_json::from_str::<TopSample>(&json).expect("what we wrote"), sample);
        }
    }
}
