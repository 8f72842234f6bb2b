//! Opening a lake: where it is, what it holds, and claiming it.

use super::files::FileEntry;
use super::manifest::{FOLDER, Manifest, Unreadable};
use super::protocol::{self, Decision, Found, Newest, Outcome, Superseded};
use crate::settings::{Settings, near_a_url};
use anyhow::Context;
use bytes::Bytes;
use millrace_connectors::lake::DataDir;
use millrace_connectors::store::retry::Retry;
use millrace_connectors::store::{Failures, Local, Put, Retrying, Store, Unreliable};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A lake that this process has claimed.
pub struct Lake {
    pub store: Arc<dyn Store>,
    /// Of a local folder.
    _lock: Option<DataDir>,
    /// The claim: what the last run has left, under a number and a generation of our own.
    pub manifest: Manifest,
    /// The files of the lake at that manifest.
    pub files: Vec<FileEntry>,
}

impl Lake {
    /// Opens the lake at a place and takes it over from whoever had it: from this generation only, where one is given,
    /// and only if `fits` finds nothing against what is there. Otherwise whoever runs on it goes on.
    ///
    /// # Errors
    /// Where it cannot be reached, holds something else, or is locked; [`Superseded`] where another has taken it over;
    /// what `fits` says.
    pub fn claim_if(
        place: &str,
        settings: &Settings,
        ours: Option<u64>,
        fits: &dyn Fn(&Manifest) -> anyhow::Result<()>,
    ) -> anyhow::Result<Lake> {
        check_place(place)?;
        let lock = (!is_remote(place)).then(|| DataDir::open(Path::new(place))).transpose()?;
        let store = open_store(place, settings)?;
        prepare(place, settings)?;
        let run = run_id();
        let mut warnings = Vec::new();
        loop {
            let newest = look(&*store)?;
            let theirs = newest.manifest.as_ref().map_or(0, |manifest| manifest.generation);
            if let Some(ours) = ours.filter(|ours| *ours != theirs) {
                return Err(Superseded { place: store.place(), ours, theirs }.into());
            }
            warnings.extend(newest.torn.iter().map(|torn| passed_over(&*store, torn)));
            match &newest.manifest {
                Some(manifest) => fits(manifest)?,
                None => anyhow::ensure!(
                    newest.torn.is_empty(),
                    "no manifest of {} is whole ({}): restore one of {FOLDER} from a copy, or empty the place to begin anew",
                    store.place(),
                    newest
                        .torn
                        .iter()
                        .map(|(number, reason)| format!("{number}: {reason}"))
                        .collect::<Vec<_>>()
                        .join("; ")
                ),
            }
            let manifest = protocol::claim(&newest, Manifest::empty(settings), &run);
            if put(&*store, &manifest)? == Decision::Done {
                let files = files_of(&*store, &manifest)?;
                for warning in warnings {
                    crate::log::warning(warning);
                }
                return Ok(Lake { store, _lock: lock, manifest, files });
            }
            warnings.clear();
        }
    }
}

/// A slip of the pen is no folder.
fn check_place(place: &str) -> anyhow::Result<()> {
    match near_a_url(place) {
        Some(meant) => anyhow::bail!(
            "{place} is neither a folder nor a URL: did you mean {meant}? A folder may be named ./{place}"
        ),
        None => Ok(()),
    }
}

fn is_remote(place: &str) -> bool {
    place.contains("://")
}

/// The store at a place: a folder, or `s3://bucket/prefix`.
///
/// # Errors
/// Where the place is not understood or cannot be reached.
pub fn open_store(place: &str, settings: &Settings) -> anyhow::Result<Arc<dyn Store>> {
    check_place(place)?;
    let store: Arc<dyn Store> = match place.split_once("://") {
        None => Arc::new(Local::new(Path::new(place), settings.lake.sync)),
        Some(("s3", path)) => open_s3(path, settings)?,
        Some((scheme, _)) => anyhow::bail!("{place}: {scheme} is not known; name a folder, or s3://bucket/prefix"),
    };
    let store = match unreliable()? {
        None => store,
        Some(failures) => Arc::new(Unreliable::new(store, failures)),
    };
    let deadline = Duration::from_millis(settings.lake.s3.timeout_ms);
    Ok(Arc::new(Retrying::new(store, Retry { deadline, ..Retry::DEFAULT })))
}

