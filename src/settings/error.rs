//! What is wrong with the settings. Every message names the setting to change and where it was set.

use super::tree::Origin;
use std::fmt;
use std::path::PathBuf;

/// Settings that cannot be used; the user's to mend (exit code 2).
#[derive(Debug, PartialEq)]
pub enum SettingsError {
    Unreadable {
        path: PathBuf,
        reason: String,
    },
    /// Never quotes the file: the line may hold a secret.
    NotToml {
        path: PathBuf,
        line: usize,
        reason: String,
    },
    UnknownKey {
        key: String,
        origin: Origin,
        nearest: String,
    },
    /// `value` is already redacted. `origin` is `None` where the settings were not loaded but built.
    BadValue {
        key: String,
        origin: Option<Origin>,
        value: String,
        expected: String,
    },
    /// `--set` without `=`.
    NoAssignment {
        key: String,
    },
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingsError::Unreadable { path, reason } => {
                write!(f, "cannot read the settings file {}: {reason}", path.display())
            }
            SettingsError::NotToml { path, line, reason } => {
                write!(f, "{}, line {line}, is not TOML: {reason}", path.display())
            }
            SettingsError::UnknownKey { key, origin, nearest } => {
                write!(f, "unknown setting {key} ({origin}); did you mean {nearest}?")?;
                match origin {
                    Origin::Environment(_) => write!(f, " (that is {})", super::load::variable_of(nearest)),
                    _ => Ok(()),
                }
            }
            SettingsError::BadValue { key, origin, value, expected } => {
                write!(f, "setting {key} = {value}")?;
                if let Some(origin) = origin {
                    write!(f, " ({origin})")?;
                }
                write!(f, ": expected {expected}")
            }
            SettingsError::NoAssignment { key } => {
                write!(f, "--set {key}: expected KEY=VALUE, as in --set replay.workers=4")
            }
        }
    }
}

impl std::error::Error for SettingsError {}
