//! The thread of a topic: it brings the topic to the newest checkpoint, over and over.
//!
//! What fails is begun anew from what the topic says, with growing pauses. An answer that was lost is thereby looked up, and nothing is
//! sent twice.

use super::Committed;
use super::content::{At, Content, Out, Prepared};
use super::frontier::{BEGIN_ANEW, BeginAnew, Frontier, KEY};
use super::status::SinkStatus;
use super::target::{is_pin_of, pin_prefix};
use crate::checkpoint::crash::point;
use crate::checkpoint::{
    NowMs, files_of, newest_manifest, open_store, pin, pin_id, read_manifest, read_pins, renew, unpin,
};
use crate::log;
use crate::numbers::{Epoch, Generation};
use crate::settings::Settings;
use anyhow::Context;
use millrace_connectors::sink::{Message, Opened, SinkError, SinkSettings, TopicSink};
use millrace_connectors::store::Store;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_64;

/// How often it is looked whether there is something new; it is a look at a number in memory.
const LOOK: Duration = Duration::from_millis(100);
const FIRST_PAUSE_MS: u64 = 200;
const LONGEST_PAUSE_MS: u64 = 30_000;
/// A topic that stands still is told of so often.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// Pins are renewed so often, or more often where they hold for a short time.
const RENEW_EVERY: Duration = Duration::from_secs(600);

/// Until when publishers may go on.
#[derive(Default)]
pub(super) struct End {
    by: OnceLock<Instant>,
}

impl End {
    pub(super) fn finish_by(&self, patience: Duration) {
        let _ = self.by.set(Instant::now() + patience);
    }

    fn is_asked(&self) -> bool {
        self.by.get().is_some()
    }

    fn is_over(&self) -> bool {
        self.is_over_since(Duration::ZERO)
    }

    /// Whether it was over so long ago.
    pub(super) fn is_over_since(&self, past: Duration) -> bool {
        self.by.get().is_some_and(|by| Instant::now() >= *by + past)
    }
}

pub(super) struct Parts {
    pub settings: Settings,
    pub target: SinkSettings,
    pub content: Box<dyn Content>,
    pub status: Arc<SinkStatus>,
    pub committed: Committed,
    pub now_ms: NowMs,
    pub end: Arc<End>,
    pub quiet: bool,
}

pub(super) struct Publisher {
    parts: Parts,
    store: Option<Arc<dyn Store>>,
    sink: Option<TopicSink>,
    /// The checkpoint that the topic has, as far as it is known and can be gone on from.
    from: Option<At>,
    /// Of the engine that this thread belongs to.
    generation: Option<Generation>,
    /// Name and manifest of each pin of this topic.
    pins: Option<Vec<(String, u64)>>,
    /// When the pins were last renewed; those of an earlier run are at once.
    renewed: Option<Instant>,
    failures: u32,
    told: Option<Instant>,
}

/// What a look at the lake came to.
enum Step {
    /// The topic has the newest checkpoint, which was that of this epoch when it was looked for.
    HasAll,
    /// Another engine goes on, and publishes.
    Superseded,
}

impl Publisher {
    pub(super) fn new(parts: Parts) -> Publisher {
        let (renewed, told) = (None, None);
        Publisher {
            parts,
            store: None,
            sink: None,
            from: None,
            generation: None,
            pins: None,
            renewed,
            failures: 0,
            told,
        }
    }

    pub(super) fn run(mut self) {
        let mut seen: Option<Epoch> = None;
        let mut retry_at = Instant::now();
        loop {
            let is_last = self.parts.end.is_asked();
            let newest = (self.parts.committed)();
            if newest != Epoch::NONE && seen != Some(newest) {
                self.parts.status.is_behind((self.parts.now_ms)());
            }
            if is_last && (seen == Some(newest) || self.parts.end.is_over()) {
                return self.tell_end();
            }
            self.renew_if_due();
            if newest == Epoch::NONE || seen == Some(newest) || Instant::now() < retry_at {
                std::thread::park_timeout(LOOK);
                continue;
            }
            match self.step() {
                Ok(Step::HasAll) => {
                    seen = Some(newest);
                    self.goes_on();
                }
                Ok(Step::Superseded) => return,
                Err(error) => retry_at = Instant::now() + self.fails(&error),
            }
        }
    }

    /// Brings the topic to the newest checkpoint.
    fn step(&mut self) -> anyhow::Result<Step> {
        let store = self.store()?;
        let newest = newest_manifest(&*store, &mut |_| {})?;
        let generation = *self.generation.get_or_insert(newest.generation);
        if newest.generation > generation {
            let topic = &self.parts.target.topic;
            log::info(format_args!("kafka_out: another engine has taken over the lake, and publishes to {topic}"));
            return Ok(Step::Superseded);
        }
        if self.sink.is_none() {
            self.open(&*store)?;
        }
        let number = self.from.as_ref().map(|from| from.manifest.number);
        if number != Some(newest.number) {
            self.publish(&*store)?;
        }
        Ok(Step::HasAll)
    }

