//! The rows of views as tables on disk, and back.
//!
//! A view's rows are one table: the column `grain` names the view's own table (see its schema), group columns
//! come next, measures last. Names are texts, instants and days are what they are, money is a decimal. A group column
//! that a row's table does not have is null. What type a column has follows from the view alone, whatever rows there are.
//!
//! Money of a currency whose sums may not fit is null. It is lost thereby, and is not missed: such a currency stays so.

use anyhow::{Context, bail};
use bytes::Bytes;
use millrace_connectors::lake::{Column, Columns, Compression, TableWriter, TextColumn, Unfinished, read_table};
use millrace_connectors::store::Store;
use millrace_dataflows::index::{Index, OwnRows};
use millrace_dataflows::rows::{Key, Measures, Sums};
use millrace_dataflows::views::{Part, View, ViewSchema};
use millrace_schema::{Currency, Id, Name, Names};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::iter::repeat_n;
use std::sync::Arc;

/// Decimal places of stored money: the most that a currency has.
const MONEY_SCALE: u32 = 4;
const GRAIN: &str = "grain";

/// Rows that are in memory as columns.
const BATCH_ROWS: usize = 65_536;
/// Rows that become columns at a time: what lies scattered in memory is fetched once for all columns.
const BLOCK_ROWS: usize = 1_024;

type Row<'a> = (Key, Sums<'a>);

/// Takes some rows of one view after another, in order of their keys, and all of a block at once.
pub type Block<'a> = &'a mut dyn FnMut(&[Row<'_>]) -> anyhow::Result<()>;

/// Rows of a view in order of their keys.
pub trait InOrder {
    /// # Errors
    /// What `each` fails with.
    fn blocks(&mut self, each: Block<'_>) -> anyhow::Result<()>;
}

/// Rows that are in memory.
pub struct Sorted<'a>(Vec<Row<'a>>);

impl<'a> Sorted<'a> {
    /// Of rows in order of their keys.
    pub fn of_rows(rows: &'a [(Key, Measures)]) -> Sorted<'a> {
        Sorted(rows.iter().map(|(key, measures)| (*key, measures.sums())).collect())
    }
}

impl InOrder for Sorted<'_> {
    fn blocks(&mut self, each: Block<'_>) -> anyhow::Result<()> {
        self.0.chunks(BLOCK_ROWS).try_for_each(each)
    }
}

/// Rows of an index.
pub struct OfIndex<'a> {
    pub own: &'a mut OwnRows,
    pub index: &'a Index,
}

impl InOrder for OfIndex<'_> {
    fn blocks(&mut self, each: Block<'_>) -> anyhow::Result<()> {
        let mut block: Vec<(Key, Measures)> = Vec::with_capacity(BLOCK_ROWS);
        let mut result = Ok(());
        let mut flush = |block: &mut Vec<(Key, Measures)>| {
            if result.is_ok() {
                let rows: Vec<Row<'_>> = block.iter().map(|(key, measures)| (*key, measures.sums())).collect();
                result = each(&rows);
            }
            block.clear();
        };
        self.own.scan(self.index, &mut |key, sums| {
            block.push((*key, sums.to_measures()));
            if block.len() == BLOCK_ROWS {
                flush(&mut block);
            }
        });
        if !block.is_empty() {
            flush(&mut block);
        }
        result
    }
}

/// `untrusted` are the currencies, by their codes, whose sums may not fit.
///
/// # Errors
/// Where the file cannot be written.
pub fn write(
    store: &Arc<dyn Store>,
    key: &str,
    view: &dyn View,
    rows: &mut dyn InOrder,
    untrusted: &BTreeSet<u64>,
    names: &Names,
    compression: Compression,
) -> anyhow::Result<Unfinished> {
    let (mut fillers, mut batch) = columns(view.schema(), untrusted);
    let mut file = TableWriter::create(store, key, &batch, compression)?;
    let mut in_batch = 0;
    rows.blocks(&mut |block| {
        for (filler, column) in fillers.iter_mut().zip(&mut batch.columns) {
            for rows in block.chunk_by(|(a, _), (b, _)| a.table == b.table) {
                filler.fill(column, rows, names);
            }
        }
        in_batch += block.len();
        if in_batch >= BATCH_ROWS {
            file.write(&batch)?;
            batch.columns.iter_mut().for_each(Column::clear);
            in_batch = 0;
        }
        Ok(())
    })?;
    if in_batch > 0 {
        file.write(&batch)?;
    }
    Ok(file.end()?)
}

