//! The events of a checkpoint, as the oracles take them.

use crate::checkpoint::{FileEntry, Kind, Manifest, checked};
use crate::numbers::Epoch;
use anyhow::Context;
use millrace_connectors::lake::read_event_rows;
use millrace_connectors::store::Store;
use millrace_dataflows::oracle::visits::cut_sessions;
use millrace_dataflows::oracle::{Observed, Outcome};
use millrace_dataflows::settings::ViewContext;
use millrace_schema::decode::{Bump, decode};
use millrace_schema::{Kind as RecordKind, OwnedRecord, Place};
use std::collections::BTreeMap;

/// All accepted records. Those that sales follow from stand first: they are few, and most questions are about them.
pub struct Events {
    all: Vec<Observed>,
    of_sales: usize,
}

impl Events {
    /// # Errors
    /// Where a file cannot be read, or the files do not hold all that was accepted.
    pub fn read(store: &dyn Store, manifest: &Manifest, files: &[FileEntry]) -> anyhow::Result<Events> {
        let decode_settings = manifest.settings.validate()?.decode;
        let ordinals: BTreeMap<(&str, u32), u16> = (0..)
            .zip(&manifest.sources.partitions)
            .map(|(ordinal, partition)| ((&*partition.source, partition.partition), ordinal))
            .collect();
        let accepted = manifest.accounted.accepted;
        let mut events = Events { all: Vec::with_capacity(usize::try_from(accepted).unwrap_or(0)), of_sales: 0 };
        let (mut epochs, mut arena) = (Vec::new(), Bump::new());
        for file in files.iter().filter(|file| matches!(Kind::of(&file.key), Some(Kind::Events | Kind::Dimensions))) {
            for row in read_event_rows(&file.key, &checked(store, file)?)? {
                let record = decode(&row.line, None, &decode_settings, &arena);
                let record = record.map_err(|reject| anyhow::anyhow!("{reject}"));
                let record = record.with_context(|| format!("an event of {}", file.key))?.to_owned();
                let ordinal = ordinals.get(&(&*row.source, row.partition)).copied();
                let ordinal =
                    ordinal.with_context(|| format!("{} of {} is no partition", row.partition, row.source))?;
                let is_of_sales =
                    matches!(record.kind, RecordKind::Purchase | RecordKind::Refund | RecordKind::Product);
                epochs.push(Epoch(row.epoch));
                events.all.push(Observed {
                    source: row.source,
                    place: Place::new(ordinal, row.offset),
                    received_at: record.received_at,
                    record: Some(record),
                    outcome: Outcome::Accepted,
                });
                if is_of_sales {
                    let last = epochs.len() - 1;
                    events.all.swap(events.of_sales, last);
                    epochs.swap(events.of_sales, last);
                    events.of_sales += 1;
                }
            }
            arena.reset();
        }
        let held = events.all.len();
        anyhow::ensure!(
            i64::try_from(held).ok() == Some(accepted),
            "the lake's files hold {held} events and the checkpoint counts {accepted} accepted ones: verify needs lake.events = true and lake.keep_days = 0 from the start",
        );
        if manifest.state.complete
            && let Some(pause) = manifest.settings.horizons()?.pause()
        {
            cut_sessions(&mut events.all, pause, |at| Some(epochs[at]) <= manifest.state.whole_until);
        }
        Ok(events)
    }

    pub fn all(&self) -> &[Observed] {
        &self.all
    }

    /// Purchases, refunds and products.
    pub fn of_sales(&self) -> &[Observed] {
        &self.all[..self.of_sales]
    }

    /// The records of events, not of dimensions.
    pub fn records(&self) -> impl Iterator<Item = &OwnedRecord> {
        self.all.iter().filter_map(|one| one.record.as_ref()).filter(|record| !record.kind.is_dimension())
    }

    /// Complete up to the last event: what is right does not depend on how far a partition was behind.
    pub fn complete_until(&self, context: &ViewContext) -> Option<i64> {
        let last = self.records().map(|record| record.time).max();
        last.map(|last| last - context.allowed_lateness_micros)
    }
}
