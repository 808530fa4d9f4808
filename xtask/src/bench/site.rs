//! `bench site`: what a change costs, by how much there is already.
//!
//! A site of so many mounts, each with a function of its own, is run anew as a whole (`medusa reload`), and gets one mount more
//! (`medusa eval`). Beside the reloads, a handler from a file is pressed on: its clients must not notice.

use std::fmt::Write as _;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Options;
use super::load::{Counted, Load, WARM_UP, Wrk};
use super::medusa::Medusa;
use super::report::{Line, Machine, median, write_json};
use super::side::Wire;
use crate::error::{Error, Result};
use crate::term;

/// How many mounts there are, with the one that comes and goes: 10,000 is the most a site may have.
const SIZES: [u32; 4] = [10, 100, 1_000, 10_000];
/// How often a change is made in a round.
const CHANGES: u32 = 5;
/// How long between two reloads beside the load.
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

/// What was measured of a site of so many mounts.
#[derive(Debug)]
struct Row {
    mounts: u32,
    /// In milliseconds.
    reload: f64,
    /// Of a statement that changes nothing, and of one that mounts and takes away again.
    nothing: f64,
    mount: f64,
    quiet: Duration,
    beside: Duration,
}

/// Runs the bench and prints its table.
pub(super) fn run(options: &Options) -> Result<Vec<Line>> {
    let machine = Machine::look();
    let medusa = Medusa::build()?;
    let rows = SIZES
        .map(|mounts| measure(&medusa, &machine, mounts, options))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    term::answer(&table(&machine, &options.spoken(&LOAD), &rows));
    write_json(
        options,
        &json!({ "machine": machine.as_json(), "sites": rows.iter().map(as_json).collect::<Vec<_>>() }),
    )?;
    Ok(lines(&rows))
}

fn measure(medusa: &Medusa, machine: &Machine, mounts: u32, options: &Options) -> Result<Row> {
    let folder = tempfile::tempdir().map_err(Error::io("create", "a temporary folder"))?;
    let folder = folder.path();
    let files = [("site.luau", script(mounts)), ("ok.luau", OK.to_owned())];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let side = medusa.start(folder, &files, machine.cores, Wire::Plain)?;
    side.press(&LOAD, WARM_UP, PATH)?;
    let (mut reload, mut nothing, mut mount, mut quiet, mut beside) =
        <(Vec<_>, Vec<_>, Vec<_>, Vec<_>, Vec<_>)>::default();
    for round in 1..=options.rounds {
        for _ in 0..CHANGES {
            reload.push(timed(|| medusa.reload(folder))?);
            nothing.push(timed(|| medusa.eval(folder, "return 1"))?);
            mount.push(timed(|| {
                medusa.eval(folder, "added = web:mount('/added', function() return 'x' end)")
            })?);
            medusa.eval(folder, "added:remove()")?;
        }
        quiet.push(side.press(&LOAD, options.seconds, PATH)?.p99);
        beside.push(during_reloads(medusa, folder, || side.press(&LOAD, options.seconds, PATH))?.p99);
        term::note(&format!("{mounts} mounts, round {round}/{}", options.rounds));
    }
    side.stop()?;
    let [quiet, beside] = [quiet, beside].map(|p99| middle(&p99));
    Ok(Row { mounts, reload: median(reload), nothing: median(nothing), mount: median(mount), quiet, beside })
}

/// Reloads again and again until `load` is over.
fn during_reloads(
    medusa: &Medusa,
    folder: &std::path::Path,
    load: impl FnOnce() -> Result<Counted>,
) -> Result<Counted> {
    let (over, is_over) = mpsc::sync_channel::<()>(0);
    std::thread::scope(|scope| {
        let reloads = scope.spawn(move || {
            loop {
                medusa.reload(folder)?;
                if is_over.recv_timeout(BETWEEN) != Err(RecvTimeoutError::Timeout) {
                    return Ok(());
                }
            }
        });
        let counted = load();
        drop(over);
        reloads
            .join()
            .unwrap_or_else(|_panic| Err(Error::Found("the thread that reloads panicked".to_owned())))?;
        counted
    })
}

/// How long it takes, in milliseconds.
fn timed<T>(change: impl FnOnce() -> Result<T>) -> Result<f64> {
    let begun = Instant::now();
    change()?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

fn middle(times: &[Duration]) -> Duration {
    Duration::from_secs_f64(median(times.iter().map(Duration::as_secs_f64).collect()))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Row {
    fn slower(&self) -> f64 {
        self.beside.as_secs_f64() / self.quiet.as_secs_f64()
    }
}

fn table(machine: &Machine, load: &str, rows: &[Row]) -> String {
    let mut text = format!("{machine}\n{load}; milliseconds, the commands' own start included\n\n");
    text += "   mounts   reload  eval of nothing  eval of a mount  p99 of others  beside reloads\n";
    for row in rows {
        let Row { mounts, reload, nothing, mount, quiet, beside } = row;
        let [quiet, beside] = [quiet, beside].map(|time| milliseconds(*time));
        let _ = writeln!(
            text,
            "  {mounts:>7} {reload:>8.1} {nothing:>16.1} {mount:>16.1} {quiet:>14.2} {beside:>15.2}  ({:.2})",
            row.slower()
        );
    }
    text
}

fn lines(rows: &[Row]) -> Vec<Line> {
    let of = |row: &Row| {
        let is_largest = row.mounts == SIZES[SIZES.len() - 1];
        let target = is_largest
            .then(|| (format!("{MOST} ms, p99 {SLOWER} ×"), row.reload <= MOST && row.slower() <= SLOWER));
        Line {
            what: format!("reload of {} mounts; mount by eval", row.mounts),
            ours: format!("{:.1} ms; {:.1} ms", row.reload, row.mount),
            theirs: format!("eval of nothing {:.1} ms", row.nothing),
            ratio: format!("p99 of others {:.2}", row.slower()),
            target,
        }
    };
    rows.iter().map(of).collect()
}

fn as_json(row: &Row) -> Value {
    json!({
        "mounts": row.mounts,
        "reload_ms": row.reload,
        "eval_nothing_ms": row.nothing,
        "eval_mount_ms": row.mount,
        "p99_ms": milliseconds(row.quiet),
        "p99_beside_ms": milliseconds(row.beside),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_site_has_the_target() {
        let row = |mounts, reload| Row {
            mounts,
            reload,
            nothing: 3.0,
            mount: 4.0,
            quiet: Duration::from_millis(1),
            beside: Duration::from_millis(1),
        };
        let lines = lines(&[row(10, 999.0), row(10_000, 151.0)]);
        assert_eq!(lines[0].target, None);
        assert!(lines[1].target.as_ref().is_some_and(|(_, met)| !met));
    }
}
