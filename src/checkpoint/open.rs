//! Opening a lake: where it is, what it holds, and claiming it.

use super::change_log::Cursor;
use super::files::{FOLDERS, FileEntry};
use super::free::{Trail, first_of_run, generation_of};
use super::manifest::{FOLDER, Manifest, Unreadable};
use super::patient::{Patient, Waiting};
use super::present::{self, Needs, list_all, missing};
use super::protocol::{self, Decision, Found, Newest, Outcome, Superseded};
use crate::numbers::{Epoch, Generation};
use crate::settings::{Settings, near_a_url};
use anyhow::Context;
use bytes::Bytes;
use millrace_connectors::lake::DataDir;
use millrace_connectors::store::retry::Retry;
use millrace_connectors::store::{Closed, Entry, Failures, Local, Put, Retrying, Store, Unreliable};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where catalogs are.
pub(super) const CATALOGS: &str = "_manifests/catalogs/";
/// See [`Trail`].
const TRAIL: &str = "_trail.json";

/// A lake that this process has claimed.
pub struct Lake {
    /// It is waited for, where it is away.
    pub store: Arc<dyn Store>,
    pub waiting: Arc<Waiting>,
    /// The same, not waited for.
    plain: Arc<dyn Store>,
    /// Of a local folder.
    lock: Option<DataDir>,
    /// The claim: what the last run has left, under a number and a generation of our own.
    pub manifest: Manifest,
    /// The files of the lake at that manifest.
    pub files: Vec<FileEntry>,
    /// The manifest as the store lists it.
    pub(super) entry: Option<Entry>,
    /// See [`Trail::spared`].
    pub(super) spared: Generation,
}

/// A lake that was there and is not any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{place} is gone: what was committed at {since} (manifest {number}) is not there any more, for it was emptied, removed or \
     moved; nothing is committed any more, and this engine stops; put it back, or set lake.url to another place"
)]
pub struct Gone {
    pub place: String,
    pub number: u64,
    pub since: String,
}

/// A claim that can be taken back.
pub struct Claim {
    store: Arc<dyn Store>,
    manifest: Manifest,
}

impl Claim {
    /// Takes it back, unless somebody has gone on from there. What fails is left: a claim harms nobody.
    pub fn retract(self) {
        let Claim { store, manifest } = self;
        let Ok(newest) = numbers(&*store).map(|numbers| numbers.into_iter().max().unwrap_or(0)) else { return };
        let there = found(&*store, manifest.number).ok();
        if protocol::may_retract(&manifest, there.as_ref(), newest) {
            let _ = store.delete(&[Manifest::key(manifest.number)]);
        }
    }
}

impl Lake {
    /// Opens the lake at a place and takes it over from whoever had it: from this generation only, where one is given,
    /// and only if nothing is missing that is needed, and `fits` finds nothing against what is there. Otherwise whoever runs on it
    /// goes on.
    ///
    /// # Errors
    /// Where it cannot be reached, holds something else, or is locked; [`Superseded`] where another has taken it over; where files
    /// or all manifests are missing; what `fits` says.
    pub fn claim_if(
        place: &str,
        settings: &Settings,
        ours: Option<Generation>,
        needs: Needs,
        fits: &dyn Fn(&Manifest) -> anyhow::Result<()>,
    ) -> anyhow::Result<Lake> {
        check_place(place)?;
        let lock = (!is_remote(place)).then(|| DataDir::open(Path::new(place))).transpose()?;
        let store = open_at(place, settings, true)?;
        prepare(place, settings)?;
        let run = run_id();
        let mut warnings = Vec::new();
        loop {
            let newest = look(&*store)?;
            let listed = list_all(&*store)?;
            let theirs = newest.manifest.as_ref().map_or(Generation::default(), |manifest| manifest.generation);
            if let Some(ours) = ours.filter(|ours| *ours != theirs) {
                return Err(Superseded { place: store.place(), ours, theirs }.into());
            }
            warnings.extend(newest.torn.iter().map(|torn| passed_over(&*store, torn)));
            let files = match &newest.manifest {
                Some(manifest) => {
                    check_finished(&store.place(), manifest)?;
                    fits(manifest)?;
                    let files = files_of(&*store, manifest)?;
                    let missed = missing(&listed, manifest, &files);
                    if !missed.is_empty() && look(&*store)?.next != newest.next {
                        // Whoever runs on it has gone on meanwhile, and removed what it needs no more.
                        warnings.clear();
                        continue;
                    }
                    present::check(&store.place(), manifest, &missed, needs, &mut |warning| warnings.push(warning))?;
                    files
                }
                None => {
                    check_new(&store.place(), &newest, &listed)?;
                    Vec::new()
                }
            };
            let last_generation = listed.iter().filter_map(|entry| generation_of(&entry.key)).max().unwrap_or_default();
            let mut manifest = protocol::claim(&newest, Manifest::empty(settings), &run, last_generation);
            let spared = spare(&*store, &newest, &listed, manifest.generation)?;
            let claim = Cursor::of(&manifest);
            for view in &mut manifest.views {
                view.log = view.log.map(|log| log.claimed(claim, spared));
            }
            if let (Decision::Done, entry) = put(&*store, &manifest, None)? {
                for warning in warnings {
                    crate::log::warning(warning);
                }
                let waiting = Arc::new(Waiting::new(Duration::from_millis(settings.live.outage_ms)));
                let patient: Arc<dyn Store> = Arc::new(Patient::new(store.clone(), waiting.clone()));
                return Ok(Lake { store: patient, waiting, plain: store, lock, manifest, files, entry, spared });
            }
            warnings.clear();
        }
    }

