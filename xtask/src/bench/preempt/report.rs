//! What the bench found: the table for people, the JSON for machines.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::beside::Beside;
use crate::bench::load::Counted;
use crate::bench::report::{Line, Machine, WIDEST, bar, median};
use crate::term;

/// One stretch of load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// What the load generator counted.
    pub(super) counted: Counted,
    /// How often a script beside it was stopped; `None` where there was none.
    pub(super) stopped: Option<u64>,
}

/// The stretches of load with the same beside them, a round each.
#[derive(Debug)]
pub(super) struct Phase {
    pub(super) beside: Beside,
    pub(super) samples: Vec<Sample>,
}

impl Phase {
    /// Nothing is measured yet.
    pub(super) fn new(beside: Beside) -> Self {
        Self { beside, samples: Vec::new() }
    }

    fn per_second(&self) -> f64 {
        median(self.samples.iter().map(|sample| sample.counted.per_second).collect())
    }

    /// The median over the rounds, in milliseconds.
    fn latency(&self, of: fn(&Counted) -> Duration) -> f64 {
        median(self.samples.iter().map(|sample| milliseconds(of(&sample.counted))).collect())
    }

    fn p99(&self) -> f64 {
        self.latency(|counted| counted.p99)
    }

    /// The lowest and the highest p99 of a round: how far to trust the median.
    fn p99_spread(&self) -> (f64, f64) {
        let rounds = self.samples.iter().map(|sample| milliseconds(sample.counted.p99));
        rounds.fold((f64::INFINITY, 0.0), |(low, high), p99| (p99.min(low), p99.max(high)))
    }

    /// The highest of all rounds.
    fn max(&self) -> Duration {
        self.samples.iter().map(|sample| sample.counted.max).max().unwrap_or_default()
    }

    /// In all rounds together.
    fn stopped(&self) -> Option<u64> {
        self.samples.iter().map(|sample| sample.stopped).sum()
    }
}

/// What the server held, in bytes of resident memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// When it was ready, before the first request.
    pub(super) ready: u64,
    /// After the warm-up, before anything ran away.
    pub(super) warm: u64,
    /// After everything.
    pub(super) end: u64,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) load: String,
    pub(super) memory: Memory,
    /// The first is the one with nobody beside it.
    pub(super) phases: Vec<Phase>,
}

/// The table, with a picture of the latency.
pub(super) fn table(report: &Report) -> String {
    let Report { machine, load, memory, phases } = report;
    let mut text = format!("\n{machine}\n{load}, no errors\n\n");
    text += &term::bold("beside the load      requests/s      p50 ms      p99 ms      max ms    stopped\n");
    for phase in phases {
        row(&mut text, phase);
    }
    text += &term::bold("\np99, nobody's = 1.0\n");
    pictures(&mut text, phases);
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let _infallible = write!(
        text,
        "\nmemory of the server: {:.1} MiB when ready, {:.1} after the warm-up, {:.1} at the end",
        mebibytes(memory.ready),
        mebibytes(memory.warm),
        mebibytes(memory.end)
    );
    text
}

fn row(text: &mut String, phase: &Phase) {
    let stopped = phase.stopped().map_or_else(|| "-".to_owned(), |count| count.to_string());
    let _infallible = writeln!(
        text,
        "{:<18} {:>12.0} {:>11.2} {:>11.2} {:>11.2} {stopped:>10}",
        phase.beside,
        phase.per_second(),
        phase.latency(|counted| counted.p50),
        phase.p99(),
        milliseconds(phase.max()),
    );
}

/// The longest bar fills its room, the others are in proportion.
fn pictures(text: &mut String, phases: &[Phase]) {
    let Some(alone) = phases.first().map(Phase::p99) else { return };
    let longest = phases.iter().map(Phase::p99).fold(0.0, f64::max);
    for phase in phases {
        let p99 = phase.p99();
        let (low, high) = phase.p99_spread();
        let _infallible = writeln!(
            text,
            "{:<18} {} {:.1} (rounds {low:.2} to {high:.2} ms)",
            phase.beside,
            bar(p99 / longest * WIDEST),
            p99 / alone
        );
    }
}

