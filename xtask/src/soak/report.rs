//! The table of a soak, and the verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use super::hostile::{Hostile, Tried};
use super::normal::{PATHS, Seen, Visits};
use super::watch::{Held, Named, Watched};
use crate::table::Table;

/// The multiple of its quiet value that the p99 may be.
const SLOWER: u32 = 3;
/// A p99 below this is no fault, whatever the quiet one was: those who attack share the cores with the server.
const NO_FAULT_BELOW: Duration = Duration::from_millis(100);
/// What a server may hold more than before, once all is over, beside what its status names (VMs with what scripts stored,
/// caches, queues): pages that are in use in part, cached listings.
const KEEPS: Held = Held { memory: 64 << 20, descriptors: 16, threads: 8 };
/// What the status may name: what scripts stored on purpose, in three VMs, and caches. A VM full of garbage has more.
const STORED: u64 = 160 << 20;
/// What it may hold more than before at the worst moment: three VMs of 256 MiB, as much in the host on their behalf, and the
/// budgets for bodies and answers.
const MOST_MEMORY: u64 = 2 << 30;
/// The number of the lost requests that are told.
const TOLD: usize = 5;

/// Everything that was seen.
#[derive(Debug)]
pub(super) struct SoakReport {
    pub(super) seed: u64,
    pub(super) quiet: Visits,
    pub(super) tally: Visits,
    pub(super) before: Held,
    pub(super) after: Held,
    /// What of the memory the status names in the end.
    pub(super) named: Named,
    pub(super) watched: Watched,
    pub(super) hostile: Hostile,
}

/// The most that may be held after all is over, when the status names so many bytes of it.
pub(super) fn limit(before: Held, named: u64) -> Held {
    Held {
        memory: before.memory + named.min(STORED) + KEEPS.memory,
        descriptors: before.descriptors + KEEPS.descriptors,
        threads: before.threads + KEEPS.threads,
    }
}

impl SoakReport {
    /// The table.
    pub(super) fn table(&self) -> String {
        let mut clients =
            Table::new(["normal clients", "requests", "refused", "lost", "p50 ms", "p99 ms", "max ms"]);
        for (place, (name, _)) in PATHS.into_iter().enumerate() {
            clients.row(cells(&format!("{name}, quiet"), &self.quiet[place]));
            clients.row(cells(&format!("{name}, trouble"), &self.tally[place]));
        }
        let mut held = Table::new(["the server", "before", "most", "after"]);
        let all = [self.before, self.watched.peak, self.after];
        let mut row = |name: &str, of: fn(&Held) -> u64| {
            let cells = all.each_ref().map(|held| of(held).to_string());
            held.row([name.to_owned()].into_iter().chain(cells));
        };
        row("memory, MiB", |held| held.memory >> 20);
        row("descriptors", |held| held.descriptors as u64);
        row("threads", |held| held.threads as u64);
        held.row(["in caches, queues and VMs", "", "", &(self.named.bytes >> 20).to_string()]);
        let Watched { asked, unheard, slowest, .. } = &self.watched;
        let scripts = tried("scripts", "answers by status", &self.hostile.scripts(), by_status);
        let attacks = tried("clients", "connections", &self.hostile.clients(), |came| {
            came.values().sum::<u64>().to_string()
        });
        format!(
            "soak, seed {}\n\n{clients}\n{held}\nstatus: {asked} times asked, {unheard} unheard, {slowest:.1?} at most\n\n\
             {scripts}\n{attacks}",
            self.seed
        )
    }

