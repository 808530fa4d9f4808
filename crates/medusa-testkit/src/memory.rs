//! How much memory a process holds.

use std::fs;

/// The resident set of a process, in bytes: `VmRSS` of `proc_pid_status(5)`.
///
/// # Panics
///
/// There is no such process.
#[track_caller]
pub fn resident(pid: u32) -> u64 {
    read(pid, "VmRSS")
}

/// As [`resident`], of a process that may have ended: 0 then.
pub fn resident_if_any(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    field_of(&status, "VmRSS").unwrap_or(0)
}

/// The most that has been resident of a process, in bytes, since it began or [`forget_peak`]: `VmHWM`. What is held for
/// a moment between two looks is seen in it.
///
/// # Panics
///
/// There is no such process.
#[track_caller]
pub fn peak(pid: u32) -> u64 {
    read(pid, "VmHWM")
}

/// Has [`peak`] begin anew, with what is resident now.
///
/// # Panics
///
/// There is no such process, or it is not ours.
#[track_caller]
pub fn forget_peak(pid: u32) {
    let path = format!("/proc/{pid}/clear_refs");
    fs::write(&path, "5").unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
}

#[track_caller]
fn read(pid: u32, name: &str) -> u64 {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    field_of(&status, name).unwrap_or_else(|| panic!("there is no {name} in {path}: has the process ended?"))
}

fn field_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_kilobytes_are_kibibytes() {
        let status = "Name:\tx\nVmHWM:\t 13 kB\nVmRSS:\t   12 kB\nVmData:\t 9 kB\n";
        assert_eq!(field_of(status, "VmRSS"), Some(12 * 1024));
        assert_eq!(field_of(status, "VmHWM"), Some(13 * 1024));
        assert_eq!(field_of("Name:\tzombie\n", "VmRSS"), None);
    }

    #[test]
    fn memory_that_is_touched_is_counted() {
        let before = resident(std::process::id());
        let held = vec![1_u8; 64 << 20];
        let after = resident(std::process::id());
        assert!(after >= before + (32 << 20), "{before} bytes, then {after} with {} more", held.len());
        drop(held);
        // The kernel adds up its counters of pages only now and then.
        assert!(peak(std::process::id()) + (1 << 20) >= after);
        forget_peak(std::process::id());
        assert!(peak(std::process::id()) < after);
    }
}
