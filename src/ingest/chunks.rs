//! One worker's way from bytes to events: decoding, counting, and keeping what the lake needs until the verdict.

use super::times::EventTimes;
use crate::numbers::Epoch;
use millrace_connectors::lake::{EventColumns, PendingRecord, Rejected, StagedEvents};
use millrace_connectors::source::Chunk;
use millrace_dataflows::context::{Buckets, Partitions, Shared};
use millrace_dataflows::operators::dedup::Verdict;
use millrace_dataflows::receipts::Receipts;
use millrace_dataflows::settings::Horizons;
use millrace_schema::decode::{Bump, DecodeSettings, decode, decode_into};
use millrace_schema::{Event, Kind, NameCache, Place, Record, Reject, Rule};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where records go besides the dataflow, once it is settled what becomes of them. An epoch's come before the next epoch's.
pub trait Outlet: Send {
    /// Whether accepted events are to be staged as they were.
    fn wants_events(&self) -> bool;

    /// Whether what the dataflow accepts is to be kept as state.
    fn wants_state(&self) -> bool;

    /// # Errors
    /// Where they cannot be kept; so for all that follow.
    fn events(&mut self, staged: StagedEvents) -> anyhow::Result<()>;

    /// A run of rows of the state: see [`millrace_dataflows::durable::RowWriter`]. All of them are of epochs up to the one that is sealed next.
    fn state(&mut self, rows: StateRun) -> anyhow::Result<()>;

    fn rejected(&mut self, row: Rejected) -> anyhow::Result<()>;

    fn pending(&mut self, record: PendingRecord) -> anyhow::Result<()>;

    /// Everything of the epochs up to this one has been handed over: a checkpoint ends with it.
    fn seal(&mut self, epoch: Epoch) -> anyhow::Result<()>;
}

/// Rows of the state as bytes.
pub struct StateRun {
    pub rows: u64,
    pub bytes: Vec<u8>,
}

/// What the records of a chunk are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAs {
    /// Read for the first time. Those that are older than the horizons behind the watermark, UTC microseconds, are pending.
    New { watermark: i64 },
    /// Counted as pending until now. None of them is too old.
    Late,
}

/// A chunk whose events are in the dataflow and whose verdicts are not in yet.
struct Waiting {
    chunk: Chunk,
    /// The offsets of its valid records, ascending.
    offsets: Vec<u64>,
    staged: Option<StagedEvents>,
    /// By offset.
    rejected: Vec<(u64, Reject)>,
    /// Offsets and event times of those that are older than the horizons.
    pending: Vec<(u64, i64)>,
}

pub struct Ingest {
    decode: DecodeSettings,
    names: NameCache,
    receipts: Receipts,
    partitions: Arc<Partitions>,
    arena: Bump,
    columns: Option<EventColumns>,
    outlet: Box<dyn Outlet>,
    horizons: Horizons,
    buckets: Buckets,
    /// Of rejected records so many bytes are handed over.
    reject_bytes_max: usize,
    waiting: BTreeMap<Epoch, Vec<Waiting>>,
    verdicts: BTreeMap<Epoch, BTreeMap<Place, Verdict>>,
}

impl Ingest {
    /// Of rejected records `reject_bytes_max` bytes are handed over.
    pub fn new(decode: DecodeSettings, shared: &Shared, outlet: Box<dyn Outlet>, reject_bytes_max: usize) -> Ingest {
        let calendar = &shared.context.calendar;
        Ingest {
            decode,
            names: shared.name_cache(),
            receipts: Receipts::new(shared),
            partitions: shared.partitions.clone(),
            arena: Bump::new(),
            columns: outlet.wants_events().then(|| EventColumns::new(calendar.clone())),
            outlet,
            horizons: shared.context.horizons,
            buckets: Buckets::new(calendar.clone()),
            reject_bytes_max,
            waiting: BTreeMap::new(),
            verdicts: BTreeMap::new(),
        }
    }

    pub fn wants_state(&self) -> bool {
        self.outlet.wants_state()
    }

    /// Rows of the state, of epochs up to the one that is sealed next.
    ///
    /// # Errors
    /// Where they cannot be kept.
    pub fn state(&mut self, rows: StateRun) -> anyhow::Result<()> {
        self.outlet.state(rows)
    }

