//! How much memory a process may have: what the setting says, or the control group and the machine do.

use std::path::Path;

/// Of what is there, in tenths: the rest is for the page cache and what the kernel counts besides.
const TENTHS: u64 = 9;
/// What version 1 of control groups calls no limit, and more than any machine has.
const NO_LIMIT: u64 = 1 << 60;

/// A size as the setting `limits.memory` has it: bytes, or a number with `KB`, `MB`, `GB`, `KiB`, `MiB` or `GiB`. `Some(None)` is
/// `unlimited`; `None` is no size.
pub fn parse(text: &str) -> Option<Option<u64>> {
    const UNITS: [(&str, u64); 7] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("", 1),
    ];
    let text = text.trim();
    if text == "unlimited" {
        return Some(None);
    }
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let (_, factor) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    Some(Some(digits.trim_end().parse::<u64>().ok()?.checked_mul(*factor)?))
}

/// Nine tenths of what this process may have; `None` where the system does not say.
pub fn available() -> Option<u64> {
    least(&|path| std::fs::read_to_string(path).ok()).map(|bytes| bytes / 10 * TENTHS)
}

/// The least of what the machine has and what the control groups allow that the process is in.
fn least(read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1_024)
    });
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let of_groups = groups.lines().flat_map(|line| of_group(line, read));
    machine.into_iter().chain(of_groups).filter(|bytes| *bytes < NO_LIMIT).min()
}

/// The limits of a line of `/proc/self/cgroup`: `0::/path`, or in version 1 `4:memory:/path`; of the group and of those that it is in.
fn of_group(line: &str, read: &dyn Fn(&Path) -> Option<String>) -> Vec<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return Vec::new() };
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        other if other.split(',').any(|name| name == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return Vec::new(),
    };
    // In a container the path may be one of the host: its root is then that of the group itself.
    let folders = Path::new(path.trim_start_matches('/')).ancestors();
    folders.filter_map(|folder| read(&Path::new(root).join(folder).join(file))?.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("250MB", 250_000_000),
            ("2GiB", 2 << 30),
            ("512 MiB", 512 << 20),
            ("64kb", 64_000),
            ("1000000", 1_000_000),
        ] {
            assert_eq!(parse(text), Some(Some(bytes)), "{text}");
        }
        assert_eq!(parse("unlimited"), Some(None));
        for text in ["", "MB", "-1GB", "1.5GB", "2 TB", "auto", "99999999999999999999", "20000000000GiB"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_least_of_machine_and_control_groups() {
        let check = |files: &[(&str, &str)], expected: Option<u64>| {
            let files: BTreeMap<&str, &str> = files.iter().copied().collect();
            let read = |path: &Path| files.get(path.to_str()?).map(|text| (*text).to_owned());
            assert_eq!(least(&read), expected, "{files:?}");
        };
        let machine = ("/proc/meminfo", "MemTotal:       16000 kB\nMemFree: 3 kB\n");
        let second = ("/proc/self/cgroup", "0::/shop/engine\n");
        check(&[], None);
        check(&[machine], Some(16_384_000));
        check(&[machine, second, ("/sys/fs/cgroup/shop/engine/memory.max", "max\n")], Some(16_384_000));
        check(&[machine, second, ("/sys/fs/cgroup/shop/engine/memory.max", "250000\n")], Some(250_000));
        check(&[machine, second, ("/sys/fs/cgroup/shop/memory.max", "70000\n")], Some(70_000));
        check(&[machine, second, ("/sys/fs/cgroup/memory.max", "60000\n")], Some(60_000));
        let first = ("/proc/self/cgroup", "12:pids:/a\n4:cpu,memory:/a\n");
        check(&[first, ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "50000\n")], Some(50_000));
        check(&[first, ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n")], None);
    }
}