/// Some rows as the table that [`write`] makes a file of: group columns first, in the order of the rows.
pub fn table(view: &dyn View, rows: &[Row<'_>], untrusted: &BTreeSet<u64>, names: &Names) -> Columns {
    let (mut fillers, mut table) = columns(view.schema(), untrusted);
    for (filler, column) in fillers.iter_mut().zip(&mut table.columns) {
        rows.chunk_by(|(a, _), (b, _)| a.table == b.table).for_each(|rows| filler.fill(column, rows, names));
    }
    table
}

/// Reads a file of a view's rows, or of what changed in them, by key; the names in them are entered in the dictionary.
///
/// # Errors
/// Where they are not this view's.
pub fn read(key: &str, bytes: Bytes, view: &dyn View, names: &Names) -> anyhow::Result<Vec<(Key, Measures)>> {
    let table = read_table(key, bytes)?;
    from_columns(view.schema(), &table, names).with_context(|| format!("reading {key}"))
}

fn column_name(part: &Part) -> Option<&'static str> {
    Some(match part {
        Part::Minute => "minute",
        Part::Hour | Part::KnownHour => "hour",
        Part::Day => "day",
        Part::Month => "month",
        Part::Unused => return None,
        Part::Name(column) | Part::User(column) | Part::Count(column) | Part::Choice(column, _) => column,
        Part::Currency => "currency",
    })
}

/// One stored group column: where its value stands in the keys of each table.
struct Stored<'a> {
    name: &'static str,
    /// By table: the position in the key, and what it means there.
    positions: Vec<Option<(usize, &'a Part)>>,
}

/// The group columns of all tables, in order of first appearance; times from fine to coarse first.
fn stored_columns(schema: &ViewSchema) -> Vec<Stored<'_>> {
    let mut stored: Vec<Stored<'_>> = Vec::new();
    for (table, parts) in schema.tables.iter().map(|table| &table.parts).enumerate() {
        for (position, part) in parts.iter().enumerate() {
            let Some(name) = column_name(part) else { continue };
            let at = stored.iter().position(|column| column.name == name).unwrap_or_else(|| {
                stored.push(Stored { name, positions: vec![None; schema.tables.len()] });
                stored.len() - 1
            });
            stored[at].positions[table] = Some((position, part));
        }
    }
    let time = |column: &Stored<'_>| ["minute", "hour", "day", "month"].iter().position(|name| *name == column.name);
    stored.sort_by_key(|column| time(column).unwrap_or(usize::MAX));
    stored
}

/// Where the values of a stored column come from.
enum Origin<'a> {
    Grain,
    Group(Stored<'a>),
    Count(usize),
    /// The measure, by table the part of the key that is its currency, and the currencies that are not to be shown.
    Money(usize, Vec<Option<usize>>, &'a BTreeSet<u64>),
}

/// Appends the values of one column.
struct Filler<'a> {
    origin: Origin<'a>,
    /// The keys in the column's dictionary, by the part that stands for the text.
    texts: FxHashMap<u64, Option<u32>>,
}

/// The stored columns, still empty, and what fills them.
fn columns<'a>(schema: &'a ViewSchema, untrusted: &'a BTreeSet<u64>) -> (Vec<Filler<'a>>, Columns) {
    let (mut fillers, mut columns) = (Vec::new(), Columns::default());
    let mut push = |name: &str, origin: Origin<'a>, column: Column| {
        fillers.push(Filler { origin, texts: FxHashMap::default() });
        columns.push(name, column);
    };
    if schema.tables.len() > 1 {
        let dictionary = schema.tables.iter().map(|table| table.name.clone()).collect();
        push(GRAIN, Origin::Grain, Column::Text(TextColumn { dictionary, keys: Vec::new() }));
    }
    for stored in stored_columns(schema) {
        let (_, part) = stored.positions.iter().flatten().next().expect("a column is one because some table has it");
        let column = match part {
            Part::Name(_) | Part::User(_) | Part::Choice(..) | Part::Currency => Column::Text(TextColumn::default()),
            Part::Minute | Part::Hour | Part::KnownHour => Column::Timestamp(Vec::new()),
            Part::Day | Part::Month => Column::Date(Vec::new()),
            Part::Count(_) | Part::Unused => Column::Int(Vec::new()),
        };
        push(stored.name, Origin::Group(stored), column);
    }
    let currency_at = |parts: &[Part]| parts.iter().position(|part| *part == Part::Currency);
    let currencies: Vec<Option<usize>> = schema.tables.iter().map(|table| currency_at(&table.parts)).collect();
    for (index, measure) in schema.measures.iter().enumerate() {
        if measure.money {
            let column = Column::Decimal { scale: MONEY_SCALE, values: Vec::new() };
            push(&measure.name, Origin::Money(index, currencies.clone(), untrusted), column);
        } else {
            push(&measure.name, Origin::Count(index), Column::Int(Vec::new()));
        }
    }
    (fillers, columns)
}

