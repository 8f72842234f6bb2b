//! The rows of views as tables on disk, and back.
//!
//! A view's folder holds one table a run: the column `grain` names the view's own table (see its schema), group columns
//! come next, measures last. Names are texts, instants and days are what they are, money is a decimal. A group column
//! that a row's table does not have is null.

use anyhow::{Context, bail};
use millrace_connectors::lake::{
    Column, Columns, Compression, LakeError, TextBuilder, TextColumn, read_tables, write_table,
};
use millrace_dataflows::rows::{Key, Measures, State};
use millrace_dataflows::views::{Part, View, ViewSchema};
use millrace_schema::{Currency, Name, Names};
use rustc_hash::FxHashMap;
use std::path::Path;

/// Decimal places of stored money: the most that a currency has.
const MONEY_SCALE: u32 = 3;
const GRAIN: &str = "grain";

/// # Errors
/// Where the file cannot be written.
pub fn write(
    views: &Path,
    view: &dyn View,
    state: &State,
    names: &Names,
    compression: Compression,
) -> anyhow::Result<()> {
    let table = to_columns(view.schema(), &sorted(state), names);
    let path = views.join(view.name()).join("part-00000.parquet");
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    write_table(&path, &table, compression, false)?;
    Ok(())
}

/// The rows by key. The first 16 bytes of a key, which decide most comparisons, lie in what is sorted.
fn sorted(state: &State) -> Vec<(&Key, &Measures)> {
    let head =
        |key: &Key| u128::from(key.table) << 120 | u128::from(key.parts[0]) << 56 | u128::from(key.parts[1] >> 8);
    let mut rows: Vec<(u128, (&Key, &Measures))> = state.iter().map(|row| (head(row.0), row)).collect();
    rows.sort_unstable_by(|(a, (left, _)), (b, (right, _))| a.cmp(b).then_with(|| left.cmp(right)));
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Reads a view's rows; the names in them are entered in the dictionary.
///
/// # Errors
/// Where there are none, or they are not this view's.
pub fn read(views: &Path, view: &dyn View, names: &Names) -> anyhow::Result<State> {
    let folder = views.join(view.name());
    let table = match read_tables(&folder) {
        Err(LakeError::NoTable { .. } | LakeError::Read { .. }) if !folder.exists() => {
            bail!("{} was not maintained in this run: add it to views.enabled and replay again", view.name())
        }
        table => table?,
    };
    from_columns(view.schema(), &table, names).with_context(|| format!("reading {}", folder.display()))
}

fn column_name(part: &Part) -> Option<&'static str> {
    Some(match part {
        Part::Minute => "minute",
        Part::Hour | Part::KnownHour => "hour",
        Part::Day => "day",
        Part::Month => "month",
        Part::Unused => return None,
        Part::Name(column) | Part::Count(column) | Part::Choice(column, _) => column,
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

fn to_columns(schema: &ViewSchema, rows: &[(&Key, &Measures)], names: &Names) -> Columns {
    let mut table = Columns::default();
    if schema.tables.len() > 1 {
        let mut grains = TextBuilder::default();
        let keys: Vec<u32> = schema.tables.iter().map(|table| grains.key(&table.name)).collect();
        rows.iter().for_each(|(key, _)| grains.push_key(Some(keys[usize::from(key.table)])));
        table.push(GRAIN, Column::Text(grains.finish()));
    }
    for stored in stored_columns(schema) {
        let values = rows.iter().map(|(key, _)| {
            let (position, part) = stored.positions[usize::from(key.table)]?;
            Some((key.parts[position], part))
        });
        table.push(stored.name, group_column(values, names));
    }
    let currency_at = |table: u8| {
        let parts = &schema.tables[usize::from(table)].parts;
        parts.iter().position(|part| *part == Part::Currency)
    };
    let currency_at: Vec<Option<usize>> = (0..schema.tables.len()).map(|table| currency_at(table as u8)).collect();
    for (index, measure) in schema.measures.iter().enumerate() {
        if !measure.money {
            table
                .push(&measure.name, Column::Int(rows.iter().map(|(_, measures)| Some(measures.get(index))).collect()));
            continue;
        }
        let scaled = rows.iter().map(|(key, measures)| {
            let currency = currency_at[usize::from(key.table)].and_then(|at| Currency::from_code(key.parts[at]));
            Some(measures.get(index) * unit(currency))
        });
        table.push(&measure.name, Column::Decimal { scale: MONEY_SCALE, values: scaled.collect() });
    }
    table
}

/// What one minor unit is in thousandths of the currency's unit; an amount without a currency is 0.
fn unit(currency: Option<Currency>) -> i64 {
    10_i64.pow(MONEY_SCALE - currency.map_or(MONEY_SCALE, Currency::digits))
}

fn group_column<'a>(values: impl Iterator<Item = Option<(u64, &'a Part)>>, names: &Names) -> Column {
    let values: Vec<Option<(u64, &Part)>> = values.collect();
    let is_unknown = |value: u64, part: &Part| *part == Part::KnownHour && value == u64::MAX;
    let plain = || {
        values
            .iter()
            .map(|value| value.filter(|(value, part)| !is_unknown(*value, part)).map(|(value, _)| value as i64))
    };
    match values.iter().flatten().next().map(|(_, part)| *part) {
        None | Some(Part::Name(_)) => {
            let mut texts = TextBuilder::default();
            let mut known = FxHashMap::default();
            for value in &values {
                let key = value
                    .filter(|(name, _)| *name != 0)
                    .map(|(name, _)| *known.entry(name).or_insert_with(|| texts.key(&names.text(Name(name)))));
                texts.push_key(key);
            }
            Column::Text(texts.finish())
        }
        Some(Part::Choice(_, choices)) => {
            Column::Text(values.iter().map(|value| value.map(|(value, _)| choices[value as usize])).collect())
        }
        Some(Part::Currency) => {
            let texts = values.iter().map(|value| value.and_then(|(code, _)| Currency::from_code(code)));
            let texts: Vec<Option<String>> = texts.map(|currency| currency.map(|c| c.to_string())).collect();
            Column::Text(texts.iter().map(|text| text.as_deref()).collect::<TextColumn>())
        }
        Some(Part::Minute | Part::Hour | Part::KnownHour) => Column::Timestamp(plain().collect()),
        Some(Part::Day | Part::Month) => Column::Date(plain().map(|day| day.map(|day| day as i32)).collect()),
        Some(Part::Count(_) | Part::Unused) => Column::Int(plain().collect()),
    }
}

fn from_columns(schema: &ViewSchema, table: &Columns, names: &Names) -> anyhow::Result<State> {
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
            Column::Decimal { scale: MONEY_SCALE, values } => {
                for (row, value) in values.iter().enumerate() {
                    let key = &keys[row];
                    let parts = &schema.tables[usize::from(key.table)].parts;
                    let at = parts.iter().position(|part| *part == Part::Currency);
                    let currency = at.and_then(|at| Currency::from_code(key.parts[at]));
                    measures[row].add(index, value.unwrap_or(0) / unit(currency));
                }
            }
            _ => bail!("the column {} is of another type", measure.name),
        }
    }
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
                        Ok(Currency::parse(text).with_context(|| format!("{text:?} is no currency"))?.code())
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
