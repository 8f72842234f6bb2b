//! One of the checkpoints that a lake keeps.

use super::files::FileEntry;
use super::manifest::Manifest;
use super::open::{files_of, numbers, read_manifest, read_newest};
use millrace_connectors::store::Store;

/// The manifests that are kept and whole, by number.
///
/// # Errors
/// Where the store fails.
pub fn kept_manifests(store: &dyn Store) -> anyhow::Result<Vec<Manifest>> {
    let mut kept = Vec::new();
    for number in numbers(store)? {
        kept.extend(read_manifest(store, number)?);
    }
    kept.sort_by_key(|manifest| manifest.number);
    Ok(kept)
}

/// The checkpoint of an epoch, the newest where none is given, and the files of the lake at it.
///
/// # Errors
/// Where there is none; it names those there are.
pub fn checkpoint_at(
    store: &dyn Store,
    epoch: Option<u64>,
    warn: &mut dyn FnMut(String),
) -> anyhow::Result<(Manifest, Vec<FileEntry>)> {
    let Some(epoch) = epoch else { return read_newest(store, warn) };
    let kept = kept_manifests(store)?;
    // A claim has the epoch of what it took over.
    let Some(manifest) = kept.iter().rfind(|manifest| manifest.epoch == epoch) else {
        let mut epochs: Vec<String> = kept.iter().map(|manifest| manifest.epoch.to_string()).collect();
        epochs.dedup();
        anyhow::bail!(
            "{} keeps no checkpoint of epoch {epoch}; it has {}. lake.keep_checkpoints says how many are kept",
            store.place(),
            epochs.join(", ")
        );
    };
    let files = files_of(store, manifest)?;
    Ok((manifest.clone(), files))
}
