//! A table for people.
//!
//! One that is too wide for the terminal is folded between columns, and each part repeats the columns that name the
//! row. Texts wrap, numbers do not.
//!
//! ```text
//! day         lines  orders       day         gross_sales  net_sales
//! 2019-10-01     12       3       2019-10-01       120.00     100.00
//! ```

use super::Layout;
use super::terminal::plain;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement};
use millrace_dataflows::table::{Table, Value};
use std::io::{self, Write};
use std::ops::Range;

/// What a text is granted of a line before it wraps; numbers never wrap.
const TEXT_WIDTH_MAX: usize = 48;
/// Two blanks and a line beside each column.
const COLUMN_EXTRA: usize = 3;

pub(super) fn print(table: &Table, layout: Layout, out: &mut dyn Write) -> io::Result<()> {
    let rows = &table.rows[..table.rows.len().min(layout.rows_max)];
    let numeric: Vec<bool> = (0..table.columns.len()).map(|column| is_numeric(rows, column)).collect();
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|value| cell(value, layout.cell_chars_max)).collect()).collect();
    let widths: Vec<usize> = (0..table.columns.len())
        .map(|column| {
            let texts = cells.iter().map(|row| &row[column]).chain([&table.columns[column]]);
            let width = texts.map(|text| text.chars().count()).max().unwrap_or(0);
            if numeric[column] { width + COLUMN_EXTRA } else { width.min(TEXT_WIDTH_MAX) + COLUMN_EXTRA }
        })
        .collect();
    for part in fold(&widths, &numeric, layout.width) {
        let mut drawn = comfy_table::Table::new();
        drawn.load_style(UTF8_FULL_CONDENSED);
        if let Some(width) = layout.width {
            drawn.set_content_arrangement(ContentArrangement::Dynamic);
            drawn.set_width(u16::try_from(width).unwrap_or(u16::MAX));
        }
        let first = part.first().map_or(0, |&column| widths[column]);
        let first_whole = first < TEXT_WIDTH_MAX + COLUMN_EXTRA;
        let first_fits = first_whole && layout.width.is_some_and(|width| first <= width * 2 / 3);
        drawn.set_header(part.iter().map(|&column| table.columns[column].as_str()));
        drawn.add_rows(cells.iter().map(|row| part.iter().map(|&column| row[column].as_str())));
        if let Some(column) = drawn.column_mut(0).filter(|_| first_fits) {
            // What names the row is copied from here: it stays in one piece.
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        for (place, _) in part.iter().enumerate().filter(|&(_, &column)| numeric[column]) {
            if let Some(column) = drawn.column_mut(place) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        writeln!(out, "{drawn}")?;
    }
    let (shown, all) = (rows.len(), table.rows.len());
    if all == 0 {
        writeln!(out, "no rows")
    } else if shown == all {
        Ok(())
    } else if layout.rows_counted {
        writeln!(out, "{shown} of {all} rows (--limit N for more, --format csv for all)")
    } else {
        writeln!(out, "the first {shown} rows of more (--limit N for more, --format csv for all)")
    }
}

/// The columns of each part. The leading texts name the row and stand in every part where they leave room.
fn fold(widths: &[usize], numeric: &[bool], width: Option<usize>) -> Vec<Vec<usize>> {
    let sum = |columns: Range<usize>| widths[columns].iter().sum::<usize>();
    let all = 0..widths.len();
    let too_wide = |width: &usize| numeric.contains(&true) && sum(all.clone()) + 1 > *width;
    let Some(width) = width.filter(too_wide) else { return vec![all.collect()] };
    let mut names = numeric.iter().take_while(|&&numeric| !numeric).count();
    while sum(0..names) > width / 2 {
        names -= 1;
    }
    let mut parts: Vec<Vec<usize>> = Vec::new();
    let mut used = 0;
    for (column, column_width) in widths.iter().enumerate().skip(names) {
        if parts.is_empty() || used + column_width > width {
            parts.push((0..names).collect());
            used = sum(0..names) + 1;
        }
        parts.last_mut().expect("one was pushed").push(column);
        used += column_width;
    }
    parts
}

fn is_numeric(rows: &[Vec<Value>], column: usize) -> bool {
    // A column of nulls alone is a measure without data.
    rows.iter().all(|row| !matches!(row[column], Value::Text(_)))
}

fn cell(value: &Value, chars_max: usize) -> String {
    match value {
        Value::Float(float) if *float != 0.0 && float.abs() < 0.001 => format!("{float:.3e}"),
        Value::Float(float) => format!("{float:.4}"),
        Value::Text(text) => plain(text, chars_max),
        Value::Null | Value::Int(_) | Value::Money(..) => value.to_string(),
    }
}
