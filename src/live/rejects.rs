//! The latest rejected records, in memory: what the view `quarantine` answers while the engine runs. And one of each rule, to show.

use crate::checkpoint::LakeWriter;
use crate::ingest::{Outlet, QUARANTINE_COLUMNS, StateRun};
use crate::numbers::Epoch;
use millrace_connectors::lake::{PendingRecord, Rejected, StagedEvents};
use millrace_connectors::source::PartitionInfo;
use millrace_dataflows::table::{Table, Value};
use millrace_schema::calendar::rfc3339_micros;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

/// Rows that are kept.
const ROWS_MOST: usize = 10_000;
/// Of a record that is shown as an example.
const EXAMPLE_BYTES_MOST: usize = 200;

/// The latest rows of all workers.
#[derive(Debug, Default)]
pub struct RecentRejects {
    rows: Mutex<Rows>,
}

/// Shared, so that who reads holds them up for a moment only.
#[derive(Debug, Default)]
struct Rows {
    latest: VecDeque<Arc<Row>>,
    /// Of each rule the first by its place, so that workers and their pace do not decide which is shown.
    first: BTreeMap<&'static str, Arc<Row>>,
}

/// A rejected record, to show what a rule is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectExample {
    pub source: String,
    pub partition: u32,
    pub offset: u64,
    pub message: String,
    /// Cut.
    pub bytes: String,
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
        let mut rows: Vec<Arc<Row>> = self.lock().latest.iter().cloned().collect();
        rows.sort_by_key(|row| (row.partition, row.offset));
        let mut table = Table::new(QUARANTINE_COLUMNS);
        table.rows = rows.iter().filter_map(|row| values(row, partitions.get(usize::from(row.partition))?)).collect();
        table
    }

    /// One of each rule that has rejected something in this run.
    pub fn examples(&self, partitions: &[PartitionInfo]) -> BTreeMap<&'static str, RejectExample> {
        let first = self.lock().first.clone();
        let example = |(rule, row): (&'static str, Arc<Row>)| {
            let partition = partitions.get(usize::from(row.partition))?;
            let bytes = &row.bytes[..row.bytes.len().min(EXAMPLE_BYTES_MOST)];
            let example = RejectExample {
                source: partition.source.clone(),
                partition: partition.partition,
                offset: row.offset,
                message: row.message.clone(),
                bytes: String::from_utf8_lossy(bytes).into_owned(),
            };
            Some((rule, example))
        };
        first.into_iter().filter_map(example).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
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
        let kept = Arc::new(kept);
        let mut rows = self.lock();
        let first = rows.first.entry(kept.rule).or_insert_with(|| kept.clone());
        if (kept.partition, kept.offset) < (first.partition, first.offset) {
            *first = kept.clone();
        }
        if rows.latest.len() == ROWS_MOST {
            rows.latest.pop_front();
        }
        rows.latest.push_back(kept);
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

    fn seal(&mut self, epoch: Epoch) -> anyhow::Result<()> {
        self.lake.as_mut().map_or(Ok(()), |lake| lake.seal(epoch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_schema::{Reject, Rule};

    #[test]
    fn the_example_of_a_rule_is_its_first_by_place_however_many_come() {
        let rejects = RecentRejects::default();
        let push = |partition: u16, offset: u64, rule: Rule| {
            let message = format!("{partition}/{offset}");
            rejects.push(&Rejected {
                partition,
                offset,
                reject: Reject { rule, field: None, message, received_at: None },
                received_at: None,
                bytes: vec![b'x'; 1_000].into(),
                total_bytes: 1_000,
            });
        };
        push(1, 3, Rule::WrongType);
        push(0, 9, Rule::WrongType);
        push(0, 7, Rule::WrongType);
        push(1, 0, Rule::TooLarge);
        for offset in 100..100 + ROWS_MOST as u64 {
            push(1, offset, Rule::WrongType);
        }
        let partition = |partition| PartitionInfo { source: "log".to_owned(), partition, path: "log".into() };
        let examples = rejects.examples(&[partition(0), partition(1)]);
        let found: Vec<_> = examples.iter().map(|(rule, example)| (*rule, &*example.message)).collect();
        assert_eq!(found, [("too_large", "1/0"), ("wrong_type", "0/7")]);
        assert_eq!(examples["wrong_type"].bytes.len(), EXAMPLE_BYTES_MOST);
        assert_eq!(rejects.table(&[partition(0), partition(1)]).rows.len(), ROWS_MOST);
    }
}
