//! How much memory a process holds.

use std::fs;

/// The resident set of a process, in bytes: `VmRSS` of `proc_pid_status(5)`.
///
/// # Panics
///
/// There is no such process.
#[track_caller]
pub fn resident(pid: u32) -> u64 {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    resident_of(&status).unwrap_or_else(|| panic!("there is no VmRSS in {path}: has the process ended?"))
}

fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_kilobytes_are_kibibytes() {
        assert_eq!(resident_of("Name:\tx\nVmRSS:\t   12 kB\nVmData:\t 9 kB\n"), Some(12 * 1024));
        assert_eq!(resident_of("Name:\tzombie\n"), None);
    }

    #[test]
    fn memory_that_is_touched_is_counted() {
        let before = resident(std::process::id());
        let held = vec![1_u8; 64 << 20];
        let after = resident(std::process::id());
        assert!(after >= before + (32 << 20), "{before} bytes, then {after} with {} more", held.len());
    }
}
