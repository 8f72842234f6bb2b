//! A checkpoint that is pinned while somebody reads it: taking the pin, renewing it, letting it go.

use super::at::manifest_at;
use super::files::FileEntry;
use super::manifest::Manifest;
use super::open::{files_of, numbers, read_trail, run_id};
use super::pins::{self, Pin, Stored};
use crate::numbers::Epoch;
use anyhow::Context;
use bytes::Bytes;
use millrace_connectors::store::{Put, Store};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a command takes for the time that it runs, renewed long before it ends.
const WHILE_READ_MS: u64 = 600_000;
const RENEWED_EVERY: Duration = Duration::from_secs(60);
/// How often a newer checkpoint is taken, where the one before expires in that moment.
const TRIES: u32 = 10;

/// Milliseconds since 1970.
pub type NowMs = Arc<dyn Fn() -> u64 + Send + Sync>;

/// All pins there are, by name.
///
/// # Errors
/// Where the store fails.
pub fn read_pins(store: &dyn Store) -> anyhow::Result<Vec<Stored>> {
    let mut pins = Vec::new();
    for entry in store.list(pins::FOLDER).context("listing the pins")? {
        let Some(id) = entry.key.strip_prefix(pins::FOLDER).and_then(|name| name.strip_suffix(".json")) else {
            continue;
        };
        let pin = match store.get(&entry.key) {
            // Let go meanwhile.
            Err(error) if error.is_not_found() => continue,
            bytes => Pin::of_bytes(&bytes.with_context(|| format!("reading {}", entry.key))?),
        };
        let modified_ms = u64::try_from(entry.modified_micros / 1_000).unwrap_or(0);
        pins.push(Stored { id: id.to_owned(), pin, modified_ms });
    }
    Ok(pins)
}

/// A name that no other pin has.
pub fn pin_id() -> String {
    run_id()[..16].to_owned()
}

/// Puts a pin on a checkpoint: that of an epoch, or the newest. Tells which.
///
/// # Errors
/// Where there is none, or no pin can be put; where the name is taken.
pub fn pin(
    store: &dyn Store,
    id: &str,
    epoch: Option<Epoch>,
    (who, for_ms): (&str, u64),
    now_ms: &dyn Fn() -> u64,
    warn: &mut dyn FnMut(String),
) -> anyhow::Result<(Manifest, Pin)> {
    let key = pins::key(id);
    let mut is_ours = false;
    for _ in 0..TRIES {
        let manifest = manifest_at(store, epoch, warn)?;
        let pin = Pin::new((manifest.number, manifest.epoch), who, now_ms(), for_ms);
        let bytes = Bytes::from(pin.to_bytes());
        if is_ours {
            store.put(&key, bytes).with_context(|| format!("writing {key}"))?;
        } else {
            let put = store.put_if_absent(&key, bytes).with_context(|| format!("writing {key}"))?;
            anyhow::ensure!(put == Put::Created, "there is a pin {id} already: millrace lake pins lists them");
            is_ours = true;
        }
        super::crash::point("pinned");
        if is_safe(store, id, manifest.number, now_ms())? {
            return Ok((manifest, pin));
        }
        if epoch.is_some() {
            break;
        }
    }
    store.delete(std::slice::from_ref(&key))?;
    match epoch {
        Some(epoch) => anyhow::bail!(
            "the checkpoint of epoch {epoch} of {} is expiring: take a newer one, or raise lake.keep_checkpoints of the engine that writes \
             there",
            store.place()
        ),
        None => anyhow::bail!("the checkpoints of {} expire faster than one can be pinned: try again", store.place()),
    }
}

/// After the pin has been put.
fn is_safe(store: &dyn Store, id: &str, number: u64, now_ms: u64) -> anyhow::Result<bool> {
    let trail = read_trail(store)?;
    let numbers = numbers(store)?;
    let newest = numbers.iter().copied().max().unwrap_or(0);
    if !numbers.contains(&number) {
        return Ok(false);
    }
    if pins::is_safe(number, newest, trail, &[], now_ms) {
        return Ok(true);
    }
    let others: Vec<Stored> = read_pins(store)?.into_iter().filter(|stored| stored.id != id).collect();
    Ok(pins::is_safe(number, newest, trail, &others, now_ms))
}

