//! `bench site`: what a change costs, by how much there is already.
//!
//! A site of so many mounts, each with a function of its own, is run anew as a whole (`medusa reload`), and gets one mount more
//! (`medusa eval`). Beside the reloads, a handler from a file is pressed on: its clients must not notice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use medusa_testkit::{Server, Site};

use super::load::{Load, WARM_UP, Wrk};
use super::medusa::Medusa;
use super::report::{Figure, Line, Measured, Report, Row, Sample, milliseconds};
use super::side::Wire;
use super::{Options, medusa, report};
use crate::error::Result;
use crate::threads;

/// The number of mounts, with the one that comes and goes: 10,000 is the most a site may have.
const SIZES: [u32; 4] = [10, 100, 1_000, 10_000];
/// The number of times a change is made in a round.
const CHANGES: u32 = 5;
/// The time between two reloads beside the load.
const BETWEEN: Duration = Duration::from_millis(100);
const OK: &str = "return function() return \"ok\" end\n";
const PATH: &str = "/ok";
const LOAD: Load = Load::Wrk(Wrk { connections: 8, ..Wrk::USUAL });
/// A reload of the largest site may take so long, in milliseconds.
const MOST: f64 = 150.0;
/// Beside reloads, the p99 of others may be so many times what it is without.
const SLOWER: f64 = 1.2;

fn script(mounts: u32) -> String {
    format!(
        "web = medusa.http.server {{ listen = \"127.0.0.1:0\" }}\n\
         web:mount(\"{PATH}\", medusa.handler.script(\"ok.luau\"))\n\
         for i = 3, {mounts} do\n\
         \tweb:mount(\"/part/\" .. i .. \"/{{name}}\", function(req) return req.params.name end)\n\
         end\n"
    )
}

const RELOAD: Figure = Figure::median("reload ms", "", 1);
/// Of a statement that changes nothing, and of one that mounts.
const NOTHING: Figure = Figure::median("eval nothing ms", "", 1);
const MOUNT: Figure = Figure::median("eval mount ms", "", 1);
/// Of others, without and beside reloads.
const QUIET: Figure = Figure::median("p99 ms", "", 2);
const BESIDE: Figure = Figure::median("beside reloads", "", 2);

/// Runs the bench and prints its table.
pub(super) fn run(options: &Options<'_>) -> Result<Vec<Line>> {
    let medusa = Medusa::build()?;
    let rows = SIZES.map(|mounts| measure(&medusa, mounts, options));
    let rows = rows.into_iter().collect::<Result<Vec<_>>>()?.concat();
    let lines = lines(&rows);
    Report { notes: vec![options.spoken(&LOAD)], rows, lines }.finish(options)
}

fn measure(medusa: &Medusa, mounts: u32, options: &Options<'_>) -> Result<Vec<Row>> {
    let site = Site::script(&script(mounts)).file("ok.luau", OK);
    let side = medusa.start(site, Wire::Plain);
    let server = side.ours();
    side.press(&LOAD, WARM_UP, PATH)?;
    let sample = |seconds| {
        let mut sample = Sample::new();
        for _ in 0..CHANGES {
            sample.push((RELOAD, timed(|| server.reload())));
            sample.push((NOTHING, timed(|| server.eval("return 1"))));
            let mount = || server.eval("added = web:mount('/added', function() return 'x' end)");
            sample.push((MOUNT, timed(mount)));
            server.eval("added:remove()");
        }
        let press = || side.press(&LOAD, seconds, PATH);
        sample.push((QUIET, milliseconds(press()?.p99)));
        sample.push((BESIDE, milliseconds(during_reloads(server, press)?.p99)));
        Ok(sample)
    };
    let row = Row::new(mounts.to_string(), medusa::NAME, "mounts");
    let rows = report::measure(vec![Measured { row, sample: Box::new(sample) }], options)?;
    side.stop();
    Ok(rows)
}

/// Reloads again and again until `load` is over.
fn during_reloads<T>(server: &Server, load: impl FnOnce() -> T) -> T {
    let reload = |over: &AtomicBool| {
        while !over.load(Ordering::Relaxed) {
            server.reload();
            thread::park_timeout(BETWEEN); // the pace of an operator
        }
    };
    threads::beside(reload, load).1
}

/// The time it takes, in milliseconds.
fn timed<T>(change: impl FnOnce() -> T) -> f64 {
    let begun = Instant::now();
    change();
    milliseconds(begun.elapsed())
}

fn lines(rows: &[Row]) -> Vec<Line> {
    let line = |row: &Row| {
        let [reload, nothing, mount, quiet, beside] =
            [RELOAD, NOTHING, MOUNT, QUIET, BESIDE].map(|of| row.value(&of));
        let slower = beside / quiet;
        let is_largest = row.what == SIZES[SIZES.len() - 1].to_string();
        Line {
            what: format!("reload of {} mounts; mount by eval", row.what),
            ours: format!("{reload:.1} ms; {mount:.1} ms"),
            theirs: format!("eval of nothing {nothing:.1} ms"),
            ratio: format!("p99 of others {slower:.2}"),
            target: is_largest
                .then(|| (format!("{MOST} ms, p99 {SLOWER} ×"), reload <= MOST && slower <= SLOWER)),
        }
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_site_has_the_target() {
        let row = |mounts: u32, reload| Row {
            rounds: vec![vec![(RELOAD, reload), (NOTHING, 3.0), (MOUNT, 4.0), (QUIET, 1.0), (BESIDE, 1.0)]],
            ..Row::new(mounts.to_string(), "medusa", "")
        };
        let lines = lines(&[row(10, 999.0), row(10_000, 151.0)]);
        assert_eq!(lines[0].target, None);
        assert!(lines[1].target.as_ref().is_some_and(|(_, met)| !met));
    }
}
