//! One worker's way from bytes to events: decoding, counting, and keeping what the lake needs until the verdict.

use anyhow::Context;
use millrace_connectors::lake::{EventColumns, EventSender, QuarantineRow, QuarantineWriter, StagedEvents};
use millrace_connectors::source::Chunk;
use millrace_dataflows::context::{Partitions, Shared};
use millrace_dataflows::operators::dedup::Verdict;
use millrace_dataflows::receipts::Receipts;
use millrace_dataflows::settings::Horizons;
use millrace_schema::decode::{Bump, DecodeSettings, decode, decode_into};
use millrace_schema::{Event, Kind, NameCache, Place, Record, Reject, Rule};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where rejected records go.
pub trait Rejects: Send {
    /// # Errors
    /// Where it cannot be kept.
    fn push(&mut self, row: QuarantineRow<'_>) -> anyhow::Result<()>;

    /// # Errors
    /// Where what was pushed cannot be kept.
    fn finish(self: Box<Self>) -> anyhow::Result<()>;
}

impl Rejects for QuarantineWriter {
    fn push(&mut self, row: QuarantineRow<'_>) -> anyhow::Result<()> {
        Ok(QuarantineWriter::push(self, row)?)
    }

    fn finish(self: Box<Self>) -> anyhow::Result<()> {
        QuarantineWriter::finish(*self).context("writing the quarantine").map(drop)
    }
}

/// A chunk whose events are in the dataflow and whose verdicts are not in yet.
struct Waiting {
    chunk: Chunk,
    /// The offsets of its valid records, ascending.
    offsets: Vec<u64>,
    staged: Option<StagedEvents>,
}

pub struct Ingest {
    decode: DecodeSettings,
    names: NameCache,
    receipts: Receipts,
    partitions: Arc<Partitions>,
    arena: Bump,
    events: Option<(EventColumns, EventSender)>,
    rejects: Box<dyn Rejects>,
    horizons: Horizons,
    waiting: BTreeMap<u64, Vec<Waiting>>,
    verdicts: BTreeMap<u64, BTreeMap<Place, Verdict>>,
}

impl Ingest {
    pub fn new(
        decode: DecodeSettings,
        shared: &Shared,
        events: Option<EventSender>,
        rejects: Box<dyn Rejects>,
    ) -> Ingest {
        let calendar = &shared.context.calendar;
        Ingest {
            decode,
            names: NameCache::new(shared.names.clone()),
            receipts: Receipts::new(shared),
            partitions: shared.partitions.clone(),
            arena: Bump::new(),
            events: events.map(|sender| (EventColumns::new(calendar.clone()), sender)),
            rejects,
            horizons: shared.context.horizons,
            waiting: BTreeMap::new(),
            verdicts: BTreeMap::new(),
        }
    }

    /// Decodes a chunk. Every record becomes an event, is pending (older than the horizons behind the watermark), or becomes
    /// a row of the quarantine. Returns the largest time of an event in it, UTC microseconds.
    ///
    /// # Errors
    /// Where the quarantine cannot be written.
    pub fn chunk(
        &mut self,
        epoch: u64,
        watermark: i64,
        chunk: Chunk,
        mut send: impl FnMut(Event),
    ) -> anyhow::Result<Option<i64>> {
        let source = self.partitions.source(chunk.partition);
        let limits = Kind::ALL.map(|kind| self.horizons.limit(kind, watermark));
        let mut latest = None;
        let mut offsets = Vec::with_capacity(chunk.records as usize);
        let mut record = Record::empty(Kind::PageView, self.decode.default_currency);
        let decode = self.decode_of(&chunk);
        for raw in chunk.records() {
            let place = Place::new(chunk.partition, raw.offset);
            let reject = match decode_into(raw.bytes, raw.received_at, &decode, &self.arena, &mut record) {
                Ok(()) => match record.to_event(place, &mut self.names) {
                    Ok(event) => {
                        let kind = event.kind();
                        if event.time < limits[kind as usize] {
                            self.receipts.pending(&event, source);
                            continue;
                        }
                        self.receipts.valid(&event, source);
                        if !kind.is_dimension() {
                            latest = latest.max(Some(event.time));
                        }
                        if let Some((columns, _)) = &mut self.events {
                            columns.push(&record, raw.offset, chunk.partition, epoch);
                        }
                        offsets.push(raw.offset);
                        send(event);
                        continue;
                    }
                    Err(collision) => Reject {
                        rule: Rule::IdCollision,
                        field: None,
                        message: collision.to_string(),
                        received_at: record.received_at,
                    },
                },
                Err(reject) => reject,
            };
            let received_at = raw.received_at.or(reject.received_at);
            self.receipts.rejected(reject.rule, received_at, source);
            self.rejects.push(QuarantineRow {
                partition: chunk.partition,
                offset: raw.offset,
                reject: &reject,
                received_at,
                bytes: raw.bytes,
                total_bytes: raw.true_bytes,
            })?;
        }
        self.arena.reset();
        let staged = self.events.as_mut().map(|(columns, _)| columns.finish(None));
        self.waiting.entry(epoch).or_default().push(Waiting { chunk, offsets, staged });
        Ok(latest)
    }

