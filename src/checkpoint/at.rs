//! One of the checkpoints that a lake keeps.

use super::manifest::Manifest;
use super::open::{found, newest_manifest, numbers, passed_over};
use super::protocol::Found;
use crate::numbers::Epoch;
use millrace_connectors::store::Store;

/// The manifests that are kept and whole, by number; what was passed over goes to `warn`.
///
/// # Errors
/// Where the store fails.
pub fn kept_manifests(store: &dyn Store, warn: &mut dyn FnMut(String)) -> anyhow::Result<Vec<Manifest>> {
    let (mut kept, mut torn) = (Vec::new(), Vec::new());
    for number in numbers(store)? {
        match found(store, number)? {
            Found::Whole(manifest) => kept.push(*manifest),
            Found::Torn(reason) => torn.push((number, reason)),
        }
    }
    if !torn.is_empty() {
        // One that has expired meanwhile is not torn.
        let there = numbers(store)?;
        torn.iter().filter(|(number, _)| there.contains(number)).for_each(|torn| warn(passed_over(store, torn)));
    }
    kept.sort_by_key(|manifest| manifest.number);
    Ok(kept)
}

/// The checkpoint of an epoch, the newest where none is given.
///
/// # Errors
/// Where there is none; it names those there are.
pub fn manifest_at(store: &dyn Store, epoch: Option<Epoch>, warn: &mut dyn FnMut(String)) -> anyhow::Result<Manifest> {
    let Some(epoch) = epoch else { return newest_manifest(store, warn) };
    let kept = kept_manifests(store, warn)?;
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
    Ok(manifest.clone())
}
