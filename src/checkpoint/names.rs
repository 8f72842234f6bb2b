//! The texts of the dictionary, as files in the order of their numbers.

use super::files::FileEntry;
use super::manifest::Manifest;
use super::restore::checked;
use crate::numbers::Epoch;
use anyhow::Context;
use millrace_connectors::lake::Unfinished;
use millrace_connectors::store::Store;
use millrace_schema::Names;
use std::sync::Arc;

/// Writes texts under a name that no other file has.
///
/// # Errors
/// Where they cannot be written.
pub fn write_texts(store: &Arc<dyn Store>, name: &str, texts: &[&str], epoch: Epoch) -> anyhow::Result<FileEntry> {
    let key = format!("_state/names/{name}.json");
    let bytes = serde_json::to_vec(texts).context("writing names")?;
    let file = Unfinished::of_bytes(store, key.clone(), bytes, texts.len() as u64);
    Ok(FileEntry::of(file.finish().with_context(|| format!("writing {key}"))?, epoch))
}

/// # Errors
/// Where the file cannot be read.
pub fn read_texts(store: &dyn Store, file: &FileEntry) -> anyhow::Result<Vec<String>> {
    serde_json::from_slice(&checked(store, file)?).with_context(|| format!("reading {}", file.key))
}

/// Enters the texts of a manifest in the dictionary, in their order.
///
/// # Errors
/// Where a file cannot be read.
pub fn load_names(store: &dyn Store, manifest: &Manifest, names: &Names) -> anyhow::Result<()> {
    for file in &manifest.state.names {
        for text in read_texts(store, file)? {
            names.intern(&text)?;
        }
    }
    Ok(())
}
