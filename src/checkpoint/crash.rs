//! Points where a test kills the process, as `kill -9` does: `MILLTEST_CRASH_AT=before-manifest:3` ends it when that point is
//! reached for the third time.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

const VARIABLE: &str = "MILLTEST_CRASH_AT";

/// All there are, in the order of a run: while the state is taken in, at a commit, when the source is told, when files are removed,
/// and once small files are merged beside.
pub const POINTS: [&str; 17] = [
    "restoring",
    "restored",
    "state-encoded",
    "lake-encoded",
    "file-written",
    "before-cut",
    "files-written",
    "views-written",
    "names-written",
    "before-manifest",
    "after-manifest",
    "before-release",
    "released",
    "sweeping",
    "swept",
    "merged",
    "joined",
];

/// Where pins are: when one has been put and not been found to hold, and before what only pins held is removed.
pub const POINTS_OF_PINS: [&str; 2] = ["pinned", "unpinned"];

/// Where the rows of a view are linked for whoever globs them, and the link is not replaced yet.
pub const POINTS_OF_CURRENT: [&str; 1] = ["current-made"];

/// Where pending records are merged beside: when most has been looked up, before they are handed over, and once a checkpoint has them.
pub const POINTS_OF_REPAIR: [&str; 3] = ["looked-ahead", "late-found", "late-merged"];

/// Where changes are published: with the new checkpoint pinned, within a transaction, when all of it is sent, when it is committed, and when
/// the pin before is let go.
pub const POINTS_OF_SINKS: [&str; 5] = ["sink-pinned", "sink-begun", "sink-sent", "sink-committed", "sink-unpinned"];

pub fn point(name: &str) {
    debug_assert!(
        [&POINTS[..], &POINTS_OF_REPAIR, &POINTS_OF_PINS, &POINTS_OF_CURRENT, &POINTS_OF_SINKS]
            .iter()
            .any(|points| points.contains(&name)),
        "{name} is not in a list"
    );
    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static SEEN: AtomicU64 = AtomicU64::new(0);
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let (name, times) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), times.parse().ok()?))
    });
    let Some((wanted, times)) = wanted else { return };
    if wanted == name && SEEN.fetch_add(1, Ordering::Relaxed) + 1 == *times {
        let pid = std::process::id().to_string();
        let _ = std::process::Command::new("kill").args(["-9", &pid]).status();
        // It does not come back from there.
        std::thread::park();
    }
}