    /// A source that knows what its records are says so.
    fn decode_of(&self, chunk: &Chunk) -> DecodeSettings {
        DecodeSettings { default_kind: chunk.default_kind.or(self.decode.default_kind), ..self.decode.clone() }
    }

    pub fn receipts(&mut self) -> &mut Receipts {
        &mut self.receipts
    }

    pub fn verdict(&mut self, epoch: u64, place: Place, verdict: Verdict) {
        self.verdicts.entry(epoch).or_default().insert(place, verdict);
    }

    /// Settles the epochs before `open`, whose verdicts are all in.
    ///
    /// # Errors
    /// Where the lake cannot be written.
    pub fn settle(&mut self, open: u64) -> anyhow::Result<()> {
        while let Some(entry) = self.waiting.first_entry().filter(|entry| *entry.key() < open) {
            let (epoch, chunks) = entry.remove_entry();
            let verdicts = self.verdicts.remove(&epoch).unwrap_or_default();
            for waiting in chunks {
                self.settle_chunk(waiting, &verdicts)?;
            }
        }
        self.verdicts.retain(|&epoch, _| epoch >= open);
        Ok(())
    }

    fn settle_chunk(&mut self, waiting: Waiting, verdicts: &BTreeMap<Place, Verdict>) -> anyhow::Result<()> {
        let Waiting { chunk, offsets, staged } = waiting;
        let place = |offset: u64| Place::new(chunk.partition, offset);
        let lost = || verdicts.range(place(chunk.base_offset)..place(chunk.next_offset()));
        if lost().any(|(_, verdict)| *verdict == Verdict::Conflict) {
            let conflicts = |offset: u64| verdicts.get(&place(offset)) == Some(&Verdict::Conflict);
            let settings = self.decode_of(&chunk);
            for raw in chunk.records().filter(|raw| conflicts(raw.offset)) {
                // Conflicts are few: decoding one again costs less than keeping what all have in store.
                let decoded = decode(raw.bytes, raw.received_at, &settings, &self.arena);
                let received_at = decoded.ok().and_then(|record| record.received_at);
                let reject = Reject {
                    rule: Rule::IdConflict,
                    field: Some("event_id"),
                    message: "another record has this event_id with other content, and came first".to_owned(),
                    received_at,
                };
                self.rejects.push(QuarantineRow {
                    partition: chunk.partition,
                    offset: raw.offset,
                    reject: &reject,
                    received_at,
                    bytes: raw.bytes,
                    total_bytes: raw.true_bytes,
                })?;
            }
        }
        if let (Some(mut staged), Some((_, sender))) = (staged, &self.events) {
            if lost().next().is_some() {
                let mut keep = vec![true; offsets.len()];
                for (place, _) in lost() {
                    if let Ok(row) = offsets.binary_search(&place.offset()) {
                        keep[row] = false;
                    }
                }
                staged.keep_only(keep);
            }
            sender.send(staged)?;
        }
        Ok(())
    }

    /// Writes the rest.
    ///
    /// # Errors
    /// Where the quarantine cannot be written.
    pub fn finish(self) -> anyhow::Result<()> {
        self.rejects.finish()
    }
}
