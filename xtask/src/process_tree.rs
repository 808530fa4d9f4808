//! Processes and their children, as `/proc` shows them.
//!
//! A process can end while it is looked at: what has gone is left out, never an error.

use std::fs;
use std::time::Duration;

/// What `/proc/PID/stat` says, as far as we ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// User and system time in clock ticks, of all threads, those that ended included.
    ticks: u64,
}

/// The children of `pid`, their children, and so on.
pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> =
        processes().filter_map(|child| Some((child, stat(child)?.parent))).collect();
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        let of_parent = parents.iter().filter(|(_, p)| *p == parent).map(|(child, _)| *child);
        family.extend(of_parent.collect::<Vec<_>>());
        next += 1;
    }
    family.split_off(1)
}

/// The CPU time (user and system) that `pid` and its descendants have used so far. Its grain is the kernel's clock
/// tick, 10 ms: measure over seconds.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let family = descendants(pid).into_iter().chain([pid]);
    let ticks: u64 = family.filter_map(stat).map(|stat| stat.ticks).sum();
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_nanos(ticks * (1_000_000_000 / per_second))
}

/// The memory `pid` alone holds (its resident set, `VmRSS` of `proc_pid_status(5)`), in bytes; 0 when it has gone.
pub(crate) fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    resident_of(&status).unwrap_or(0)
}

fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn stat(pid: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads the line of `/proc/PID/stat` (`proc_pid_stat(5)`). The name in parentheses may hold anything, parentheses and
/// spaces included, so the fields are counted from the last `)`.
fn parse(line: &str) -> Option<Stat> {
    let (_, fields) = line.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?; // field 4; the state, field 3, is the first after the name
    let user: u64 = fields.nth(9)?.parse().ok()?; // field 14
    let system: u64 = fields.next()?.parse().ok()?; // field 15
    Some(Stat { parent, ticks: user + system })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_stat_line_is_read_past_a_hostile_name() {
        let line = "12 (a) b (c)) S 7 12 12 0 -1 4194560 1 2 3 4 250 31 9 9 20 0 1 0 100";
        assert_eq!(parse(line), Some(Stat { parent: 7, ticks: 281 }));
        assert_eq!(parse("12 (cut"), None);
        assert_eq!(parse("12 (cut) S 7"), None);
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(resident_of("Name:\tx\nVmRSS:\t   12 kB\nVmData:\t 9 kB\n"), Some(12 * 1024));
        assert_eq!(resident_of("Name:\tzombie\n"), None);
        assert!(resident(std::process::id()) > 100_000, "this test alone needs more");
        assert_eq!(resident(u32::MAX), 0);
    }

    #[test]
    fn a_grandchild_is_a_descendant() {
        // The inner shell prints its own id and waits for a line that never comes.
        let script = "sh -c 'echo $$; read line; :' <&0; :";
        let mut outer = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let mut line = String::new();
        let stdout = outer.stdout.take().expect("piped");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("its id");
        let inner: u32 = line.trim().parse().expect("a number");
        assert!(descendants(std::process::id()).contains(&inner));
        assert_eq!(descendants(outer.id()), [inner]);
        drop(outer.stdin.take());
        outer.wait().expect("both end at the end of input");
    }

    #[test]
    fn work_takes_cpu_time() {
        let before = cpu_time(std::process::id());
        let mut sum = 0_u64;
        while cpu_time(std::process::id()) < before + Duration::from_millis(30) {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(1));
        }
        assert_eq!(cpu_time(u32::MAX), Duration::ZERO);
    }
}