    fn store(&mut self) -> anyhow::Result<Arc<dyn Store>> {
        if let Some(store) = &self.store {
            return Ok(store.clone());
        }
        let settings = &self.parts.settings;
        Ok(self.store.insert(open_store(&settings.lake.url, settings)?).clone())
    }

    /// Fences who published before, and finds out what the topic has.
    fn open(&mut self, store: &dyn Store) -> anyhow::Result<()> {
        let topic = self.parts.target.topic.clone();
        let name = self.parts.content.name().to_owned();
        let Opened { sink, marker } = TopicSink::open(&self.parts.target, KEY)?;
        self.parts.content.forget();
        self.from = None;
        if let Some(marker) = marker {
            let frontier = Frontier::of_bytes(&marker).with_context(|| {
                format!("the topic {topic} has frontiers of another program: name another in kafka_out")
            })?;
            anyhow::ensure!(
                frontier.view == name,
                "the topic {topic} has the changes of {}, not of {name}: name another in kafka_out",
                frontier.view
            );
            self.parts.status.is_at(frontier.epoch);
            let manifest = read_manifest(store, frontier.manifest)?.filter(|manifest| frontier.is_of(manifest));
            if let Some(manifest) = manifest {
                let files = files_of(store, &manifest)?;
                self.from = Some(At { manifest, files });
            }
        }
        self.sink = Some(sink);
        let kept = self.from.as_ref().map(|from| from.manifest.number);
        self.let_go(store, |manifest| Some(manifest) == kept)
    }

    /// One transaction: what leads from the frontier to the newest checkpoint, and the frontier there.
    fn publish(&mut self, store: &dyn Store) -> anyhow::Result<()> {
        let topic = self.parts.target.topic.clone();
        let id = format!("{}{}", pin_prefix(&topic), pin_id());
        let who = format!("millrace kafka_out, topic {topic}");
        let now_ms = self.parts.now_ms.clone();
        let taken = (&*who, self.parts.settings.kafka_out.keep_ms);
        let (manifest, _) = pin(store, &id, None, taken, &*now_ms, &mut |_| {})?;
        let number = manifest.number;
        self.pins(store)?.push((id, number));
        point("sink-pinned");
        let to = At { files: files_of(store, &manifest)?, manifest };
        let content = &mut self.parts.content;
        let Some(prepared) = content.prepare(store, self.from.as_ref(), &to)? else {
            // Nothing of it is in the lake yet.
            let kept = self.from.as_ref().map(|from| from.manifest.number);
            return self.let_go(store, |manifest| Some(manifest) == kept);
        };
        if let Some(why) = prepared.anew.as_ref().filter(|_| !self.parts.quiet) {
            log::info(format_args!("kafka_out: topic {topic} begins with all of {}: {why}", content.name()));
        }
        let sink = self.sink.as_mut().expect("it was opened");
        let from = self.from.as_ref().map(|from| from.manifest.epoch);
        let messages = transact(sink, &mut **content, store, (from, &to), &prepared)?;
        sink.commit()?;
        point("sink-committed");
        content.has_sent();
        self.parts.status.has_published(messages);
        self.parts.status.is_at(to.manifest.epoch);
        self.from = Some(to);
        self.let_go(store, |manifest| manifest == number)?;
        point("sink-unpinned");
        Ok(())
    }

    /// The pins of this topic, those of earlier runs among them.
    fn pins(&mut self, store: &dyn Store) -> anyhow::Result<&mut Vec<(String, u64)>> {
        if self.pins.is_none() {
            let topic = &self.parts.target.topic;
            let ours = read_pins(store)?.into_iter().filter(|stored| is_pin_of(topic, &stored.id));
            self.pins = Some(ours.map(|stored| (stored.id, stored.pin.map_or(0, |pin| pin.manifest))).collect());
        }
        Ok(self.pins.as_mut().expect("they were looked for"))
    }

    /// Lets all pins of this topic go but those of a manifest that is kept.
    fn let_go(&mut self, store: &dyn Store, is_kept: impl Fn(u64) -> bool) -> anyhow::Result<()> {
        let pins = self.pins(store)?;
        while let Some(at) = pins.iter().position(|(_, manifest)| !is_kept(*manifest)) {
            // One that has ended was cleared away.
            if crate::checkpoint::is_there(store, &pins[at].0)? {
                unpin(store, &pins[at].0)?;
            }
            pins.swap_remove(at);
        }
        Ok(())
    }

    /// Whatever else fails, the checkpoint that is gone on from stays.
    fn renew_if_due(&mut self) {
        let keep_ms = self.parts.settings.kafka_out.keep_ms;
        let every = RENEW_EVERY.min(Duration::from_millis(keep_ms / 4));
        if self.renewed.is_some_and(|renewed| renewed.elapsed() < every) {
            return;
        }
        self.renewed = Some(Instant::now());
        let now_ms = (self.parts.now_ms)();
        let renewed = self.store().and_then(|store| {
            let pins = self.pins(&*store)?;
            pins.iter().try_for_each(|(id, _)| renew(&*store, id, keep_ms, now_ms).map(drop))
        });
        if let Err(error) = renewed {
            let topic = &self.parts.target.topic;
            log::warning(format_args!(
                "kafka_out: the checkpoint that topic {topic} has is not held any longer: {error:#}"
            ));
            // Looked for anew next time.
            self.pins = None;
        }
    }

