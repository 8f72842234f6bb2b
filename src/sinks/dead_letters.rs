//! Rejected records: those of the quarantine that a checkpoint has and the one before had not.
//!
//! Which file a record is in says nothing, for small files are merged. So what files have that are new is told less what files had that
//! are gone: a record is told by where it was read, and why it was rejected.

use super::content::{At, Content, Out, Prepared, is_lost};
use crate::checkpoint::{Definition, FileEntry, Kind, checked};
use crate::ingest::QUARANTINE;
use anyhow::Context;
use millrace_connectors::lake::{Column, Columns, read_table};
use millrace_connectors::sink::Message;
use millrace_connectors::store::Store;
use millrace_schema::calendar::rfc3339_micros;
use rustc_hash::FxHashSet;
use xxhash_rust::xxh3::xxh3_128;

#[derive(Default)]
pub(super) struct DeadLetters {
    prepared: Option<New>,
}

/// What is going to be told.
struct New {
    files: Vec<FileEntry>,
    /// Records in them that were told already.
    told: FxHashSet<u128>,
}

/// One record of the quarantine.
struct Row<'a> {
    source: &'a str,
    partition: i64,
    offset: i64,
    rule: &'a str,
    field: Option<&'a str>,
    message: &'a str,
    received_at: Option<i64>,
    bytes: &'a [u8],
    bytes_total: i64,
}

impl Row<'_> {
    fn identity(&self) -> u128 {
        // No part has a zero byte that is not at its end.
        xxh3_128(format!("{}\0{}\0{}\0{}", self.source, self.partition, self.offset, self.rule).as_bytes())
    }
}

impl Content for DeadLetters {
    fn name(&self) -> &str {
        QUARANTINE
    }

    fn prepare(&mut self, store: &dyn Store, from: Option<&At>, to: &At) -> anyhow::Result<Option<Prepared>> {
        let all = || New { files: quarantine(to).cloned().collect(), told: FxHashSet::default() };
        let (new, anew) = match from.map(|from| since(store, from, to)) {
            None => (all(), Some("it is new, or what it has is not known".to_owned())),
            Some(Ok(new)) => (new, None),
            Some(Err(error)) if is_lost(&error) => (all(), Some(format!("{error:#}"))),
            Some(Err(error)) => return Err(error),
        };
        self.prepared = Some(new);
        Ok(Some(Prepared { version: 1, definition: Definition::new(), anew }))
    }

    fn send(&mut self, store: &dyn Store, _to: &At, out: &mut dyn Out) -> anyhow::Result<()> {
        let New { files, told } = self.prepared.as_ref().expect("what is sent was prepared");
        for file in files {
            let bytes = match checked(store, file) {
                // The store has removed it by its age, as a question to the quarantine passes it over.
                Err(error) if is_absent(&error) => {
                    crate::log::warning(format_args!(
                        "{} is gone: its {} records are not published",
                        file.key, file.rows
                    ));
                    continue;
                }
                bytes => bytes?,
            };
            let table = read_table(&file.key, bytes)?;
            rows(&table, |row| if told.contains(&row.identity()) { Ok(()) } else { send_row(&row, out) })
                .with_context(|| format!("publishing {}", file.key))?;
        }
        Ok(())
    }

    fn has_sent(&mut self) {
        self.prepared = None;
    }

    fn forget(&mut self) {
        self.prepared = None;
    }
}

fn is_absent(error: &anyhow::Error) -> bool {
    let store = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref().map(millrace_connectors::store::StoreError::is_not_found)
    };
    error.chain().find_map(store).unwrap_or(false)
}

fn quarantine(at: &At) -> impl Iterator<Item = &FileEntry> {
    at.files.iter().filter(|file| Kind::of(&file.key) == Some(Kind::Quarantine))
}

fn since(store: &dyn Store, from: &At, to: &At) -> anyhow::Result<New> {
    let has = |at: &At, file: &FileEntry| quarantine(at).any(|other| other.key == file.key);
    let mut told = FxHashSet::default();
    for file in quarantine(from).filter(|file| !has(to, file)) {
        let table = read_table(&file.key, checked(store, file)?)?;
        rows(&table, |row| {
            told.insert(row.identity());
            Ok(())
        })?;
    }
    Ok(New { files: quarantine(to).filter(|file| !has(from, file)).cloned().collect(), told })
}

fn rows<'a>(table: &'a Columns, mut each: impl FnMut(Row<'a>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let column = |name: &str| table.column(name).with_context(|| format!("there is no column {name}"));
    let text = |name: &'static str| {
        column(name).and_then(|column| match column {
            Column::Text(texts) => Ok(texts),
            _ => anyhow::bail!("the column {name} is no text"),
        })
    };
    let int = |name: &'static str| {
        column(name).and_then(|column| match column {
            Column::Int(values) | Column::Timestamp(values) => Ok(values),
            _ => anyhow::bail!("the column {name} is no number"),
        })
    };
    let Column::Bytes(bytes) = column("bytes")? else { anyhow::bail!("the column bytes has none") };
    let [source, rule, field, message] = [text("source")?, text("rule")?, text("field")?, text("message")?];
    let [partition, offset, received_at, bytes_total] =
        [int("partition")?, int("offset")?, int("received_at")?, int("bytes_total")?];
    for row in 0..table.rows() {
        each(Row {
            source: source.get(row).unwrap_or_default(),
            partition: partition[row].unwrap_or(0),
            offset: offset[row].unwrap_or(0),
            rule: rule.get(row).unwrap_or_default(),
            field: field.get(row),
            message: message.get(row).unwrap_or_default(),
            received_at: received_at[row],
            bytes: bytes[row].as_deref().unwrap_or_default(),
            bytes_total: bytes_total[row].unwrap_or(0),
        })?;
    }
    Ok(())
}

fn send_row(row: &Row<'_>, out: &mut dyn Out) -> anyhow::Result<()> {
    let (partition, offset) = (row.partition.to_string(), row.offset.to_string());
    let received_at = row.received_at.map(rfc3339_micros);
    let total = row.bytes_total.to_string();
    let mut headers: Vec<(&str, &[u8])> = vec![
        ("millrace-rule", row.rule.as_bytes()),
        ("millrace-reason", row.message.as_bytes()),
        ("source-topic", row.source.as_bytes()),
        ("source-partition", partition.as_bytes()),
        ("source-offset", offset.as_bytes()),
        // More than the value has where only its beginning was kept.
        ("source-bytes", total.as_bytes()),
    ];
    headers.extend(row.field.map(|field| ("millrace-field", field.as_bytes())));
    headers.extend(received_at.as_ref().map(|time| ("received-at", time.as_bytes())));
    // Records of one partition stay in order.
    let to = out.partition_of(format!("{}/{partition}", row.source).as_bytes());
    Ok(out.message(&Message { partition: to, key: None, value: row.bytes, headers: &headers })?)
}