impl Filler<'_> {
    /// Appends the values of rows of one table.
    fn fill(&mut self, column: &mut Column, rows: &[Row<'_>], names: &Names) {
        let Some((first, _)) = rows.first() else { return };
        let table = usize::from(first.table);
        match (&self.origin, column) {
            (Origin::Grain, Column::Text(texts)) => {
                texts.keys.extend(repeat_n(Some(u32::from(first.table)), rows.len()))
            }
            (Origin::Group(stored), column) => match stored.positions[table] {
                None => fill_absent(column, rows.len()),
                Some((position, part)) => {
                    let parts = rows.iter().map(|(key, _)| key.parts[position]);
                    fill_parts(column, part, parts, &mut self.texts, names);
                }
            },
            (Origin::Count(index), Column::Int(values)) => {
                values.extend(rows.iter().map(|(_, measures)| Some(measures.get(*index))));
            }
            (Origin::Money(index, currencies, untrusted), Column::Decimal { values, .. }) => {
                let mut unit_of = unit_by_code(untrusted);
                values.extend(rows.iter().map(|(key, measures)| {
                    let unit = unit_of(currencies[table].map(|at| key.parts[at]))?;
                    Some(i128::from(measures.get(*index)) * unit)
                }));
            }
            _ => unreachable!("`columns` made the column for this origin"),
        }
    }
}

fn fill_absent(column: &mut Column, rows: usize) {
    match column {
        Column::Text(texts) => texts.keys.extend(repeat_n(None, rows)),
        Column::Int(values) | Column::Timestamp(values) => values.extend(repeat_n(None, rows)),
        Column::Date(values) => values.extend(repeat_n(None, rows)),
        _ => unreachable!("no group column is of another type"),
    }
}

fn fill_parts(
    column: &mut Column,
    part: &Part,
    values: impl Iterator<Item = u64>,
    known: &mut FxHashMap<u64, Option<u32>>,
    names: &Names,
) {
    let is_hour = *part == Part::KnownHour;
    let plain = |value: u64| (!is_hour || value != u64::MAX).then_some(value as i64);
    match column {
        Column::Text(TextColumn { dictionary, keys }) => {
            let mut key_of = |value: u64| {
                *known.entry(value).or_insert_with(|| {
                    let text = text_of(part, value, names)?;
                    dictionary.push(text);
                    Some((dictionary.len() - 1) as u32)
                })
            };
            // In sorted rows the same value often comes again.
            let mut last = None;
            keys.extend(values.map(|value| match last {
                Some((same, key)) if same == value => key,
                _ => {
                    let key = key_of(value);
                    last = Some((value, key));
                    key
                }
            }));
        }
        Column::Int(column) | Column::Timestamp(column) => column.extend(values.map(plain)),
        Column::Date(column) => column.extend(values.map(|value| plain(value).map(|day| day as i32))),
        _ => unreachable!("no group column is of another type"),
    }
}

fn text_of(part: &Part, value: u64, names: &Names) -> Option<String> {
    match part {
        Part::Choice(_, choices) => Some(choices[value as usize].to_owned()),
        Part::Currency => Currency::from_code(value).map(|currency| currency.to_string()),
        _ => (value != 0).then(|| names.text(Name(value)).to_string()),
    }
}

/// [`unit`] by the code of the currency, which is looked at where it changes; `None` where it is untrusted.
fn unit_by_code(untrusted: &BTreeSet<u64>) -> impl FnMut(Option<u64>) -> Option<i128> {
    let mut last = (None, Some(unit(None, MONEY_SCALE)));
    move |code| {
        if last.0 != code {
            let is_trusted = code.is_none_or(|code| !untrusted.contains(&code));
            last = (code, is_trusted.then(|| unit(code.and_then(Currency::from_code), MONEY_SCALE)));
        }
        last.1
    }
}

/// What one minor unit is in units of 10^-`scale`; an amount without a currency is 0.
fn unit(currency: Option<Currency>, scale: u32) -> i128 {
    10_i128.pow(scale.saturating_sub(currency.map_or(scale, Currency::digits)))
}

