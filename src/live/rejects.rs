//! The latest rejected records, in memory: what the view `quarantine` answers while the engine runs.

use crate::checkpoint::LakeWriter;
use crate::engine::QUARANTINE_COLUMNS;
use crate::engine::ingest::{Outlet, StateRun};
use millrace_connectors::lake::{PendingRecord, Rejected, StagedEvents};
use millrace_connectors::source::PartitionInfo;
use millrace_dataflows::table::{Table, Value};
use millrace_schema::calendar::rfc3339_micros;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

/// Rows that are kept.
const ROWS_MOST: usize = 10_000;

/// The latest rows of all workers.
#[derive(Debug, Default)]
pub struct RecentRejects {
    /// Shared, so that who reads holds them up for a moment only.
    rows: Mutex<VecDeque<Arc<Row>>>,
}

#[derive(Debug)]
struct Row {
    partition: u16,
    offset: u64,
    rule: &'static str,
    field: Option<&'static str>,
    message: String,
    received_at: Option<i64>,
    bytes: Box<[u8]>,
    bytes_total: u64,
}

impl RecentRejects {
    /// All rows as a table, in order of their places.
    pub fn table(&self, partitions: &[PartitionInfo]) -> Table {
        let mut rows: Vec<Arc<Row>> = self.lock().iter().cloned().collect();
        rows.sort_by_key(|row| (row.partition, row.offset));
        let mut table = Table::new(QUARANTINE_COLUMNS);
        table.rows = rows.iter().filter_map(|row| values(row, partitions.get(usize::from(row.partition))?)).collect();
        table
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Row>>> {
        self.rows.lock().expect("no holder of the rejects panics")
    }
}

fn values(row: &Row, partition: &PartitionInfo) -> Option<Vec<Value>> {
    Some(vec![
        Value::text(&partition.source),
        Value::Int(i64::from(partition.partition)),
        Value::Int(i64::try_from(row.offset).ok()?),
        Value::text(row.rule),
        row.field.map_or(Value::Null, Value::text),
        Value::text(&row.message),
        row.received_at.map_or(Value::Null, |time| Value::text(rfc3339_micros(time))),
        Value::text(String::from_utf8_lossy(&row.bytes)),
        Value::Int(i64::try_from(row.bytes_total).ok()?),
    ])
}

impl RecentRejects {
    fn push(&self, row: &Rejected) {
        let kept = Row {
            partition: row.partition,
            offset: row.offset,
            rule: row.reject.rule.as_str(),
            field: row.reject.field,
            message: row.reject.message.clone(),
            received_at: row.received_at,
            bytes: row.bytes.clone(),
            bytes_total: row.total_bytes,
        };
        let mut rows = self.lock();
        if rows.len() == ROWS_MOST {
            rows.pop_front();
        }
        rows.push_back(Arc::new(kept));
    }
}

/// One worker's way to them, and on to the lake where there is one.
pub struct OutletOfWorker {
    pub recent: Arc<RecentRejects>,
    pub lake: Option<LakeWriter>,
}

impl Outlet for OutletOfWorker {
    fn wants_events(&self) -> bool {
        self.lake.as_ref().is_some_and(Outlet::wants_events)
    }

    fn wants_state(&self) -> bool {
        self.lake.as_ref().is_some_and(Outlet::wants_state)
    }

    fn events(&mut self, staged: StagedEvents) -> anyhow::Result<()> {
        self.lake.as_mut().map_or(Ok(()), |lake| lake.events(staged))
    }

    fn state(&mut self, rows: StateRun) -> anyhow::Result<()> {
        self.lake.as_mut().map_or(Ok(()), |lake| lake.state(rows))
    }

    fn rejected(&mut self, row: Rejected) -> anyhow::Result<()> {
        self.recent.push(&row);
        self.lake.as_mut().map_or(Ok(()), |lake| lake.rejected(row))
    }

    fn pending(&mut self, record: PendingRecord) -> anyhow::Result<()> {
        self.lake.as_mut().map_or(Ok(()), |lake| lake.pending(record))
    }

    fn seal(&mut self, epoch: u64) -> anyhow::Result<()> {
        self.lake.as_mut().map_or(Ok(()), |lake| lake.seal(epoch))
    }
}
