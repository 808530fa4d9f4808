//! What all reports share: where it was measured, medians, bars, and the file for machines.

use std::fmt;
use std::fs;
use std::thread::available_parallelism;

use serde_json::{Value, json};

use super::Options;
use crate::error::{Error, Result};

/// Where it was measured.
#[derive(Debug)]
pub(super) struct Machine {
    processor: String,
    kernel: String,
    /// How many threads run at once; every server has as many workers.
    pub(super) cores: usize,
    /// The load average of the minute before the bench: how far to trust what depends on it.
    busy: f64,
}

impl Machine {
    /// Looks around.
    pub(super) fn look() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let loadavg = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            processor: model.map_or("unknown processor", |(_, name)| name.trim()).to_owned(),
            kernel: kernel.trim().to_owned(),
            cores: available_parallelism().map_or(1, std::num::NonZero::get),
            busy: loadavg.split(' ').next().and_then(|one| one.parse().ok()).unwrap_or(f64::NAN),
        }
    }

    /// The same for machines.
    pub(super) fn as_json(&self) -> Value {
        json!({ "processor": self.processor, "kernel": self.kernel, "workers": self.cores, "load_average": self.busy })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, kernel, cores, busy } = self;
        write!(f, "{processor}, {cores} workers, Linux {kernel}, load average {busy:.1} before")
    }
}

/// What a bench found of one thing, for the table of `bench all`.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    /// What was measured.
    pub(super) what: String,
    pub(super) ours: String,
    /// What it is compared with, and its figure; empty where there is nothing to compare.
    pub(super) theirs: String,
    /// Ours divided by theirs, and how far to trust it.
    pub(super) ratio: String,
    /// What was promised, and whether it holds.
    pub(super) target: Option<(String, bool)>,
}

/// The lines as a table in Markdown.
pub(super) fn markdown(lines: &[Line]) -> String {
    let row = |Line { what, ours, theirs, ratio, target }: &Line| {
        let target = target.as_ref().map_or_else(String::new, |(target, met)| {
            if *met { target.clone() } else { format!("**{target}, missed**") }
        });
        format!("| {what} | {ours} | {theirs} | {ratio} | {target} |\n")
    };
    let head = "| | Medusa | beside | ratio | target |\n|---|---|---|---|---|\n".to_owned();
    lines.iter().map(row).fold(head, |text, row| text + &row)
}

/// The middle one; of an even number, the mean of the two in the middle. NaN for none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.get(middle) {
        None => f64::NAN,
        Some(upper) if values.len() % 2 == 1 => *upper,
        Some(upper) => f64::midpoint(values[middle - 1], *upper),
    }
}

/// The widest bar, in columns: what is beyond it is still told by its number.
pub(super) const WIDEST: f64 = 60.0;

/// A bar of so many columns, one at least.
pub(super) fn bar(columns: f64) -> String {
    "█".repeat(columns.round().clamp(1.0, WIDEST) as usize)
}

/// Writes `json` to the file of `--json`, if there is one.
pub(super) fn write_json(options: &Options, json: &Value) -> Result {
    match &options.json {
        Some(path) => fs::write(path, format!("{json:#}\n")).map_err(Error::io("write", path)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_not_moved_by_one_wild_round() {
        assert!((median(vec![9.0, 1.0, 5.0]) - 5.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 100.0, 2.0]) - 3.0).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn the_table_of_all_shows_what_is_missed() {
        let line = |what: &str, target| Line {
            what: what.to_owned(),
            ours: "1".to_owned(),
            target,
            ..Line::default()
        };
        let table = markdown(&[
            line("a", Some(("at most 0.9".to_owned(), true))),
            line("b", Some(("at most 0.9".to_owned(), false))),
            line("c", None),
        ]);
        assert!(table.ends_with(
            "| a | 1 |  |  | at most 0.9 |\n| b | 1 |  |  | **at most 0.9, missed** |\n| c | 1 |  |  |  |\n"
        ));
    }

    #[test]
    fn a_bar_is_as_long_as_it_is_told_and_never_off_the_screen() {
        assert_eq!(bar(20.4).chars().count(), 20);
        assert_eq!(bar(0.0).chars().count(), 1);
        assert_eq!(bar(1000.0).chars().count(), 60);
        assert_eq!(bar(f64::NAN).chars().count(), 0);
    }
}