    /// The faults; nothing, if all is well. `latency` says whether that counts: where others may use the machine, or
    /// the binary is not optimised, it tells nothing of the server.
    pub(super) fn faults(&self, latency: bool) -> Vec<String> {
        let mut faults = Vec::new();
        if self.watched.gone {
            faults.push("the server ended".to_owned());
        }
        for (place, (name, _)) in PATHS.into_iter().enumerate() {
            let (quiet, seen) = (&self.quiet[place], &self.tally[place]);
            if !seen.lost.is_empty() {
                let first = seen.lost.iter().take(TOLD).cloned().collect::<Vec<_>>().join("; ");
                faults.push(format!("{} requests of the {name} were lost: {first}", seen.lost.len()));
            }
            let (was, is) = (quiet.quantile(0.99), seen.quantile(0.99));
            if latency && is > (was * SLOWER).max(NO_FAULT_BELOW) {
                faults.push(format!("the p99 of the {name} was {is:.1?}, and {was:.1?} in the quiet"));
            }
        }
        // A VM that is full may refuse; a page takes none.
        let [page, ..] = &self.tally;
        if page.refused > 0 {
            faults.push(format!("{} requests of the page were refused", page.refused));
        }
        if self.watched.unheard > 0 {
            faults.push(format!("{} times the operator got no status", self.watched.unheard));
        }
        let most = self.before.memory + MOST_MEMORY;
        if self.watched.peak.memory > most {
            faults.push(format!(
                "it held {} MiB, and {} are allowed",
                self.watched.peak.memory >> 20,
                most >> 20
            ));
        }
        if !self.watched.gone && !self.after.is_within(limit(self.before, self.named.bytes)) {
            faults.push(format!(
                "what is held did not come back: {:?}, of which the status names {} bytes ({}); {:?} before",
                self.after,
                self.named.bytes,
                self.named.large.join(", "),
                self.before
            ));
        }
        faults
    }
}

fn cells(name: &str, seen: &Seen) -> [String; 7] {
    let millis = |share| format!("{:.1}", seen.quantile(share).as_secs_f64() * 1e3);
    let [requests, lost] = [seen.times.len(), seen.lost.len()].map(|count| count.to_string());
    [name.to_owned(), requests, seen.refused.to_string(), lost, millis(0.5), millis(0.99), millis(1.0)]
}

fn tried(
    what: &str,
    came_of_it: &str,
    all: &BTreeMap<&'static str, Tried>,
    came: impl Fn(&BTreeMap<u16, u64>) -> String,
) -> Table {
    let mut table = Table::new([what, "times", came_of_it]);
    for (name, tried) in all {
        table.row([(*name).to_owned(), tried.times.to_string(), came(&tried.came)]);
    }
    table
}

fn by_status(came: &BTreeMap<u16, u64>) -> String {
    let each = came.iter().map(|(status, times)| match status {
        0 => format!("none {times}"),
        status => format!("{status} {times}"),
    });
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> SoakReport {
        let seen = |millis| Seen { times: vec![Duration::from_millis(millis)], ..Seen::default() };
        let tally = [seen(50), seen(50), seen(50)];
        let held = Held { memory: 100 << 20, descriptors: 50, threads: 10 };
        SoakReport {
            seed: 7,
            quiet: tally.clone(),
            tally,
            before: held,
            after: held,
            named: Named::default(),
            watched: Watched::default(),
            hostile: Hostile::default(),
        }
    }

    #[test]
    fn a_quiet_run_has_no_fault() {
        assert_eq!(report().faults(true), Vec::<String>::new());
        assert!(report().table().contains("page, trouble"), "{}", report().table());
    }

    #[test]
    fn each_fault_is_told() {
        type Break = fn(&mut SoakReport);
        let breaks: [(Break, &str); 9] = [
            (|report| report.watched.gone = true, "the server ended"),
            (|report| report.watched.unheard = 2, "2 times the operator got no status"),
            (|report| report.tally[0].lost.push("why".to_owned()), "1 requests of the page were lost: why"),
            (|report| report.tally[1].lost.push("why".to_owned()), "of the handler were lost"),
            (|report| report.tally[0].refused = 1, "1 requests of the page were refused"),
            (
                |report| report.tally[0].times = vec![Duration::from_millis(151)],
                "the p99 of the page was 151",
            ),
            (|report| report.watched.peak.memory = 3 << 30, "it held 3072 MiB, and 2148 are allowed"),
            (|report| report.after.memory += 193 << 20, "did not come back"),
            (|report| report.after.descriptors += 17, "did not come back"),
        ];
        for (damage, expected) in breaks {
            let mut report = report();
            damage(&mut report);
            let faults = report.faults(true);
            assert!(faults.len() == 1 && faults[0].contains(expected), "{faults:?}, not {expected}");
            let is_latency = expected.contains("p99");
            assert_eq!(report.faults(false).is_empty(), is_latency, "{expected}");
        }
    }

    #[test]
    fn a_handler_that_is_refused_is_no_fault() {
        let mut report = report();
        report.tally[1].refused = 3;
        assert_eq!(report.faults(true), Vec::<String>::new());
    }
}
