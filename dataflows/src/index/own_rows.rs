//! A view's own rows, taken back from an index: without the tables that exist only there, and without what was rolled up.

use super::Index;
use crate::rows::{Key, Measures, Netting, Sums};
use crate::settings::ViewContext;
use crate::views::{Roller, View};

/// Takes the rows of one view out of its indexes.
pub struct OwnRows {
    tables: usize,
    roller: Roller,
}

impl OwnRows {
    pub fn new(view: &dyn View, context: &ViewContext) -> OwnRows {
        OwnRows { tables: view.schema().tables.len(), roller: view.roller(context) }
    }

    /// Of plain indexes.
    pub fn plain(view: &dyn View) -> OwnRows {
        OwnRows { tables: view.schema().tables.len(), roller: Roller::default() }
    }

    /// Hands over all rows, by key.
    pub fn scan(&mut self, index: &Index, each: &mut dyn FnMut(&Key, Sums<'_>)) {
        let (low, high) = ([u64::MIN; 5], [u64::MAX; 5]);
        let tables = || (0..).zip(&index.sheets[..self.tables]);
        if self.roller.tables.is_empty() {
            for (table, sheet) in tables() {
                sheet.scan(&low, &high, &mut |parts, sums| each(&Key { table, parts: *parts }, sums));
            }
            return;
        }
        let mut rows = Vec::with_capacity(index.rows());
        for (table, sheet) in tables() {
            let mut push = |parts: &[u64; 5], measures| rows.push((Key { table, parts: *parts }, measures));
            sheet.scan(&low, &high, &mut |parts, sums| push(parts, sums.to_measures()));
        }
        self.unroll(rows).iter().for_each(|(key, measures)| each(key, measures.sums()));
    }

    /// What was added to the rows since an earlier version of the index, by key.
    pub fn added(&mut self, index: &Index, earlier: &Index) -> Vec<(Key, Measures)> {
        let mut rows = Vec::new();
        for (table, (sheet, before)) in (0..).zip(index.sheets.iter().zip(&earlier.sheets)).take(self.tables) {
            sheet.difference(before, &mut |parts, added| rows.push((Key { table, parts: *parts }, added.clone())));
        }
        self.unroll(rows)
    }

    /// A table that is rolled up into holds its own rows and the sums of finer ones; what is finer holds its own only.
    fn unroll(&mut self, rows: Vec<(Key, Measures)>) -> Vec<(Key, Measures)> {
        if self.roller.tables.is_empty() {
            return rows;
        }
        let mut own = Netting::default();
        for (key, measures) in &rows {
            own.add_slice(*key, &measures.0);
            if !self.roller.tables.contains(&key.table) {
                let less: Vec<i64> = measures.0.iter().map(|value| value.wrapping_neg()).collect();
                (self.roller.roll_up)(key, &mut |coarser| {
                    if usize::from(coarser.table) < self.tables {
                        own.add_slice(coarser, &less);
                    }
                });
            }
        }
        let own = own.sorted();
        own.iter().map(|(key, sums)| (*key, Measures::of(sums))).collect()
    }
}
