//! What keeps a part from being used, and what a test does then.

use std::io::Write;
use std::path::Path;

#[derive(Clone, Debug, thiserror::Error)]
pub enum PartError {
    /// The machine lacks something. Nothing is known to be wrong with what is tested.
    #[error("{part} is missing: {what}; {how_to_get_it}")]
    Missing { part: &'static str, what: String, how_to_get_it: &'static str },
    /// The part was there and did not do what it must.
    #[error("{part} failed: {what}")]
    Failed { part: &'static str, what: String },
}

impl PartError {
    /// A file or folder of ours cannot be written or read.
    pub(crate) fn io(part: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> PartError {
        let path = path.to_owned();
        move |error| PartError::Failed { part, what: format!("{}: {error}", path.display()) }
    }
}

/// A line on stderr, also in a test that passes: what the macros print is kept from whoever runs it.
pub(crate) fn tell(line: &str) {
    // Who closed stderr does not want to know.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// The part, or `None` where the machine lacks it and the test is to be skipped.
///
/// # Panics
/// Where the part failed, and where it is missing while the environment says `CI=true`: what is always skipped
/// tests nothing.
#[track_caller]
pub fn or_skip<T>(result: Result<T, PartError>) -> Option<T> {
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    match result {
        Ok(part) => Some(part),
        Err(error @ PartError::Missing { .. }) if !in_ci => {
            tell(&format!("SKIPPED: {error}"));
            None
        }
        Err(error) => panic!("{error}"),
    }
}
