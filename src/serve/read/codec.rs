//! What a codec is: how rows are put on one wire. All else of it is its own.

use super::place::Place;
use bytes::Bytes;
use millrace_dataflows::table::{Table, Value};

/// What a row is in the message that it is to stand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowRole {
    /// Of a page of an answer.
    Page,
    /// Of a subscription's whole answer.
    Snapshot,
    /// New, or with other values than before.
    Upserted,
    /// Gone: there is no more of it than its key.
    Removed,
}

/// Writes rows as one wire has them.
///
/// # Contract
/// The same rows are the same bytes, whoever asks and whenever: they are made once and shared by all callers of the codec.
/// What it writes of a row does not depend on the rows before it, but for whether there are any in `out`, so that pages and
/// messages can begin with any row.
pub trait Codec: Send + Sync + 'static {
    /// Tells codecs apart: what one of them has encoded is for its own callers.
    fn name(&self) -> &'static str;

    /// Adds a row. `values` are those of its cells that do not name it.
    fn put_row(&self, out: &mut Vec<u8>, role: RowRole, key: &[Value], values: &[Value]);

    /// Where the rows of a message are true.
    fn place(&self, place: &Place) -> Bytes;
}

/// The columns of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    pub names: Vec<String>,
    /// So many at the front name the row.
    pub groups: usize,
}

impl Columns {
    /// The last `values` columns do not name the row.
    pub fn of(table: &Table, values: usize) -> Columns {
        Columns { names: table.columns.clone(), groups: table.columns.len().saturating_sub(values) }
    }

    /// About what they take.
    pub fn bytes(&self) -> usize {
        self.names.iter().map(|name| size_of::<String>() + name.len()).sum()
    }
}