    /// Takes over what has lost its manifests, to make everything anew: the claim names all files that are there, so that they stay
    /// until it has been done.
    ///
    /// # Errors
    /// Where there is a manifest after all; as [`Lake::claim_if`].
    pub fn claim_left(place: &str, settings: &Settings) -> anyhow::Result<Lake> {
        let lock = (!is_remote(place)).then(|| DataDir::open(Path::new(place))).transpose()?;
        let store = open_at(place, settings, true)?;
        prepare(place, settings)?;
        let run = run_id();
        loop {
            let newest = look(&*store)?;
            anyhow::ensure!(
                newest.manifest.as_ref().is_none_or(is_unfinished),
                "{} has a manifest now: another process has written to it",
                store.place()
            );
            let listed = list_all(&*store)?;
            let left: BTreeSet<&str> = left_behind(&listed).into_iter().collect();
            let files: Vec<FileEntry> =
                listed.iter().filter(|entry| left.contains(&*entry.key)).map(FileEntry::left).collect();
            let last_generation = files.iter().filter_map(|file| generation_of(&file.key)).max().unwrap_or_default();
            let empty = Manifest { added: files.clone(), ..Manifest::empty(settings) };
            let newest = Newest { manifest: None, ..newest };
            let manifest = protocol::claim(&newest, empty, &run, last_generation);
            let spared = spare(&*store, &newest, &listed, manifest.generation)?;
            if let (Decision::Done, entry) = put(&*store, &manifest, None)? {
                let waiting = Arc::new(Waiting::new(Duration::from_millis(settings.live.outage_ms)));
                let patient: Arc<dyn Store> = Arc::new(Patient::new(store.clone(), waiting.clone()));
                return Ok(Lake { store: patient, waiting, plain: store, lock, manifest, files, entry, spared });
            }
        }
    }

    /// The claim, to be taken back where nothing comes of it.
    pub fn claim(&self) -> Claim {
        Claim { store: self.plain.clone(), manifest: self.manifest.clone() }
    }

    /// Checks that what was committed last is still there, or somebody has gone on from it: then the next commit finds that.
    ///
    /// # Errors
    /// [`Gone`] where it is not; where the store fails.
    pub fn check_there(&self) -> anyhow::Result<()> {
        self.check_folder()?;
        let listed = self.store.list(FOLDER).context("listing the manifests")?;
        let numbers = listed.iter().filter_map(|entry| Manifest::number_of(&entry.key));
        let is_newer = numbers.max().is_some_and(|newest| newest > self.manifest.number);
        if is_newer || is_listed(&*self.store, &listed, self.manifest.number, self.entry.as_ref()) {
            return Ok(());
        }
        Err(self.gone().into())
    }

    /// Checks that a local folder is still the one that was opened.
    ///
    /// # Errors
    /// [`Gone`] where it is not.
    pub fn check_folder(&self) -> Result<(), Gone> {
        if self.lock.as_ref().is_none_or(DataDir::is_there) { Ok(()) } else { Err(self.gone()) }
    }

    pub(super) fn gone(&self) -> Gone {
        let Manifest { number, written_at, .. } = &self.manifest;
        let since = if written_at.is_empty() { "the start".to_owned() } else { written_at.clone() };
        Gone { place: self.store.place(), number: *number, since }
    }
}

/// Whether it is the claim of [`Lake::claim_left`].
pub(super) fn is_unfinished(manifest: &Manifest) -> bool {
    manifest.epoch == Epoch::NONE && !manifest.added.is_empty()
}

fn check_finished(place: &str, manifest: &Manifest) -> anyhow::Result<()> {
    anyhow::ensure!(
        !is_unfinished(manifest),
        "a repair of {place}, which had lost its manifests, has begun and not ended: millrace repair --all --data-dir {place}"
    );
    Ok(())
}

