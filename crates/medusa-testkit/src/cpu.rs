//! How long a process has run.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;

/// The time that a process has had on CPUs, its threads added up, in the kernel too. To the hundredth of a second.
///
/// # Panics
///
/// There is no such process.
#[track_caller]
pub fn time(pid: u32) -> Duration {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    let ticks = ticks_in(&stat).unwrap_or_else(|| panic!("no times are in {path}: {stat}"));
    Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64)
}

/// The time that a thread has had of CPUs.
#[derive(Debug, Clone, Copy)]
pub struct ThreadTimes {
    /// For how long it ran.
    pub ran: Duration,
    /// For how long it could have run, but others did.
    pub waited: Duration,
}

/// The times of the thread of this name, of which a process has one: the first two fields of its `schedstat`
/// (`Documentation/scheduler/sched-stats.rst` of the kernel).
///
/// # Panics
///
/// There is no such process, or no such thread.
#[track_caller]
pub fn times_of_thread(pid: u32, name: &str) -> ThreadTimes {
    let threads = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&threads).unwrap_or_else(|error| panic!("cannot read {threads}: {error}"));
    let mut threads = threads.map(|thread| thread.expect("a thread").path());
    let is_it =
        |thread: &PathBuf| fs::read_to_string(thread.join("comm")).is_ok_and(|comm| comm.trim_end() == name);
    let thread = threads.find(is_it).unwrap_or_else(|| panic!("{pid} has no thread {name}"));
    let stat = fs::read_to_string(thread.join("schedstat")).expect("its schedstat");
    let mut fields =
        stat.split(' ').map(|field| Duration::from_nanos(field.trim().parse().expect("nanoseconds")));
    let mut next = || fields.next().expect("a field");
    ThreadTimes { ran: next(), waited: next() }
}

/// `utime` and `stime` of `proc_pid_stat(5)`: the 14th and 15th field. The second is the name, in which anything may be.
fn ticks_in(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11).map(|field| field.parse::<u64>().ok());
    Some(fields.next()?? + fields.next()??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_stand_behind_the_name() {
        assert_eq!(ticks_in("7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 50 6 7 8 20 0 1"), Some(56));
        assert_eq!(ticks_in("7 (x) S 1"), None);
    }

    #[test]
    fn what_a_process_does_takes_time() {
        let before = time(std::process::id());
        let mut sum = 0_u64;
        crate::wait::until("this process has run for a while", || {
            sum = (0..100_000).fold(sum, |sum: u64, n| sum.wrapping_mul(31).wrapping_add(n));
            (time(std::process::id()) > before + Duration::from_millis(20)).then_some(sum)
        });
    }
}