    /// A checkpoint ends with this epoch, and all epochs up to it are settled.
    ///
    /// # Errors
    /// Where what was handed over cannot be kept.
    pub fn seal(&mut self, epoch: Epoch) -> anyhow::Result<()> {
        self.outlet.seal(epoch)
    }

    /// Decodes a chunk. Every record becomes an event, is pending (older than the horizons behind the watermark), or becomes
    /// a row of the quarantine. Returns the times of the events in it that are not pending.
    pub fn chunk(&mut self, epoch: Epoch, read_as: ReadAs, chunk: Chunk, mut send: impl FnMut(Event)) -> EventTimes {
        let source = self.partitions.source(chunk.partition);
        let limits = match read_as {
            ReadAs::New { watermark } => Kind::ALL.map(|kind| self.horizons.limit(kind, watermark)),
            ReadAs::Late => Kind::ALL.map(|_| i64::MIN),
        };
        let mut times = EventTimes::default();
        let mut offsets = Vec::with_capacity(chunk.records as usize);
        let (mut rejected, mut pending) = (Vec::new(), Vec::new());
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
                            pending.push((raw.offset, event.time));
                            continue;
                        }
                        self.receipts.valid(&event, source);
                        if read_as == ReadAs::Late {
                            self.receipts.no_longer_pending(&event, source);
                        }
                        if !kind.is_dimension() {
                            match event.received {
                                Event::NOT_RECEIVED => times.unvouched.push(event.time),
                                _ => times.vouched = times.vouched.max(Some(event.time)),
                            }
                        }
                        if let Some(columns) = &mut self.columns {
                            columns.push(&record, raw.offset, chunk.partition, epoch.0);
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
            if read_as == ReadAs::Late {
                self.receipts.rejected_after_all(raw.received_at, source);
            }
            rejected.push((raw.offset, reject));
        }
        self.arena.reset();
        let staged = self.columns.as_mut().map(|columns| columns.finish(None));
        let waiting = Waiting { chunk, offsets, staged, rejected, pending };
        self.waiting.entry(epoch).or_default().push(waiting);
        times
    }

    /// A source that knows what its records are says so.
    fn decode_of(&self, chunk: &Chunk) -> DecodeSettings {
        DecodeSettings { default_kind: chunk.default_kind.or(self.decode.default_kind), ..self.decode.clone() }
    }

    /// The names of what this worker reads, and which of them are new to it.
    pub fn names(&mut self) -> &mut NameCache {
        &mut self.names
    }

    pub fn receipts(&mut self) -> &mut Receipts {
        &mut self.receipts
    }

    pub fn verdict(&mut self, epoch: Epoch, place: Place, verdict: Verdict) {
        self.verdicts.entry(epoch).or_default().insert(place, verdict);
    }

    /// Settles the epochs before `open`, whose verdicts are all in.
    ///
    /// # Errors
    /// Where the lake cannot be written.
    pub fn settle(&mut self, open: Epoch) -> anyhow::Result<()> {
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
        let Waiting { chunk, offsets, staged, mut rejected, pending } = waiting;
        let place = |offset: u64| Place::new(chunk.partition, offset);
        let lost = || verdicts.range(place(chunk.base_offset)..place(chunk.next_offset()));
        let conflicts = lost().filter(|(_, verdict)| **verdict == Verdict::Conflict);
        rejected.extend(conflicts.map(|(place, _)| (place.offset(), conflict())));
        rejected.sort_by_key(|(offset, _)| *offset);
        if !rejected.is_empty() || !pending.is_empty() {
            self.hand_over(&chunk, rejected, &pending)?;
        }
        if let Some(mut staged) = staged {
            if lost().next().is_some() {
                let mut keep = vec![true; offsets.len()];
                for (place, _) in lost() {
                    if let Ok(row) = offsets.binary_search(&place.offset()) {
                        keep[row] = false;
                    }
                }
                staged.keep_only(keep);
            }
            self.outlet.events(staged)?;
        }
        Ok(())
    }

    /// Hands over the records that are not events, with their bytes. Both lists are in order of their offsets.
    fn hand_over(&mut self, chunk: &Chunk, rejected: Vec<(u64, Reject)>, pending: &[(u64, i64)]) -> anyhow::Result<()> {
        let settings = self.decode_of(chunk);
        let (mut rejected, mut pending) = (rejected.into_iter().peekable(), pending.iter().peekable());
        for raw in chunk.records() {
            if let Some((_, mut reject)) = rejected.next_if(|(offset, _)| *offset == raw.offset) {
                if reject.rule == Rule::IdConflict {
                    // Conflicts are few: decoding one again costs less than keeping what all have in store.
                    let decoded = decode(raw.bytes, raw.received_at, &settings, &self.arena);
                    reject.received_at = decoded.ok().and_then(|record| record.received_at);
                }
                self.outlet.rejected(Rejected {
                    partition: chunk.partition,
                    offset: raw.offset,
                    received_at: raw.received_at.or(reject.received_at),
                    reject,
                    bytes: raw.bytes[..raw.bytes.len().min(self.reject_bytes_max)].into(),
                    total_bytes: raw.true_bytes,
                })?;
            } else if let Some((_, time)) = pending.next_if(|(offset, _)| *offset == raw.offset) {
                self.outlet.pending(PendingRecord {
                    partition: chunk.partition,
                    offset: raw.offset,
                    day: self.buckets.of(*time).day as i32,
                    event_time: *time,
                    received_at: raw.received_at,
                    default_kind: settings.default_kind,
                    bytes: raw.bytes.into(),
                })?;
            }
        }
        Ok(())
    }
}

