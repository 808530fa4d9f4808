//! One target at work: where its inputs lie, what it said, and how to repeat what it found.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::build;
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::workspace;

/// No input takes longer, in seconds, even where the machine has other work: one that does is a finding.
const SLOWEST: u32 = 10;
/// No target takes more memory, in MiB; most stay below 100.
const MEMORY: u32 = 1024;
/// The longest input that is made up, in bytes: what is beyond it is found sooner in less.
const LONGEST: u32 = 4096;
/// The number of lines of a failed target's output that are shown.
const SHOWN_LINES: usize = 30;

/// A target and its folders.
#[derive(Debug)]
pub(super) struct Campaign {
    name: String,
    program: PathBuf,
    /// `target/fuzz/work/NAME`: inputs found in runs, what failed, and the output.
    work: PathBuf,
    /// `fuzz/corpus/NAME`.
    kept: PathBuf,
}

/// The outcome of a run.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    name: String,
    /// Inputs tried.
    pub(super) executed: u64,
    /// Inputs tried a second.
    rate: u64,
    /// Inputs that reached code no earlier one had.
    added: u64,
    /// How to repeat what failed, and what was said.
    failure: Option<String>,
}

impl Campaign {
    /// The target `name`, whose program lies in `programs`.
    pub(super) fn new(programs: &Path, name: &str) -> Self {
        let output = programs.parent().and_then(Path::parent).unwrap_or(programs);
        Self {
            name: name.to_owned(),
            program: programs.join(name),
            work: output.join("work").join(name),
            kept: build::folder().join("corpus").join(name),
        }
    }

    /// Fuzzes for `time`.
    pub(super) fn run(&self, time: Duration) -> Result<Outcome> {
        let found = self.work.join("corpus");
        for folder in [&found, &self.kept] {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        let cmd = self.libfuzzer().args([format!("-max_total_time={}", time.as_secs())]);
        let cmd = cmd.args(["-print_final_stats=1"]).args([found.as_path(), self.kept.as_path()]);
        let printed = self.work.join("output");
        let output = File::create(&printed).map_err(Error::io("create", &printed))?;
        let status = cmd.to_command().stderr(output).status();
        let status = status.map_err(|source| Error::Start { command: cmd.to_string(), source })?;
        let text = fs::read(&printed).map_err(Error::io("read", &printed))?;
        Ok(Outcome::read(&self.name, status.success(), &String::from_utf8_lossy(&text)))
    }

    /// Runs it once, on `input`; what it says is seen.
    pub(super) fn repeat(&self, input: &Path) -> Result {
        self.libfuzzer().args([input]).run()
    }

    /// Makes the kept corpus of itself and of what runs have found: the fewest and shortest inputs that reach as much
    /// code. Those that a person wrote stay: their names are not made of a hash.
    pub(super) fn keep(&self) -> Result {
        let merged = self.work.join("merged");
        if merged.exists() {
            fs::remove_dir_all(&merged).map_err(Error::io("remove", &merged))?;
        }
        fs::create_dir_all(&merged).map_err(Error::io("create", &merged))?;
        let found = self.work.join("corpus");
        // Code that is reached counts, not how often: a tenth of the inputs.
        let merge = self.libfuzzer().args(["-set_cover_merge=1", "-use_counters=0"]);
        merge.args([&merged, &self.kept, &found]).run()?;
        for old in files(&self.kept)?.iter().filter(|path| is_hashed(path)) {
            fs::remove_file(old).map_err(Error::io("remove", old))?;
        }
        for new in files(&merged)? {
            let to = self.kept.join(new.file_name().unwrap_or_default());
            fs::copy(&new, &to).map_err(Error::io("write", &to))?;
        }
        Ok(())
    }

    fn libfuzzer(&self) -> Cmd {
        Cmd::new(&self.program)
            .args([
                format!("-timeout={SLOWEST}"),
                format!("-rss_limit_mb={MEMORY}"),
                format!("-max_len={LONGEST}"),
                format!("-artifact_prefix={}/", self.work.display()),
            ])
            .env("RUST_BACKTRACE", "0") // the message and the input say more, and in fewer lines
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// Whether the fuzzer has named it: 40 digits of a hash.
fn is_hashed(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Outcome {
    /// Reads what libFuzzer wrote on stderr.
    fn read(name: &str, success: bool, text: &str) -> Self {
        let stat = |name: &str| {
            let line = text.lines().rev().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
            line.and_then(|rest| rest.trim_start_matches(':').trim().parse().ok()).unwrap_or(0)
        };
        Self {
            name: name.to_owned(),
            executed: stat("number_of_executed_units"),
            rate: stat("average_exec_per_sec"),
            added: stat("new_units_added"),
            failure: (!success).then(|| failure(name, text)),
        }
    }

    /// One line for the terminal.
    pub(super) fn line(&self) -> String {
        let Self { name, executed, rate, added, failure } = self;
        let found = if failure.is_some() { "FAILED" } else { "ok" };
        format!("fuzz: {name:<16} {executed:>10} inputs {rate:>8}/s {added:>6} new  {found}")
    }

    /// The message about it, if it failed.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.clone()
    }
}

fn failure(name: &str, text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
    let written =
        text.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| path);
    let repeat = match written {
        Some(path) => format!("To repeat it: cargo xtask fuzz {name} --input {}", relative(path)),
        None => format!("To repeat it: cargo xtask fuzz {name}"),
    };
    format!("fuzz target {name} failed; its last lines:\n  {}\n{repeat}", last.join("\n  "))
}

/// From the repository's root, where it lies there.
fn relative(path: &str) -> &str {
    let root = workspace::root().to_str().unwrap_or_default();
    path.strip_prefix(root).map_or(path, |rest| rest.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: &str = "Done 1681741 runs in 11 second(s)\n\
        stat::number_of_executed_units: 1681741\nstat::average_exec_per_sec:     152885\n\
        stat::new_units_added:          149\nstat::slowest_unit_time_sec:    0\n";

    #[test]
    fn what_the_fuzzer_counted_is_read() {
        let outcome = Outcome::read("range", true, WELL);
        assert_eq!((outcome.executed, outcome.rate, outcome.added), (1_681_741, 152_885, 149));
        assert_eq!(outcome.failure(), None);
    }

    #[test]
    fn a_failure_says_how_to_repeat_it() {
        let root = workspace::root().display();
        let output = format!(
            "thread panicked at targets/range.rs:20\nTest unit written to {root}/target/fuzz/work/range/crash-1\n"
        );
        let failure = Outcome::read("range", false, &output).failure().expect("it failed");
        assert!(failure.contains("panicked at targets/range.rs:20"), "{failure}");
        let repeat = "To repeat it: cargo xtask fuzz range --input target/fuzz/work/range/crash-1";
        assert!(failure.ends_with(repeat), "{failure}");
    }

    #[test]
    fn what_a_person_wrote_is_told_by_its_name() {
        assert!(is_hashed(Path::new("corpus/range/0123456789abcdef0123456789abcdef01234567")));
        assert!(!is_hashed(Path::new("corpus/range/many")));
    }

    #[test]
    fn a_target_that_failed_without_an_input_is_told_too() {
        let failure = Outcome::read("range", false, "").failure().expect("it failed");
        assert!(failure.ends_with("To repeat it: cargo xtask fuzz range"), "{failure}");
    }
}