    /// Begins anew. Tells how long is waited.
    fn fails(&mut self, error: &anyhow::Error) -> Duration {
        self.parts.status.has_failed();
        self.parts.content.forget();
        (self.sink, self.pins) = (None, None);
        self.failures += 1;
        if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            self.told = Some(Instant::now());
            let SinkStatus { name, .. } = &*self.parts.status;
            let seconds = self.parts.status.lag_ms((self.parts.now_ms)()) / 1_000;
            let epoch = self.parts.status.epoch();
            log::warning(format_args!(
                "kafka_out: topic {name} stands still at epoch {epoch}, {seconds} s behind; the engine goes on: {error:#}"
            ));
        }
        let is_last = self.parts.end.is_asked();
        Duration::from_millis(pause_ms(
            if is_last { 1 } else { self.failures },
            &self.parts.target.topic,
            (self.parts.now_ms)(),
        ))
    }

    fn goes_on(&mut self) {
        self.parts.status.has_all();
        self.failures = 0;
        if self.told.take().is_some() && !self.parts.quiet {
            log::info(format_args!("kafka_out: topic {} has everything again", self.parts.target.topic));
        }
    }

    fn tell_end(&self) {
        let SinkStatus { name, .. } = &*self.parts.status;
        if self.parts.status.lag_ms((self.parts.now_ms)()) > 0 {
            let epoch = self.parts.status.epoch();
            log::warning(format_args!(
                "kafka_out: topic {name} ends at epoch {epoch}; what came after it is published after the next start"
            ));
        }
    }
}

/// Doubled from failure to failure, and not the same for all who wait for one broker.
fn pause_ms(failures: u32, topic: &str, now_ms: u64) -> u64 {
    let pause = FIRST_PAUSE_MS.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(LONGEST_PAUSE_MS);
    pause / 2 + xxh3_64(format!("{topic} {failures} {now_ms}").as_bytes()) % (pause / 2 + 1)
}

/// Sends all of a transaction. Tells how many messages there are between the last frontier and this one.
fn transact(
    sink: &mut TopicSink,
    content: &mut dyn Content,
    store: &dyn Store,
    (from, to): (Option<Epoch>, &At),
    prepared: &Prepared,
) -> anyhow::Result<u64> {
    sink.begin()?;
    let partitions = sink.partitions();
    let epoch = to.manifest.epoch;
    let view = content.name().to_owned();
    let everywhere = |sink: &TopicSink, key: &[u8], value: &[u8]| {
        let epoch = epoch.to_string();
        let headers = [("millrace-epoch", epoch.as_bytes())];
        (0..partitions)
            .try_for_each(|partition| sink.send(&Message { partition, key: Some(key), value, headers: &headers }))
    };
    if let Some(why) = &prepared.anew {
        let begins = BeginAnew { epoch, view: view.clone(), why: log::one_line(why) };
        everywhere(sink, BEGIN_ANEW, &serde_json::to_vec(&begins).expect("plain data"))?;
    }
    let mut counted = Counted { sink, messages: 0 };
    content.send(store, to, &mut counted)?;
    let messages = counted.messages;
    let manifest = &to.manifest;
    let frontier = Frontier {
        epoch,
        at_ms: manifest.epoch_at_ms(),
        manifest: manifest.number,
        generation: manifest.generation,
        run: manifest.run.clone(),
        view,
        version: prepared.version,
        definition: prepared.definition.clone(),
        from_epoch: from.filter(|_| prepared.anew.is_none()),
        messages,
        partitions,
    };
    everywhere(sink, KEY, &frontier.to_bytes())?;
    sink.flush()?;
    point("sink-sent");
    Ok(messages)
}

struct Counted<'a> {
    sink: &'a TopicSink,
    messages: u64,
}

impl Out for Counted<'_> {
    fn message(&mut self, message: &Message<'_>) -> Result<(), SinkError> {
        self.sink.send(message)?;
        self.messages += 1;
        if self.messages == 1 {
            point("sink-begun");
        }
        Ok(())
    }

    fn partition_of(&self, key: &[u8]) -> u32 {
        self.sink.partition_of(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_differ() {
        for failures in 1..40 {
            let whole = (FIRST_PAUSE_MS << (failures - 1).min(20)).min(LONGEST_PAUSE_MS);
            let pause = pause_ms(failures, "out", 7);
            assert!((whole / 2..=whole).contains(&pause), "{failures}: {pause}");
        }
        let pauses: std::collections::BTreeSet<u64> = (0..20).map(|topic| pause_ms(9, &topic.to_string(), 7)).collect();
        assert!(pauses.len() > 10, "{pauses:?}");
    }
}
