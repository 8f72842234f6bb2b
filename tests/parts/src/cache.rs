//! Where parts live, and how they get there: once, whole or not at all.
//!
//! ```text
//! target/parts/<name>-<hash of the recipe>/whole    the recipe; written last, so that what has it is whole
//! target/parts/locks/<name>-<hash>                  held while it is made: the others wait and find it made
//! target/parts/run/                                 folders of parts that run
//! ```
//! Another recipe is another folder, so that two branches can use one cache. `rm -r target/parts` is always safe while
//! nothing runs.

use crate::{PartError, tell};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

#[cfg(test)]
mod tests;

const PART: &str = "the cache of parts";
const MARKER: &str = "whole";

/// What a folder in the cache is made from.
pub struct Recipe<'a> {
    pub name: &'a str,
    /// All that decides what comes out: a pom, a list of requirements.
    pub text: &'a str,
    /// A file that must be there. A Python that a virtual environment links to may have gone with an upgrade.
    pub proof: &'a str,
}

/// `MILLTEST_PARTS`, or `target/parts` of this workspace: not cargo's target directory, which differs between a
/// developer's runs, and each would fetch its own.
pub fn root() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate is two folders deep");
    let root = std::env::var_os("MILLTEST_PARTS").map_or_else(|| workspace.join("target/parts"), PathBuf::from);
    // Servers run in folders of their own, where a relative path would lead elsewhere.
    std::path::absolute(&root).unwrap_or(root)
}

/// The folder that the recipe describes. Where it is not there yet, `build` fills an empty folder that then takes its
/// place; other threads and processes wait meanwhile.
///
/// # Errors
/// What `build` says. It is not tried again in this process: a registry that cannot be reached would cost every test
/// the same minute.
pub fn provision(recipe: &Recipe, build: impl FnOnce(&Path) -> Result<(), PartError>) -> Result<PathBuf, PartError> {
    provision_in(&root(), recipe, |folder| {
        tell(&format!("provisioning {} (once)", recipe.name));
        build(folder)
    })
}

fn provision_in(
    root: &Path,
    recipe: &Recipe,
    build: impl FnOnce(&Path) -> Result<(), PartError>,
) -> Result<PathBuf, PartError> {
    static FAILED: Mutex<BTreeMap<PathBuf, PartError>> = Mutex::new(BTreeMap::new());
    let name = format!("{}-{:016x}", recipe.name, fnv1a(recipe.text.as_bytes()));
    let folder = root.join(&name);
    if is_whole(&folder, recipe) {
        return Ok(folder);
    }
    let _lock = lock(&root.join("locks"), &name)?;
    // Whoever held the lock before may have made it, or failed to.
    if is_whole(&folder, recipe) {
        return Ok(folder);
    }
    let failed = || FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = failed().get(&folder) {
        return Err(error.clone());
    }
    let result = make(root, &folder, recipe, build);
    if let Err(error) = &result {
        failed().insert(folder.clone(), error.clone());
    }
    result.map(|()| folder)
}

fn make(
    root: &Path,
    folder: &Path,
    recipe: &Recipe,
    build: impl FnOnce(&Path) -> Result<(), PartError>,
) -> Result<(), PartError> {
    let prefix = format!(".making-{}-", folder.file_name().expect("it is named by its recipe").display());
    // What one left that was killed over it: this name is ours while we hold its lock. Where it cannot be removed it is
    // in nobody's way.
    for entry in fs::read_dir(root).map_err(PartError::io(PART, root))?.flatten() {
        if entry.file_name().display().to_string().starts_with(&prefix) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let staging = tempfile::Builder::new().prefix(&prefix).tempdir_in(root).map_err(PartError::io(PART, root))?;
    build(staging.path())?;
    let marker = staging.path().join(MARKER);
    fs::write(&marker, recipe.text).map_err(PartError::io(PART, &marker))?;
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(PartError::io(PART, folder))?;
    }
    fs::rename(staging.path(), folder).map_err(PartError::io(PART, folder))?;
    // Nothing is left at that path to be removed.
    let _ = staging.keep();
    Ok(())
}

fn is_whole(folder: &Path, recipe: &Recipe) -> bool {
    let is_of_recipe = fs::read(folder.join(MARKER)).is_ok_and(|text| text == recipe.text.as_bytes());
    is_of_recipe && folder.join(recipe.proof).exists()
}

/// Held until it is dropped, or its process is gone.
fn lock(folder: &Path, name: &str) -> Result<File, PartError> {
    fs::create_dir_all(folder).map_err(PartError::io(PART, folder))?;
    let path = folder.join(name);
    let file = File::create(&path).map_err(PartError::io(PART, &path))?;
    file.lock().map_err(PartError::io(PART, &path))?;
    Ok(file)
}

/// A hash that stays the same from one Rust to the next.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
