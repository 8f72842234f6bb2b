//! Rows of a message, encoded in pieces: made once for all who are told the same, and counted while anybody holds them.

use super::super::memory::{Memory, Of};
use super::super::wire;
use super::answer::Row;
use bytes::Bytes;
use std::sync::Arc;
use tonic::Status;

/// A message holds about so much.
const PIECE_BYTES: usize = 256 << 10;

/// Of one message each; at least one.
pub struct Pieces(Vec<Bytes>);

impl Pieces {
    /// Rows and keys, each with the field that it stands under.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED where there is no memory for them.
    pub fn of<'a>(
        rows: impl Iterator<Item = (u32, Row<'a>)>,
        memory: &Arc<Memory>,
        of: Of,
    ) -> Result<Arc<Pieces>, Status> {
        let (mut pieces, mut piece) = (Vec::new(), Vec::new());
        for (field, (key, values)) in rows {
            wire::put_head(&mut piece, field, key.len() + values.len());
            piece.extend_from_slice(key);
            piece.extend_from_slice(values);
            if piece.len() >= PIECE_BYTES {
                pieces.push(memory.keep(std::mem::take(&mut piece), of, None)?);
            }
        }
        if pieces.is_empty() || !piece.is_empty() {
            piece.shrink_to_fit();
            pieces.push(memory.keep(piece, of, None)?);
        }
        Ok(Arc::new(Pieces(pieces)))
    }

    pub fn none() -> Arc<Pieces> {
        Arc::new(Pieces(vec![Bytes::new()]))
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn get(&self, index: usize) -> Bytes {
        self.0.get(index).cloned().unwrap_or_default()
    }
}