/// Writes a pin anew, for so long from now on.
///
/// # Errors
/// Where there is none, it cannot be read or written, or its checkpoint is gone already.
pub fn renew(store: &dyn Store, id: &str, for_ms: u64, now_ms: u64) -> anyhow::Result<Pin> {
    let pin = find(store, id)?.renewed(now_ms, for_ms);
    let key = pins::key(id);
    store.put(&key, Bytes::from(pin.to_bytes())).with_context(|| format!("writing {key}"))?;
    let is_there = store.list(&Manifest::key(pin.manifest)).context("looking for the manifest")?;
    if is_there.is_empty() {
        store.delete(&[key])?;
        anyhow::bail!("the pin {id} had ended, and the checkpoint of epoch {} is gone: pin another", pin.epoch);
    }
    Ok(pin)
}

/// A pin by its name.
///
/// # Errors
/// Where there is none, or it cannot be read.
pub fn find(store: &dyn Store, id: &str) -> anyhow::Result<Pin> {
    let key = pins::key(id);
    let bytes = match store.get(&key) {
        Err(error) if error.is_not_found() => anyhow::bail!(
            "{} has no pin {id}: millrace lake pins lists those there are; lake files --pin {id} --for 1h takes one",
            store.place()
        ),
        bytes => bytes.with_context(|| format!("reading {key}"))?,
    };
    Pin::of_bytes(&bytes)
        .map_err(|why| anyhow::anyhow!("the pin {id} cannot be read ({why}): millrace lake unpin {id} removes it"))
}

/// Whether there is a pin of that name, readable or not.
///
/// # Errors
/// As the store.
pub fn is_there(store: &dyn Store, id: &str) -> anyhow::Result<bool> {
    let key = pins::key(id);
    Ok(store.list(&key)?.iter().any(|entry| entry.key == key))
}

/// Removes a pin. One that is not there is an error.
///
/// # Errors
/// As the store.
pub fn unpin(store: &dyn Store, id: &str) -> anyhow::Result<()> {
    anyhow::ensure!(
        is_there(store, id)?,
        "{} has no pin {id}: millrace lake pins lists those there are",
        store.place()
    );
    Ok(store.delete(&[pins::key(id)])?)
}

/// A checkpoint to read, and its pin, which is let go with it.
pub struct Pinned {
    pub manifest: Manifest,
    /// The files of the lake at it.
    pub files: Vec<FileEntry>,
    _pin: Option<WhileRead>,
}

impl Pinned {
    /// Pins the checkpoint of an epoch, or the newest, for as long as this is held. Where no pin can be written, for somebody may read
    /// and not write there, it is read without, and that is said.
    ///
    /// # Errors
    /// Where there is no such checkpoint, or its list of files cannot be read.
    pub fn checkpoint(
        store: &Arc<dyn Store>,
        epoch: Option<Epoch>,
        who: &str,
        now_ms: NowMs,
        warn: &mut dyn FnMut(String),
    ) -> anyhow::Result<Pinned> {
        let id = format!("{who}-{}", pin_id());
        let who = format!("millrace {who}, process {}", std::process::id());
        let (manifest, pin) = match pin(&**store, &id, epoch, (&who, WHILE_READ_MS), &*now_ms, warn) {
            Ok((manifest, _)) => (manifest, WhileRead::begin(store.clone(), id, now_ms)),
            Err(error) => {
                // What is wrong with the lake itself is said as without a pin.
                let manifest = manifest_at(&**store, epoch, &mut |_| {})?;
                warn(format!(
                    "the checkpoint is read without a pin, so an engine that writes there may remove its files meanwhile: {error:#}"
                ));
                (manifest, None)
            }
        };
        let files = files_of(&**store, &manifest)?;
        Ok(Pinned { manifest, files, _pin: pin })
    }
}

/// A pin that a thread renews.
struct WhileRead {
    store: Arc<dyn Store>,
    id: String,
    ends: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl WhileRead {
    /// Where no thread starts the pin is as good, for ten minutes.
    fn begin(store: Arc<dyn Store>, id: String, now_ms: NowMs) -> Option<WhileRead> {
        let (ends, ended) = channel();
        let (of_thread, name) = (store.clone(), id.clone());
        let thread = std::thread::Builder::new().name("pin".to_owned()).spawn(move || {
            while ended.recv_timeout(RENEWED_EVERY) == Err(RecvTimeoutError::Timeout) {
                // What fails is tried again a minute later: nine of ten may.
                let _ = renew(&*of_thread, &name, WHILE_READ_MS, now_ms());
            }
        });
        Some(WhileRead { store, id, ends: Some(ends), thread: thread.ok() })
    }
}

impl Drop for WhileRead {
    fn drop(&mut self) {
        drop(self.ends.take());
        if let Some(thread) = self.thread.take() {
            // It does not write the pin anew after that.
            let _ = thread.join();
        }
        // What fails ends by itself.
        let _ = self.store.delete(&[pins::key(&self.id)]);
    }
}