fn from_columns(schema: &ViewSchema, table: &Columns, names: &Names) -> anyhow::Result<Vec<(Key, Measures)>> {
    let column = |name: &str| table.column(name).with_context(|| format!("there is no column {name}"));
    let tables: Vec<u8> = match table.column(GRAIN) {
        None => vec![0; table.rows()],
        Some(Column::Text(texts)) => {
            let of = |grain: &String| schema.tables.iter().position(|table| table.name == *grain);
            let known: Option<Vec<usize>> = texts.dictionary.iter().map(of).collect();
            let known = known.context("a grain is not one of this view's")?;
            let table = |key: Option<u32>| key.map(|key| known[key as usize] as u8).context("a row has no grain");
            texts.keys.iter().map(|&key| table(key)).collect::<anyhow::Result<_>>()?
        }
        Some(_) => bail!("the column {GRAIN} is not text"),
    };
    let mut keys: Vec<Key> = tables.iter().map(|&table| Key { table, parts: [0; 5] }).collect();
    for stored in stored_columns(schema) {
        let parts = parts_of(column(stored.name)?, &stored, names)?;
        for (row, key) in keys.iter_mut().enumerate() {
            if let Some((position, part)) = stored.positions[usize::from(key.table)] {
                let missing = if *part == Part::KnownHour { u64::MAX } else { 0 };
                key.parts[position] = parts[row].unwrap_or(missing);
            }
        }
    }
    let mut measures = vec![Measures::of(&vec![0; schema.measures.len()]); keys.len()];
    for (index, measure) in schema.measures.iter().enumerate() {
        match column(&measure.name)? {
            Column::Int(values) => {
                for (row, value) in values.iter().enumerate() {
                    measures[row].add(index, value.unwrap_or(0));
                }
            }
            // Earlier files have fewer places.
            Column::Decimal { scale, values } => {
                for (row, value) in values.iter().enumerate() {
                    let key = &keys[row];
                    let parts = &schema.tables[usize::from(key.table)].parts;
                    let at = parts.iter().position(|part| *part == Part::Currency);
                    let currency = at.and_then(|at| Currency::from_code(key.parts[at]));
                    let minor = value.unwrap_or(0) / unit(currency, *scale);
                    let minor = i64::try_from(minor).with_context(|| format!("{} is out of range", measure.name))?;
                    measures[row].add(index, minor);
                }
            }
            _ => bail!("the column {} is of another type", measure.name),
        }
    }
    let measures = measures.into_iter().map(|measures| measures.sums().to_measures());
    Ok(keys.into_iter().zip(measures).collect())
}

/// The parts that the values of a stored column stand for.
fn parts_of(column: &Column, stored: &Stored<'_>, names: &Names) -> anyhow::Result<Vec<Option<u64>>> {
    let part = stored.positions.iter().flatten().map(|(_, part)| *part).next();
    Ok(match (column, part) {
        (Column::Text(texts), Some(part)) => {
            let of = |text: &String| -> anyhow::Result<u64> {
                match part {
                    Part::Choice(_, choices) => {
                        let at = choices.iter().position(|choice| choice == text);
                        Ok(at.with_context(|| format!("{text:?} is not a {}", stored.name))? as u64)
                    }
                    Part::Currency => {
                        Ok(Currency::read_back(text).with_context(|| format!("{text:?} is no currency"))?.code())
                    }
                    Part::User(_) => {
                        let name = Name::of_user(Id::of(text));
                        names.enter(name, text)?;
                        Ok(name.0)
                    }
                    _ => Ok(names.intern(text)?.0),
                }
            };
            // A column of nulls alone comes back with a text that no row has: only those in use need to be understood.
            let mut known: Vec<Option<u64>> = vec![None; texts.dictionary.len()];
            let mut value = |key: u32| -> anyhow::Result<u64> {
                let slot = &mut known[key as usize];
                Ok(match *slot {
                    Some(value) => value,
                    None => *slot.insert(of(&texts.dictionary[key as usize])?),
                })
            };
            texts.keys.iter().map(|key| key.map(&mut value).transpose()).collect::<anyhow::Result<_>>()?
        }
        (Column::Int(values) | Column::Timestamp(values), _) => {
            values.iter().map(|value| value.map(|value| value as u64)).collect()
        }
        (Column::Date(values), _) => values.iter().map(|value| value.map(|day| i64::from(day) as u64)).collect(),
        _ => bail!("the column {} is of another type", stored.name),
    })
}

#[cfg(test)]
mod tests;
