//! Prints an answer: a table for people, csv or json for machines.
//!
//! | | table | csv | json |
//! |---|---|---|---|
//! | null | empty | empty | `null` |
//! | money | exact decimal | exact decimal | a number, exact decimal text |
//! | float | four places | shortest digits that read back | shortest digits that read back |
//! | text | cut, control characters shown as `·` | as it is | as it is |
//! | rows | cut at [`Layout::rows_max`], and says so | all | all |
//!
//! json is an array with one object a line.

mod table;
pub mod terminal;

use clap::ValueEnum;
use millrace_dataflows::table::{Table, Value};
use std::io::{self, Write};

const TEXTS_WIDTH: usize = 120;

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people; fits the terminal
    #[default]
    Table,
    /// For machines; all digits
    Csv,
    /// For machines; an array of objects
    Json,
}

/// What [`Format::Table`] has to fit into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// `None`: as wide as it comes.
    pub width: Option<usize>,
    pub rows_max: usize,
    /// Whether the table holds all rows there are, so that one that is cut can say how many.
    pub rows_counted: bool,
    /// A longer text is cut.
    pub cell_chars_max: usize,
}

impl Layout {
    /// Fits this process's stdout and cuts nothing.
    pub fn of_stdout() -> Layout {
        let width = terminal::width();
        Layout { width, rows_max: usize::MAX, rows_counted: true, cell_chars_max: usize::MAX }
    }

    /// For long texts, which are to wrap in a file, too.
    pub fn of_texts() -> Layout {
        let stdout = Layout::of_stdout();
        Layout { width: stdout.width.or(Some(TEXTS_WIDTH)), ..stdout }
    }
}

/// # Errors
/// What writing to `out` fails with.
pub fn print(table: &Table, format: Format, layout: Layout, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Table => table::print(table, layout, out),
        Format::Csv => print_csv(table, out),
        Format::Json => print_json(table, out),
    }
}

fn print_csv(table: &Table, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(&table.columns).map_err(io_error)?;
    for row in &table.rows {
        for value in row {
            writer.write_field(value.to_string()).map_err(io_error)?;
        }
        writer.write_record(None::<&[u8]>).map_err(io_error)?;
    }
    writer.flush()
}

/// Keeps the kind: a broken pipe is not a failure.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

fn print_json(table: &Table, out: &mut dyn Write) -> io::Result<()> {
    let names: Vec<String> = table.columns.iter().map(|name| json_text(name)).collect();
    out.write_all(b"[")?;
    for (index, row) in table.rows.iter().enumerate() {
        out.write_all(if index == 0 { b"\n{" } else { b",\n{" })?;
        for (column, (name, value)) in names.iter().zip(row).enumerate() {
            let comma = if column == 0 { "" } else { "," };
            write!(out, "{comma}{name}:{}", json_value(value))?;
        }
        out.write_all(b"}")?;
    }
    out.write_all(if table.rows.is_empty() { b"]\n" } else { b"\n]\n" })
}

fn json_value(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        // JSON has no NaN and no infinity; serde_json writes them as null.
        Value::Float(float) => serde_json::Value::from(*float).to_string(),
        Value::Int(_) | Value::Money(..) => value.to_string(),
        Value::Text(text) => json_text(text),
    }
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
