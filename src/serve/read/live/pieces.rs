//! Rows of a message, encoded in pieces: made once for all callers of a codec who are told the same, and counted while
//! anybody holds them.

use super::super::codec::{Codec, RowRole};
use super::super::error::ReadError;
use super::answer::Row;
use crate::serve::callers::memory::{Memory, Of};
use bytes::Bytes;
use std::sync::Arc;

/// A message holds about so much.
const PIECE_BYTES: usize = 256 << 10;

/// Of one message each; at least one.
pub struct Pieces(Vec<Bytes>);

impl Pieces {
    /// Rows and keys, each with what it is. Others have their turn between two pieces: encoding a large answer takes a
    /// while.
    ///
    /// # Errors
    /// Where there is no memory for them.
    pub async fn of<'a>(
        rows: impl Iterator<Item = (RowRole, Row<'a>)> + Send,
        codec: &dyn Codec,
        memory: &Arc<Memory>,
    ) -> Result<Arc<Pieces>, ReadError> {
        let (mut pieces, mut piece) = (Vec::new(), Vec::new());
        for (role, (key, values)) in rows {
            codec.put_row(&mut piece, role, key, values);
            if piece.len() >= PIECE_BYTES {
                pieces.push(memory.keep(std::mem::take(&mut piece), Of::Subscriptions, None)?);
                tokio::task::yield_now().await;
            }
        }
        if pieces.is_empty() || !piece.is_empty() {
            piece.shrink_to_fit();
            pieces.push(memory.keep(piece, Of::Subscriptions, None)?);
        }
        Ok(Arc::new(Pieces(pieces)))
    }

    pub fn none() -> Arc<Pieces> {
        Arc::new(Pieces(vec![Bytes::new()]))
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn bytes(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    pub fn get(&self, index: usize) -> Bytes {
        self.0.get(index).cloned().unwrap_or_default()
    }
}
