//! `bench preempt`: what scripts that never end cost everyone else.
//!
//! Invariant: stretches of load do not touch. What ran away beside one was stopped, and was seen to be stopped, before
//! the next begins.

mod beside;
mod report;

use tempfile::TempDir;

use self::beside::Beside;
use self::report::{Memory, Phase, Report, Sample};
use super::Options;
use super::load::{Load, WARM_UP, Wrk};
use super::medusa::Medusa;
use super::report::{Line, Machine, write_json};
use super::side::{Side, Wire};
use crate::error::{Error, Result};
use crate::term;

/// The site: the good handler, and the two that never end.
const SITE: &str = r#"-- The site of `cargo xtask bench preempt`.
web = medusa.http.server { listen = "127.0.0.1:0" }
web:mount("/ok", medusa.handler.script("ok.luau"))
web:mount("/endless", function()
    while true do end
end)
web:mount("/endless-file", medusa.handler.script("endless.luau"))
"#;
/// The handler whose clients must not suffer.
const OK: &str = "return function() return \"ok\" end\n";
/// The handler that never ends, in a worker's VM.
const ENDLESS: &str = "return function()\n\twhile true do end\nend\n";
/// What wrk asks for.
const PATH: &str = "/ok";
/// How wrk presses.
const LOAD: Load = Load::Wrk(Wrk::USUAL);

/// The server of the whole run.
#[derive(Debug)]
struct Stage {
    medusa: Medusa,
    /// Its script and its state.
    folder: TempDir,
    side: Side,
}

/// Runs the bench and prints its table.
pub(super) fn run(options: &Options) -> Result<Vec<Line>> {
    let machine = Machine::look();
    let stage = Stage::set(machine.cores)?;
    let ready = stage.side.resident();
    stage.side.press(&LOAD, WARM_UP, PATH)?;
    let warm = stage.side.resident();
    let phases = measure(&stage, Beside::all(machine.cores), options)?;
    let memory = Memory { ready, warm, end: stage.side.resident() };
    stage.side.stop()?;
    let report = Report { machine, load: options.spoken(&LOAD), memory, phases };
    term::answer(&report::table(&report));
    write_json(options, &report::as_json(&report))?;
    Ok(report::lines(&report))
}

impl Stage {
    fn set(workers: usize) -> Result<Self> {
        let medusa = Medusa::build()?;
        let folder = tempfile::tempdir().map_err(Error::io("create", "a temporary folder"))?;
        let files = [("site.luau", SITE), ("ok.luau", OK), ("endless.luau", ENDLESS)];
        let side = medusa.start(folder.path(), &files, workers, Wire::Plain)?;
        Ok(Self { medusa, folder, side })
    }

    /// Runs a statement in the server.
    fn eval(&self, statement: &str) -> Result<String> {
        self.medusa.eval(self.folder.path(), statement)
    }
}

fn measure(stage: &Stage, besides: Vec<Beside>, options: &Options) -> Result<Vec<Phase>> {
    let mut phases: Vec<Phase> = besides.into_iter().map(Phase::new).collect();
    for round in 0..options.rounds {
        for index in order(round, phases.len()) {
            let phase = &mut phases[index];
            let (counted, stopped) =
                phase.beside.during(stage, || stage.side.press(&LOAD, options.seconds, PATH))?;
            let sample = Sample { counted, stopped };
            term::note(&progress(phase.beside, &sample, round + 1, options.rounds));
            phase.samples.push(sample);
        }
    }
    Ok(phases)
}

/// Back and forth, so that a machine that grows slower over time does so for all alike.
fn order(round: u32, count: usize) -> Vec<usize> {
    let forth = 0..count;
    if round.is_multiple_of(2) { forth.collect() } else { forth.rev().collect() }
}

fn progress(beside: Beside, sample: &Sample, round: u32, rounds: u32) -> String {
    let Sample { counted, .. } = sample;
    format!(
        "round {round}/{rounds}, {beside}: {:.0} requests/s, p99 {:.2} ms",
        counted.per_second,
        counted.p99.as_secs_f64() * 1e3
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_go_back_and_forth() {
        assert_eq!([order(0, 3), order(1, 3), order(2, 3)], [[0, 1, 2], [2, 1, 0], [0, 1, 2]]);
    }
}