/// Whether there is no manifest to go by, and files to make everything anew from.
///
/// # Errors
/// Where the store fails.
pub fn is_left(store: &dyn Store) -> anyhow::Result<bool> {
    let is_known = look(store)?.manifest.is_some_and(|manifest| !is_unfinished(&manifest));
    Ok(!is_known && !left_behind(&list_all(store)?).is_empty())
}

/// Whether a place without a whole manifest can become a lake: it holds nothing of one.
fn check_new(place: &str, newest: &Newest, listed: &[Entry]) -> anyhow::Result<()> {
    let anew = format!(
        "restore one of {FOLDER} from a copy; or make everything anew from the events: millrace repair --all --data-dir {place}; \
         or name another place"
    );
    let torn: Vec<String> = newest.torn.iter().map(|(number, reason)| format!("{number}: {reason}")).collect();
    anyhow::ensure!(torn.is_empty(), "no manifest of {place} is whole ({}): {anew}", torn.join("; "));
    let left = left_behind(listed);
    anyhow::ensure!(
        left.is_empty(),
        "{place} holds {} files of a lake ({} …) and no manifest, which says what they are: {anew}",
        left.len(),
        left[0]
    );
    Ok(())
}

/// Files that a lake has left.
pub(super) fn left_behind(listed: &[Entry]) -> Vec<&str> {
    let is_ours = |key: &&str| {
        let folder = key.split('/').next().unwrap_or_default();
        *key == TRAIL || (FOLDERS.contains(&folder) || key.starts_with(CATALOGS)) && generation_of(key).is_some()
    };
    listed.iter().map(|entry| &*entry.key).filter(is_ours).collect()
}

/// Before which generation nothing is removed that no manifest names: where a manifest is missing that has to be there, before this
/// one, and that is written down before anything else is.
fn spare(store: &dyn Store, newest: &Newest, listed: &[Entry], generation: Generation) -> anyhow::Result<Generation> {
    let numbers: Vec<u64> = listed.iter().filter_map(|entry| Manifest::number_of(&entry.key)).collect();
    let trail = read_trail(store)?;
    let is_new = trail.is_none() && numbers.is_empty();
    let trail = trail.or(is_new.then(Trail::default));
    if let Some(trail) = trail.filter(|trail| newest.torn.is_empty() && trail.is_whole(&numbers)) {
        return Ok(trail.spared);
    }
    // What is before a gap, a pin may have held.
    let (oldest, newest) = (first_of_run(&numbers).unwrap_or(0), numbers.iter().copied().max().unwrap_or(0));
    put_trail(store, Trail { oldest, newest, spared: generation })?;
    Ok(generation)
}

/// `None` where there is none that can be read.
pub(super) fn read_trail(store: &dyn Store) -> anyhow::Result<Option<Trail>> {
    match store.get(TRAIL) {
        Err(error) if error.is_not_found() => Ok(None),
        bytes => Ok(serde_json::from_slice(&bytes.with_context(|| format!("reading {TRAIL}"))?).ok()),
    }
}