#[cfg(feature = "s3")]
fn open_s3(path: &str, settings: &Settings) -> anyhow::Result<Arc<dyn Store>> {
    Ok(Arc::new(bucket(path, settings)?))
}

/// The bucket of a lake on S3.
///
/// # Errors
/// Where it is elsewhere, or cannot be reached.
#[cfg(feature = "s3")]
pub fn s3_of(place: &str, settings: &Settings) -> anyhow::Result<millrace_connectors::store::S3> {
    let path = place.strip_prefix("s3://");
    bucket(path.with_context(|| format!("{place} is not on S3: name s3://bucket/prefix"))?, settings)
}

#[cfg(feature = "s3")]
fn bucket(path: &str, settings: &Settings) -> anyhow::Result<millrace_connectors::store::S3> {
    use millrace_connectors::store::{S3, S3Settings};
    let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
    anyhow::ensure!(!bucket.is_empty(), "s3://{path}: name a bucket, as s3://bucket/prefix");
    let given = &settings.lake.s3;
    let timeout = Duration::from_millis(given.timeout_ms);
    let defaults = S3Settings::default();
    Ok(S3::open(S3Settings {
        bucket: bucket.to_owned(),
        prefix: prefix.trim_matches('/').to_owned(),
        endpoint: given.endpoint.clone(),
        region: given.region.clone(),
        path_style: given.path_style,
        attempt_timeout: defaults.attempt_timeout.min(timeout),
        timeout,
        part_bytes: given.part_bytes,
        parts_in_flight: given.parts_in_flight,
        ..defaults
    })?)
}

#[cfg(not(feature = "s3"))]
fn open_s3(path: &str, _settings: &Settings) -> anyhow::Result<Arc<dyn Store>> {
    anyhow::bail!("s3://{path}: this program was built without S3 (feature s3)")
}

/// For tests, `MILLTEST_UNRELIABLE=before:20,after:20,slow:50,delay_ms:30,seed:7`: of a thousand calls so many fail.
fn unreliable() -> anyhow::Result<Option<Failures>> {
    let Ok(text) = std::env::var("MILLTEST_UNRELIABLE") else { return Ok(None) };
    let mut failures = Failures::default();
    for part in text.split(',') {
        let (name, value) = part.split_once(':').context("MILLTEST_UNRELIABLE is name:value, …")?;
        let value: u64 = value.parse().context("MILLTEST_UNRELIABLE has numbers")?;
        match name {
            "before" => failures.before = value,
            "after" => failures.after = value,
            "slow" => failures.slow = value,
            "delay_ms" => failures.delay = Duration::from_millis(value),
            "seed" => failures.seed = value,
            _ => anyhow::bail!("MILLTEST_UNRELIABLE does not know {name}"),
        }
    }
    Ok(Some(failures))
}

/// What only who writes does: looks whether the store can tell two writers apart, and removes what a dead one has left.
fn prepare(place: &str, settings: &Settings) -> anyhow::Result<()> {
    match place.strip_prefix("s3://") {
        #[cfg(feature = "s3")]
        Some(path) => bucket(path, settings)?.check_conditional_writes()?,
        #[cfg(not(feature = "s3"))]
        Some(_) => {}
        None => {
            Local::new(Path::new(place), settings.lake.sync).sweep()?;
        }
    }
    Ok(())
}

/// Puts a manifest where there is none, and says what follows. One that is not the newest is taken away again.
///
/// # Errors
/// Where the store fails.
pub fn put(store: &dyn Store, manifest: &Manifest) -> anyhow::Result<Decision> {
    let key = Manifest::key(manifest.number);
    let put =
        store.put_if_absent(&key, Bytes::from(manifest.to_bytes())).with_context(|| format!("committing {key}"))?;
    let there = match put {
        Put::Created => None,
        Put::Exists => Some(found(store, manifest.number)?),
    };
    let newest = numbers(store)?.into_iter().max().unwrap_or(manifest.number);
    let decision = protocol::decide(manifest, &Outcome { there, newest });
    if let Decision::Lost { took_place: true, .. } = decision {
        store.delete(&[key])?;
    }
    Ok(decision)
}

