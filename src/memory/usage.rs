//! What the process has used: processor time and memory.

use std::time::Duration;

/// User and system time of all threads so far.
pub fn cpu_time() -> Duration {
    cpu_time::ProcessTime::now().as_duration()
}

/// The largest resident set so far in bytes; 0 where the system does not say.
pub fn peak_rss_bytes() -> u64 {
    of_status("VmHWM:")
}

/// The resident set in bytes; 0 where the system does not say.
pub fn rss_bytes() -> u64 {
    of_status("VmRSS:")
}

fn of_status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}
