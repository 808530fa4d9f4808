//! `bench preempt`: what scripts that never end cost everyone else.
//!
//! Invariant: stretches of load do not touch. What ran away beside one was stopped, and was seen to be stopped, before
//! the next begins.

mod beside;

use medusa_testkit::Site;

use self::beside::Beside;
use super::load::{Load, WARM_UP, Wrk};
use super::medusa::Medusa;
use super::report::{Figure, Line, Measured, P99, Report, Row, Sample};
use super::report::{highest, latencies, milliseconds, spread};
use super::side::{Side, Wire};
use super::{Options, medusa, report};
use crate::environment;
use crate::error::Result;

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
/// The load by wrk.
const LOAD: Load = Load::Wrk(Wrk::USUAL);

const RATE: Figure = Figure::median("requests/s", "", 0);
const MAX: Figure = Figure { name: "max ms", unit: "", decimals: 2, of_all: highest };
/// The number of times a script beside the load was stopped.
const STOPPED: Figure = Figure::sum("stopped");

/// Runs the bench and prints its table.
pub(super) fn run(options: &Options<'_>) -> Result<Vec<Line>> {
    let site = Site::script(SITE).file("ok.luau", OK).file("endless.luau", ENDLESS);
    let side = Medusa::build()?.start(site, Wire::Plain);
    let ready = side.mebibytes();
    side.press(&LOAD, WARM_UP, PATH)?;
    let warm = side.mebibytes();
    let besides = Beside::all(environment::cores());
    let server = &side;
    let measured = besides.iter().map(|&beside| Measured {
        row: Row::new(beside.name(), medusa::NAME, ""),
        sample: Box::new(move |seconds| sample(server, beside, seconds)),
    });
    let rows = report::measure(measured.collect(), options)?;
    let memory = format!(
        "memory of the server: {ready:.1} MiB when ready, {warm:.1} after the warm-up, {:.1} at the end",
        side.mebibytes()
    );
    side.stop();
    let lines = lines(&besides, &rows);
    Report { notes: vec![options.spoken(&LOAD), memory], rows, lines }.finish(options)
}

fn sample(side: &Side, beside: Beside, seconds: u32) -> Result<Sample> {
    let (counted, stopped) = beside.during(side, || side.press(&LOAD, seconds, PATH));
    let counted = counted?;
    let [p50, p99] = latencies(&counted);
    let mut sample = vec![(RATE, counted.per_second), p50, p99, (MAX, milliseconds(counted.max))];
    sample.extend(stopped.map(|stopped| (STOPPED, stopped as f64)));
    Ok(sample)
}

/// The p99 of each beside that of the first, which has nobody beside it.
fn lines(besides: &[Beside], rows: &[Row]) -> Vec<Line> {
    let alone = rows.first().map_or(f64::NAN, |row| row.value(&P99));
    let line = |(beside, row): (&Beside, &Row)| {
        let ratio = row.value(&P99) / alone;
        Line {
            what: format!("p99 beside: {}", row.what),
            ours: format!("{} ms", spread(row.values(P99.name))),
            theirs: format!("nobody {alone:.2} ms"),
            ratio: format!("{ratio:.2}"),
            target: beside.most().map(|most| (format!("at most {most:.1}"), ratio <= most)),
        }
    };
    besides.iter().zip(rows).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_beside_nobody() {
        let row = |what: &str, p99: &[f64]| Row {
            rounds: p99.iter().map(|p99| vec![(P99, *p99)]).collect(),
            ..Row::new(what, "medusa", "")
        };
        let lines = lines(
            &[Beside::Nobody, Beside::Timer],
            &[row("nobody", &[2.0, 2.0, 4.0]), row("timer", &[5.0, 6.0, 20.0])],
        );
        assert_eq!((lines[1].ours.as_str(), lines[1].ratio.as_str()), ("6.00 (5.00 to 20.00) ms", "3.00"));
        assert_eq!(lines[1].target, Some(("at most 2.0".to_owned(), false)));
    }
}
