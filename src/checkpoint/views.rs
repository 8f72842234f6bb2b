//! The rows of the views at checkpoints: what changed since the last, and all of them now and then.

use super::change_log::{LogStart, Step};
use super::definitions::Definition;
use super::files::FileEntry;
use super::manifest::ViewEntry;
use super::view_rows::{self, OfIndex, Sorted};
use crate::numbers::Epoch;
use crate::serve::ViewRows;
use millrace_connectors::lake::{Compression, Unfinished};
use millrace_connectors::store::Store;
use millrace_dataflows::index::{Index, OwnRows};
use millrace_dataflows::query::QueryError;
use millrace_dataflows::settings::ViewContext;
use millrace_dataflows::views::View;
use millrace_schema::{Currency, Names};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Up to so many rows all of them are written at every checkpoint.
const FEW_ROWS: u64 = 20_000;

/// One view on its way to the lake.
pub struct ViewFiles {
    view: Arc<dyn View>,
    own: OwnRows,
    /// As of the checkpoint before.
    before: Index,
    /// The currencies, by their codes, that were told of as not to be trusted.
    untrusted: BTreeSet<u64>,
    pub entry: ViewEntry,
}

/// What all views of a checkpoint have in common.
pub struct At<'a> {
    pub store: &'a Arc<dyn Store>,
    /// Begins the names of the files.
    pub name: &'a str,
    pub epoch: Epoch,
    pub names: &'a Names,
    pub compression: Compression,
}

impl ViewFiles {
    /// `rows` are what is in the files of `entry`. Without a context their indexes are plain.
    pub fn new(
        rows: &ViewRows,
        context: Option<&ViewContext>,
        definition: Definition,
        entry: Option<ViewEntry>,
    ) -> ViewFiles {
        let view = rows.view.clone();
        let own = context.map_or_else(|| OwnRows::plain(&*view), |context| OwnRows::new(&*view, context));
        let new = || ViewEntry {
            name: view.name().to_owned(),
            version: view.version(),
            definition: Definition::new(),
            rows: 0,
            snapshot: None,
            changes: Vec::new(),
            log: None,
        };
        let entry = ViewEntry { definition, ..entry.unwrap_or_else(new) };
        ViewFiles { view, own, before: rows.index.clone(), untrusted: BTreeSet::new(), entry }
    }

    /// Writes what a checkpoint has to have. The entry is the new one when its files are finished: see [`ViewFiles::finish`].
    ///
    /// # Errors
    /// Where it cannot be encoded.
    pub fn write(&mut self, index: &Index, at: &At<'_>) -> anyhow::Result<Written> {
        let name = self.view.name();
        let untrusted = self.view.untrusted(index);
        for error in untrusted.difference(&self.untrusted).filter_map(|&code| sums_too_large(code)) {
            crate::log::warning(format_args!("{name}: {error}"));
        }
        self.untrusted.clone_from(&untrusted);
        let At { store, epoch, names, compression, .. } = *at;
        let mut written = Written { index: index.clone(), changes: None, snapshot: None };
        let mut changed = 0;
        if self.entry.snapshot.is_some() {
            let added = self.own.added(index, &self.before);
            changed = added.len() as u64;
            if !added.is_empty() {
                let key = format!("changes/{name}/epoch={epoch}/{}.parquet", at.name);
                let mut rows = Sorted::of_rows(&added);
                written.changes =
                    Some(view_rows::write(store, &key, &*self.view, &mut rows, &untrusted, names, compression)?);
            }
        }
        let rows = index.rows() as u64;
        let pending: u64 = self.entry.changes.iter().map(|file| file.rows).sum::<u64>() + changed;
        let due = self.entry.snapshot.is_none() || pending > 0 && (rows <= FEW_ROWS || pending >= rows);
        if due {
            let key = format!("views/{name}/epoch={epoch}/{}.parquet", at.name);
            let mut rows = OfIndex { own: &mut self.own, index };
            written.snapshot =
                Some(view_rows::write(store, &key, &*self.view, &mut rows, &untrusted, names, compression)?);
        }
        Ok(written)
    }

    /// Takes the finished files into the entry, and the checkpoint into its log. Returns the file of the changes.
    pub fn finish(
        &mut self,
        index: Index,
        changes: Option<FileEntry>,
        snapshot: Option<FileEntry>,
        step: &Step,
    ) -> Option<FileEntry> {
        self.entry.log = Some(LogStart::next(self.entry.log, self.entry.snapshot.is_none(), step));
        self.entry.rows = index.rows() as u64;
        self.before = index;
        match snapshot {
            Some(snapshot) => {
                self.entry.rows = snapshot.rows;
                self.entry.snapshot = Some(snapshot);
                self.entry.changes.clear();
            }
            None => self.entry.changes.extend(changes.clone()),
        }
        changes
    }
}

/// What there is to say of a currency whose sums are not shown.
pub fn sums_too_large(code: u64) -> Option<QueryError> {
    Some(QueryError::SumsTooLarge { currency: Currency::from_code(code)?.to_string() })
}

/// Files of one view and checkpoint.
pub struct Written {
    pub index: Index,
    pub changes: Option<Unfinished>,
    pub snapshot: Option<Unfinished>,
}
