//! Runs a story and writes it down with what really happened.

use super::parse::{Asked, Story};
use crate::support::compare::{Nets, answer_context, check, check_answer, nets, observed, states};
use crate::support::run::{How, run};
use millrace_dataflows::context::Shared;
use millrace_dataflows::rows::Key;
use millrace_dataflows::table::{Table, Value};
use millrace_dataflows::views::{Part, VIEWS, View, view};
use millrace_schema::calendar::{format_day, format_month};
use millrace_schema::{Currency, Name};
use std::sync::Arc;

/// The story's text, with what this run of it answers.
pub fn tell(story: &Story, how: How) -> String {
    let ran = run(&Arc::new(story.context.clone()), &story.lines, how);
    check(&ran, &story.lines, 0, 0);
    let nets = nets(&ran);
    let mut told = String::new();
    for (written, asked) in &story.written {
        told += &format!("{written}\n");
        let rows = match asked {
            None => continue,
            Some(Asked::Show { view, query, columns, epoch }) => {
                let (index, view) = find(view, &ran.shared);
                let observed = observed(&story.lines, *epoch);
                let (state, context) = (&states(&nets, *epoch)[index], answer_context(&ran, &observed));
                check_answer(&*view, state, &context, &observed, query, *epoch);
                aligned(&view.answer(state, &context, query).expect("a question that can be answered"), columns)
            }
            Some(Asked::Changes { view, epoch }) => changes(find(view, &ran.shared), &nets, *epoch, &ran.shared),
        };
        rows.iter().for_each(|row| told += &format!("> {}\n", row.trim_end()));
    }
    told
}

/// What is said around a line, to find it.
pub fn around(number: usize, story: &Story, text: &str) -> String {
    let from = number.saturating_sub(12);
    let shown: Vec<&str> = text.lines().skip(from).take(24).collect();
    format!("({} lines are commands and prose)\n{}", story.written.len(), shown.join("\n"))
}

fn find(name: &str, shared: &Shared) -> (usize, Box<dyn View>) {
    let index =
        VIEWS.iter().position(|(known, _)| *known == name).unwrap_or_else(|| panic!("no view is called {name}"));
    (index, view(name, &shared.context).expect("VIEWS names it"))
}

/// The columns asked for, or all, one under the other. Null is `-`; floats have four places.
fn aligned(table: &Table, columns: &[String]) -> Vec<String> {
    let known = |column: &String| table.column(column).unwrap_or_else(|| panic!("the answer has no {column}"));
    let shown: Vec<usize> =
        if columns.is_empty() { (0..table.columns.len()).collect() } else { columns.iter().map(known).collect() };
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::Float(value) => format!("{value:.4}"),
        value => value.to_string(),
    };
    let mut cells: Vec<Vec<String>> = vec![shown.iter().map(|&index| table.columns[index].clone()).collect()];
    cells.extend(table.rows.iter().map(|row| shown.iter().map(|&index| text(&row[index])).collect()));
    let width = |index: usize| cells.iter().map(|row| row[index].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..shown.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ")
    };
    cells.iter().map(line).collect()
}

/// What an epoch changes, by group: `cell 2019-10-01T07:00:00+00:00 tea Drinks Drinks USD: lines +1, units +2`.
fn changes((index, view): (usize, Box<dyn View>), nets: &Nets, epoch: u64, shared: &Shared) -> Vec<String> {
    let of_epoch = nets.iter().filter(|((at, of, _), _)| (*at, *of) == (epoch, index));
    let mut rows: Vec<String> = of_epoch
        .map(|((.., key), measures)| {
            let changed = view.schema().measures.iter().zip(&measures.0).filter(|(_, value)| **value != 0);
            let changed: Vec<String> = changed.map(|(measure, value)| format!("{} {value:+}", measure.name)).collect();
            format!("{}: {}", group(&*view, key, shared), changed.join(", "))
        })
        .collect();
    rows.sort();
    rows
}

fn group(view: &dyn View, key: &Key, shared: &Shared) -> String {
    let calendar = &shared.context.calendar;
    let table = &view.schema().tables[usize::from(key.table)];
    let shown = table.parts.iter().zip(key.parts).filter_map(|(part, value)| match part {
        Part::Unused => None,
        Part::KnownHour if value == u64::MAX => Some("unknown".to_owned()),
        Part::Minute | Part::Hour | Part::KnownHour => Some(calendar.format_instant(value as i64)),
        Part::Day => Some(format_day(value as i64)),
        Part::Month => Some(format_month(value as i64)),
        Part::Name(_) | Part::User(_) => Some(shared.names.text(Name(value)).to_string()),
        Part::Currency => Some(Currency::from_code(value).map_or("-".to_owned(), |currency| currency.to_string())),
        Part::Count(_) => Some(value.to_string()),
        Part::Choice(_, texts) => Some(texts[value as usize].to_owned()),
    });
    std::iter::once(table.name.clone()).chain(shown).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
}
