//! The rows of a view in order, for many readers: what is served.
//!
//! A writer adds the changes of closed epochs and publishes a version now and then; a version is never changed, so a
//! reader that holds one sees one epoch.

mod own_rows;
mod sheet;

pub use own_rows::OwnRows;

use crate::row_set::{RowSet, Span};
use crate::rows::{Change, Key, Measures, Netting, Sums};
use crate::settings::ViewContext;
use crate::views::{Roller, View};
use sheet::Sheet;

/// One version of a view's rows. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Index {
    /// By table.
    sheets: Vec<Sheet>,
    rolled_up: Vec<u8>,
}

impl Index {
    pub fn rows(&self) -> usize {
        self.sheets.iter().map(Sheet::len).sum()
    }

    /// Rows of one table.
    pub fn table_len(&self, table: usize) -> usize {
        self.sheets.get(table).map_or(0, Sheet::len)
    }

    pub fn bytes(&self) -> usize {
        self.sheets.iter().map(Sheet::bytes).sum()
    }

    /// How many rows a scan of a span looks at, at most; not many more than it does. Costs next to nothing.
    pub fn rows_at_most(&self, span: &Span) -> usize {
        self.sheets[usize::from(span.table)].rows_at_most(&span.low, &span.high)
    }
}

impl RowSet for Index {
    fn get(&self, key: &Key) -> Option<Measures> {
        self.sheets[usize::from(key.table)].get(&key.parts)
    }

    fn scan(&self, span: &Span, each: &mut dyn FnMut(&Key, Sums<'_>)) {
        let table = span.table;
        self.sheets[usize::from(table)]
            .scan(&span.low, &span.high, &mut |parts, sums| each(&Key { table, parts: *parts }, sums));
    }

    fn is_rolled_up(&self, table: u8) -> bool {
        self.rolled_up.contains(&table)
    }
}

/// Keeps a view's index.
pub struct IndexWriter {
    index: Index,
    /// What was added since the last version.
    added: Netting,
    /// The same with what is rolled up from it.
    sums: Netting,
    roller: Roller,
}

impl IndexWriter {
    pub fn new(view: &dyn View, context: &ViewContext) -> IndexWriter {
        IndexWriter::with(view, view.roller(context))
    }

    /// Of the view's own rows alone: smaller, and common questions cost more.
    pub fn plain(view: &dyn View) -> IndexWriter {
        IndexWriter::with(view, Roller::default())
    }

    fn with(view: &dyn View, roller: Roller) -> IndexWriter {
        let tables = &view.schema().tables;
        let sheets = tables.iter().chain(&roller.extra_tables).map(|table| Sheet::new(table.parts.len())).collect();
        let index = Index { sheets, rolled_up: roller.tables.clone() };
        IndexWriter { index, added: Netting::default(), sums: Netting::default(), roller }
    }

    /// Adds changes of an epoch, in any order.
    pub fn add(&mut self, changes: &[Change]) {
        self.added.add_all(changes);
    }

    /// Adds what was netted of several epochs.
    pub fn add_netted(&mut self, changes: Netting) {
        self.added.add_netted(changes);
    }

    /// Adds rows of a view, in order of their keys and each once, to an index that has none yet.
    pub fn load(&mut self, rows: &[(Key, Measures)]) {
        if self.roller.tables.is_empty() {
            let rows: Vec<(&Key, &[i64])> = rows.iter().map(|(key, measures)| (key, &measures.0[..])).collect();
            self.apply(&rows);
        } else {
            rows.iter().for_each(|(key, measures)| self.added.add_slice(*key, &measures.0));
        }
    }

    /// The version with everything added so far.
    pub fn publish(&mut self) -> Index {
        let added = self.added.sorted();
        if self.roller.tables.is_empty() && self.index.rows() == 0 {
            self.index.sheets.iter_mut().zip(0..).for_each(|(sheet, table)| sheet.build(added.of_table(table)));
        } else if self.roller.tables.is_empty() {
            self.apply(&added.iter().collect::<Vec<_>>());
        } else {
            // Rows of tables that nothing is rolled up into are netted as they are.
            let mut netted = Vec::new();
            for (key, sums) in added.iter() {
                if self.roller.tables.contains(&key.table) {
                    self.sums.add_slice(*key, sums);
                } else {
                    netted.push((key, sums));
                }
                (self.roller.roll_up)(key, &mut |coarser| self.sums.add_slice(coarser, sums));
            }
            self.apply(&netted);
            let sums = self.sums.sorted();
            self.apply(&sums.iter().collect::<Vec<_>>());
        }
        self.index.clone()
    }

    fn apply(&mut self, sums: &[(&Key, &[i64])]) {
        for changes in sums.chunk_by(|(a, _), (b, _)| a.table == b.table) {
            self.index.sheets[usize::from(changes[0].0.table)].apply(changes);
        }
    }
}