/// # Errors
/// Where the store fails.
pub(super) fn put_trail(store: &dyn Store, trail: Trail) -> anyhow::Result<()> {
    let bytes = serde_json::to_vec(&trail).expect("numbers are JSON");
    store.put(TRAIL, Bytes::from(bytes)).with_context(|| format!("writing {TRAIL}"))
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

/// A lake that another process has claimed, and this one writes files of.
pub struct SharedLake {
    /// It is waited for, where it is away.
    pub store: Arc<dyn Store>,
    /// Where it is a folder of this machine, what is always in it.
    manifests: Option<PathBuf>,
}

impl SharedLake {
    /// # Errors
    /// Where the place is not understood, cannot be reached, or is a folder that is not there.
    pub fn open(place: &str, settings: &Settings) -> anyhow::Result<SharedLake> {
        check_place(place)?;
        let store = open_at(place, settings, true)?;
        let waiting = Arc::new(Waiting::new(Duration::from_millis(settings.live.outage_ms)));
        let manifests = (!is_remote(place)).then(|| Path::new(place).join(FOLDER));
        Ok(SharedLake { store: Arc::new(Patient::new(store, waiting)), manifests })
    }

    /// Checks that what was just written was written to the lake, and not to what is left where its folder was.
    ///
    /// # Errors
    /// Where the lake is not there any more.
    pub fn check_there(&self) -> anyhow::Result<()> {
        let is_there = self.manifests.as_ref().is_none_or(|folder| folder.exists());
        anyhow::ensure!(
            is_there,
            "{} holds no lake any more: it was emptied, or is not mounted (lake.url)",
            self.store.place()
        );
        Ok(())
    }
}

/// The store at a place: a folder, or `s3://bucket/prefix`.
///
/// # Errors
/// Where the place is not understood or cannot be reached.
pub fn open_store(place: &str, settings: &Settings) -> anyhow::Result<Arc<dyn Store>> {
    check_place(place)?;
    open_at(place, settings, false)
}

/// A local folder has to be there where it `exists`.
fn open_at(place: &str, settings: &Settings, exists: bool) -> anyhow::Result<Arc<dyn Store>> {
    let store: Arc<dyn Store> = match place.split_once("://") {
        None => {
            let local = Local::new(Path::new(place), settings.lake.sync);
            Arc::new(if exists { local.existing() } else { local })
        }
        Some(("s3", path)) => open_s3(path, settings)?,
        Some((scheme, _)) => anyhow::bail!("{place}: {scheme} is not known; name a folder, or s3://bucket/prefix"),
    };
    let store = match unreliable()? {
        None => store,
        Some((failures, closed)) => Arc::new(Unreliable::closed_while(store, failures, closed)),
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

/// For tests, `MILLTEST_UNRELIABLE=before:20,after:20,slow:50,delay_ms:30,seed:7`: of a thousand calls so many fail. With
/// `closed:FILE` all are refused as long as the file is there.
fn unreliable() -> anyhow::Result<Option<(Failures, Closed)>> {
    let Ok(text) = std::env::var("MILLTEST_UNRELIABLE") else { return Ok(None) };
    let (mut failures, mut closed) = (Failures::default(), Closed::default());
    for part in text.split(',') {
        let (name, value) = part.split_once(':').context("MILLTEST_UNRELIABLE is name:value, …")?;
        if name == "closed" {
            closed = Closed(Some(value.into()));
            continue;
        }
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
    Ok(Some((failures, closed)))
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

/// Puts a manifest where there is none, after the one that is `held`, and says what follows, and how the store lists it. One that is
/// not the newest, or follows nothing, is taken away again.
///
/// # Errors
/// Where the store fails.
pub fn put(store: &dyn Store, manifest: &Manifest, held: Option<&Entry>) -> anyhow::Result<(Decision, Option<Entry>)> {
    let key = Manifest::key(manifest.number);
    let put =
        store.put_if_absent(&key, Bytes::from(manifest.to_bytes())).with_context(|| format!("committing {key}"))?;
    let there = match put {
        Put::Created => None,
        Put::Exists => Some(found(store, manifest.number)?),
    };
    let listed = store.list(FOLDER).context("listing the manifests")?;
    let newest = listed.iter().filter_map(|entry| Manifest::number_of(&entry.key)).max().unwrap_or(manifest.number);
    let follows = manifest.number == 1 || is_listed(store, &listed, manifest.number - 1, held);
    let decision = protocol::decide(manifest, &Outcome { there, newest, follows });
    if matches!(decision, Decision::Lost { took_place: true, .. } | Decision::Gone) {
        store.delete(std::slice::from_ref(&key))?;
    }
    Ok((decision, listed.into_iter().find(|entry| entry.key == key)))
}

/// Whether a manifest is listed, as it was when it was put, where that is known. In a folder, whose lock we hold, one that was
/// restored from a copy is as good.
fn is_listed(store: &dyn Store, listed: &[Entry], number: u64, as_put: Option<&Entry>) -> bool {
    let key = Manifest::key(number);
    let is_same = |entry: &Entry| store.local_root().is_some() || as_put.is_none_or(|as_put| as_put == entry);
    listed.iter().find(|entry| entry.key == key).is_some_and(is_same)
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
    let manifest = newest_manifest(store, warn)?;
    let files = files_of(store, &manifest)?;
    Ok((manifest, files))
}

/// As [`read_newest`], without the files.
///
/// # Errors
/// Where there is none.
pub fn newest_manifest(store: &dyn Store, warn: &mut dyn FnMut(String)) -> anyhow::Result<Manifest> {
    let newest = look(store)?;
    newest.torn.iter().for_each(|torn| warn(passed_over(store, torn)));
    let Some(manifest) = newest.manifest else {
        check_new(&store.place(), &newest, &list_all(store)?)?;
        anyhow::bail!(
            "{} holds no answers: run `millrace replay PATH… --data-dir` on it first, or `millrace run` with lake.url",
            store.place()
        );
    };
    check_finished(&store.place(), &manifest)?;
    Ok(manifest)
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
pub(super) fn run_id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let seed = format!("{now}-{}-{:p}", std::process::id(), &now);
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(seed.as_bytes()))
}