/// One that expired meanwhile is not the newest.
pub(super) fn found(store: &dyn Store, number: u64) -> anyhow::Result<Found> {
    let key = Manifest::key(number);
    let bytes = match store.get(&key) {
        Err(error) if error.is_not_found() => return Ok(Found::Torn("it is gone".to_owned())),
        bytes => bytes.with_context(|| format!("reading {key}"))?,
    };
    Ok(match Manifest::of_bytes(&bytes) {
        Ok(manifest) if manifest.number == number => Found::Whole(Box::new(manifest)),
        Ok(manifest) => Found::Torn(format!("it says that it is manifest {}", manifest.number)),
        Err(Unreadable::Torn(reason)) => Found::Torn(reason.to_owned()),
        Err(Unreadable::OfAnotherVersion(reason)) => anyhow::bail!(
            "{key} in {} was written by another version of millrace ({reason}): use that one, or another place",
            store.place()
        ),
    })
}

/// The numbers of the manifests there are.
///
/// # Errors
/// Where the store fails.
pub fn numbers(store: &dyn Store) -> anyhow::Result<Vec<u64>> {
    let listed = store.list(FOLDER).context("listing the manifests")?;
    Ok(listed.iter().filter_map(|entry| Manifest::number_of(&entry.key)).collect())
}

/// Where a lake stands, which may hold nothing yet.
///
/// # Errors
/// Where the store fails, or the newest manifest is of another version.
pub fn look(store: &dyn Store) -> anyhow::Result<Newest> {
    protocol::newest(&numbers(store)?, |number| found(store, number))
}

/// The warning that a manifest is torn.
pub(super) fn passed_over(store: &dyn Store, (number, reason): &(u64, String)) -> String {
    format!("manifest {number} of {} is passed over: {reason}", store.place())
}

/// The newest manifest of a lake that is only read, and the files of the lake; what was passed over goes to `warn`.
///
/// # Errors
/// Where there is none, or it cannot be read.
pub fn read_newest(store: &dyn Store, warn: &mut dyn FnMut(String)) -> anyhow::Result<(Manifest, Vec<FileEntry>)> {
    let newest = look(store)?;
    newest.torn.iter().for_each(|torn| warn(passed_over(store, torn)));
    let manifest = newest.manifest.with_context(|| {
        format!(
            "{} holds no answers: run `millrace replay PATH… --data-dir` on it first, or `millrace run` with lake.url",
            store.place()
        )
    })?;
    let files = files_of(store, &manifest)?;
    Ok((manifest, files))
}

/// A manifest by its number; `None` where it is not whole.
///
/// # Errors
/// Where the store fails.
pub fn read_manifest(store: &dyn Store, number: u64) -> anyhow::Result<Option<Manifest>> {
    Ok(match found(store, number)? {
        Found::Whole(manifest) => Some(*manifest),
        Found::Torn(_) => None,
    })
}

/// All files of the lake at a manifest, by key.
///
/// # Errors
/// Where its catalog cannot be read.
pub fn files_of(store: &dyn Store, manifest: &Manifest) -> anyhow::Result<Vec<FileEntry>> {
    let mut files: Vec<FileEntry> = match &manifest.catalog {
        None => Vec::new(),
        Some(catalog) => {
            let bytes = store.get(&catalog.key).with_context(|| format!("reading {}", catalog.key))?;
            anyhow::ensure!(catalog.is(&bytes), "{} is not as manifest {} has it", catalog.key, manifest.number);
            serde_json::from_slice(&bytes).with_context(|| format!("reading {}", catalog.key))?
        }
    };
    let removed: BTreeSet<&String> = manifest.removed.iter().collect();
    files.extend(manifest.added.iter().cloned());
    files.retain(|file| !removed.contains(&file.key));
    files.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(files)
}

/// Different for every start of every engine.
#[expect(clippy::disallowed_methods, reason = "a name, not a time")]
fn run_id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let seed = format!("{now}-{}-{:p}", std::process::id(), &now);
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(seed.as_bytes()))
}
