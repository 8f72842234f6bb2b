//! Where a demonstration keeps its files, and how another process finds it.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// How events travel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    Log { events: PathBuf, corrections: PathBuf },
    Kafka { brokers: String, events: String, corrections: String },
}

/// What is written down of a demonstration that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Where it serves.
    pub address: String,
    pub way: Way,
}

const FILE: &str = "demo.json";
pub const EVENTS: &str = "events";
pub const CORRECTIONS: &str = "corrections";

impl Place {
    /// Makes the folder, empty but for what an earlier demonstration has left.
    ///
    /// # Errors
    /// Where the folder holds other things, or cannot be made.
    pub fn prepare(directory: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
        let known = [FILE, EVENTS, CORRECTIONS];
        for entry in fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))? {
            let name = entry.with_context(|| format!("reading {}", directory.display()))?.file_name();
            anyhow::ensure!(
                known.iter().any(|known| *known == name),
                "{} holds other files than a demonstration's: choose another folder with --dir",
                directory.display()
            );
        }
        for name in known {
            let path = directory.join(name);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// # Errors
    /// Where the file cannot be written.
    pub fn write(&self, directory: &Path) -> anyhow::Result<()> {
        let path = directory.join(FILE);
        let text = serde_json::to_vec_pretty(self).context("writing down the demonstration")?;
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// # Errors
    /// Where no demonstration has been written down there.
    pub fn read(directory: &Path) -> anyhow::Result<Place> {
        let path = directory.join(FILE);
        let text = fs::read(&path).with_context(|| {
            format!("no demonstration runs in {}: start one with `millrace demo`", directory.display())
        })?;
        serde_json::from_slice(&text).with_context(|| format!("{} is not of a demonstration", path.display()))
    }
}
