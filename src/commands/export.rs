//! `lake export`: the rows of a view at a checkpoint, each once, as one Parquet file.

use super::kept::{has_results, shared_of, view_of};
use crate::checkpoint::view_rows::{self as results, Sorted};
use crate::checkpoint::{NowMs, Pinned, compression, open_store};
use crate::numbers::Epoch;
use crate::settings::Settings;
use anyhow::Context;
use millrace_dataflows::rows::{Key, Measures, sort_by_key};
use millrace_dataflows::views::view;

/// What has been written.
pub struct Exported {
    pub epoch: Epoch,
    pub rows: u64,
    pub bytes: u64,
    /// Where, for people.
    pub path: String,
}

/// Writes the rows of a view at the checkpoint of an epoch, or the newest: to a file, or under the view's name into a folder. What was
/// there before is there until all of the new one is.
///
/// # Errors
/// Where the lake keeps no such view or checkpoint, or the file cannot be written.
pub fn export(
    place: &str,
    settings: &Settings,
    (name, epoch): (&str, Option<Epoch>),
    to: &str,
    now_ms: NowMs,
    warn: &mut dyn FnMut(String),
) -> anyhow::Result<Exported> {
    let store = open_store(place, settings)?;
    let pinned = Pinned::checkpoint(&store, epoch, "export", now_ms, warn)?;
    let manifest = &pinned.manifest;
    has_results(manifest, place)?;
    let shared = shared_of(manifest)?;
    let (_, state) = view_of(&*store, manifest, name, &shared)?;
    let view = view(name, &shared.context).with_context(|| format!("there is no view {name}"))?;
    let mut rows: Vec<(Key, Measures)> = state.iter().map(|(key, sums)| (*key, sums.to_measures())).collect();
    sort_by_key(&mut rows, |(key, _)| key);
    let (folder, file) = destination(to, name);
    // Sizes and secrets are those of the lake's own store, if it is one.
    let target = open_store(&folder, settings)?;
    let untrusted = view.untrusted(&state);
    let written = results::write(
        &target,
        &file,
        &*view,
        &mut Sorted::of_rows(&rows),
        &untrusted,
        &shared.names,
        compression(settings),
    )?;
    let written = written.finish().with_context(|| format!("writing {file} in {}", target.place()))?;
    let path = match target.local_root() {
        Some(root) => {
            // Where unfinished files were; another's stay, and then so does it.
            let _ = std::fs::remove_dir(root.join("_tmp"));
            root.join(&file).display().to_string()
        }
        None => format!("{}/{file}", target.place()),
    };
    Ok(Exported { epoch: manifest.epoch, rows: written.rows, bytes: written.bytes, path })
}

/// The folder or bucket, and the file in it.
fn destination(to: &str, view: &str) -> (String, String) {
    if !to.ends_with(".parquet") {
        return (to.to_owned(), format!("{view}.parquet"));
    }
    match to.rsplit_once('/') {
        Some(("", file)) => ("/".to_owned(), file.to_owned()),
        Some((folder, file)) => (folder.to_owned(), file.to_owned()),
        None => (".".to_owned(), to.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_parquet_file_is_one_and_all_else_is_a_folder() {
        let check = |to: &str, folder: &str, file: &str| {
            assert_eq!(destination(to, "sales"), (folder.to_owned(), file.to_owned()), "{to}");
        };
        check("out", "out", "sales.parquet");
        check("out/today.parquet", "out", "today.parquet");
        check("today.parquet", ".", "today.parquet");
        check("/today.parquet", "/", "today.parquet");
        check("s3://shop/out", "s3://shop/out", "sales.parquet");
        check("s3://shop/out/today.parquet", "s3://shop/out", "today.parquet");
    }
}
