//! The record that a tombstone stands for: a broker's message with a key and no value, which deletes what has that key.

use crate::Kind;
use crate::calendar::rfc3339_micros;
use serde_json::json;

/// The record, as a native line: the product or the user of that key is deleted, as of `at` (UTC microseconds).
///
/// `None` where a tombstone means nothing: for other kinds, and for a key that is empty or not UTF-8.
pub fn tombstone(kind: Kind, key: &[u8], at: i64) -> Option<Vec<u8>> {
    let field = match kind {
        Kind::Product => "product_id",
        Kind::User => "user_id",
        _ => return None,
    };
    let key = std::str::from_utf8(key).ok().filter(|key| !key.is_empty())?;
    let record = json!({"event_type": kind.as_str(), field: key, "updated_at": rfc3339_micros(at), "deleted": true});
    Some(record.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Bump, DecodeSettings, decode};

    #[test]
    fn a_tombstone_of_a_dimension_is_a_deletion() {
        let line = tombstone(Kind::Product, b"p \"1\"", 1_700_000_000_000_001).expect("products can be deleted");
        let arena = Bump::new();
        let record = decode(&line, None, &DecodeSettings::default(), &arena).expect("it is valid");
        assert_eq!((record.kind, record.product_id, record.deleted), (Kind::Product, "p \"1\"", true));
        assert_eq!(record.time, 1_700_000_000_000_001);
        assert!(tombstone(Kind::User, b"u", 0).is_some());
        for (kind, key) in
            [(Kind::Inventory, &b"p"[..]), (Kind::PageView, b"p"), (Kind::User, b""), (Kind::User, b"\xff")]
        {
            assert_eq!(tombstone(kind, key, 0), None);
        }
    }
}
