//! An answer as the bytes that go out: a server that writes rows straight into them makes no message first.

use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{DecodeContext, WireType};
use prost::{DecodeError, Message};
use std::fmt;
use std::marker::PhantomData;

/// Encoded bytes of an `M`. It is a message to send, not one to receive.
///
/// It may be in several pieces, one after the other: what many answers have in common is encoded once and shared.
pub struct Encoded<M> {
    pieces: [Bytes; 3],
    message: PhantomData<fn() -> M>,
}

impl<M: Message> Encoded<M> {
    pub fn of(message: &M) -> Encoded<M> {
        Encoded::of_pieces([message.encode_to_vec().into(), Bytes::new(), Bytes::new()])
    }
}

impl<M> Encoded<M> {
    /// The pieces together must be an `M`; its fields may be in any order.
    pub fn of_pieces(pieces: [Bytes; 3]) -> Encoded<M> {
        Encoded { pieces, message: PhantomData }
    }

    pub fn piece(&self, index: usize) -> &Bytes {
        &self.pieces[index]
    }
}

impl<M> Default for Encoded<M> {
    fn default() -> Encoded<M> {
        Encoded::of_pieces(Default::default())
    }
}

impl<M> fmt::Debug for Encoded<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoded({} bytes)", self.pieces.iter().map(Bytes::len).sum::<usize>())
    }
}

impl<M> Message for Encoded<M> {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        self.pieces.iter().for_each(|piece| buffer.put_slice(piece));
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        // Nobody receives one; should somebody, its fields are skipped as unknown ones are.
        prost::encoding::skip_field(wire_type, tag, buffer, context)
    }

    fn encoded_len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    fn clear(&mut self) {
        self.pieces = Default::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{At, GetRelatedProductsResponse, RelatedProduct};

    #[test]
    fn pieces_are_one_message() {
        let at = At { epoch: 7, ..At::default() };
        let row = RelatedProduct { related_id: "b".to_owned(), cosine: 0.5, ..RelatedProduct::default() };
        let part = |at, rows| GetRelatedProductsResponse { at, rows }.encode_to_vec().into();
        let pieces = [part(Some(at.clone()), vec![]), part(None, vec![row.clone()]), part(None, vec![row.clone()])];
        let encoded = Encoded::<GetRelatedProductsResponse>::of_pieces(pieces);
        let decoded = GetRelatedProductsResponse::decode(&*encoded.encode_to_vec()).expect("it is one");
        assert_eq!(decoded, GetRelatedProductsResponse { at: Some(at), rows: vec![row.clone(), row] });
        let again = Encoded::of(&decoded);
        assert_eq!(GetRelatedProductsResponse::decode(&*again.encode_to_vec()).expect("it is one"), decoded);
    }
}