fn conflict() -> Reject {
    Reject {
        rule: Rule::IdConflict,
        field: Some("event_id"),
        message: "another record has this event_id with other content, and came first".to_owned(),
        received_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use millrace_connectors::source::MessageChunk;
    use millrace_dataflows::views::quality::{self, Accounting};
    use millrace_schema::Names;

    /// Takes no events, and keeps what was rejected.
    struct Rejects(std::sync::mpsc::Sender<u64>);

    impl Outlet for Rejects {
        fn wants_events(&self) -> bool {
            false
        }

        fn wants_state(&self) -> bool {
            false
        }

        fn events(&mut self, _staged: StagedEvents) -> anyhow::Result<()> {
            Ok(())
        }

        fn state(&mut self, _rows: StateRun) -> anyhow::Result<()> {
            Ok(())
        }

        fn rejected(&mut self, row: Rejected) -> anyhow::Result<()> {
            Ok(self.0.send(row.offset)?)
        }

        fn pending(&mut self, _record: PendingRecord) -> anyhow::Result<()> {
            Ok(())
        }

        fn seal(&mut self, _epoch: Epoch) -> anyhow::Result<()> {
            Ok(())
        }
    }

    /// What was valid when it came, and is not any more, is rejected, and pending no longer.
    #[test]
    fn what_was_pending_and_is_no_record_any_more_is_quarantined() {
        let validated = Settings::default().validate().expect("the defaults hold");
        let shared =
            Shared::new(Arc::new(validated.views), Arc::new(Names::default()), Arc::new(Partitions::default()));
        shared.partitions.set(0, shared.names.intern("events").expect("there is room"));
        let (rejected, of_rejected) = std::sync::mpsc::channel();
        let mut ingest = Ingest::new(validated.decode, &shared, Box::new(Rejects(rejected)), 100);
        let good = br#"{"event_type":"page_view","event_id":"e","session_id":"s","event_time":"2019-10-01T00:00:00Z","page_type":"home"}"#;
        let mut chunk = MessageChunk::new(0, None, usize::MAX);
        for (offset, bytes) in [(3, &good[..]), (4, b"not any more"), (5, b"")] {
            chunk.push(offset, Some(1_570_000_000_000_000), bytes);
        }
        let mut sent = 0;
        ingest.chunk(Epoch(7), ReadAs::Late, chunk.finish().expect("it has records"), |_| sent += 1);
        let sums = quality::rows(ingest.receipts().drain(7).map(|(account, _, times)| (account, times)));
        ingest.settle(Epoch(8)).expect("it is kept");
        let accounting = Accounting::of(&sums);
        assert_eq!((sent, accounting.accepted, accounting.quarantined), (1, 1, 2));
        assert_eq!((accounting.pending, accounting.read), (-3, 0), "all three were counted when they were pending");
        assert_eq!(of_rejected.try_iter().collect::<Vec<_>>(), [4, 5]);
    }
}
