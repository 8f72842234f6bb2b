//! `verify`: the views at a checkpoint against the naive answers from the lake's own events.

mod events;
mod files;
mod questions;

use super::kept::{has_results, shared_of, view_of};
use crate::checkpoint::{FileEntry, Kind, Manifest};
use anyhow::Context;
use events::Events;
pub use files::Files;
use millrace_connectors::store::Store;
use millrace_dataflows::oracle::Observed;
use millrace_dataflows::rows::State;
use millrace_dataflows::settings::ViewContext;
use millrace_dataflows::table::{Table, Value};
use millrace_dataflows::views::quality::Accounting;
use millrace_dataflows::views::{AnswerContext, view};
use questions::{Sample, questions};
use std::cmp::Ordering;

/// How much is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Whole,
    /// So many days and so many products.
    Sample(usize),
}

/// A question that has two answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub question: String,
    /// Rows that only the checkpoint has.
    pub kept: Table,
    /// Rows that only the events give.
    pub recomputed: Table,
}

/// What a comparison came to.
#[derive(Debug, Default)]
pub struct Verified {
    pub events: usize,
    pub questions: usize,
    pub rows: usize,
    pub differences: Vec<Difference>,
}

/// Compares a checkpoint with the events that its files hold.
///
/// # Errors
/// Where something cannot be read, or event files are not kept.
pub fn verify(store: &dyn Store, manifest: &Manifest, files: &[FileEntry], extent: Extent) -> anyhow::Result<Verified> {
    has_results(manifest, &store.place())?;
    let shared = shared_of(manifest)?;
    // Before the events, which take long: beside a running engine these files are gone first.
    let kept = manifest.views.iter().map(|entry| view_of(store, manifest, &entry.name, &shared));
    let kept = kept.collect::<anyhow::Result<Vec<(&str, State)>>>()?;
    let events = Events::read(store, manifest, files)?;
    let sample = match extent {
        Extent::Whole => None,
        Extent::Sample(count) => Some(Sample::new(count, &events, &shared.context)),
    };
    let context = AnswerContext { shared, watermark: None };
    let settings: &ViewContext = &context.shared.context;
    let mut verified = Verified { events: events.all().len(), ..Verified::default() };
    for (name, query) in questions(events.complete_until(settings), settings) {
        let Some((_, state)) = kept.iter().find(|(of, _)| *of == name) else { continue };
        let mut question = match &query.group_by[..] {
            [] => format!("{name} in total"),
            columns => format!("{name} by {}", columns.join(", ")),
        };
        let mut observed: &[Observed] = if name == "sales" { events.of_sales() } else { events.all() };
        if let Some(sample) = &sample {
            let Some(picked) = sample.picked(name, &query) else { continue };
            question += &format!(" of {picked}");
            observed = sample.events(name).unwrap_or(observed);
        }
        let view_of_name = view(name, settings).with_context(|| format!("there is no view {name}"))?;
        let answers = (view_of_name.answer(state, &context, &query)?, view_of_name.oracle(settings, observed, &query)?);
        let (mut kept, mut recomputed) = answers;
        if let Some(sample) = &sample {
            [&mut kept, &mut recomputed].into_iter().for_each(|answer| sample.pick(name, answer));
        }
        verified.compare(question, kept, recomputed);
    }
    if let Some((_, quality)) = kept.iter().find(|(of, _)| *of == "quality") {
        let Accounting { accepted, quarantined, pending, .. } = Accounting::of(quality);
        let rows =
            |kind| files.iter().filter(|file| Kind::of(&file.key) == Some(kind)).map(|file| file.rows as i64).sum();
        let in_files = [events.all().len() as i64, rows(Kind::Quarantine), rows(Kind::Pending)];
        verified.compare("quality in total".to_owned(), sums([accepted, quarantined, pending]), sums(in_files));
    }
    Ok(verified)
}

/// Records by what became of them. Of duplicates no file has a row.
fn sums(counts: [i64; 3]) -> Table {
    let mut table = Table::new(["accepted", "quarantined", "pending"]);
    table.rows.push(counts.map(Value::Int).to_vec());
    table
}

impl Verified {
    fn compare(&mut self, question: String, kept: Table, recomputed: Table) {
        self.questions += 1;
        self.rows += recomputed.rows.len();
        if kept != recomputed {
            let (kept, recomputed) = (only(&kept, &recomputed), only(&recomputed, &kept));
            self.differences.push(Difference { question, kept, recomputed });
        }
    }
}

/// The rows of a table that another does not have.
fn only(table: &Table, other: &Table) -> Table {
    let mut others: Vec<&[Value]> = other.rows.iter().map(Vec::as_slice).collect();
    others.sort_by(|a, b| order(a, b));
    let rows = table.rows.iter().filter(|row| others.binary_search_by(|other| order(other, row)).is_err());
    Table { columns: table.columns.clone(), rows: rows.cloned().collect() }
}

fn order(a: &[Value], b: &[Value]) -> Ordering {
    let cells = a.iter().zip(b).map(|(a, b)| a.order(b));
    cells.into_iter().find(|order| order.is_ne()).unwrap_or(a.len().cmp(&b.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_has_the_rows_of_one_side() {
        let table = |rows: &[[i64; 2]]| {
            let mut table = Table::new(["product", "units"]);
            table.rows = rows.iter().map(|row| row.map(Value::Int).to_vec()).collect();
            table
        };
        let mut verified = Verified::default();
        verified.compare("alike".to_owned(), table(&[[1, 5]]), table(&[[1, 5]]));
        verified.compare("another".to_owned(), table(&[[1, 5], [2, 6], [4, 1]]), table(&[[1, 5], [2, 7], [3, 1]]));
        assert_eq!((verified.questions, verified.rows), (2, 4));
        let expected = Difference {
            question: "another".to_owned(),
            kept: table(&[[2, 6], [4, 1]]),
            recomputed: table(&[[2, 7], [3, 1]]),
        };
        assert_eq!(verified.differences, [expected]);
    }
}