/// The same for the table of all benches.
pub(super) fn lines(report: &Report) -> Vec<Line> {
    let alone = report.phases.first().map_or(f64::NAN, Phase::p99);
    let line = |phase: &Phase| {
        let ratio = phase.p99() / alone;
        Line {
            what: format!("p99 beside: {}", phase.beside),
            ours: format!("{:.2} ms", phase.p99()),
            theirs: format!("nobody {alone:.2} ms"),
            ratio: format!("{ratio:.2}"),
            target: phase.beside.most().map(|most| (format!("at most {most:.1}"), ratio <= most)),
        }
    };
    report.phases.iter().map(line).collect()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The same, with every sample.
pub(super) fn as_json(report: &Report) -> Value {
    let Memory { ready, warm, end } = report.memory;
    json!({
        "machine": report.machine.as_json(),
        "load": report.load,
        "resident_bytes": { "ready": ready, "warm": warm, "end": end },
        "phases": report.phases.iter().map(phase_as_json).collect::<Vec<_>>(),
    })
}

fn phase_as_json(phase: &Phase) -> Value {
    let rounds = phase.samples.iter().map(|sample| {
        let mut round = sample.counted.as_json();
        round["stopped"] = sample.stopped.into();
        round
    });
    json!({
        "beside": phase.beside.to_string(),
        "requests_per_second": phase.per_second(),
        "p50_seconds": phase.latency(|counted| counted.p50) / 1e3,
        "p99_seconds": phase.p99() / 1e3,
        "max_seconds": phase.max().as_secs_f64(),
        "stopped": phase.stopped(),
        "rounds": rounds.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A phase with a round for each p99, in milliseconds; the highest latency was ten times that.
    fn phase(beside: Beside, p99: &[u64], stopped: Option<u64>) -> Phase {
        let samples = p99.iter().map(|&ms| Sample {
            counted: Counted {
                requests: 1000,
                per_second: 2000.0,
                p50: Duration::from_millis(1),
                p99: Duration::from_millis(ms),
                max: Duration::from_millis(10 * ms),
                ..Counted::default()
            },
            stopped,
        });
        Phase { beside, samples: samples.collect() }
    }

    fn report() -> Report {
        Report {
            machine: Machine::look(),
            load: "wrk".to_owned(),
            memory: Memory { ready: 10 << 20, warm: 15 << 20, end: 31 << 19 },
            phases: vec![
                phase(Beside::Nobody, &[2, 2, 4], None),
                phase(Beside::Timer, &[5, 6, 20], Some(3)),
                phase(Beside::Native(2), &[12, 12, 12], None),
            ],
        }
    }

    #[test]
    fn the_table_has_medians_the_highest_of_all_and_all_that_were_stopped() {
        let table = table(&report());
        let rows = [
            "nobody                     2000        1.00        2.00       40.00          -",
            "timer                      2000        1.00        6.00      200.00          9",
            "2 native processes         2000        1.00       12.00      120.00          -",
            "10.0 MiB when ready, 15.0 after the warm-up, 15.5 at the end",
        ];
        for row in rows {
            assert!(table.contains(row), "{row}\nis not in\n{table}");
        }
    }

    #[test]
    fn bars_are_in_proportion() {
        let table = table(&report());
        let timer = format!("timer              {} 3.0 (rounds 5.00 to 20.00 ms)", "█".repeat(30));
        let native = format!("2 native processes {} 6.0 (rounds 12.00 to 12.00 ms)", "█".repeat(60));
        assert!(table.contains(&timer) && table.contains(&native), "{table}");
    }

    #[test]
    fn the_json_holds_every_round_and_tells_none_from_no_script() {
        let json = as_json(&report());
        assert_eq!(json["phases"][0]["stopped"], Value::Null);
        assert_eq!(json["phases"][1]["stopped"], 9);
        assert_eq!(json["phases"][1]["rounds"][2]["stopped"], 3);
        assert_eq!(json["resident_bytes"]["end"], 31 << 19);
    }
}
